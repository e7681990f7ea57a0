"""The terms, patterns and exceptions of a lexicon that a scanned text has."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.audit import patterns
from services.audit.lexicon import Lexicon, Term
from services.audit.reading.forms import Fold
from services.audit.reading.scan import Scan
from services.audit.reading.words import ordinary

# Ends of exceptions behind the beginning of a hit that may still be of one around it.
_LONGEST = 64
# Longer terms are no accident.
_SHORT = 3
# So often in 10,000 characters of promotions, words that a pattern needs besides are worth looking for.
_RARE = 400.0
# Characters of a text that are looked at together, as a power of two.
_BLOCK = 4
_Match = Callable[[str, int], re.Match[str] | None]
_Excused = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A term in a folded text, from `start` to `end` (exclusive)."""

    start: int
    end: int
    term: Term


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """A pattern whose matches have between so many characters before the word that calls for them.

    `bit` is set for words of another part of it, of which one must stand near as well, so many characters `before` that
    word at most or so many `behind`; 0 if it needs none.
    """

    term: Term
    matches: _Match
    least: int
    most: int
    bit: int
    before: int
    behind: int


# What a phrase means where it stands: patterns that it calls for, terms, and exceptions of terms.
_Means = tuple[tuple[_Pattern, ...], tuple[Term, ...], tuple[_Excused, ...]]


class Search:
    """What a lexicon's phrases mean; immutable. The phrases, which a scan has to look for, it adds to `phrases`."""

    def __init__(self, lexicon: Lexicon, fold: Fold, phrases: list[str]) -> None:
        called: dict[str, list[_Pattern]] = defaultdict(list)
        terms: dict[str, list[Term]] = defaultdict(list)
        excuses: dict[str, list[_Excused]] = defaultdict(list)
        # By a phrase, those of the patterns that need it besides.
        bits: dict[str, int] = defaultdict(int)
        number = 0
        for term in lexicon.terms:
            folded = fold.text(term.text)
            if term.pattern:
                # Lexicon.of() sees to it that there are some.
                for way in patterns.facts(term.pattern).ways:
                    number += _add_way(called, bits, term, way, 1 << number)
            else:
                terms[folded].append(term)
            for exception in map(fold.text, term.exceptions):
                if term.pattern or folded in exception:
                    excuses[exception].append((term.category, term.text))
        phrases.extend(dict.fromkeys([*terms, *called, *excuses, *bits]))
        # By the place of a phrase. Many mean the same, and many are only needed besides.
        same: dict[_Means, _Means] = {}
        means = (
            (tuple(called.get(one, ())), tuple(terms.get(one, ())), tuple(excuses.get(one, ()))) for one in phrases
        )
        self._means = [same.setdefault(one, one) if any(one) else None for one in means]
        self._bits = [bits.get(phrase, 0) for phrase in phrases]

    def hits(self, scan: Scan) -> list[Hit]:
        """The terms in a scanned text, without those that an exception excuses."""
        hits: list[Hit] = []
        excuses: dict[_Excused, list[tuple[int, int]]] = {}
        text, known = scan.text, self._means
        needed = self._bits
        blocks = [0] * ((len(text) >> _BLOCK) + 1)
        bits = 0
        for start, _, index in scan.phrases:
            if needed[index]:
                blocks[start >> _BLOCK] |= needed[index]
                bits |= needed[index]
        # Whether an expression matched at a place: several of its words may call for the same one.
        tried: dict[tuple[int, int], bool] = {}
        for start, end, index in scan.phrases:
            means = known[index]
            if means is None:
                continue
            called, terms, exceptions = means
            for pattern in called:
                if not pattern.bit or (pattern.bit & bits and _is_near(blocks, start, pattern)):
                    _match_around(text, start, pattern, hits, tried)
            if terms and not _straddles(text, start, end):
                hits.extend(Hit(start, end, term) for term in terms if not _is_part_of_another(text, start, end, term))
            for excused in exceptions:
                excuses.setdefault(excused, []).append((start, end))
        return [*_not_excused(hits, excuses)] if hits and excuses else hits


def _add_way(called: dict[str, list[_Pattern]], bits: dict[str, int], term: Term, way: patterns.Way, bit: int) -> bool:
    """Whether it needs the bit."""
    anchors = way.anchors
    # Words that stand in many texts would not spare much.
    others = way.others if way.others and way.others.frequency() < _RARE else None
    pattern = _Pattern(
        term,
        patterns.facts(term.pattern).compiled.match,
        anchors.least,
        anchors.most,
        bit if others else 0,
        anchors.most - others.least if others else 0,
        others.most - anchors.least if others else 0,
    )
    for word in anchors.words:
        called[word].append(pattern)
    for word in others.words if others else ():
        bits[word] |= bit
    return others is not None


def _is_near(blocks: Sequence[int], anchor: int, pattern: _Pattern) -> bool:
    """Whether another word that the pattern needs stands near enough, roughly."""
    first, last = (anchor - pattern.before) >> _BLOCK, (anchor + pattern.behind) >> _BLOCK
    return any(block & pattern.bit for block in blocks[max(0, first) : max(0, last + 1)])


def _match_around(
    text: str, anchor: int, pattern: _Pattern, hits: list[Hit], tried: dict[tuple[int, int], bool]
) -> None:
    """Adds the first match that has the anchor so far behind its beginning."""
    for start in range(max(0, anchor - pattern.most), anchor - pattern.least + 1):
        key = id(pattern.term), start
        is_match = tried.get(key)
        if is_match is None:
            match = pattern.matches(text, start)
            is_match = tried[key] = match is not None and not _straddles(text, start, match.end())
            if match is not None and is_match:
                hits.append(Hit(start, match.end(), pattern.term))
        if is_match:
            return


def _is_part_of_another(text: str, start: int, end: int, term: Term) -> bool:
    """Whether a digit of the span goes on outside, or a Latin letter does where the term has a boundary."""
    before, after = text[start - 1 : start] + text[start], text[end - 1 : end + 1]
    return any(
        len(pair) > 1 and pair.isascii() and pair.isalnum() and (term.boundary or pair.isdigit())
        for pair in (before, after)
    )


def _straddles(text: str, start: int, end: int) -> bool:
    """Whether a short term is the end of an ordinary word and the beginning of the next: 放假|货运."""
    if end - start > _SHORT or start == 0:
        return False
    before = text[start - 1 : start + 1], text[max(0, start - 2) : start + 1]
    after = text[end - 1 : end + 1], text[end - 1 : end + 2]
    words = ordinary()
    return any(word in words for word in before) and any(word in words for word in after)


def _not_excused(hits: Sequence[Hit], excuses: dict[_Excused, list[tuple[int, int]]]) -> Iterator[Hit]:
    """Drops each hit that lies whole inside one exception of its own term; for a pattern it need only overlap."""
    for hit in hits:
        spans = excuses.get((hit.term.category, hit.term.text))
        if spans is None or not _is_excused(hit, spans):
            yield hit


def _is_excused(hit: Hit, spans: list[tuple[int, int]]) -> bool:
    """Whether one of the spans, which came ordered by their ends, excuses a hit."""
    # Exceptions are short phrases: those that end far behind the hit do not begin before it.
    first = bisect_right(spans, hit.start, key=lambda span: span[1])
    for start, end in spans[first : first + _LONGEST]:
        if hit.term.pattern and start < hit.end:
            return True
        if start <= hit.start and hit.end <= end:
            return True
    return False
