"""What an audit is about, what the machine makes of it, and whether that still holds when it is to be written down."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.audit import releases
from services.audit.engine import Engine
from services.audit.judge import Judgement
from services.audit.pictures.readings import Unread
from services.audit.views import finding_views
from services.chassis import errors
from services.chassis.names import new_uid
from services.ledger import schedule, supply
from services.ledger.terms import Terms
from services.schema import lifecycle
from services.schema.lifecycle import Why
from services.schema.tables import Activity, Audit, Publication

PENDING = ("PENDING_AUDIT", "IN_REVIEW")
# What a history row holds.
_REASON = 500


class Moved(Exception):
    """What was judged is no longer what stands there: judge again. Never leaves this service's domain."""


@dataclass(frozen=True)
class Case:
    """A snapshot to be judged: the activity's submission in `state`, or the publication of that id.

    A submission comes before the publication, unless `is_apart`: then the publication is judged whatever is submitted.
    """

    activity: str
    state: str
    digest: str
    snapshot: dict[str, Any]
    publication_id: int | None = None
    publication_state: str = "LIVE"
    is_apart: bool = False

    @classmethod
    def of(cls, activity: Activity) -> "Case":
        """The activity's submission, else its LIVE publication; FailedPrecondition(ACTIVITY_STATE) without either."""
        if activity.state in PENDING:
            return cls.submitted(activity)
        publication = lifecycle.publication_of(activity)
        if publication is None or publication.state != "LIVE":
            raise errors.FailedPrecondition("ACTIVITY_STATE", state=activity.state)
        return cls(activity.uid, activity.state, publication.digest, publication.snapshot, publication.id)

    @classmethod
    def submitted(cls, activity: Activity) -> "Case":
        """The submission of an activity that is pending or in review."""
        return cls(activity.uid, activity.state, str(activity.digest), activity.snapshot)

    @classmethod
    def published(cls, activity: Activity, publication: Publication) -> "Case":
        """A publication of the activity, apart from what may be submitted."""
        judged = (publication.digest, publication.snapshot, publication.id, publication.state)
        return cls(activity.uid, activity.state, *judged, is_apart=True)

    def standing(self) -> tuple[Activity, Publication | None]:
        """The activity, locked, and the publication it is about, if any; Moved unless all is as it was judged."""
        activity = lifecycle.lock(self.activity)
        publication = None if self.publication_id is None else lifecycle.publication_of(activity)
        if publication is None:
            is_same = self.publication_id is None and (activity.state, activity.digest) == (self.state, self.digest)
        else:
            is_same = (publication.id, publication.state) == (self.publication_id, self.publication_state)
            is_same = is_same and (self.is_apart or activity.state not in PENDING)
        if not is_same:
            raise Moved
        return activity, publication


@dataclass(frozen=True)
class Judged:
    """A case with what the engine came to."""

    case: Case
    judgement: Judgement
    findings: list[dict[str, Any]]
    is_image_text_checked: bool

    @classmethod
    def of(
        cls, case: Case, engine: Engine, now: datetime, passed: Collection[str] = (), *, waits: bool = True
    ) -> "Judged":
        """Judge the case by the release that decides now; reads the database, and is called outside of a write().

        Where pictures can be read, it raises Unread if one has not been read yet, unless the case `waits` for none.
        """
        gallery = engine.gallery(case.snapshot)
        if gallery.unread and engine.reader and waits:
            raise Unread(gallery.unread)
        judgement = engine.judge_snapshot(case.snapshot, case.digest, now, passed, gallery=gallery)
        views = finding_views(judgement.findings, engine.words(case.snapshot, gallery), gallery.pages)
        is_checked = gallery.is_whole and bool(engine.reader or gallery.pages)
        return cls(case, judgement, views, is_checked)

    def must_hold(self) -> None:
        """Moved unless the release that judged decides still; it then does until the transaction ends."""
        if releases.locked_head() != self.judgement.release:
            raise Moved

    def record(self, activity: Activity, revision: int, now: datetime, **changes: Any) -> Audit:
        """The new Audit row; an OPEN one about the same snapshot has nothing to decide any more."""
        lifecycle.outdate_audits(activity, self.case.digest, now)
        categories = sorted({finding.category for finding in self.judgement.findings})
        row = {
            "uid": new_uid(),
            "activity_id": activity.id,
            "merchant_id": activity.merchant_id,
            "revision": revision,
            "digest": self.case.digest,
            "lexicon_release": self.judgement.release,
            "decision": self.judgement.decision,
            "state": "OPEN" if self.judgement.decision == "REVIEW" else "DECIDED",
            "findings": self.findings,
            "categories": f",{','.join(categories)}," if categories else "",
            "create_time": now,
            "is_image_text_checked": self.is_image_text_checked,
        }
        return Audit.create(**row | changes)

    def reason(self) -> str:
        """For the history: the terms that were found, by category."""
        terms: dict[str, list[str]] = {}
        for finding in self.judgement.findings:
            if finding.term not in terms.setdefault(finding.category, []):
                terms[finding.category].append(finding.term)
        text = "; ".join(f"{category}: {', '.join(found)}" for category, found in terms.items())
        return text if len(text) <= _REASON else text[: _REASON - 1] + "…"


def publish(activity: Activity, audit: Audit, why: Why) -> None:
    """Make the submission of a locked activity what customers see."""
    period = schedule.claim_window(Terms.of(activity.snapshot["terms"]))
    supply.follow(lifecycle.approve(activity, audit.id, period, why))


def move_publication(activity: Activity, publication: Publication, to: str, why: Why) -> None:
    """Move the current publication of a locked activity, and its supply with it."""
    supply.follow(lifecycle.move_publication(activity, publication, to, why))
