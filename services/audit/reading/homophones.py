"""Words written with other characters that sound like theirs."""

from array import array
from collections.abc import Collection, Set
from itertools import accumulate

from services.audit.reading.alike import Alike
from services.audit.reading.syllables import exact, private, sounding
from services.audit.reading.words import ordinary
from services.audit.yielding import gently

# From so many characters on, a word may be written with none of its own.
SURE = 4
# Words this short are written with others of the very same syllable, or there would be too many.
SHORTEST = 2
_BASIC = 0x10000
# Two sounds that follow each other have one of so many numbers: those of Mandarin each their own. Characters without a
# sound are others besides, so that there may be any number.
_PAIRS, _ROW = 0x20000, 0x16A


class Homophones:
    """Finds the words that may be meant; what is `innocent` only sounds like one."""

    def __init__(self, words: Collection[str], innocent: Set[str]) -> None:
        self._words = frozenset(words)
        self._innocent = innocent
        self._numbered: list[str] = []
        self._alike = _laid([word for word in self._words if len(word) > 1 and not word.isascii()], self._numbered)

    def meant(self, text: str) -> list[tuple[int, str]]:
        """Where in a text which words may be meant; ordinary words mean themselves."""
        meant: list[tuple[int, str]] = []
        for start, end, number in self._alike.of(text):
            written, word = text[start:end], self._numbered[number]
            if written in ordinary() or written in self._words or written in self._innocent:
                continue
            if len(word) > SHORTEST or _is_same(written, word):
                meant.append((start, word))
        return meant


def _is_same(written: str, word: str) -> bool:
    """Whether the syllables are the very same."""
    syllables = exact()
    for one, other in zip(written, word, strict=True):
        if one != other and syllables.get(one) != syllables.get(other):
            return False
    return True


def _laid(words: Collection[str], numbered: list[str]) -> Alike:
    """What finds the words, which are put into an order."""
    numbers: dict[str, int] = {}
    for word in gently(words):
        for sound in sounding(word):
            numbers.setdefault(sound, len(numbers) + 1)
    by_pair: dict[int, list[str]] = {}
    for word in gently(words):
        said = sounding(word)
        by_pair.setdefault((numbers[said[0]] * _ROW + numbers[said[1]]) % _PAIRS, []).append(word)
    sizes, begun = array("i", bytes(4 * (_PAIRS + 1))), bytearray(_PAIRS // 8)
    thirds = array("I")
    for pair in gently(sorted(by_pair)):
        sizes[pair + 1] = len(by_pair[pair])
        begun[pair >> 3] |= 1 << (pair & 7)
        for word in sorted(by_pair[pair]):
            numbered.append(word)
            thirds.append(numbers[sounding(word[2])] if len(word) > SHORTEST else 0)
    sounds, beyond = array("I", bytes(4 * _BASIC)), dict[int, int]()
    # What has no sound of its own sounds like itself.
    every = {ord(sound): sound for sound in numbers} | private()[0]
    for point, sound in gently(every.items()):
        if sound in numbers:
            if point < _BASIC:
                sounds[point] = numbers[sound]
            else:
                beyond[point] = numbers[sound]
    return Alike(
        sounds,
        beyond,
        _ROW,
        bytes(begun),
        array("i", accumulate(gently(sizes))),
        thirds,
        array("i", accumulate(map(len, numbered), initial=0)),
        array("i", map(ord, gently("".join(numbered)))),
        SURE,
    )
