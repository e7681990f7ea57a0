"""One pass over a text for all words that anybody looks for: a lexicon's phrases, and how disguises are written."""

from array import array
from collections.abc import Collection
from string import ascii_lowercase
from typing import NamedTuple

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit.reading.letters import Marks
from services.audit.reading.sieve import Found, Sieve
from services.audit.reading.syllables import NOTHING
from services.audit.yielding import gently

LETTERS = Marks(dict.fromkeys(ascii_lowercase, 1))


class Scan(NamedTuple):
    """The phrases and disguises that stand in a folded text, ordered by their ends; overlapping ones are all there.

    `has_letters`: whether the text has a Latin letter.
    """

    text: str
    phrases: list[Found]
    disguises: list[Found]
    has_letters: bool


class Scanner:
    """Both collections in one automaton; immutable."""

    def __init__(self, phrases: Collection[str], disguises: Collection[str]) -> None:
        numbers = {phrase: number for number, phrase in enumerate(gently(phrases))}
        first = len(numbers)
        # By a word's number: which disguise it is. Of the few that are phrases as well, the number is the phrase's.
        also: dict[int, int] = {}
        places = array("I")
        for place, disguise in enumerate(gently(disguises)):
            number = numbers.setdefault(disguise, len(numbers))
            if number < first:
                also[number] = place
            else:
                places.append(place)
        self._sieve = Sieve(first, also, places)
        self._automaton = CharwiseDoubleArrayAhoCorasick(list(numbers) or [NOTHING])

    def scan(self, text: str) -> Scan:
        """Linear in the length of the text and what is found."""
        # Overlapping: leftmost-longest would hide 大麻 behind 大麻花, and also in 大麻花大麻.
        phrases, disguises = self._sieve.parted(self._automaton.find_overlapping(text))
        return Scan(text, phrases, disguises, LETTERS.of(text) != 0)


def leftmost_longest(found: list[Found]) -> list[Found]:
    """What does not overlap: of what begins at the same place the longest, before what begins behind that."""
    if len(found) < 2:
        return found
    taken: list[Found] = []
    place = 0
    for one in sorted(found, key=lambda one: (one[0], -one[1])):
        if one[0] >= place:
            taken.append(one)
            place = one[1]
    return taken
