"""Searches a folded text for terms, patterns and exceptions by one automaton."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit import patterns
from services.audit.lexicon import Lexicon, Term
from services.audit.reading.forms import Fold
from services.audit.reading.words import ordinary

# Ends of exceptions behind the beginning of a hit that may still be of one around it.
_LONGEST = 64
# Longer terms are no accident.
_SHORT = 3
# So often in 10,000 characters of promotions, a word that a pattern needs is rare.
_RARE = 200.0
_Match = Callable[[str, int], re.Match[str] | None]
_Excused = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A term in a folded text, from `start` to `end` (exclusive)."""

    start: int
    end: int
    term: Term


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern whose matches have between so many characters before the word that calls for them.

    `bit` is set for words of another part of it, of which one must stand in the text as well; 0 if it needs none.
    """

    term: Term
    matches: _Match
    least: int
    most: int
    bit: int


@dataclass(slots=True)
class _Phrase:
    """What a phrase means where it stands: terms, exceptions of terms, and patterns that it calls for.

    `bits` are those of the patterns that need it besides.
    """

    terms: list[Term] = field(default_factory=list)
    excuses: list[_Excused] = field(default_factory=list)
    patterns: list[_Pattern] = field(default_factory=list)
    bits: int = 0


class Search:
    """A lexicon's phrases in one automaton; immutable."""

    def __init__(self, lexicon: Lexicon, fold: Fold) -> None:
        phrases: dict[str, _Phrase] = defaultdict(_Phrase)
        number = 0
        for term in lexicon.terms:
            folded = fold.text(term.text)
            if term.pattern:
                _add_pattern(phrases, term, 1 << number)
                number += 1
            else:
                phrases[folded].terms.append(term)
            for exception in map(fold.text, term.exceptions):
                if term.pattern or folded in exception:
                    phrases[exception].excuses.append((term.category, term.text))
        # By the automaton's number of a phrase; most texts have many that only patterns need.
        self._called = [tuple(phrase.patterns) for phrase in phrases.values()]
        self._bits = [phrase.bits for phrase in phrases.values()]
        self._told = [phrase if phrase.terms or phrase.excuses else None for phrase in phrases.values()]
        self._automaton = CharwiseDoubleArrayAhoCorasick(list(phrases))

    def hits(self, text: str) -> list[Hit]:
        """The terms in a folded text, without those that an exception excuses."""
        hits: list[Hit] = []
        excuses: dict[_Excused, list[tuple[int, int]]] = {}
        told, called = self._told, self._called
        # Overlapping: leftmost-longest would hide 大麻 behind 大麻花, and also in 大麻花大麻.
        found = self._automaton.find_overlapping(text)
        bits = 0
        for one in {index for _, _, index in found}:
            bits |= self._bits[one]
        for start, end, index in found:
            for pattern in called[index]:
                if pattern.bit & bits == pattern.bit:
                    _match_around(text, start, pattern, hits)
            phrase = told[index]
            if phrase is not None:
                if phrase.terms and not _straddles(text, start, end):
                    terms = (term for term in phrase.terms if not _is_part_of_another(text, start, end, term))
                    hits.extend(Hit(start, end, term) for term in terms)
                for excused in phrase.excuses:
                    excuses.setdefault(excused, []).append((start, end))
        return [*_not_excused(hits, excuses)] if hits and excuses else hits


def _add_pattern(phrases: dict[str, _Phrase], term: Term, bit: int) -> None:
    facts = patterns.facts(term.pattern)
    anchors = facts.anchors
    # Words that stand in many texts would not spare much.
    others = facts.others if facts.others and facts.others.frequency() < _RARE else None
    # Lexicon.of() sees to it that there are some.
    assert anchors is not None
    pattern = _Pattern(term, facts.compiled.match, anchors.least, anchors.most, bit if others else 0)
    for word in anchors.words:
        phrases[word].patterns.append(pattern)
    for word in others.words if others else ():
        phrases[word].bits |= bit


def _match_around(text: str, anchor: int, pattern: _Pattern, hits: list[Hit]) -> None:
    """Adds the first match that has the anchor so far behind its beginning."""
    for start in range(max(0, anchor - pattern.most), anchor - pattern.least + 1):
        match = pattern.matches(text, start)
        if match is not None and not _straddles(text, start, match.end()):
            hits.append(Hit(start, match.end(), pattern.term))
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
