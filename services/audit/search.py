"""The terms, patterns and exceptions of a lexicon that a scanned text has."""

import re
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from services.audit import patterns
from services.audit.gate import Gate, Traces
from services.audit.lexicon import Lexicon, Term
from services.audit.reading.forms import Fold
from services.audit.reading.scan import Scan
from services.audit.reading.words import ordinary
from services.audit.yielding import gently

# Ends of exceptions behind the beginning of a hit that may still be of one around it.
_LONGEST = 64
# Longer terms are no accident.
_SHORT = 3
_Match = Callable[[str, int], re.Match[str] | None]
_Excused = tuple[str, str]


class Hit(NamedTuple):
    """A term in a folded text, from `start` to `end` (exclusive)."""

    start: int
    end: int
    term: Term


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """A pattern whose matches have between so many characters before the word that calls for them."""

    term: Term
    matches: _Match
    least: int
    most: int


@dataclass(slots=True)
class _Ways:
    """The patterns by each of their ways, those first that need a word of another part besides."""

    patterns: list[_Pattern] = field(default_factory=list)
    # Of those that need one: the words, and how far before or behind the word that calls for them it may begin.
    needed: list[frozenset[str]] = field(default_factory=list)
    before: "array[int]" = field(default_factory=lambda: array("i"))
    behind: "array[int]" = field(default_factory=lambda: array("i"))
    # By a word, the numbers of those that it calls for.
    called: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, terms: Iterable[Term]) -> None:
        """Add all ways of some patterns."""
        # Lexicon.of() sees to it that each has some.
        every = [(term, way) for term in gently(terms) for way in patterns.facts(term.pattern).ways]
        for term, way in gently(sorted(every, key=lambda one: one[1].others is None)):
            anchors, number = way.anchors, len(self.patterns)
            self.patterns.append(
                _Pattern(term, patterns.facts(term.pattern).compiled.match, anchors.least, anchors.most)
            )
            for word in anchors.words:
                self.called[word].append(number)
            if others := way.others:
                self.needed.append(others.words)
                self.before.append(anchors.most - others.least)
                self.behind.append(others.most - anchors.least)


class Search:
    """What a lexicon's phrases mean; immutable. The phrases, which a scan has to look for, it adds to `phrases`."""

    def __init__(self, lexicon: Lexicon, fold: Fold, phrases: list[str]) -> None:
        ways = _Ways()
        ways.add(term for term in lexicon.terms if term.pattern)
        terms: defaultdict[str, list[Term]] = defaultdict(list)
        excuses: defaultdict[str, list[_Excused]] = defaultdict(list)
        for term in gently(lexicon.terms):
            folded = fold.text(term.text)
            if not term.pattern:
                terms[folded].append(term)
            for exception in map(fold.text, term.exceptions):
                if term.pattern or folded in exception:
                    excuses[exception].append((term.category, term.text))
        phrases.extend(dict.fromkeys([*terms, *ways.called, *excuses]))
        self._patterns = ways.patterns
        # By the place of a phrase that means something besides what patterns do with it.
        self._means = {
            place: (tuple(terms.get(one, ())), tuple(excuses.get(one, ())))
            for place, one in enumerate(gently(phrases))
            if one in terms or one in excuses
        }
        self._gate = _gate(phrases, ways, self._means)

    def hits(self, scan: Scan) -> list[Hit]:
        """The terms in a scanned text, without those that an exception excuses."""
        hits: list[Hit] = []
        excuses: dict[_Excused, list[tuple[int, int]]] = {}
        text = scan.text
        tries, others = self._gate.open(text, scan.phrases)
        # By term, where a match that begins somewhere ends, 0 for none: several words may call for the same one.
        tried: dict[int, dict[int, int]] = {}
        matched: dict[int, Term] = {}
        for start, number in tries:
            pattern = self._patterns[number]
            ends = tried.setdefault(id(pattern.term), {})
            if _match_around(text, start, pattern, ends):
                matched[id(pattern.term)] = pattern.term
        for key, term in matched.items():
            hits.extend(_outermost(tried[key], term))
        for start, end, place in others:
            terms, exceptions = self._means[place]
            if terms and not _straddles(text, start, end):
                hits.extend(Hit(start, end, term) for term in terms if not _is_part_of_another(text, start, end, term))
            for excused in exceptions:
                excuses.setdefault(excused, []).append((start, end))
        return [*_not_excused(hits, excuses)] if hits and excuses else hits


def _gate(phrases: Sequence[str], ways: _Ways, means: Container[int]) -> Gate:
    """What the phrases are to patterns, some of which mean something besides."""
    traces = Traces(word for words in gently(ways.needed) for word in words)
    # First the list of those that are nothing to patterns.
    words, needs, lists = array("i"), array("i"), array("i", [0])
    for number, one in enumerate(gently(phrases)):
        called = ways.called.get(one)
        words.append((2 * len(lists) if called else 0) + (number in means))
        lists.extend([len(called), *called] if called else [])
    for needed in gently(ways.needed):
        every = {traces.of_word(word) for word in needed}
        needs.append(len(lists))
        lists.extend([len(every), *sorted(every)])
    return Gate(traces, ways.before, ways.behind, words, needs, lists)


def _match_around(text: str, anchor: int, pattern: _Pattern, ends: dict[int, int]) -> bool:
    """Whether a match has the anchor so far behind its beginning; where those end is put down by where they begin."""
    is_any = False
    for start in range(max(0, anchor - pattern.most), anchor - pattern.least + 1):
        if start not in ends:
            match = pattern.matches(text, start)
            ends[start] = match.end() if match and not _straddles(text, start, match.end()) else 0
            is_any = is_any or ends[start] > 0
    return is_any


def _outermost(ends: dict[int, int], term: Term) -> Iterator[Hit]:
    """The matches of a term but for those within one that begins before: that may be another way's, and excused."""
    reached = 0
    for start in sorted(ends):
        if ends[start] > reached:
            reached = ends[start]
            yield Hit(start, reached, term)


def _is_part_of_another(text: str, start: int, end: int, term: Term) -> bool:
    """Whether a digit of the span goes on outside, or a Latin letter does where the term has a boundary."""
    before, after = text[start - 1 : start] + text[start], text[end - 1 : end + 1]
    for pair in (before, after):
        if len(pair) > 1 and pair.isascii() and pair.isalnum() and (term.boundary or pair.isdigit()):
            return True
    return False


def _straddles(text: str, start: int, end: int) -> bool:
    """Whether a short term is the end of an ordinary word and the beginning of the next: 放假|货运."""
    if end - start > _SHORT or start == 0:
        return False
    words = ordinary()
    is_end = text[start - 1 : start + 1] in words or text[max(0, start - 2) : start + 1] in words
    return is_end and (text[end - 1 : end + 1] in words or text[end - 1 : end + 2] in words)


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
