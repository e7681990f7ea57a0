"""Tells at which words of a text the patterns of a lexicon are worth a try.

Compiled with gate.pxd where there is a C compiler, as reading/letters.py is. What it is made of is made in search.py:
compiled loops let no other thread run.
"""

from array import array

from services.audit.reading.sieve import Found

# Parts of a text that are told apart: as many as an integer of the machine has bits.
_PARTS = 64
_ONE, _EVERY = 1, 0xFFFF_FFFF_FFFF_FFFF
_NONE = array("Q", [0])


class Gate:
    """What the words of a collection are to patterns; immutable.

    The patterns that need a word besides come first: it must stand so many characters `before` the word that calls for
    them at most, or so many `behind` it.

    `words` has two numbers for each word: twice a place in `lists`, and one more if it means something besides, and
    another place. At the first `lists` has how many patterns the word calls for, and those; at the other how many need
    it or one of its like near, and those.
    """

    def __init__(self, before: "array[int]", behind: "array[int]", words: "array[int]", lists: "array[int]") -> None:
        self._count = len(before)
        self._before, self._behind = before, behind
        # Each in one place: whatever is looked at, the processor waits for its neighbourhood.
        self._words, self._lists = words, lists

    def open(self, found: list[Found], length: int) -> tuple[list[tuple[int, int]], list[Found]]:
        """The patterns to try in a text of this length, each with the place of a word that calls for it, and what is
        found of the words that mean something besides. Linear in what is found."""
        shift = 0
        while (length >> shift) >= _PARTS:
            shift += 1
        # By pattern, in which parts of the text a word stands that it needs.
        parts = _NONE * self._count
        for start, _, word in found:
            first = self._words[2 * word + 1]
            for place in range(first + 1, first + 1 + self._lists[first]):
                parts[self._lists[place]] |= _ONE << (start >> shift)
        tries: list[tuple[int, int]] = []
        others: list[Found] = []
        for one in found:
            start, _, word = one
            entry = self._words[2 * word]
            first = entry >> 1
            for place in range(first + 1, first + 1 + self._lists[first]):
                pattern = self._lists[place]
                if pattern >= self._count or (parts[pattern] and parts[pattern] & self._around(start, pattern, shift)):
                    tries.append((start, pattern))
            if entry & 1:
                others.append(one)
        return tries, others

    def _around(self, start: int, pattern: int, shift: int) -> int:
        """The parts of the text in which a word is near enough, roughly."""
        first, last = start - self._before[pattern], start + self._behind[pattern]
        if last < 0:
            return 0
        first = max(first, 0) >> shift
        last = min(last >> shift, _PARTS - 1)
        return (_EVERY << first) & (_EVERY >> (_PARTS - 1 - last)) if first <= last else 0
