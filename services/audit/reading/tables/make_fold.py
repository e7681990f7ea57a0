"""Makes fold.tsv: what every character becomes before a text and the lexicon's terms are compared."""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TypeAlias

from services.audit.reading.tables import by_hand

HEADER = "code point\tkind\treplacement"

# What a character is: part of a word; nothing; the end of a clause; or a sign that means something between digits.
Folded: TypeAlias = tuple[str, str]
DROP: Folded = ("drop", "")

# Only these blocks can hold a traditional or a rare writing: CJK unified, and the supplementary planes OpenCC knows.
_HAN_BLOCKS = ((0x3400, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32000))
# Chinese and Japanese have lists of their own; letters written from the right are not typed amid Latin ones.
_NEVER_LATIN = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL", "ARABIC", "HEBREW", "IDEOGRAPHIC")


def gb2312() -> frozenset[str]:
    """The 6,763 characters of GB 2312: what simplified Chinese is written with."""
    pairs = (bytes((row, cell)) for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF))
    return frozenset(character for pair in pairs if (character := pair.decode("gb2312", "ignore")))


def _converted(name: str, characters: list[str]) -> list[str]:
    import opencc  # Of the extra [tables], as the other libraries here: importing this module needs none of them.

    # One call; line breaks keep the phrase dictionary from joining neighbours.
    converted: str = opencc.OpenCC(name).convert("\n".join(characters))
    return converted.split("\n")


def simplified() -> dict[str, str]:
    """Every traditional or rare writing with the simplified character, one to one: OpenCC's t2s, then by_hand's."""
    characters = [chr(point) for first, end in _HAN_BLOCKS for point in range(first, end)]
    table = dict(zip(characters, _converted("t2s", characters), strict=True))
    plain = gb2312()
    # Hong Kong's, Taiwan's and Japan's own writings, unless simplified Chinese has the same one in another sense (芸).
    for regional in ("hk2t", "tw2t", "jp2t"):
        left = [character for character in characters if table[character] == character and character not in plain]
        for character, standard in zip(left, _converted(regional, left), strict=True):
            table[character] = table.get(standard, standard)
    for character, replacement in (by_hand.pairs("variants") | by_hand.pairs("radicals")).items():
        if character in plain:
            raise ValueError(f"{character} is in everyday use: it belongs in shapes.tsv")
        table[character] = replacement
    return {old: new for old, new in table.items() if old != new and len(new) == 1}


_ENCLOSED = re.compile("(NEGATIVE )?(CIRCLED|SQUARED|CROSSED NEGATIVE SQUARED) LATIN CAPITAL LETTER [A-Z]$")


class Folding:
    """How one character is folded; `fold` gives its kind and what replaces it, always stable under itself."""

    def __init__(self) -> None:
        self._simplified = simplified()
        self._words = by_hand.pairs("numerals") | by_hand.pairs("latin") | by_hand.pairs("kana")
        self._signs: dict[str, Folded] = dict.fromkeys(by_hand.characters("breaks"), ("break", ","))
        self._signs |= dict.fromkeys(by_hand.characters("points"), ("point", "."))
        self._signs |= dict.fromkeys(by_hand.characters("hyphens"), ("hyphen", "-"))
        self._signs |= {character: ("other", sign) for character, sign in by_hand.pairs("others").items()}
        self._signs |= dict.fromkeys(by_hand.characters("dropped"), DROP) | {"№": ("letter", "第")}

    def fold(self, character: str) -> Folded:
        """The kind of a character and its replacement."""
        if character in self._signs:
            return self._signs[character]
        if character in self._words:
            return self._letters(self._words[character], character)
        number = _number(character)
        if number is not None:
            return "letter", number
        enclosed = _enclosed_letter(character)
        if enclosed is not None:
            return "letter", enclosed
        if unicodedata.category(character) in ("Cf", "Cc", "Mn", "Me", "Mc") or _is_modifier(character):
            return DROP
        return self._letter(character)

    def _letter(self, character: str) -> Folded:
        compatible = unicodedata.normalize("NFKC", character)
        if not compatible.isascii():  # Else a letter's style alone differs: 𝐦 is m, and passes for no two others.
            for other in (_latin(character), self._simplified.get(character), _without_marks(character)):
                if other is not None and other != character:
                    return self._letters(other, character)
        for form in (compatible, character.casefold()):
            if form != character:
                return self._letters(form, character)
        return ("letter", character) if character.isalnum() else DROP

    def _letters(self, text: str, origin: str) -> Folded:
        """Folds what stands for one character: its letters if it has any (⑴ is 1), else the one sign that it is."""
        if text == origin:
            return "letter", text
        folded = [self.fold(character) for character in text]
        letters = "".join(replacement for kind, replacement in folded if kind == "letter")
        if letters:
            return "letter", letters
        return folded[0] if len(folded) == 1 or {kind for kind, _ in folded} == {"break"} else DROP


def _number(character: str) -> str | None:
    """A digit or number of any script and style as ASCII digits; a Chinese numeral is a letter, and by_hand's."""
    if unicodedata.category(character) not in ("Nd", "Nl", "No"):
        return None
    value = unicodedata.numeric(character, None)
    if value is None or character in "ⅬⅭⅮⅯⅼⅽⅾⅿ":  # Typed for the letters L, C, D, M.
        return None
    if value == int(value):
        return str(int(value))
    # As the Chinese say a fraction: its slash would end a clause. (A third of NFKC's fractions have no numerator.)
    halves = unicodedata.normalize("NFKC", character).split("\N{FRACTION SLASH}")
    return f"{halves[1]}分之{halves[0]}" if len(halves) == 2 and all(halves) else None


def _enclosed_letter(character: str) -> str | None:
    """The letter in a circle or square (🅰), or of a flag (🇨); the rest of those signs (🆕) is decoration."""
    name = unicodedata.name(character, "")
    if _ENCLOSED.match(name):
        return name.rsplit(" ", 1)[1].lower()
    if name.startswith("REGIONAL INDICATOR SYMBOL LETTER "):
        return name[-1].lower()
    return {"🆎": "ab"}.get(character) if "SQUARED" in name else None


def _is_modifier(character: str) -> bool:
    """Whether it is a letter by its category but an accent to the eye, such as ˈ."""
    spacing = 0x02B0 <= ord(character) <= 0x02FF
    return spacing and unicodedata.normalize("NFKC", character) == character


@cache
def _confusables() -> dict[str, list[str]]:
    """Unicode's confusables: a character -> what it passes for."""
    from confusable_homoglyphs.confusables import confusables_data

    return {character: [like["c"] for like in likes] for character, likes in confusables_data.items()}


def _latin(character: str) -> str | None:
    """The ASCII letter or digit that a letter of another alphabet passes for, or that a Latin one is a variant of."""
    name = unicodedata.name(character, "")
    if not unicodedata.category(character).startswith("L") or name.startswith(_NEVER_LATIN) or character.isascii():
        return None
    if name.startswith("LATIN"):
        stem = name.split(" WITH ")[0].rsplit(" ", 1)[-1]
        return stem.lower() if len(stem) == 1 else None
    likes = [like for like in _confusables().get(character, []) if len(like) == 1 and like.isascii() and like.isalnum()]
    return likes[0].lower() if likes else None


def _without_marks(character: str) -> str | None:
    """A Latin, Greek or Cyrillic letter without its accents, so that pinyin with tones is pinyin."""
    decomposed = unicodedata.normalize("NFKD", character)
    if decomposed[0].isascii() or unicodedata.name(character, "").startswith(("GREEK", "CYRILLIC")):
        return "".join(part for part in decomposed if not unicodedata.category(part).startswith("M")) or None
    return None


def rows() -> Iterator[str]:
    """The table's lines: every assigned character that is no plain word character, and those that are but change."""
    folding = Folding()
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        if unicodedata.category(character) in ("Cn", "Co", "Cs"):
            continue
        kind, replacement = folding.fold(character)
        # What is no letter and dropped is the rule, and needs no line.
        unlisted = character if character.isalnum() else ""
        if (kind, replacement) not in (("letter", unlisted), ("drop", unlisted)):
            yield f"{point:04x}\t{kind}\t{replacement}"


def reader(table: Iterable[str]) -> Callable[[str], str]:
    """What the lines of the table do to a text of word characters."""
    split = (line.split("\t") for line in table)
    replacements = {int(point, 16): replacement for point, _, replacement in split}
    return lambda text: text.translate(replacements)
