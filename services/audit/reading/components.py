"""Characters written as their parts side by side, and characters that repeat."""

import re
from collections.abc import Collection
from functools import lru_cache
from itertools import pairwise

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit.reading import steps
from services.audit.reading.edits import Edit, applied
from services.audit.reading.scan import Scan, leftmost_longest
from services.audit.reading.syllables import NOTHING
from services.audit.reading.words import ordinary, rows
from services.audit.yielding import gently

# An expression for a word with its characters written more often, a group for each run, and how long the word has them.
_Runs = tuple[re.Pattern[str], tuple[int, ...]]
_MOST = 9
# Of letters of the alphabet two are ordinary.
_LETTERS = 3


class Components:
    """Finds them for the characters of a vocabulary; others need not be put together.

    What a scan has to look for it adds to `disguises`, which must be empty.
    """

    def __init__(
        self, vocabulary: Collection[str], terms: Collection[str], enabled: Collection[str], disguises: list[str]
    ) -> None:
        wanted = frozenset[str]().union(*vocabulary)
        # What is written, what it is to be, and the step that says so.
        written: dict[str, tuple[str, str]] = {}
        self._of_radicals: set[str] = set()
        if steps.SPLIT in enabled:
            for parts, character, kind in gently(rows("splits.tsv")):
                if character in wanted and _is_split(parts):
                    written.setdefault(parts, (character, steps.SPLIT))
                    if kind == "radical":
                        self._of_radicals.add(parts)
        # Words that have a character twice themselves, by their first two characters that differ.
        self._doubled: dict[str, list[str]] = {}
        if steps.REPEAT in enabled:
            for character in gently(filter(str.isalpha, wanted)):
                written.setdefault(character * 2, (character, steps.REPEAT))
            for word in gently(terms):
                if len(set(word)) > 1 and any(one == other for one, other in pairwise(word)):
                    self._doubled.setdefault(_first_two(word, 0), []).append(word)
        for alike in self._doubled.values():
            # The first that is there is taken, and a vocabulary has no order.
            alike.sort()
        disguises.extend(written)
        self._meant = list(written.values())
        words = [word for word in gently(vocabulary) if len(word) > 1]
        self._words = CharwiseDoubleArrayAhoCorasick(words or [NOTHING])
        self._longest = _longest(words)

    def edits(self, scan: Scan) -> list[Edit]:
        """What to put together in a text, and what to leave out of it."""
        edits: list[Edit] = []
        if not scan.disguises:
            return edits
        text = scan.text
        place, count = 0, len(self._meant)
        for start, end, index in leftmost_longest([one for one in scan.disguises if one[2] < count]):
            if start < place:
                continue
            meant, step = self._meant[index]
            if step == steps.REPEAT:
                place = self._leave_out(text, start, place, edits)
            else:
                edits.append((start, end, meant, step))
                place = end
        return self._useful(text, edits) if edits else edits

    def _useful(self, text: str, edits: list[Edit]) -> list[Edit]:
        """The edits of which a word comes, which of 慢慢 and of 口咸 none does, and those of bare radicals."""
        covered = self._covered(applied(text, edits), edits)
        useful: list[Edit] = []
        moved = 0
        for number, edit in enumerate(edits):
            start, end, new, step = edit
            # What repeats belongs to the character before it.
            place = start + moved - (not new)
            is_told = step == steps.SPLIT and text[start:end] in self._of_radicals
            if covered[place] or is_told or (step == steps.REPEAT and _is_in_a_row(edits, number)):
                useful.append(edit)
            moved += len(new) - (end - start)
        return useful

    def _covered(self, new: str, edits: list[Edit]) -> bytearray:
        """For each place of the edited text that a word may have with an edit in it, whether one does."""
        windows: list[list[int]] = []
        moved = 0
        for start, end, character, _ in edits:
            # What repeats belongs to the character before it.
            place = start + moved - (not character)
            longest = self._longest.get(new[place], 0)
            least, most = max(0, place - longest + 1), place + longest
            if windows and least <= windows[-1][1]:
                windows[-1] = [min(least, windows[-1][0]), max(most, windows[-1][1])]
            else:
                windows.append([least, most])
            moved += len(character) - (end - start)
        covered = bytearray(len(new) + 1)
        for least, most in windows:
            for start, end, _ in self._words.find_overlapping(new[least:most]):
                covered[least + start : least + end] = b"\1" * (end - start)
        return covered

    def _leave_out(self, text: str, start: int, least: int, edits: list[Edit]) -> int:
        """Leaves out what repeats from `start` on, until a letter stands alone; returns where that is.

        Characters of no word that repeat before it are of the same disguise, but none before `least`.
        """
        while start - 2 >= least and text[start - 1] == text[start - 2] and text[start - 1].isalpha():
            start = _start_of_run(text, start - 1, least)
        while start < len(text):
            end = self._of_doubled(text, start, edits) or _of_run(text, start, edits)
            if not end:
                break
            start = end
        return start

    def _of_doubled(self, text: str, start: int, edits: list[Edit]) -> int:
        """The same for a word that has a character twice itself, such as 飘飘然; 0 if none is there."""
        for word in self._doubled.get(_first_two(text, start), ()) if self._doubled else ():
            expression, lengths = _runs(word)
            match = expression.match(text, start)
            if match:
                spans = zip(map(match.span, range(1, len(lengths) + 1)), lengths, strict=True)
                edits.extend(
                    (first + kept, last, "", steps.REPEAT) for (first, last), kept in spans if last > first + kept
                )
                return match.end()
        return 0


def _longest(words: Collection[str]) -> dict[str, int]:
    """By a character, the length of the longest word that has it."""
    longest: dict[str, int] = {}
    for word in gently(words):
        for character in word:
            longest[character] = max(len(word), longest.get(character, 0))
    return longest


def _is_in_a_row(edits: list[Edit], number: int) -> bool:
    """Whether the characters before or behind one that repeats do so too; one alone often does."""
    start, end, _, step = edits[number]
    before = edits[number - 1] if number else None
    behind = edits[number + 1] if number + 1 < len(edits) else None
    return bool(
        (before and before[3] == step and before[1] == start - 1)
        or (behind and behind[3] == step and behind[0] - 1 == end)
    )


def _is_split(written: str) -> bool:
    """Whether parts are no ordinary word, as 女子 is, and not the same twice, as 月月, which repeats."""
    return written not in ordinary() and len(set(written)) > 1


@lru_cache(maxsize=1024)
def _runs(word: str) -> _Runs:
    runs = [match[0] for match in re.finditer(r"(.)\1*", word)]
    expression = "".join(f"({re.escape(run[0])}{{{len(run)},{_MOST}}})" for run in runs)
    return re.compile(expression), tuple(map(len, runs))


def _of_run(text: str, start: int, edits: list[Edit]) -> int:
    """Leaves out all but one of the characters of a run, and returns its end; 0 if there is none."""
    end = start
    while text[end : end + 1] == text[start]:
        end += 1
    # Digits may repeat in any number; only behind letters that do they are taken for letters: 第第第一一一.
    if end == start + 1 or not text[start].isalnum():
        return 0
    if not text[start].isascii() or text[start].isdigit() or end - start >= _LETTERS:
        edits.append((start + 1, end, "", steps.REPEAT))
    return end


def _first_two(text: str, start: int) -> str:
    """The first two characters from there on that differ."""
    end = start + 1
    while end < len(text) and text[end] == text[start]:
        end += 1
    return text[start] + text[end : end + 1]


def _start_of_run(text: str, start: int, least: int) -> int:
    while start > least and text[start - 1] == text[start]:
        start -= 1
    return start
