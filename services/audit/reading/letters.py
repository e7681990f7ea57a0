"""Goes through texts character by character.

Compiled with letters.pxd where there is a C compiler, and some twenty times as fast then; Python runs the same without.
"""

from array import array
from collections.abc import Callable, Mapping
from typing import Protocol

IS_COMPILED = __file__.endswith((".so", ".pyd"))
# Of the basic multilingual plane, in which all that is written often is; emoji are beyond it.
_BASIC = 0x10000
# What stands for no character in a table, and for what is more than one or beyond the plane: no characters themselves.
_NONE, _OTHER = 0xFFFF, 0xFFFE


class Lookup(Protocol):
    """What each code point becomes; LookupError if it stays as it is."""

    def __getitem__(self, point: int, /) -> str: ...


def is_basic(text: str) -> bool:
    """Whether all characters of a text are of the basic multilingual plane."""
    return len(text.encode("utf-16-le", "surrogatepass")) == 2 * len(text)


class Translation:
    """str.translate() by a table that does not change.

    `read` tells the same as the table for a code point; it is asked once for all those of the basic plane.
    """

    def __init__(self, table: Lookup, read: Callable[[int], str]) -> None:
        self._table = table
        codes = array("H")
        # The same as str.translate takes it, half as far to go as a dict.
        self._list: list[int | str] = []
        for point in range(_BASIC):
            new = read(point)
            code = _code(new)
            if IS_COMPILED:
                codes.append(code)
            else:
                self._list.append(code if code < _OTHER else new)
        self._codes = codes

    def of(self, text: str) -> str:
        """The text with each character replaced. Linear in its length."""
        if not IS_COMPILED:
            return text.translate(self._list if is_basic(text) else self._table)
        pieces: list[str] = []
        # In UTF-16, low byte first.
        buffer = bytearray(2 * len(text))
        size = 0
        for character in text:
            point = ord(character)
            code = self._codes[point] if point < _BASIC else _OTHER
            if code < _OTHER:
                buffer[size] = code & 0xFF
                buffer[size + 1] = code >> 8
                size += 2
            elif code == _OTHER:
                pieces.append(_text(buffer, size))
                pieces.append(_of(self._table, point))
                size = 0
        if not pieces:
            return _text(buffer, size)
        pieces.append(_text(buffer, size))
        return "".join(pieces)


class Marks:
    """Tells which of some marks, bits of 64, the characters of a text have."""

    def __init__(self, marked: Mapping[str, int]) -> None:
        self._marked = dict(marked)
        self._beyond = {ord(character): marks for character, marks in marked.items() if ord(character) >= _BASIC}
        # Few characters have any, and many the same.
        self._sets = array("Q", sorted({0, *marked.values()}))
        numbers = {marks: number for number, marks in enumerate(self._sets)}
        basic = array("H", bytes(2 * _BASIC))
        for character, marks in marked.items():
            if ord(character) < _BASIC:
                basic[ord(character)] = numbers[marks]
        self._numbers = basic

    def of(self, text: str) -> int:
        """All marks together. Linear in the length."""
        found = 0
        if not IS_COMPILED:
            for character in self._marked.keys() & text:
                found |= self._marked[character]
            return found
        for character in text:
            point = ord(character)
            if point < _BASIC:
                found |= self._sets[self._numbers[point]]
            elif point in self._beyond:
                found |= self._beyond[point]
        return found

    def longest(self, text: str, mark: int, between: int, most: int) -> int:
        """How many characters with the mark follow each other with at most so many with the mark `between` in a gap."""
        longest = run = gap = 0
        for character in text:
            point = ord(character)
            marks = self._sets[self._numbers[point]] if point < _BASIC else 0
            if marks & mark:
                run = run + 1 if gap <= most else 1
                gap = 0
                longest = max(longest, run)
            elif marks & between:
                gap += 1
            else:
                run = gap = 0
        return longest

    def runs(self, text: str, mark: int, least: int) -> list[tuple[int, int]]:
        """From where to where (exclusive) at least so many characters with the mark stand together."""
        runs: list[tuple[int, int]] = []
        start = place = 0
        for character in text:
            point = ord(character)
            marks = self._sets[self._numbers[point]] if point < _BASIC else 0
            if not marks & mark:
                if place - start >= least:
                    runs.append((start, place))
                start = place + 1
            place += 1
        if place - start >= least:
            runs.append((start, place))
        return runs


def _of(table: Lookup, point: int) -> str:
    try:
        return table[point]
    except LookupError:
        return chr(point)


def _code(new: str) -> int:
    if len(new) != 1:
        return _OTHER if new else _NONE
    # Two surrogates side by side would be read as one character.
    return _OTHER if "\ud800" <= new <= "\udfff" else min(ord(new), _OTHER)


def _text(buffer: bytearray, size: int) -> str:
    return buffer[:size].decode("utf-16-le", "surrogatepass")
