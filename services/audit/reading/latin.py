"""Latin words in which digits and signs stand for letters: w3ix1n, c@s1n0."""

import re
from collections.abc import Collection
from functools import lru_cache, partial
from string import ascii_lowercase, digits

from services.audit.reading import steps
from services.audit.reading.edits import Edit
from services.audit.reading.letters import Marks
from services.audit.reading.scan import Scan
from services.audit.reading.syllables import REMEMBERED, spoken

_MARKS = Marks(dict.fromkeys(ascii_lowercase + digits, 1))
_LETTERS = str.maketrans("013456789", "oieasbtbg")
# Between letters a digit is none: t0p1.
_INNER = re.compile(r"(?<=[a-z])[0-9]+(?=[a-z])")
SIGNS = {"@": "a", "$": "s", "!": "i", "|": "l"}
_SIGN = re.compile(r"(?<=[A-Za-z0-9])[@$!|](?=[A-Za-z0-9])")
_SHORTEST = 4
# Of the words that may hold digits themselves: top1.
_SHORTEST_WORD = 3


class Latin:
    """Reads them by the Latin words of a vocabulary, or as syllables of Chinese."""

    def __init__(self, vocabulary: Collection[str]) -> None:
        words = sorted(word for word in vocabulary if len(word) >= _SHORTEST_WORD and not word.isdigit())
        word = re.compile("|".join(map(re.escape, words))) if words else None
        self._letters = partial(_letters, word)
        self._read = lru_cache(maxsize=8192)(self._letters)

    def signs(self, text: str) -> list[Edit]:
        """Signs within a word, which folding would drop."""
        return [(match.start(), match.end(), SIGNS[match[0]], steps.LEET) for match in _SIGN.finditer(text)]

    def edits(self, scan: Scan) -> list[Edit]:
        """Digits within a word that is one without them."""
        found: list[Edit] = []
        if not scan.has_letters:
            return found
        for start, end in _MARKS.runs(scan.text, 1, 2):
            token = scan.text[start:end]
            if token.isalpha() or token.isdigit():
                continue
            letters = self._read(token) if len(token) <= REMEMBERED else self._letters(token)
            if letters == token:
                continue
            for index, (old, new) in enumerate(zip(token, letters, strict=True), start):
                if old != new:
                    found.append((index, index + 1, new, steps.LEET))
        return found


def _letters(word: re.Pattern[str] | None, token: str) -> str:
    """What the token reads as; itself if that is no word."""
    inner = _INNER.sub(lambda match: match[0].translate(_LETTERS), token)
    readings = (inner, token.translate(_LETTERS), token.translate({**_LETTERS, ord("1"): "l"}))
    if word is not None:
        for letters in readings:
            if any(letters[slice(*match.span())] != token[slice(*match.span())] for match in word.finditer(letters)):
                return letters
    # A number before or behind letters is one: 5weihaoyou.
    letters = inner
    is_spoken = sum(length for _, length in spoken(letters)) == len(letters) >= _SHORTEST
    return letters if is_spoken else token
