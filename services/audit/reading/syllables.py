"""How Chinese characters sound, by a table: their syllables, in Latin letters or as one private character each."""

from functools import cache, lru_cache

from services.audit.reading.letters import Translation
from services.audit.reading.words import rows

# A private character for each syllable.
_FIRST = 0xE000
# What no text sounds like; an automaton wants something to look for.
NOTHING = "\uf8ff"
_LONGEST = 6
# Longer words are rare, and would fill the memory.
REMEMBERED = 40


# Folded texts have digits for them.
NUMERALS = dict(zip("0123456789", ["ling", "yi", "er", "san", "si", "wu", "liu", "qi", "ba", "jiu"], strict=True))


@cache
def numerals() -> dict[int, str]:
    """Which private character stands for a digit that is spelt as a numeral."""
    by_latin = private()[1]
    return {ord(digit): by_latin[syllable] for digit, syllable in NUMERALS.items()}


@cache
def exact() -> dict[str, str]:
    """The syllable of a Han character."""
    return {row[0]: row[1] for row in rows("syllables.tsv")}


@cache
def private() -> tuple[dict[int, str], dict[str, str]]:
    """Which private character stands for a Han character, and for a syllable in Latin letters: one for all syllables
    that people take for each other."""
    table = [*rows("syllables.tsv")]
    of_sound = {sound: chr(_FIRST + place) for place, sound in enumerate(sorted({row[3] for row in table}))}
    by_character = {ord(row[0]): of_sound[row[3]] for row in table}
    by_latin = {row[1]: of_sound[row[3]] for row in table}
    return by_character, by_latin


@cache
def _translation() -> Translation:
    by_character = private()[0]
    return Translation(by_character, lambda point: by_character.get(point, chr(point)))


def sounding(text: str) -> str:
    """The text with a private character for each Chinese one; what has no sound of its own sounds like itself."""
    return _translation().of(text)


def spoken(letters: str) -> tuple[tuple[str, int], ...]:
    """The syllables that letters begin with, each with its length: as many letters as can be, long syllables first."""
    return _remembered(letters) if len(letters) <= REMEMBERED else _spoken(letters)


@lru_cache(maxsize=8192)
def _remembered(letters: str) -> tuple[tuple[str, int], ...]:
    return _spoken(letters)


def _spoken(letters: str) -> tuple[tuple[str, int], ...]:
    by_latin = private()[1]
    # By place: how far syllables reach from there, and the length of the first.
    reach = [(place, 0) for place in range(len(letters) + 1)]
    for place in range(len(letters) - 1, -1, -1):
        for length in range(min(_LONGEST, len(letters) - place), 1, -1):
            if letters[place : place + length] in by_latin and reach[place + length][0] > reach[place][0]:
                reach[place] = reach[place + length][0], length
    syllables = []
    place = 0
    while place < len(letters) and reach[place][1]:
        length = reach[place][1]
        syllables.append((by_latin[letters[place : place + length]], length))
        place += length
    return tuple(syllables)
