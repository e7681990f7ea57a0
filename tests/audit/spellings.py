"""The evasions of one word of the lexicon that the audit claims to undo, made by machine with a source of chance."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from random import Random

from services.audit import patterns
from services.audit.lexicon import FOLD, Lexicon
from services.audit.reading.syllables import spoken
from services.audit.reading.words import emoji_words, ordinary, rows


def is_han(character: str) -> bool:
    """Whether it is a Chinese character, and no numeral."""
    return "㐀" <= character <= "鿿" and FOLD.of(character) == character


@cache
def syllables() -> Mapping[str, str]:
    """The syllable of a character, without its tone."""
    return {row[0]: row[1] for row in rows("syllables.tsv")}


@cache
def _alike() -> Mapping[str, Sequence[str]]:
    """Characters by their syllable."""
    found = defaultdict(list)
    for character, syllable in syllables().items():
        if is_han(character):
            found[syllable].append(character)
    return found


class Vocabulary:
    """The words of a lexicon that may be written in another way."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.words: set[str] = set()
        # Those that others may stand for that sound alike.
        self.sounding: set[str] = set()
        for term in lexicon.terms:
            told = {*map(FOLD.text, term.words)}
            found = set(patterns.facts(term.pattern).words) if term.pattern else {FOLD.text(term.text)}
            self.words |= found | told
            if term.homophones:
                self.sounding |= told | {word for word in found if not term.pattern or len(word) > 2}
        # By their syllables; a numeral has one too, but no disguise is made of it here.
        self.spelt: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for word in self.words:
            self.spelt[tuple(syllables().get(one, "") for one in word)].add(word)
        characters = {one for word in self.words for one in word if is_han(one)}
        self.emoji = defaultdict(list)
        for emoji, word in emoji_words().items():
            self.emoji[word].append(emoji)
        splits = [(written, whole) for written, whole, _ in rows("splits.tsv") if whole in characters]
        # Of the same parts may be made more than one of them.
        self.written = Counter(written for written, _ in splits)
        self.parts = defaultdict(list)
        for written, whole in splits:
            is_clear = self.written[written] == 1 and len(set(written)) > 1 and written not in ordinary()
            if is_clear and all(map(is_han, written)):
                self.parts[whole].append(written)

    def within(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """Where words of two or more Chinese characters stand in text[start:end], plainly."""
        return [
            (first, last)
            for first in range(start, end)
            for last in range(first + 2, min(end, first + 6) + 1)
            if text[first:last] in self.words and all(map(is_han, text[first:last]))
        ]


def homophone(text: str, start: int, end: int, vocabulary: Vocabulary, chance: Random) -> str | None:
    """The text with another character of the same sound in the word at `start`; None if an ordinary word came of it."""
    if text[start:end] not in vocabulary.sounding:
        return None
    place = chance.randrange(start, end)
    others = [one for one in _alike().get(syllables().get(text[place], ""), ()) if one != text[place]]
    if not others:
        return None
    made = text[:place] + chance.choice(others) + text[place + 1 :]
    around = [made[first:last] for first in range(max(0, place - 3), place + 1) for last in range(place + 1, place + 5)]
    if end - start == len("词语"):
        # The character that stays may be of an ordinary word outside.
        around += [made[max(0, start - 1) : start + 1], made[end - 1 : end + 1]]
    return None if any(len(one) > 1 and FOLD.text(one) in ordinary() for one in around) else made


def pinyin(text: str, start: int, end: int, vocabulary: Vocabulary, chance: Random) -> str | None:
    """The text with the word at `start`, or one character of it, written in Latin letters."""
    said = [syllables().get(one, "") for one in text[start:end]]
    # A syllable of one letter may be any letter, letters may be parted in another way, and of several words that sound
    # alike some are found.
    is_clear = [len(one) for one in said] == [length for _, length in spoken("".join(said))]
    if min(map(len, said)) < 2 or not is_clear or len(vocabulary.spelt[tuple(said)]) > 1:
        return None
    if end - start == len("词语") and (_is_latin(text[max(0, start - 2) : start]) or _is_latin(text[end : end + 2])):
        return None
    gap = chance.choice(("", " "))
    if chance.random() < 0.5:
        return text[:start] + gap + gap.join(said) + gap + text[end:]
    place = chance.randrange(start, end)
    return text[:place] + gap + said[place - start] + gap + text[place + 1 :]


def _is_latin(text: str) -> bool:
    """Whether letters of the alphabet are in it."""
    return any(one.isascii() and one.isalpha() for one in text)


def split(text: str, start: int, end: int, vocabulary: Vocabulary, chance: Random) -> str | None:
    """The text with one or all characters of the word at `start` in parts; None if they read as something else."""
    places = [place for place in range(start, end) if vocabulary.parts.get(text[place])]
    if not places:
        return None
    chosen = places if chance.random() < 0.3 else [chance.choice(places)]
    written = [
        chance.choice(vocabulary.parts[text[place]]) if place in chosen else text[place] for place in range(start, end)
    ]
    around = [text[start - 1 : start], *written, text[end : end + 1]]
    seams = (left[-1:] + right[:1] for left, right in pairwise(around))
    if any(seam in vocabulary.written for seam in seams):
        return None
    return text[:start] + "".join(written) + text[end:]


def emoji(text: str, start: int, end: int, vocabulary: Vocabulary, chance: Random) -> str | None:
    """The text with an emoji for a part of the word at `start`."""
    places = [
        (first, last)
        for first in range(start, end)
        for last in range(first + 1, end + 1)
        if text[first:last] in vocabulary.emoji
    ]
    if not places:
        return None
    first, last = chance.choice(places)
    return text[:first] + chance.choice(vocabulary.emoji[text[first:last]]) + text[last:]
