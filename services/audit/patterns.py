"""What the regular expressions of a lexicon look for: the words that must be there, where, and all words in them."""

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from services.audit.reading.words import rows

# The expression as a tree, as the standard library's own compiler reads it; there is no public way to have it.
_parser: Any = importlib.import_module("re._parser")
_compiler: Any = importlib.import_module("re._compiler")
_constants: Any = importlib.import_module("re._constants")
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_WIDTHLESS = (_constants.ASSERT, _constants.ASSERT_NOT, _constants.AT)
# A class of more characters than these is no word to look for.
_CLASS = 8
# Words put together from parts that follow each other, such as (全|整)(城|市).
_JOINED = 400
_COMBINED = 40
# So many characters of a word tell where it may stand.
_TELLING = 3
# How often digits' signs stand in 10,000 characters of promotions, roughly.
_OFTEN = 500.0
# And what frequencies.tsv does not tell of: one character, two, and more.
_RARELY = (2.0, 0.5, 0.1)


# A gap that may go on in the next clause.
_GAP = re.compile(r"\[\^,\]\{0,([0-9]+)\},\?\[\^,\]\{0,([0-9]+)\}")


@dataclass(frozen=True, slots=True)
class Anchors:
    """Words of which every match contains one, and how many characters of the match stand before it."""

    words: frozenset[str]
    least: int
    most: int

    def frequency(self) -> float:
        """How often one of them may stand in a text, roughly."""
        return sum(map(_frequency, self.words)) * (1 + self.most - self.least)

    def trimmed(self) -> "Anchors":
        """The same by the beginnings of the words, which are far fewer and hardly more frequent."""
        return Anchors(frozenset(word[:_TELLING] for word in self.words), self.least, self.most)


@dataclass(frozen=True, slots=True)
class Way:
    """The rarest words of which every match by it contains one, and the rarest of another part of it if there are."""

    anchors: Anchors
    others: Anchors | None


@dataclass(frozen=True, slots=True)
class Facts:
    """An expression made ready, and what it looks for.

    Every match goes one of its `ways`, its alternatives; there are none if one of them needs no words. It has `longest`
    characters at most. `words` stand in it, between what it leaves open; `characters` also in what must not be there.
    """

    compiled: re.Pattern[str]
    ways: tuple[Way, ...]
    words: tuple[str, ...]
    characters: str
    longest: int


@lru_cache(maxsize=2048)
def facts(expression: str) -> Facts:
    """All about an expression; raises re.error. To read one takes a millisecond, so that they are remembered."""
    tree = _parser.parse(_GAP.sub(_one_way, expression))
    ways = [*map(_way, _alternatives(tree))]
    known = tuple(way for way in ways if way)
    return Facts(
        compiled=_compiler.compile(tree),
        ways=known if len(known) == len(ways) else (),
        words=tuple({word for word in _runs(tree) if word.isalnum()}),
        characters="".join({*_characters(tree)}),
        longest=_width(tree)[1],
    )


def _one_way(gap: re.Match[str]) -> str:
    """The same gap so that a text without the comma fits in one way only: a search that fails tries each."""
    here, there = int(gap[1]), int(gap[2])
    return f"(?:[^,]{{0,{here + there}}}|[^,]{{0,{here}}},[^,]{{0,{there}}})"


def _alternatives(tree: Any) -> Iterator[Any]:
    """The parts of which every match is one, each a sequence."""
    if len(tree) == 1 and tree[0][0] is _constants.BRANCH:
        for branch in tree[0][1][1]:
            yield from _alternatives(branch)
    elif len(tree) == 1 and tree[0][0] is _constants.SUBPATTERN:
        yield from _alternatives(tree[0][1][-1])
    else:
        yield tree


def _way(parts: Any) -> Way | None:
    found = sorted(_candidates(parts, (0, 0)), key=lambda one: one[1].frequency())
    if not found:
        return None
    others = (anchors.trimmed() for part, anchors in found if part != found[0][0])
    return Way(found[0][1].trimmed(), next(others, None))


def _characters(tree: Any) -> Iterator[str]:
    """Trees are sequences of (operation, argument), nested in tuples, lists and trees in any way."""
    if isinstance(tree, tuple) and len(tree) == 2 and tree[0] in (_constants.LITERAL, _constants.NOT_LITERAL):
        yield chr(tree[1])
    elif isinstance(tree, (tuple, list, _parser.SubPattern)):
        for part in tree:
            yield from _characters(part)


def _frequency(word: str) -> float:
    return _frequencies().get(word[:2], _RARELY[min(len(word), len(_RARELY)) - 1]) / (1 if len(word) <= 2 else 2)


@cache
def _frequencies() -> dict[str, float]:
    return {"": 0.0} | {row[0]: float(row[1]) for row in rows("frequencies.tsv")} | dict.fromkeys(",.-+%", _OFTEN)


def _required(parts: Iterable[Any], before: tuple[int, int]) -> Anchors | None:
    """The best words for a sequence behind so many characters."""
    found = (anchors for _, anchors in _candidates(parts, before))
    return min(found, key=Anchors.frequency, default=None)


def _candidates(parts: Iterable[Any], before: tuple[int, int]) -> list[tuple[int, Anchors]]:
    """Words of a sequence by the part that they begin with; literals that follow each other are one word."""
    found: list[tuple[int, Anchors]] = []
    run: frozenset[str] = frozenset({""})
    begin, start = 0, before
    for number, part in enumerate(parts):
        exact = _exactly(*part)
        if exact is not None and len(run) * len(exact) <= _JOINED:
            run = frozenset(head + tail for head in run for tail in exact)
        else:
            found.append((begin, Anchors(run, *start)))
            begin, start = number, before
            run = frozenset({""}) if exact is None else exact
            if exact is None:
                found.extend((number, inner) for inner in _inside(part[0], part[1], before))
        before = _added(before, _width([part]))
        if run == {""}:
            begin, start = number + 1, before
    found.append((begin, Anchors(run, *start)))
    return [(number, anchors) for number, anchors in found if "" not in anchors.words]


def _width(parts: Sequence[Any]) -> tuple[int, int]:
    least, most = 0, 0
    for operation, argument in parts:
        if operation in _WIDTHLESS:
            continue
        if operation is _constants.SUBPATTERN:
            more = _width(argument[-1])
        elif operation is _constants.BRANCH:
            widths = [_width(branch) for branch in argument[1]]
            more = min(width[0] for width in widths), max(width[1] for width in widths)
        elif operation in _REPEATS:
            inner = _width(argument[2])
            more = argument[0] * inner[0], argument[1] * inner[1]
        else:
            more = 1, 1
        least, most = least + more[0], most + more[1]
    return least, most


def _added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def _exactly(operation: Any, argument: Any) -> frozenset[str] | None:
    """All strings that a part matches, if they are few."""
    if operation is _constants.LITERAL:
        return frozenset({chr(argument)})
    if operation is _constants.IN:
        return _class(argument)
    if operation is _constants.SUBPATTERN:
        return _sequence(argument[-1])
    if operation is _constants.BRANCH:
        return _union([_sequence(branch) for branch in argument[1]])
    if operation in _REPEATS and argument[1] == 1:
        inner = _sequence(argument[2])
        return None if inner is None else inner | (frozenset({""}) if argument[0] == 0 else frozenset())
    return frozenset({""}) if operation in _WIDTHLESS else None


def _union(alternatives: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    known = [one for one in alternatives if one is not None]
    return frozenset[str]().union(*known) if len(known) == len(alternatives) else None


def _class(members: Iterable[Any]) -> frozenset[str] | None:
    found: set[str] = set()
    for operation, argument in members:
        if operation is not _constants.LITERAL:
            return None
        found.add(chr(argument))
    return frozenset(found) if len(found) <= _CLASS else None


def _sequence(parts: Iterable[Any]) -> frozenset[str] | None:
    strings: frozenset[str] = frozenset({""})
    for part in parts:
        exact = _exactly(*part)
        if exact is None or len(strings) * len(exact) > _JOINED:
            return None
        strings = frozenset(head + tail for head in strings for tail in exact)
    return strings


def _inside(operation: Any, argument: Any, before: tuple[int, int]) -> list[Anchors]:
    """What a part that matches too many strings to list must contain."""
    if operation is _constants.SUBPATTERN:
        inner = [_required(argument[-1], before)]
    elif operation is _constants.BRANCH:
        inner = [_required(branch, before) for branch in argument[1]]
    elif operation in _REPEATS and argument[0] > 0:
        inner = [_required(argument[2], before)]
    else:
        return []
    known = [one for one in inner if one is not None]
    if len(known) < len(inner):
        return []
    every = frozenset[str]().union(*(one.words for one in known))
    return [Anchors(every, min(one.least for one in known), max(one.most for one in known))]


def _runs(parts: Iterable[Any]) -> Iterator[str]:
    """Words, and what single characters make of the words beside them: (全|整)(城|市)."""
    run: frozenset[str] = frozenset({""})
    for operation, argument in parts:
        exact = _exactly(operation, argument)
        is_joined = exact is not None and min(_longest(run), _longest(exact)) <= 1
        if exact is not None and is_joined and len(run) * len(exact) <= _COMBINED:
            run = frozenset(head + tail for head in run for tail in exact)
            continue
        yield from run
        run = exact or frozenset({""})
        if exact is None:
            for inner in _inner(operation, argument):
                yield from _runs(inner)
    yield from run


def _longest(words: Iterable[str]) -> int:
    return max(map(len, words), default=0)


def _inner(operation: Any, argument: Any) -> Iterator[Iterable[Any]]:
    if operation is _constants.SUBPATTERN:
        yield argument[-1]
    elif operation is _constants.BRANCH:
        yield from argument[1]
    elif operation in _REPEATS:
        yield argument[2]
