"""Tells at which words of a text the patterns of a lexicon are worth a try.

Compiled with gate.pxd where there is a C compiler, as reading/letters.py is. What it is made of is made in search.py:
compiled loops let no other thread run.
"""

from array import array

from services.audit.reading.sieve import Found

# Parts of a text that are told apart: as many as an integer of the machine has bits.
_PARTS = 64
_ONE, _EVERY = 1, 0xFFFF_FFFF_FFFF_FFFF


# Many lists in one, and where each begins; one more, where the last ends.
Lists = tuple["array[int]", "array[int]"]


class Gate:
    """What the words of a collection are to patterns; immutable.

    By the place of a word, `called` are the patterns that it calls for, `opened` those that need it or one of its like
    near, and `told` is not 0 if it means something besides. The patterns that need a word come first: it must stand so
    many characters `before` the word that calls for them at most, or so many `behind` it.
    """

    def __init__(self, before: "array[int]", behind: "array[int]", called: Lists, opened: Lists, told: bytes) -> None:
        self._count = len(before)
        self._before, self._behind = before, behind
        self._called, self._called_from = called
        self._opened, self._opened_from = opened
        self._told = told

    def open(self, found: list[Found], length: int) -> tuple[list[tuple[int, int]], list[Found]]:
        """The patterns to try in a text of this length, each with the place of a word that calls for it, and what is
        found of the words that mean something besides. Linear in what is found."""
        shift = 0
        while (length >> shift) >= _PARTS:
            shift += 1
        # By pattern, in which parts of the text a word stands that it needs.
        near = array("Q", bytes(8 * self._count))
        parts = near
        for start, _, word in found:
            last = self._opened_from[word + 1]
            for place in range(self._opened_from[word], last):
                parts[self._opened[place]] |= _ONE << (start >> shift)
        tries: list[tuple[int, int]] = []
        others: list[Found] = []
        for one in found:
            start, _, word = one
            last = self._called_from[word + 1]
            for place in range(self._called_from[word], last):
                pattern = self._called[place]
                if pattern >= self._count or parts[pattern] & self._around(start, pattern, shift):
                    tries.append((start, pattern))
            if self._told[word]:
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
