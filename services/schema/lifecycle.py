"""Which state may follow which, and the one place that moves an activity or a publication."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from services.chassis import errors
from services.chassis.call import Call
from services.chassis.names import name, new_uid
from services.schema import catalogue
from services.schema.tables import (
    Activity,
    Audit,
    Publication,
    PublicationImage,
    PublicationStore,
    Row,
    Store,
    Transition,
    canonical,
    locked,
)

# A new row begins in the state that may follow "".
ACTIVITY: dict[str, frozenset[str]] = {
    "": frozenset({"DRAFT"}),
    "DRAFT": frozenset({"PENDING_AUDIT"}),
    "PENDING_AUDIT": frozenset({"APPROVED", "IN_REVIEW", "REJECTED", "DRAFT"}),
    "IN_REVIEW": frozenset({"APPROVED", "REJECTED", "DRAFT"}),
    "REJECTED": frozenset({"DRAFT", "IN_REVIEW"}),
    "APPROVED": frozenset({"DRAFT"}),
}
PUBLICATION: dict[str, frozenset[str]] = {
    "": frozenset({"LIVE"}),
    "LIVE": frozenset({"SUSPENDED", "WITHDRAWN", "SUPERSEDED"}),
    "SUSPENDED": frozenset({"LIVE", "WITHDRAWN", "SUPERSEDED"}),
    "WITHDRAWN": frozenset(),
    "SUPERSEDED": frozenset(),
}


class Actor(NamedTuple):
    """Who moves a row: a role's name and, for people, a pseudonym."""

    role: str
    who: str = ""

    @classmethod
    def of(cls, call: Call) -> "Actor":
        return cls(call.principal.role, call.actor)


@dataclass(frozen=True)
class Why:
    """What stands in the history beside a change of state."""

    actor: Actor
    now: datetime
    reason: str = ""


def digest_of(snapshot: dict[str, Any]) -> str:
    """The SHA-256 of a snapshot's canonical JSON, in hexadecimal: what a decision is bound to."""
    return hashlib.sha256(canonical(snapshot).encode()).hexdigest()


def lock(uid: str) -> Activity:
    """The activity, locked until the transaction ends. Raises NotFound(RESOURCE_NOT_FOUND)."""
    activity: Activity | None = locked(Activity.select().where(Activity.uid == uid)).first()
    if activity is None:
        raise errors.NotFound("RESOURCE_NOT_FOUND", resource=name("activities", uid))
    return activity


def enter(activity: Activity, why: Why) -> Activity:
    """Save a new activity as a DRAFT, with the first row of its history."""
    activity.state = "DRAFT"
    activity.sequence = 1
    activity.save(force_insert=True)
    _remember(activity, "ACTIVITY", activity.revision, "", "DRAFT", why)
    return activity


def move(activity: Activity, to: str, why: Why, **changes: Any) -> Activity:
    """Move a locked activity to a state that may follow its own, together with `changes` to its columns.

    Raises FailedPrecondition(ACTIVITY_STATE) for a move that the table does not know, and Conflict(TRY_AGAIN) when the
    row is no longer as it was read.
    """
    before = activity.state
    if to not in ACTIVITY[before]:
        raise errors.FailedPrecondition("ACTIVITY_STATE", state=before)
    if before == "IN_REVIEW" and to == "DRAFT":
        outdate_audits(activity, activity.digest, why.now)
    changes = {"state": to, "update_time": why.now, "version": activity.version + 1, "lease_until": None, **changes}
    _advance(activity, changes)
    _remember(activity, "ACTIVITY", activity.revision, before, to, why)
    return activity


def revise(activity: Activity, why: Why, **changes: Any) -> Activity:
    """Take a locked activity back to DRAFT because what it shows was edited; a decided one begins a new revision."""
    step = 1 if activity.state in ("APPROVED", "REJECTED") else 0
    return move(activity, "DRAFT", why, revision=activity.revision + step, snapshot=None, digest=None, **changes)


def approve(activity: Activity, audit_id: int, period: tuple[datetime, datetime], why: Why) -> Publication:
    """Publish the snapshot of a locked activity: the new Publication is LIVE, the one before is SUPERSEDED.

    `period` is the claim period as instants, the end exclusive.
    """
    before = publication_of(activity)
    publication = Publication.create(
        uid=new_uid(),
        activity_id=activity.id,
        merchant_id=activity.merchant_id,
        revision=activity.revision,
        state="LIVE",
        digest=activity.digest,
        snapshot=activity.snapshot,
        audit_id=audit_id,
        publish_time=why.now,
        claim_start=period[0],
        claim_end=period[1],
    )
    _index(publication)
    move(activity, "APPROVED", why, publication_id=publication.id, audit_id=audit_id)
    if before is not None and "SUPERSEDED" in PUBLICATION[before.state]:
        move_publication(activity, before, "SUPERSEDED", why)
    _advance(activity, {})
    _remember(activity, "PUBLICATION", publication.revision, "", "LIVE", why)
    catalogue.change()
    return publication


def move_publication(activity: Activity, publication: Publication, to: str, why: Why) -> Publication:
    """Move a publication of a locked activity; errors as in move()."""
    before = publication.state
    if to not in PUBLICATION[before]:
        raise errors.FailedPrecondition("ACTIVITY_STATE", state=before)
    changed = (
        Publication.update(state=to, version=Publication.version + 1)
        .where(Publication.id == publication.id, Publication.state == before)
        .execute()
    )
    if changed != 1:
        raise errors.Conflict("TRY_AGAIN")
    publication.state = to
    if not PUBLICATION[to]:
        outdate_audits(activity, publication.digest, why.now)
    _advance(activity, {})
    _remember(activity, "PUBLICATION", publication.revision, before, to, why)
    catalogue.change()
    return publication


def outdate_audits(activity: Activity, digest: str | None, now: datetime) -> None:
    """Nobody has to decide about this snapshot of a locked activity any more: its OPEN audits are STALE."""
    Audit.update(state="STALE", stale_time=now).where(
        Audit.activity_id == activity.id, Audit.digest == digest, Audit.state == "OPEN"
    ).execute()


def point_to_audit(activity: Activity, audit_id: int) -> None:
    """Let a locked activity IN_REVIEW wait for another audit of the same submission: no change of its state."""
    Activity.update(audit_id=audit_id).where(Activity.id == activity.id).execute()
    activity.audit_id = audit_id


def publication_of(activity: Activity) -> Publication | None:
    """The publication that customers see or saw last."""
    return None if activity.publication_id is None else Publication.get_by_id(activity.publication_id)


def _advance(activity: Activity, changes: dict[str, Any]) -> None:
    """Hand out the activity's next sequence number, with `changes`; the row must be as it was read."""
    changes = {"sequence": activity.sequence + 1, **changes}
    changed = (
        Activity.update(**changes)
        .where(Activity.id == activity.id, Activity.sequence == activity.sequence, Activity.version == activity.version)
        .execute()
    )
    if changed != 1:
        raise errors.Conflict("TRY_AGAIN")
    for column, value in changes.items():
        setattr(activity, column, value)


def _remember(activity: Activity, subject: str, revision: int, before: str, after: str, why: Why) -> None:
    Transition.insert(
        activity_id=activity.id,
        sequence=activity.sequence,
        subject=subject,
        revision=revision,
        from_state=before,
        to_state=after,
        time=why.now,
        actor_role=why.actor.role,
        actor=why.actor.who,
        reason=why.reason,
    ).execute()


def _index(publication: Publication) -> None:
    """Make a new publication findable by its stores and its pictures."""
    stores = publication.snapshot.get("stores", [])
    uids = [store["name"].removeprefix("stores/") for store in stores]
    ids = {row.uid: row.id for row in Store.select(Store.id, Store.uid).where(Store.uid.in_(uids))}
    rows = [
        {
            "publication_id": publication.id,
            "store_id": ids[store["name"].removeprefix("stores/")],
            "city": store["city"],
            "category": store["category"],
        }
        for store in stores
    ]
    _insert(PublicationStore, rows)
    pictures = {*publication.snapshot.get("images", [])}
    for store in stores:
        pictures |= {*store.get("images", [])} | {item.get("image", "") for item in store.get("hot_items", [])}
    shown = sorted(picture.removeprefix("images/") for picture in pictures if picture)
    _insert(PublicationImage, [{"image": image, "publication_id": publication.id} for image in shown])


def _insert(table: type[Row], rows: list[dict[str, Any]]) -> None:
    if rows:
        table.insert_many(rows).execute()
