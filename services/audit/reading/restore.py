"""Puts words back that were written in another way: a second reading of a text, with how each character came to be.

Every step makes edits of the text that the steps before it left. The edits make the second reading as a plain string,
which is quick and all that honest copy needs, or, where something was found in it, as cells that know their origin.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit.reading import steps
from services.audit.reading.components import Components
from services.audit.reading.edits import Edit, applied
from services.audit.reading.forms import Fold
from services.audit.reading.latin import SIGNS, Latin
from services.audit.reading.letters import Marks
from services.audit.reading.scan import Scan, Scanner
from services.audit.reading.shapes import Shapes
from services.audit.reading.sounds import Sounds, Vocabulary
from services.audit.reading.syllables import NOTHING
from services.audit.reading.words import emoji_words
from services.audit.yielding import gently

# What characters are: the first of an emoji that stands for a word, signs that may stand for a letter.
_EMOJI, _SIGN = 1, 2
# What may stand between the first and the last character of a joined emoji or a flag: no people and no other flag.
_APART = "[^\\w\U0001f466-\U0001f469\U0001f1e6-\U0001f1ff]|\u3164"
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAYBE_SPREAD = re.compile(r",[^\W_],[^\W_]")
# The same separator before and behind characters that stand alone: 方，圆，五，里.
_SPREAD = re.compile(r"([，。；：！？、,;:!?/|｜])[^\W_](?:\1[^\W_])*\1(?=[^\W_])")


class Cell(NamedTuple):
    """A character of the second reading, the original span that it came from, and the steps that made it."""

    text: str
    start: int
    end: int
    steps: frozenset[str] = frozenset()


class Reading(NamedTuple):
    """Another reading of a text, and what makes it: edits of the text itself, and others of its folded clauses, each
    of what those before it left."""

    scan: Scan
    before: Sequence[Edit]
    edits: Sequence[Sequence[Edit]]

    def is_other(self, start: int, end: int) -> bool:
        """Whether that span of it may be written otherwise in the text; quick, and sure where the answer is no."""
        if self.before or len(self.edits) != 1:
            return True
        moved = 0
        for first, last, new, _ in self.edits[0]:
            place = first + moved
            # What is left out belongs to the character behind it.
            if place < end and start < place + max(len(new), 1):
                return True
            moved += len(new) - (last - first)
        return False


class Restorer:
    """Makes second readings with the words of a vocabulary; immutable, so that any number of threads may share one.

    `scanner` looks for `phrases`, and for what disguises are told by.
    """

    def __init__(self, vocabulary: Vocabulary, fold: Fold, phrases: Collection[str]) -> None:
        self._fold = fold
        enabled = fold.enabled
        self._with_spread = steps.SYMBOLS in enabled
        han = {word for word in gently(vocabulary.words) if not word.isascii()}
        self._latin = Latin({word for word in gently(vocabulary.words) if word.isascii()})
        words = emoji_words() if steps.EMOJI_WORD in enabled else {}
        # By the first character; what is joined, or a flag, is told by its last besides.
        self._emoji = {emoji[0]: (_whole(emoji), word) for emoji, word in words.items()}
        marked = dict.fromkeys(self._emoji, _EMOJI)
        if steps.LEET in enabled:
            marked |= dict.fromkeys(SIGNS, _SIGN)
        self._marks = Marks(marked)
        # An expression for all of them would take ten times as long.
        self._emoji_begun = CharwiseDoubleArrayAhoCorasick([*self._emoji] or [NOTHING])
        self._editors: list[Callable[[Scan], Sequence[Edit]]] = []
        if steps.LEET in enabled:
            self._editors.append(self._latin.edits)
        disguises: list[str] = []
        if enabled & {steps.REPEAT, steps.SPLIT}:
            self._editors.append(Components(han, vocabulary.terms, enabled, disguises).edits)
        if steps.SHAPE in enabled:
            self._editors.append(Shapes(han, vocabulary.innocent, disguises).edits)
        self.scanner = Scanner(phrases, disguises)
        self._sounds = Sounds(vocabulary, enabled) if enabled & {steps.HOMOPHONE, steps.PINYIN} else None

    def readings(self, text: str, plain: Scan) -> list[Reading]:
        """The other readings of a text whose clauses are scanned: mostly one; none if there is nothing to restore."""
        before = self._before(text, plain.text)
        scan = self.scanner.scan(self._fold.text(applied(text, before))) if before else plain
        made: list[Sequence[Edit]] = []
        for editor in self._editors:
            edits = editor(scan)
            if edits:
                made.append(edits)
                scan = self.scanner.scan(applied(scan.text, edits))
        several = self._sounds.edits(scan) if self._sounds else []
        if several:
            return [Reading(self.scanner.scan(applied(scan.text, edits)), before, (*made, edits)) for edits in several]
        return [] if scan.text == plain.text else [Reading(scan, before, made)]

    def cells(self, text: str, reading: Reading) -> list[Cell]:
        """A reading of a text with where each character came from."""
        cells = [Cell(character, place, place + 1) for place, character in enumerate(text)]
        cells = self._folded(_edited(cells, reading.before))
        for edits in reading.edits:
            cells = _edited(cells, edits)
        return cells

    def _before(self, text: str, clauses: str) -> list[Edit]:
        """What folding would drop or make alike: emoji that stand for words, signs that stand for letters, and
        separators between characters that stand alone."""
        edits: list[Edit] = []
        marks = self._marks.of(text)
        if marks & _EMOJI:
            edits.extend(self._pictured(text))
        if marks & _SIGN:
            edits.extend(self._latin.signs(text))
        if self._with_spread and _MAYBE_SPREAD.search(clauses):
            letters = {edit[0] for edit in edits}
            edits.extend(edit for edit in _spread(text) if edit[0] not in letters)
        return sorted(edits) if edits else edits

    def _pictured(self, text: str) -> Iterator[Edit]:
        """Emoji that stand for words; within one of several characters no other counts."""
        place = 0
        for start, end, _ in self._emoji_begun.find(well_formed(text)):
            whole, word = self._emoji[text[start:end]]
            match = whole.match(text, start)
            if match and start >= place:
                place = match.end()
                yield start, place, word, steps.EMOJI_WORD

    def _folded(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells of what Fold.text() makes of their characters."""
        form = self._fold.form("".join(cell.text for cell in cells))
        return [
            Cell(character, cells[start].start, cells[start].end, cells[start].steps)
            for character, start in zip(form.text, form.starts, strict=True)
        ]


def _whole(emoji: str) -> re.Pattern[str]:
    """An emoji, with something between its first and its last character, if they are two."""
    return re.compile(f"(?:{_APART}){{0,8}}?".join(map(re.escape, emoji[0] + emoji[1:][-1:])))


def well_formed(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which the automata do not take; as long as it was."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def merged(text: str, cells: Sequence[Cell]) -> list[Cell]:
    """The original text as cells, with the restored ones where they belong."""
    whole: list[Cell] = []
    place = 0
    for cell in cells:
        # What was dropped is kept, but for what was left out to restore this very cell.
        if cell.start > place and not cell.steps:
            whole.append(Cell(text[place : cell.start], place, cell.start))
        if cell.steps:
            whole.append(cell)
        elif cell.end > place:
            whole.append(Cell(text[cell.start : cell.end], cell.start, cell.end))
        place = max(place, cell.end)
    whole.append(Cell(text[place:], place, len(text)))
    return whole


def _edited(cells: list[Cell], edits: Sequence[Edit]) -> list[Cell]:
    if not edits:
        return cells
    edited: list[Cell] = []
    place = 0
    removed: frozenset[str] = frozenset()
    for start, end, new, step in edits:
        for cell in cells[place:start]:
            edited.append(_with(cell, removed))
            removed = frozenset()
        gone = cells[start:end]
        made = frozenset({step}).union(removed, *(cell.steps for cell in gone))
        removed = frozenset() if new else made
        edited.extend(Cell(character, gone[0].start, gone[-1].end, made) for character in new)
        place = end
    for cell in cells[place:]:
        edited.append(_with(cell, removed))
        removed = frozenset()
    return edited


def _with(cell: Cell, more: frozenset[str]) -> Cell:
    """What was removed before a character belongs to that character's disguise."""
    return Cell(cell.text, cell.start, cell.end, cell.steps | more) if more else cell


def _spread(text: str) -> list[Edit]:
    return [
        (place, place + 1, "", steps.SYMBOLS)
        for match in _SPREAD.finditer(text)
        for place in range(match.start(), match.end())
        if text[place] == match[1]
    ]
