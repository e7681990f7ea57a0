"""Finds the terms of a lexicon in a text, in one pass over its normalised form."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ahocorasick_rs import AhoCorasick

from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.audit.normalise import Step, normalise, steps_exposing


@dataclass(frozen=True, slots=True)
class Finding:
    """A term found in a text: text[start:end], counted in code points of the original, never empty.

    `steps` names the transformations that exposed it, () if the words stood there plainly. `field` is
    the path of the field the text came from, empty when a bare text was searched.
    """

    start: int
    end: int
    category: str
    term: str
    action: str
    steps: tuple[str, ...]
    basis: str
    rewrite: LocalizedText
    field: str = ""


@dataclass(frozen=True, slots=True)
class _Hit:
    """A term in the normalised text, before exceptions are looked at."""

    start: int
    end: int
    term: Term


class Matcher:
    """A lexicon made ready for search; immutable, so that any number of threads may share one."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._patterns = [(term, re.compile(term.pattern)) for term in lexicon.terms if term.pattern]
        self._term_of: dict[str, Term] = {normalise(term.text).text: term for term in lexicon.terms if not term.pattern}
        self._excused_by: dict[str, list[str]] = {}
        for term in lexicon.terms:
            for phrase in term.exceptions:
                self._excused_by.setdefault(normalise(phrase).text, []).append(term.text)
        # Terms and exceptions share the automaton, so that one pass finds both.
        self._phrases = sorted({*self._term_of, *self._excused_by})
        self._automaton = AhoCorasick(self._phrases)

    def find(self, text: str) -> list[Finding]:
        """Every finding, ordered by place; nested and overlapping ones are all there. Never raises."""
        normalised = normalise(text)
        hits, excuses = self._search(normalised.text)
        findings: dict[tuple[int, int, str], Finding] = {}
        for hit in _not_excused(hits, excuses):
            start, end = normalised.original_span(hit.start, hit.end)
            # One original character may hold a term twice (㏂ and its like): that is one finding.
            if (start, end, hit.term.text) not in findings:
                findings[start, end, hit.term.text] = _finding(text[start:end], start, end, hit.term)
        return [findings[key] for key in sorted(findings)]

    def _search(self, text: str) -> tuple[list[_Hit], dict[str, list[tuple[int, int]]]]:
        """The hits, and for each excused term the spans where one of its exceptions stands."""
        hits: list[_Hit] = []
        excuses: dict[str, list[tuple[int, int]]] = {}
        # Overlapping: leftmost-longest would hide 大麻 behind 大麻花, and also in 大麻花大麻.
        for index, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            phrase = self._phrases[index]
            term = self._term_of.get(phrase)
            if term is not None and not (term.boundary and _is_part_of_a_word(text, start, end)):
                hits.append(_Hit(start, end, term))
            for excused in self._excused_by.get(phrase, ()):
                excuses.setdefault(excused, []).append((start, end))
        for term, pattern in self._patterns:
            hits.extend(_Hit(match.start(), match.end(), term) for match in pattern.finditer(text))
        return hits, excuses


def _is_part_of_a_word(text: str, start: int, end: int) -> bool:
    """Whether a Latin letter or digit of the span has another as its neighbour outside."""
    return _is_joined(text[start - 1 : start], text[start]) or _is_joined(text[end - 1], text[end : end + 1])


def _is_joined(left: str, right: str) -> bool:
    pair = left + right
    return len(pair) == 2 and pair.isascii() and pair.isalnum()


def _not_excused(hits: Sequence[_Hit], excuses: dict[str, list[tuple[int, int]]]) -> Iterator[_Hit]:
    """Drops each hit that lies whole inside one exception of its own term; a sweep, linear after sorting."""
    by_term: dict[str, list[_Hit]] = {}
    for hit in hits:
        by_term.setdefault(hit.term.text, []).append(hit)
    for text, group in by_term.items():
        spans = sorted(excuses.get(text, ()))
        reach = next_span = 0
        for hit in sorted(group, key=lambda hit: hit.start):
            while next_span < len(spans) and spans[next_span][0] <= hit.start:
                reach = max(reach, spans[next_span][1])
                next_span += 1
            if hit.end > reach:
                yield hit


def _finding(words: str, start: int, end: int, term: Term) -> Finding:
    def matches(original: str, steps: tuple[Step, ...]) -> bool:
        folded = normalise(original, steps).text
        if term.pattern:
            return re.search(term.pattern, folded) is not None
        return normalise(term.text, steps).text in folded

    return Finding(
        start=start,
        end=end,
        category=term.category,
        term=term.text,
        action=term.action,
        steps=steps_exposing(words, matches),
        basis=term.basis,
        rewrite=term.rewrite,
    )
