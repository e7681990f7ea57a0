"""Turns findings into a decision, with the rulings people have already made."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from services.audit.evidence import Finding
from services.audit.matcher import Matcher

PASS = "PASS"
REVIEW = "REVIEW"
REJECT = "REJECT"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the audit decided ("PASS", "REVIEW" or "REJECT"), on which findings, by which lexicon release."""

    decision: str
    findings: tuple[Finding, ...]
    release: str


def judge(fields: Sequence[tuple[str, str]], matcher: Matcher, rulings: Collection[str] = ()) -> Judgement:
    """Judges a snapshot's texts, given as (field path, text), by the gravest finding that stands.

    A ruling is the text of a term that a person passed on this very digest: its findings are silenced, for
    the words are unchanged. Findings keep the order of the fields, and that of their places inside one.
    """
    findings = tuple(
        replace(finding, field=path)
        for path, text in fields
        for finding in matcher.find(text)
        if finding.term not in rulings
    )
    return Judgement(decision(findings), findings, matcher.lexicon.release)


def decision(findings: Sequence[Finding]) -> str:
    """By the gravest of the findings."""
    actions = {finding.action for finding in findings}
    if "reject" in actions:
        return REJECT
    return REVIEW if actions else PASS
