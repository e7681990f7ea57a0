"""The terms the audit looks for, as data: read from files, checked, and named by the hash of what they say."""

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from services.audit import patterns
from services.audit.reading.forms import BREAK, Fold

CATEGORIES = (
    "absolute_claim",
    "medical_claim",
    "financial_promise",
    "gambling",
    "pornography",
    "drugs",
    "weapons",
    "counterfeit",
    "state_symbols",
    "off_platform_contact",
    "induced_sharing",
    "abuse",
    "superstition",
    "minors",
)
ACTIONS = ("reject", "review")
# What the row of a ruling holds.
_TEXT = 200
BUILT_IN = Path(__file__).with_name("lexicon")

# Patterns run in linear time because nothing in them repeats without a bound: an unbounded repetition
# tried from every start is quadratic, a nested one worse. A literal * or + is written \x2a or \x2b.
_UNBOUNDED = re.compile(r"(?<!\\)[*+]|\{[0-9]*,\}")
# Of these nobody could tell by their parts what they match.
_UNREADABLE = re.compile(r"\\[1-9]|\(\?P=|\(\?[>(]")
# A repetition with a bound so large is as bad as one without.
_LONGEST = 1000
_MACRO = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
# One Han character or digit, and a number as it is told in a folded text.
_MACROS = {"H": "[0-9㐀-鿿]", "N": "[0-9十百千万亿.]{1,6}"}
_MOST_MACROS = 20_000
FOLD = Fold()
# What folded texts have besides letters and digits.
_SIGNS = ",.-+%"


class LexiconError(ValueError):
    """A lexicon says something that cannot be used; the message names the term and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class LocalizedText:
    """The same words for readers of Simplified Chinese and of English."""

    zh_cn: str
    en: str


@dataclass(frozen=True, slots=True)
class Term:
    """One entry: `text` is the words to find or, where `pattern` is set, the name of that regular expression.

    `boundary`: a Latin letter or digit next to the words means that they are part of another word. A hit
    that lies inside one of `exceptions` does not count; an exception that does not contain the words only sounds like
    them (大码 for 大麻) and is not taken for them. `basis` is the law's article or the platform's rule.
    `homophones`: whether words that sound alike may stand for these. `unless_forbidden`: a text that forbids the
    thing (禁止赌博) does not offer it. `words`: short words of a pattern that words that sound alike may stand for; of
    three characters and more they need not be told. A pattern is matched against clauses, as
    Fold.text() makes them, and is kept as it is compiled: without macros, its characters folded.
    """

    text: str
    category: str
    action: str
    boundary: bool
    exceptions: tuple[str, ...]
    basis: str
    rewrite: LocalizedText
    pattern: str = ""
    homophones: bool = True
    unless_forbidden: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lexicon:
    """A checked list of terms in canonical order; two lists with the same content are the same release."""

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, terms: Iterable[Term]) -> "Lexicon":
        """Sorts and checks the terms. Raises LexiconError."""
        ordered = tuple(sorted(terms, key=lambda term: (term.category, term.text)))
        seen: dict[tuple[str, str, bool], Term] = {}
        for term in ordered:
            _check(term)
            key = (term.category, FOLD.text(term.text), bool(term.pattern))
            if key in seen:
                raise LexiconError(f"{term.text}: also listed as {seen[key].text} in {term.category}")
            seen[key] = term
        return cls(ordered)

    @cached_property
    def release(self) -> str:
        """The release id: SHA-256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The canonical JSON (sorted keys, no blanks, UTF-8 characters as they are), to be kept as a row."""
        return json.dumps(
            {"terms": [asdict(term) for term in self.terms]},
            ensure_ascii=False,
            sort_keys=True,
            separators=(",", ":"),
        )


def from_json(text: str) -> Lexicon:
    """Reads what to_json wrote, into the same release. Raises LexiconError for anything else."""
    try:
        return Lexicon.of(_term_of(plain) for plain in json.loads(text)["terms"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise LexiconError(f"not a lexicon: {error!r}") from error


def load(directory: Path = BUILT_IN) -> Lexicon:
    """Reads every .toml file of the directory: one file a category, its groups sharing what they have in common.

    A group has `action`, `basis`, `rewrite`, optionally `boundary`, `homophones`,
    `unless_forbidden` and `words`, and any of `terms` (a list of
    words), `patterns` (name = expression) and `exceptions` (term or pattern name = list of phrases). A file may have
    `macros`: {NAME} in a pattern, or in a later macro, is what it says. Raises LexiconError.
    """
    terms: list[Term] = []
    for path in sorted(directory.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            macros = _macros(content.get("macros", {}))
            for group in content["group"]:
                terms.extend(_terms_of_group(content["category"], group, macros))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise LexiconError(f"{path.name}: {error!r}") from error
    if not terms:
        raise LexiconError(f"no terms in {directory}")
    return Lexicon.of(terms)


def expression(written: str) -> str:
    """A pattern as it is kept: folded, with what the built-in macros say. Raises LexiconError for others."""
    return _expanded(written, _MACROS)


def _macros(given: Mapping[str, str]) -> dict[str, str]:
    macros = dict(_MACROS)
    for name, expression in given.items():
        macros[name] = _expanded(expression, macros)
        if len(macros[name]) > _MOST_MACROS:
            raise LexiconError(f"the macro {name} is too long")
    return macros


def _expanded(expression: str, macros: Mapping[str, str]) -> str:
    """The expression with what its macros say, folded: but for the built-in macros, only what is not ASCII."""

    def of(match: re.Match[str]) -> str:
        if match[1] not in macros:
            raise LexiconError(f"no macro {match[0]}")
        return f"(?:{macros[match[1]]})"

    folded = "".join(one if one.isascii() else FOLD.of(one) for one in expression)
    return _MACRO.sub(of, folded)


def _terms_of_group(category: str, group: Mapping[str, Any], macros: Mapping[str, str]) -> list[Term]:
    expressions = {name: _expanded(written, macros) for name, written in group.get("patterns", {}).items()}
    exceptions: Mapping[str, list[str]] = group.get("exceptions", {})
    texts = [*group.get("terms", ()), *expressions]
    strangers = set(exceptions) - set(texts)
    if strangers:
        raise LexiconError(f"{category}: exceptions to what the group does not list: {sorted(strangers)}")
    common = {key: group[key] for key in ("action", "basis", "rewrite")} | {"category": category}
    return [
        _term_of(
            common
            | {
                "text": text,
                "boundary": group.get("boundary", False),
                "exceptions": exceptions.get(text, ()),
                "pattern": expressions.get(text, ""),
                "homophones": group.get("homophones", True),
                "unless_forbidden": group.get("unless_forbidden", False),
                "words": group.get("words", ()) if text in expressions else (),
            }
        )
        for text in texts
    ]


@lru_cache(maxsize=4096)
def _rewrite(zh_cn: str, en: str) -> LocalizedText:
    return LocalizedText(zh_cn, en)


def _term_of(plain: Mapping[str, Any]) -> Term:
    values = {
        **plain,
        "exceptions": tuple(sorted(plain["exceptions"])),
        # Many terms have the same.
        "basis": sys.intern(plain["basis"]),
        "rewrite": _rewrite(**plain["rewrite"]),
        "words": tuple(sorted(plain.get("words", ()))),
    }
    term = Term(**values)
    strings = (term.text, term.basis, term.pattern, term.rewrite.zh_cn, term.rewrite.en, *term.exceptions, *term.words)
    if not all(isinstance(value, str) for value in strings) or not all(
        isinstance(value, bool) for value in (term.boundary, term.homophones, term.unless_forbidden)
    ):
        raise LexiconError(f"{term.text!r}: a value of the wrong type")
    return term


def _check(term: Term) -> None:
    text = FOLD.text(term.text)
    if not text or not term.basis or not term.rewrite.zh_cn or not term.rewrite.en:
        raise LexiconError(f"{term.text!r}: text, basis and rewrite must not be empty")
    if len(term.text) > _TEXT:
        raise LexiconError(f"{term.text[:_TEXT]}…: longer than {_TEXT} characters")
    if term.category not in CATEGORIES or term.action not in ACTIONS:
        raise LexiconError(f"{term.text}: category {term.category!r} or action {term.action!r} is unknown")
    if not all(FOLD.text(phrase) for phrase in term.exceptions):
        raise LexiconError(f"{term.text}: an empty exception")
    if term.pattern:
        _check_pattern(term)
        return
    if BREAK in text:
        raise LexiconError(f"{term.text}: a term is searched for within a clause")


def _check_pattern(term: Term) -> None:
    if _UNBOUNDED.search(term.pattern):
        raise LexiconError(f"{term.text}: the pattern repeats without a bound")
    if _UNREADABLE.search(term.pattern):
        raise LexiconError(f"{term.text}: the pattern has a back reference, an atomic group or a condition")
    try:
        facts = patterns.facts(term.pattern)
    except re.error as error:
        raise LexiconError(f"{term.text}: {error}") from error
    if facts.longest > _LONGEST:
        raise LexiconError(f"{term.text}: the pattern matches more than {_LONGEST:,} characters")
    if facts.compiled.match(""):
        raise LexiconError(f"{term.text}: the pattern matches nothing at all")
    strange = sorted(one for one in facts.characters if one not in _SIGNS and FOLD.of(one) != one)
    if strange:
        raise LexiconError(f"{term.text}: the pattern has {''.join(strange)!r}, which no folded text has")
    if not facts.ways:
        raise LexiconError(f"{term.text}: the pattern has no words that each of its matches contains")
