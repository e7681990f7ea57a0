"""One pass over a text for all words that anybody looks for: a lexicon's phrases, and how disguises are written."""

import re
from array import array
from collections.abc import Collection, Iterable, Sequence, Set
from typing import NamedTuple

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit.reading.syllables import NOTHING

_LETTER = re.compile("[a-z]")
# From `start` to `end` (exclusive) of a text, and the place of the word there in its collection.
Found = tuple[int, int, int]


class Scan(NamedTuple):
    """The phrases and disguises that stand in a folded text, ordered by their ends; overlapping ones are all there.

    `present` are the places of the phrases. `has_letters`: whether the text has a Latin letter.
    """

    text: str
    phrases: Sequence[Found]
    present: Set[int]
    disguises: Sequence[Found]
    has_letters: bool


class Scanner:
    """Both collections in one automaton; immutable."""

    def __init__(self, phrases: Collection[str], disguises: Collection[str]) -> None:
        numbers = {phrase: number for number, phrase in enumerate(phrases)}
        self._first = len(numbers)
        # By a word's number: which disguise it is. Of the few that are phrases as well, the number is the phrase's.
        self._also: dict[int, int] = {}
        self._disguises = array("I")
        for place, disguise in enumerate(disguises):
            number = numbers.setdefault(disguise, len(numbers))
            if number < self._first:
                self._also[number] = place
            else:
                self._disguises.append(place)
        self._automaton = CharwiseDoubleArrayAhoCorasick(list(numbers) or [NOTHING])

    def scan(self, text: str) -> Scan:
        """Linear in the length of the text and what is found."""
        # Overlapping: leftmost-longest would hide 大麻 behind 大麻花, and also in 大麻花大麻.
        found = self._automaton.find_overlapping(text)
        present = {number for _, _, number in found}
        has_letters = _LETTER.search(text) is not None
        # Most texts have no disguise.
        if not present or (max(present) < self._first and self._also.keys().isdisjoint(present)):
            return Scan(text, found, present, (), has_letters)
        first, also = self._first, self._also
        return Scan(
            text,
            [one for one in found if one[2] < first],
            {number for number in present if number < first},
            [
                (start, end, also[number] if number < first else self._disguises[number - first])
                for start, end, number in found
                if number >= first or number in also
            ],
            has_letters,
        )


def leftmost_longest(found: Iterable[Found]) -> list[Found]:
    """What does not overlap: of what begins at the same place the longest, before what begins behind that."""
    taken: list[Found] = []
    place = 0
    for one in sorted(found, key=lambda one: (one[0], -one[1])):
        if one[0] >= place:
            taken.append(one)
            place = one[1]
    return taken
