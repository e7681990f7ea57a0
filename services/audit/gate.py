"""Tells at which words of a text the patterns of a lexicon are worth a try.

Compiled with gate.pxd where there is a C compiler, as reading/letters.py is.
"""

from array import array
from collections.abc import Iterable

from services.audit.reading.sieve import Found
from services.audit.yielding import gently

# Characters beyond the basic plane count as others of it: what is looked for here is only likely to be there.
_POINT = 0xFFFF
# Two characters have one of so many traces, by their numbers.
_PAIRS, _ROW = 0x20000, 0x16D
# Traces have one of so many places when it is told where in a text they are, roughly.
_PLACES = 0x400
# Parts of a text that are told apart then: as many as an integer of the machine has bits.
_PARTS = 64
_ONE, _EVERY = 1, 0xFFFF_FFFF_FFFF_FFFF
_NONE = array("Q", [0])


class Traces:
    """Words by what is seen of them quickest: their first two characters, or the only one; immutable.

    Several words may have one trace, so that a text may have the trace of a word that it does not have, but never the
    other way round. No trace is 0.
    """

    def __init__(self, words: Iterable[str]) -> None:
        every = sorted(set(words))
        alone = sorted({ord(word) & _POINT for word in every if len(word) == 1})
        pairs = [(ord(word[0]) & _POINT, ord(word[1]) & _POINT) for word in gently(every) if len(word) > 1]
        # The first numbers are those of characters that are words, and their traces.
        points = dict.fromkeys([*alone, *(point for pair in pairs for point in pair)])
        numbers = array("I", bytes(4 * (_POINT + 1)))
        for number, point in enumerate(gently(points), 1):
            numbers[point] = number
        begun = bytearray(_PAIRS // 8)
        for first, second in gently(pairs):
            pair = self._pair(numbers[first], numbers[second])
            begun[pair >> 3] |= 1 << (pair & 7)
        self._numbers = numbers
        self._alone = len(alone)
        # Small enough to be at hand, and most that follow each other are none of them.
        self._begun = bytes(begun)

    def of_word(self, word: str) -> int:
        """The trace of one of the words."""
        first = self._numbers[ord(word[0]) & _POINT]
        return first if len(word) == 1 else self._alone + 1 + self._pair(first, self._numbers[ord(word[1]) & _POINT])

    def of(self, text: str, shift: int) -> "array[int]":
        """Where in a text words may begin, in one array. Linear in its length.

        The first numbers tell it roughly: by the last bits of a trace, in which parts of the text it is, each of
        2 ** `shift` characters. Behind them are, two by two, the traces at each place of the text, 0 for none.
        """
        made = _NONE * (_PLACES + 2 * len(text) + 2)
        traces = made
        first = last = 0
        place = _PLACES
        for character in text:
            part = _ONE << ((place - _PLACES) >> (shift + 1))
            second = self._numbers[ord(character) & _POINT]
            if second:
                if second <= self._alone:
                    traces[place] = second
                    traces[second & (_PLACES - 1)] |= part
                pair = self._pair(first, second)
                if first and self._begun[pair >> 3] >> (pair & 7) & 1:
                    trace = self._alone + 1 + pair
                    # It begins a character before.
                    traces[place - 1] = trace
                    traces[trace & (_PLACES - 1)] |= last
            first, last = second, part
            place += 2
        return made

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
        words that mean something besides. Linear in the text and what is found."""
        shift = 0
        while (len(text) >> shift) >= _PARTS:
            shift += 1
        traces = self._traces.of(text, shift)
        tries: list[tuple[int, int]] = []
        others: list[Found] = []
        for one in found:
            start, _, word = one
            entry = self._words[word]
            first = entry >> 1
            for place in range(first + 1, first + 1 + self._lists[first]):
                pattern = self._lists[place]
                if pattern >= self._count or self._is_near(start, pattern, traces, shift):
                    tries.append((start, pattern))
            if entry & 1:
                others.append(one)
        return tries, others

    def _is_near(self, start: int, pattern: int, traces: "array[int]", shift: int) -> bool:
        """Whether a word that the pattern needs may be near enough to that place."""
        first, last = max(start - self._before[pattern], 0), start + self._behind[pattern]
        # No word begins at the end.
        last = min(last, ((len(traces) - _PLACES) >> 1) - 2)
        if last < first:
            return False
        around = (_EVERY << (first >> shift)) & (_EVERY >> (_PARTS - 1 - (last >> shift)))
        need = self._needs[pattern]
        for place in range(need + 1, need + 1 + self._lists[need]):
            trace = self._lists[place]
            if traces[trace & (_PLACES - 1)] & around:
                for index in range(_PLACES + 2 * first, _PLACES + 2 * last + 2):
                    if traces[index] == trace:
                        return True
        return False
