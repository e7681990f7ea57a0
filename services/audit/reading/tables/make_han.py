"""Makes syllables.tsv and ordinary.txt: how Chinese characters sound, and which short words are ordinary."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from services.audit.reading.tables import by_hand
from services.audit.reading.tables.make_fold import gb2312

Fold = Callable[[str], str]

SYLLABLES_HEADER = "character\tsyllable\tother readings\tconfusable form of the syllable"
ORDINARY_HEADER = "word"

# Rarer characters are not typed in a hurry, and nobody takes them for another by their sound.
_RARE = 4
# A reading that fewer words have, or a smaller share of a character's uses, is a proper name's or an error's.
_SHARE = 0.004
# As often as a word must occur in jieba's corpus of 60 million words to be one that a reader takes as such.
_ORDINARY = 12
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]+")
_FOLDED = re.compile("[0-9\u3400-\u4dbf\u4e00-\u9fff]+")
# A name that occurs more often than this is as likely a plain word, tagged in error.
_FAMOUS = 200
# What pypinyin reads as a murmur, by the syllable that an input method wants.
_TYPED = {"n": "en", "ng": "en", "m": "mu", "hm": "hen", "hng": "heng", "ê": "ei", "": "", "lüe": "lve", "nüe": "nve"}


def data_of(package: str, *path: str) -> Path:
    """Where a package keeps a file, found without running the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(spec.submodule_search_locations[0], *path)


@cache
def words(names: bool = True) -> dict[str, int]:
    """The words of jieba's dictionary as they are written there, and how often each occurs in its corpus.

    Without names: none of the persons that its novels and newspapers speak of.
    """
    lines = data_of("jieba", "dict.txt").read_text(encoding="utf-8").splitlines()
    entries = (line.split(" ") for line in lines)
    return {word: int(count) for word, count, tag in entries if names or not _is_person(word, int(count), tag)}


def _is_person(word: str, count: int, tag: str) -> bool:
    # Many an everyday word (智慧, 老公, 胡萝卜) is tagged as a given name; a transliterated name is one.
    return tag == "nrt" or (tag.startswith("nr") and len(word) > 2 and count < _FAMOUS)


def characters(fold: Fold) -> dict[str, int]:
    """The characters of simplified Chinese, folded and without numerals, and how often jieba's words use each."""
    counts: Counter[str] = Counter(dict.fromkeys(map(fold, gb2312()), _RARE))
    for word, count in words().items():
        for character in fold(word):
            counts[character] += count
    return {character: count for character, count in counts.items() if count >= _RARE and _HAN.fullmatch(character)}


def confusable(syllable: str) -> str:
    """The form that a toneless syllable shares with those that speakers of the south confuse with it.

    Merged are zh and z, ch and c, sh and s; ing and in, eng and en, ang and an.
    """
    initial = re.sub("^([zcs])h", r"\1", syllable)
    return re.sub("(?<=[aei])ng$", "n", initial)


def _readings(fold: Fold) -> dict[str, Counter[str]]:
    """How often each character is read how, in words and alone (行 in 银行 and in 行)."""
    from pypinyin import Style, lazy_pinyin  # Of the extra [tables]: importing this module needs none of it.

    readings: dict[str, Counter[str]] = {}
    for word, count in words().items():
        if not _HAN.fullmatch(word):
            continue
        for character, syllable in zip(word, lazy_pinyin(word, style=Style.NORMAL), strict=True):
            folded = fold(character)
            if len(folded) == 1:
                readings.setdefault(folded, Counter())[_TYPED.get(syllable, syllable)] += count
    return readings


def syllables(fold: Fold) -> Iterator[str]:
    """The lines of syllables.tsv: each character's most common toneless syllable (ü is v) and up to two more."""
    from pypinyin import Style, pinyin

    readings = _readings(fold)
    for character in sorted(characters(fold)):
        heard = readings.get(character, Counter())
        listed = [_TYPED.get(syllable, syllable) for syllable in pinyin(character, Style.NORMAL, heteronym=True)[0]]
        total = sum(heard.values())
        # Readings out of words first, by their share; a character in no word has what the dictionary lists.
        common = [syllable for syllable, count in heard.most_common() if count >= _SHARE * total and syllable in listed]
        ordered = list(islice(dict.fromkeys(common or listed), 3))
        if not ordered or not all(re.fullmatch("[a-z]+", syllable) for syllable in ordered):
            continue
        yield f"{character}\t{ordered[0]}\t{' '.join(ordered[1:])}\t{confusable(ordered[0])}"


def ordinary(fold: Fold) -> Iterator[str]:
    """The lines of ordinary.txt: the words of two and three characters that are common, folded."""
    counts: Counter[str] = Counter()
    for word, count in words(names=False).items():
        counts[fold(word)] += count
    common = {word for word, count in counts.items() if count >= _ORDINARY} | set(map(fold, by_hand.words("ordinary")))
    return (word for word in sorted(common) if len(word) in (2, 3) and _FOLDED.fullmatch(word))
