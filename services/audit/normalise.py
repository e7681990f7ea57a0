"""Folds a text to the one form that terms are compared in, and keeps where every character came from."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import opencc

# Only these blocks can hold a traditional character: radicals to CJK unified, the compatibility
# ideographs, and the supplementary ideographic planes that OpenCC's table knows.
_HAN_BLOCKS = ((0x2E80, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32000))

# Unicode's stream-safe limit (UAX #15, section 13). Sorting combining marks is quadratic in
# CPython, so that an unlimited run of them would be a way to stall the service.
_MARKS_LIMIT = 30

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@cache
def simplified_table() -> dict[int, str]:
    """Every traditional character with its simplified form, one to one, taken once from OpenCC's t2s.

    Character by character, and not OpenCC's phrase conversion, for two reasons: a phrase may change
    its length, which would cost us the offsets into the merchant's own words; and what a character
    becomes would depend on its neighbours, so that a term would read otherwise alone than in a text.
    Text and terms go through the same table, so that its rare wrong choices (乾隆) cancel out.
    """
    characters = [chr(point) for first, end in _HAN_BLOCKS for point in range(first, end)]
    # One call; line breaks keep the phrase dictionary from joining neighbours.
    converted = opencc.OpenCC("t2s").convert("\n".join(characters)).split("\n")
    return {ord(old): new for old, new in zip(characters, converted, strict=True) if old != new and len(new) == 1}


@dataclass(frozen=True, slots=True)
class Step:
    """One way of folding; `name` is what a finding shows, `fold` maps a character with its marks."""

    name: str
    fold: Callable[[str], str]


def _nfkc(cluster: str) -> str:
    return unicodedata.normalize("NFKC", cluster)


def _simplified(cluster: str) -> str:
    return cluster.translate(simplified_table())


STEPS = (Step("nfkc", _nfkc), Step("case", str.casefold), Step("traditional", _simplified))


@dataclass(frozen=True, slots=True)
class Normalised:
    """A folded text; character i of it came from the original's characters starts[i] to ends[i] (exclusive)."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """The original characters behind a non-empty span of the folded text, in code points."""
        return self.starts[start], self.ends[end - 1]


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Cuts a text into characters with the combining marks that follow them, for NFKC composes those."""
    start = 0
    for index in range(1, len(text)):
        if not unicodedata.combining(text[index]) or index - start > _MARKS_LIMIT:
            yield start, index
            start = index
    if text:
        yield start, len(text)


# The characters of ordinary copy repeat; the bound keeps a flood of rare ones from filling memory.
@lru_cache(maxsize=32_768)
def _fold(cluster: str, steps: tuple[Step, ...]) -> str:
    for step in steps:
        cluster = step.fold(cluster)
    return cluster


def normalise(text: str, steps: tuple[Step, ...] = STEPS) -> Normalised:
    """Applies the steps in order. Takes any str (a lone surrogate reads as U+FFFD) and time linear in its length."""
    text = _LONE_SURROGATE.sub("\ufffd", text)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        piece = _fold(text[start:end], steps)
        pieces.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))
    return Normalised("".join(pieces), starts, ends)


def steps_exposing(original: str, matches: Callable[[str, tuple[Step, ...]], bool]) -> tuple[str, ...]:
    """The names of the steps without which `original` would not have matched, in order; () if none was needed.

    `matches(text, steps)` tells whether `text`, folded by `steps`, holds the term folded the same way.
    """
    if matches(original, ()):
        return ()
    needed = [step for step in STEPS if not matches(original, tuple(other for other in STEPS if other is not step))]
    if not needed:  # Two steps undo the same disguise (NFKC and case both fold ſ): both count.
        needed = [step for step in STEPS if step.fold(original) != original]
    return tuple(step.name for step in needed)
