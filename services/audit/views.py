"""Audits as their merchants and operators see them, in the shape of the contract's messages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from services.audit.evidence import Finding
from services.audit.pictures.passages import Page
from services.chassis.names import name
from services.schema.tables import Activity, Audit, Merchant

# A text made of one bad word, ten thousand times, is understood after these.
_FINDINGS_OF_A_TERM = 20
# Beyond these each term is shown where it stands first: a message must hold them, and a ruling names every term.
_FINDINGS = 1000
# As many digits may be a phone's; the last two are enough to find it again in the text.
_PHONE = 7
_SHOWN = 2


def finding_views(
    findings: Sequence[Finding], words: Mapping[str, str], pages: Mapping[str, Page] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """The findings in the shape of Finding, of each term the first few.

    `words` holds the judged texts by field, `pages` those of the pictures.
    """
    seen: Counter[str] = Counter()
    views: list[dict[str, Any]] = []
    for finding in findings:
        seen[finding.term] += 1
        if seen[finding.term] <= (_FINDINGS_OF_A_TERM if len(views) < _FINDINGS else 1):
            text = _redacted(words[finding.field][finding.start : finding.end])
            view = {**asdict(finding), "text": text, "action": finding.action.upper(), "steps": [*finding.steps]}
            page = pages.get(finding.field)
            box = page and page.box(finding.start, finding.end)
            views.append({**view, "box": asdict(box)} if box else view)
    return views


def _redacted(text: str) -> str:
    """The passage, as long as it was, without the phone that may be in it; digits are those of any script and form."""
    places = [place for place, character in enumerate(text) if character.isnumeric()]
    hidden = {*places[:-_SHOWN]} if len(places) >= _PHONE else set()
    return "".join("*" if place in hidden else character for place, character in enumerate(text))


def audit_view(audit: Audit) -> dict[str, Any]:
    """One audit; see audit_views()."""
    return audit_views([audit])[0]


def audit_views(audits: Sequence[Audit]) -> list[dict[str, Any]]:
    """The audits as plain dicts in the shape of Audit, whatever their number by two look-ups."""
    activities = _uids(Activity, {audit.activity_id for audit in audits})
    merchants = _uids(Merchant, {audit.merchant_id for audit in audits})
    return [
        {
            "name": name("audits", audit.uid),
            "activity": name("activities", activities[audit.activity_id]),
            "merchant": name("merchants", merchants[audit.merchant_id]),
            "revision": audit.revision,
            "digest": audit.digest,
            "lexicon_release": audit.lexicon_release,
            "decision": audit.decision,
            "state": audit.state,
            "findings": audit.findings,
            "create_time": audit.create_time,
            "appeal": audit.appeal,
            "appeal_time": audit.appeal_time,
            "resolve_time": audit.resolve_time,
            "resolution": audit.resolution,
            "is_image_text_checked": bool(audit.is_image_text_checked),
        }
        for audit in audits
    ]


def _uids(table: Any, ids: set[int]) -> dict[int, str]:
    return {row.id: row.uid for row in table.select(table.id, table.uid).where(table.id << ids)} if ids else {}
