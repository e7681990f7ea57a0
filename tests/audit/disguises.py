"""The evasions of any words that the audit claims to undo, made by machine with a source of chance."""

import string
from collections.abc import Callable
from random import Random

import opencc

from services.audit.reading.words import emoji_words
from tests.audit.spellings import is_han

Disguise = Callable[[str, Random], str]

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e\u0301\u0336\u20dd\ufe0f\u3164"
SPACES = " \u00a0\u2002\u2009\u3000\t"
SYMBOLS = "★☆*^~_#→·•=◆●♥※◎"
# None that stands for a word.
EMOJI = "".join(one for one in "😀😎🤩👻✨🌈🎈🦄🐢🥕🧸🪁" if one not in emoji_words())
# Between all characters of the words, also what ends a clause is no obstacle.
PUNCTUATION = ",，、;；:：/"
STYLES = {
    "0": "０⁰₀⓪𝟎〇零",
    "1": "１¹①❶⑴𝟏壹一㊀",
    "2": "２²②❷⑵𝟐贰二㊁",
    "3": "３³③❸⑶𝟑叁三㊂",
    "4": "４⁴④❹⑷𝟒肆四㊃",
    "5": "５⁵⑤❺⑸𝟓伍五㊄",
    "6": "６⁶⑥❻⑹𝟔陆六㊅",
    "7": "７⁷⑦❼⑺𝟕柒七㊆",
    "8": "８⁸⑧❽⑻𝟖捌八㊇",
    "9": "９⁹⑨❾⑼𝟗玖九㊈",
}
_LOOKALIKES = str.maketrans("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ")
_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "b": "8", "t": "7", "g": "9", "l": "1|"}
_TO_TRADITIONAL = opencc.OpenCC("s2t")
# Where a letter of the alphabet begins: circled, in a square, bold, and wide.
_LETTERS = ((0x24B6, 0x24D0), (0x1F170, 0x1F170), (0x1D400, 0x1D41A), (0xFF21, 0xFF41))


def wide(words: str, chance: Random) -> str:
    """ASCII in its wide form."""
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in words)


def traditional(words: str, chance: Random) -> str:
    """As Taiwan and Hong Kong write."""
    return str(_TO_TRADITIONAL.convert(words))


def case(words: str, chance: Random) -> str:
    """Upper and lower case at random."""
    return "".join(one.swapcase() if one.isascii() and chance.random() < 0.5 else one for one in words)


def styled(words: str, chance: Random) -> str:
    """Letters of the alphabet in a circle, a square, bold or wide."""

    def of(one: str) -> str:
        upper, lower = chance.choice(_LETTERS)
        if one in string.ascii_uppercase:
            return chr(upper + ord(one) - ord("A"))
        return chr(lower + ord(one) - ord("a")) if one in string.ascii_lowercase else one

    return "".join(map(of, words))


def lookalike(words: str, chance: Random) -> str:
    """Cyrillic letters for Latin ones that look the same."""
    return words.translate(_LOOKALIKES)


def digits(words: str, chance: Random) -> str:
    """Each digit in a style of its own."""
    return "".join(chance.choice(STYLES[one]) if one in STYLES else one for one in words)


def between(signs: str) -> Disguise:
    """One to three signs between characters, at random or everywhere; one and the same, or any."""

    def of(words: str, chance: Random) -> str:
        chosen = signs if chance.random() < 0.5 else chance.choice(signs)
        part = chance.choice((0.3, 1.0))
        most = chance.choice((1, 3))
        made = words[:1]
        for one in words[1:]:
            if chance.random() < part:
                made += "".join(chance.choice(chosen) for _ in range(chance.randint(1, most)))
            made += one
        return made

    return of


def spread(words: str, chance: Random) -> str:
    """One and the same mark between all characters."""
    return chance.choice(PUNCTUATION).join(words)


def repeated(words: str, chance: Random) -> str:
    """Every Han character two or three times."""
    return "".join(one * chance.randint(2, 3) if is_han(one) else one for one in words)


def leet(words: str, chance: Random) -> str:
    """Digits and signs for some of the letters between others."""
    inner = [place for place in range(1, len(words) - 1) if words[place].lower() in _LEET]
    chosen = set(inner if chance.random() < 0.5 else chance.sample(inner, min(1, len(inner))))
    return "".join(chance.choice(_LEET[one.lower()]) if place in chosen else one for place, one in enumerate(words))
