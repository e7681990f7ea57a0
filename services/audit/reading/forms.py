"""Folds a text to the form in which terms are looked for, and finds where each of its characters came from."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.audit.reading import steps
from services.audit.reading.letters import Translation
from services.audit.reading.words import rows

BREAK = ","
# Kept as they are where the table keeps them, and dropped again unless they hold a number together.
_LOOSE = re.compile(r"[.\-+%](?:(?<![0-9].)|(?<!%)(?![0-9]))")
# What parts the characters of one Chinese word; a comma or a colon parts words.
_BETWEEN = re.compile(r"[^\w,.:;!?@](?<=[㐀-鿿].)[^\w,.:;!?@]{0,3}(?=[㐀-鿿])", re.DOTALL)
_KEPT = frozenset(".-+%")
# Beyond the emoji nobody writes much; it is folded each time, for a hostile text might fill the memory.
REMEMBERED = 0x20000


@dataclass(frozen=True, slots=True)
class Form:
    """A folded text; character i of it came from the original's characters starts[i] to ends[i] (exclusive)."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """The original characters behind a non-empty span of the folded text, in code points."""
        return self.starts[start], self.ends[end - 1]


class Table(dict[int, str]):
    """What each code point is folded to, as str.translate takes it; empty for what is dropped."""

    def __init__(self, enabled: Collection[str]) -> None:
        super().__init__()
        self._enabled = frozenset(enabled)
        for point, kind, folded in rows("fold.tsv"):
            self[int(point, 16)] = self._folded(chr(int(point, 16)), kind, folded)

    def _folded(self, character: str, kind: str, folded: str) -> str:
        if kind == "drop":
            return "" if steps.of_insertion(character) in self._enabled else BREAK
        if kind == "letter":
            step = steps.of_fold(character, folded)
            return folded if step is None or step in self._enabled else character
        if kind == "break":
            return BREAK
        return folded if folded in _KEPT else ""

    def __missing__(self, point: int) -> str:
        kept = self.made(point)
        if point < REMEMBERED:
            self[point] = kept
        return kept

    def made(self, point: int) -> str:
        """What it has for a code point, remembered or not."""
        if point in self:
            return self[point]
        character = chr(point)
        return character if character.isalnum() else self._folded(character, "drop", "")


class _Entities(Table):
    """The same for entities(): separators stay, as ASCII where they have such a form."""

    def _folded(self, character: str, kind: str, folded: str) -> str:
        if kind == "letter":
            return super()._folded(character, kind, folded)
        step = steps.of_insertion(character)
        if step in (steps.ZERO_WIDTH, steps.EMOJI):
            return "" if step in self._enabled else character
        return " " if step == steps.SPACES else unicodedata.normalize("NFKC", character)


class Fold:
    """Folding by some of the steps; immutable but for what it remembers, so that any number of threads may share it."""

    def __init__(self, enabled: Collection[str] = steps.ALL) -> None:
        self.enabled = frozenset(enabled)
        self._table = Table(enabled)
        self._entities = _Entities(enabled)
        self._translation = Translation(self._table, self._table.made)
        self._of_entities = Translation(self._entities, self._entities.made)

    def text(self, text: str) -> str:
        """The clauses of a text: words in lower case, simplified, with ASCII digits, and `,` between clauses.

        Between digits `.`, `-`, `+` and, behind one, `%` stay. Time is linear in the length.
        """
        folded = self._translation.of(text)
        # Most texts have none, and that is told in no time.
        if "." in folded or "-" in folded or "+" in folded or "%" in folded:
            return _LOOSE.sub("", folded)
        return folded

    def form(self, text: str) -> Form:
        """The same as text(), with where every character came from; some ten times slower."""
        return _form(text, self._table, _LOOSE)

    def entities(self, text: str) -> str:
        """The same characters with the separators between them, in which addresses and numbers are looked for."""
        return _BETWEEN.sub("", self._of_entities.of(text))

    def entities_form(self, text: str) -> Form:
        """The same as entities(), with where every character came from."""
        return _form(text, self._entities, _BETWEEN)

    def of(self, character: str) -> str:
        """What one character is folded to; empty if it is dropped."""
        return self._table[ord(character)]


def _form(text: str, table: Table, loose: re.Pattern[str]) -> Form:
    pieces: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        piece = table[ord(character)]
        pieces.append(piece)
        if len(piece) == 1:
            places.append(place)
        else:
            places.extend([place] * len(piece))
    folded = "".join(pieces)
    kept: list[str] = []
    kept_places: list[int] = []
    end = 0
    for match in loose.finditer(folded):
        kept.append(folded[end : match.start()])
        kept_places.extend(places[end : match.start()])
        end = match.end()
    kept.append(folded[end:])
    kept_places.extend(places[end:])
    return Form("".join(kept), kept_places, [place + 1 for place in kept_places])
