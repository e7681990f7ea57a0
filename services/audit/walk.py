"""What a new lexicon judges again, one after the other: first what is published, then what is submitted.

Published is what is LIVE, and what the machine suspended while no person has decided about it, until its claim period
is over. What is scheduled is LIVE.
"""

from datetime import datetime
from typing import Any

from services.audit.cases import PENDING, Case
from services.schema.tables import Activity, Audit, Publication

PUBLICATIONS, SUBMISSIONS = "PUBLICATIONS", "SUBMISSIONS"
STAGES = (PUBLICATIONS, SUBMISSIONS)


def next_ids(stage: str, after: int, limit: int, now: datetime) -> list[int]:
    """The next ids of a stage behind `after`, in their order: of publications, or of activities."""
    table: Any = Publication if stage == PUBLICATIONS else Activity
    rows = table.select(table.id).where(table.id > after, _matters(stage, now)).order_by(table.id).limit(limit)
    return [row.id for row in rows]


def count(now: datetime) -> int:
    """How many ids there are in all stages."""
    return sum(
        table.select().where(_matters(stage, now)).count()
        for stage, table in ((PUBLICATIONS, Publication), (SUBMISSIONS, Activity))
    )


def case_of(stage: str, row_id: int) -> Case | None:
    """What is to be judged there; None if nothing is any more."""
    if stage == SUBMISSIONS:
        activity = Activity.get_or_none(Activity.id == row_id)
        return Case.submitted(activity) if activity is not None and activity.state in PENDING else None
    publication = Publication.get_or_none(Publication.id == row_id)
    if publication is None:
        return None
    activity = Activity.get_or_none(Activity.id == publication.activity_id)
    if activity is None or activity.publication_id != publication.id:
        return None
    if publication.state == "SUSPENDED" and machines(activity.id, publication.digest) is None:
        return None
    return Case.published(activity, publication) if publication.state in ("LIVE", "SUSPENDED") else None


def last_audit(activity_id: int, digest: str) -> Audit | None:
    """The newest audit of a snapshot."""
    audits = Audit.select().where(Audit.activity_id == activity_id, Audit.digest == digest)
    found: Audit | None = audits.order_by(Audit.id.desc()).first()
    return found


def machines(activity_id: int, digest: str) -> Audit | None:
    """The machine's REJECT that a publication is suspended for, appealed or not; None once a person has decided."""
    audit = last_audit(activity_id, digest)
    is_machines = audit is not None and audit.decision == "REJECT" and audit.state in ("DECIDED", "OPEN")
    return audit if is_machines else None


def _matters(stage: str, now: datetime) -> Any:
    if stage == PUBLICATIONS:
        return Publication.state.in_(("LIVE", "SUSPENDED")) & (Publication.claim_end > now)
    return Activity.state.in_(PENDING)


def publication_name(case: Case) -> str:
    """The uid of the publication that a case is about, "" for a submission."""
    if case.publication_id is None:
        return ""
    return str(Publication.select(Publication.uid).where(Publication.id == case.publication_id).get().uid)
