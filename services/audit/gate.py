"""Tells at which words of a text the patterns of a lexicon are worth a try.

Compiled with gate.pxd where there is a C compiler, as reading/letters.py is.
"""

from array import array
from collections.abc import Iterable

from services.audit.reading.sieve import Found
from services.audit.yielding import gently

# Of the basic multilingual plane; hardly a word has a character beyond it.
_BASIC = 0x10000
# Two characters have one of so many traces, by their numbers.
_PAIRS, _ROW = 0x20000, 0x16D
# Traces have one of so many places when it is told where in a text they are, roughly.
_PLACES = 0x400
# Parts of a text that are told apart then: as many as an integer of the machine has bits, but for one that it is known.
_PARTS = 63
_ONE, _EVERY, _KNOWN = 1, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000
_NONE = array("Q", [0])


class Traces:
    """Words by what is seen of them quickest: their first two characters, or the only one; immutable.

    Several words may have one trace, so that a text may have the trace of a word that it does not have, but never the
    other way round. No trace is 0.
    """

    def __init__(self, words: Iterable[str]) -> None:
        every = sorted(set(words))
        alone = sorted({ord(word) for word in every if len(word) == 1})
        pairs = [(ord(word[0]), ord(word[1])) for word in gently(every) if len(word) > 1]
        # The first numbers are those of characters that are words, and their traces.
        points = dict.fromkeys([*alone, *(point for pair in pairs for point in pair)])
        numbers = {point: number for number, point in enumerate(gently(points), 1)}
        basic, begun = array("I", bytes(4 * _BASIC)), bytearray(_PAIRS // 8)
        for point, number in gently(numbers.items()):
            if point < _BASIC:
                basic[point] = number
        for first, second in gently(pairs):
            pair = self._pair(numbers[first], numbers[second])
            begun[pair >> 3] |= 1 << (pair & 7)
        self._basic, self._numbers = basic, numbers
        self._alone = len(alone)
        # Small enough to be at hand, and most that follow each other are none of them.
        self._begun = bytes(begun)

    def of_word(self, word: str) -> int:
        """The trace of one of the words."""
        first = self._numbers[ord(word[0])]
        return first if len(word) == 1 else self._alone + 1 + self._pair(first, self._numbers[ord(word[1])])

    def tell(self, text: str, shift: int, parts: "array[int]", begin: int) -> None:
        """Put down where in a text words may begin. Linear in its length.

        The first `parts` tell it roughly: by the last bits of a trace, in which parts of the text it is, each of
        2 ** `shift` characters. From `begin` on there are, two by two, the traces at each place, 0 for none.
        """
        first = last = 0
        for place, character in enumerate(text):
            point = ord(character)
            second = self._basic[point] if point < _BASIC else self._numbers.get(point, 0)
            part = _ONE << (place >> shift)
            if second:
                if second <= self._alone:
                    parts[begin + 2 * place] = second
                    parts[second & (_PLACES - 1)] |= part
                pair = self._pair(first, second)
                if first and self._begun[pair >> 3] >> (pair & 7) & 1:
                    trace = self._alone + 1 + pair
                    # It begins a character before.
                    parts[begin + 2 * place - 1] = trace
                    parts[trace & (_PLACES - 1)] |= last
            first, last = second, part

    def _pair(self, first: int, second: int) -> int:
        return (first * _ROW + second) & (_PAIRS - 1)


class Gate:
    """What the words of a collection are to patterns; immutable.

    The patterns that need a word besides come first: it must begin so many characters `before` the word that calls for
    them at most, or so many `behind` it.

    `words` has a number for each word: twice a place in `lists`, and one more if it means something besides. There
    `lists` has how many patterns the word calls for, and those. `needs` has another place for each of the first
    patterns: how many traces the words have of which it needs one, and those.
    """

    def __init__(
        self,
        traces: Traces,
        before: "array[int]",
        behind: "array[int]",
        words: "array[int]",
        needs: "array[int]",
        lists: "array[int]",
    ) -> None:
        self._traces = traces
        self._count = len(before)
        self._before, self._behind = before, behind
        # Each in one place: whatever is looked at, the processor waits for its neighbourhood.
        self._words, self._needs, self._lists = words, needs, lists

    def open(self, text: str, found: list[Found]) -> tuple[list[tuple[int, int]], list[Found]]:
        """The patterns to try in a text, each with the place of a word that calls for it, and what is found of the
        words that mean something besides.

        Linear in the text and in how many patterns are called for. Where a word that one needs may be near it is looked
        for so far around, which takes about as long as to try the pattern there.
        """
        tries: list[tuple[int, int]] = []
        others: list[Found] = []
        if not found:
            return tries, others
        shift = 0
        while (len(text) >> shift) >= _PARTS:
            shift += 1
        # Of traces, then of patterns once they are called for; then the traces at each place.
        made = _NONE * (_PLACES + self._count + 2 * len(text) + 2)
        parts = made
        self._traces.tell(text, shift, parts, _PLACES + self._count)
        for one in found:
            start, _, word = one
            entry = self._words[word]
            first = entry >> 1
            for place in range(first + 1, first + 1 + self._lists[first]):
                pattern = self._lists[place]
                if pattern >= self._count or self._is_near(start, pattern, parts, shift):
                    tries.append((start, pattern))
            if entry & 1:
                others.append(one)
        return tries, others

    def _is_near(self, start: int, pattern: int, parts: "array[int]", shift: int) -> bool:
        """Whether a word that the pattern needs may be near enough to that place."""
        begin = _PLACES + self._count
        first, last = max(start - self._before[pattern], 0), start + self._behind[pattern]
        # No word begins at the end.
        last = min(last, ((len(parts) - begin) >> 1) - 2)
        if last < first:
            return False
        around = (_EVERY << (first >> shift)) & (_EVERY >> (_PARTS - 1 - (last >> shift)))
        # Where any of its words stands; told once, for a word may call for it all over the text.
        needed = parts[_PLACES + pattern]
        if needed and not needed & around:
            return False
        need = self._needs[pattern]
        for place in range(need + 1, need + 1 + self._lists[need]):
            trace = self._lists[place]
            stands = parts[trace & (_PLACES - 1)]
            needed |= stands
            if stands & around:
                for index in range(begin + 2 * first, begin + 2 * last + 2):
                    if parts[index] == trace:
                        return True
        parts[_PLACES + pattern] = needed | _KNOWN
        return False
