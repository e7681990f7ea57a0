"""The terms the audit looks for, as data: read from files, checked, and named by the hash of what they say."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from services.audit.normalise import normalise

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
_UNBOUNDED = re.compile(r"[*+]|\{[0-9]*,\}|\\[1-9]|\(\?P=")


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
    that lies inside one of `exceptions` does not count. `basis` is the law's article or the platform's rule.
    A pattern is matched against normalised text, so it is written in lower case, half width and simplified.
    """

    text: str
    category: str
    action: str
    boundary: bool
    exceptions: tuple[str, ...]
    basis: str
    rewrite: LocalizedText
    pattern: str = ""


@dataclass(frozen=True)
class Lexicon:
    """A checked list of terms in canonical order; two lists with the same content are the same release."""

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, terms: Iterable[Term]) -> "Lexicon":
        """Sorts and checks the terms. Raises LexiconError."""
        ordered = tuple(sorted(terms, key=lambda term: (term.category, term.text)))
        seen: dict[str, Term] = {}
        for term in ordered:
            _check(term)
            folded = normalise(term.text).text
            if folded in seen:
                raise LexiconError(f"{term.text}: also listed as {seen[folded].text} in {seen[folded].category}")
            seen[folded] = term
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

    A group has `action`, `basis`, `rewrite`, optionally `boundary`, and any of `terms` (a list of words),
    `patterns` (name = expression) and `exceptions` (term or pattern name = list of phrases). Raises LexiconError.
    """
    terms: list[Term] = []
    for path in sorted(directory.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            for group in content["group"]:
                terms.extend(_terms_of_group(content["category"], group))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise LexiconError(f"{path.name}: {error!r}") from error
    if not terms:
        raise LexiconError(f"no terms in {directory}")
    return Lexicon.of(terms)


def _terms_of_group(category: str, group: Mapping[str, Any]) -> list[Term]:
    patterns: Mapping[str, str] = group.get("patterns", {})
    exceptions: Mapping[str, list[str]] = group.get("exceptions", {})
    texts = [*group.get("terms", ()), *patterns]
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
                "pattern": patterns.get(text, ""),
            }
        )
        for text in texts
    ]


def _term_of(plain: Mapping[str, Any]) -> Term:
    values = {**plain, "exceptions": tuple(sorted(plain["exceptions"])), "rewrite": LocalizedText(**plain["rewrite"])}
    term = Term(**values)
    strings = (term.text, term.basis, term.pattern, term.rewrite.zh_cn, term.rewrite.en, *term.exceptions)
    if not all(isinstance(value, str) for value in strings) or not isinstance(term.boundary, bool):
        raise LexiconError(f"{term.text!r}: a value of the wrong type")
    return term


def _check(term: Term) -> None:
    text = normalise(term.text).text
    if not text.strip() or not term.basis or not term.rewrite.zh_cn or not term.rewrite.en:
        raise LexiconError(f"{term.text!r}: text, basis and rewrite must not be empty")
    if len(term.text) > _TEXT:
        raise LexiconError(f"{term.text[:_TEXT]}…: longer than {_TEXT} characters")
    if term.category not in CATEGORIES or term.action not in ACTIONS:
        raise LexiconError(f"{term.text}: category {term.category!r} or action {term.action!r} is unknown")
    if term.pattern:
        _check_pattern(term)
        return
    for phrase in term.exceptions:
        if text not in normalise(phrase).text:
            raise LexiconError(f"{term.text}: the exception {phrase!r} does not contain the term, so it never counts")


def _check_pattern(term: Term) -> None:
    if normalise(term.pattern).text != term.pattern:
        raise LexiconError(f"{term.text}: the pattern is not in normalised form, so it could never match")
    if _UNBOUNDED.search(term.pattern):
        raise LexiconError(f"{term.text}: the pattern repeats without a bound")
    try:
        if re.compile(term.pattern).match(""):
            raise LexiconError(f"{term.text}: the pattern matches nothing at all")
    except re.error as error:
        raise LexiconError(f"{term.text}: {error}") from error
    if not all(normalise(phrase).text for phrase in term.exceptions):
        raise LexiconError(f"{term.text}: an empty exception")
