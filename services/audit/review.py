"""What people decide about audits, and what merchants say against a rejection."""

from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.audit.cases import Case, Judged, Moved, move_publication, publish
from services.audit.domain import TRIES, find
from services.audit.engine import Engine
from services.audit.views import audit_view
from services.chassis import database, errors
from services.chassis.call import Call
from services.schema import access, lifecycle, replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Activity, Audit, Merchant, Publication, Ruling


def resolve_audit(call: Call, plain: dict[str, Any], engine: Engine, now: datetime) -> dict[str, Any]:
    """Decide an OPEN audit: plain["decision"] PASS or REJECT, bound to plain["digest"], with plain["reason"].

    A PASS keeps the terms that were found passing on this digest. If another lexicon release decides by now, it counts
    only when that one finds nothing beyond them; else AUDIT_STALE, and AuditActivity makes a new audit to decide.
    Raises NotFound; FailedPrecondition: AUDIT_NOT_OPEN, AUDIT_STALE; Conflict(TRY_AGAIN).
    """
    for _ in range(TRIES):
        audit = find(call, plain["name"])
        activity = _activity_of(audit)
        tenant = Merchant.get_by_id(audit.merchant_id).uid
        if replay.first(call, tenant) is None:
            judged = _judged_anew(audit, activity, engine, now) if plain["decision"] == "PASS" else None
            try:
                _resolve(call, tenant, plain, audit, judged, now)
            except Moved:
                continue
        return audit_view(Audit.get_by_id(audit.id))
    raise errors.Conflict("TRY_AGAIN")


def appeal_audit(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Ask a person to look at the machine's REJECT, once, with plain["reason"].

    Raises NotFound; FailedPrecondition: AUDIT_NOT_OPEN, AUDIT_STALE.
    """
    audit = find(call, plain["name"])
    tenant = Merchant.get_by_id(audit.merchant_id).uid

    def command() -> str:
        activity, fresh = _locked(audit)
        if fresh.state in ("OPEN", "RESOLVED") or fresh.decision != "REJECT" or fresh.appeal_time is not None:
            raise errors.FailedPrecondition("AUDIT_NOT_OPEN")
        is_submission, publication = _subject(activity, fresh)
        if is_submission and activity.state == "REJECTED":
            lifecycle.move(activity, "IN_REVIEW", Why(Actor.of(call), now, plain["reason"]))
        elif publication is None or publication.state != "SUSPENDED":
            raise errors.FailedPrecondition("AUDIT_STALE")
        _change(fresh, "DECIDED", state="OPEN", appeal=plain["reason"], appeal_time=now)
        return str(fresh.uid)

    with database.write():
        replay.once(call, tenant, command, now)
    return audit_view(Audit.get_by_id(audit.id))


def _judged_anew(audit: Audit, activity: Activity, engine: Engine, now: datetime) -> Judged | None:
    """The audited snapshot without the terms that were found in it; None when it stands nowhere any more."""
    publication = lifecycle.publication_of(activity)
    snapshot = next((row.snapshot for row in (activity, publication) if row and row.digest == audit.digest), None)
    if snapshot is None:
        return None
    case = Case(activity.uid, activity.state, audit.digest, snapshot)
    return Judged.of(case, engine, now, {finding["term"] for finding in audit.findings})


def _resolve(
    call: Call, tenant: str, plain: dict[str, Any], audit: Audit, judged: Judged | None, now: datetime
) -> None:
    def command() -> str:
        activity, fresh = _locked(audit)
        if fresh.state in ("DECIDED", "RESOLVED"):
            raise errors.FailedPrecondition("AUDIT_NOT_OPEN")
        is_submission, publication = _subject(activity, fresh)
        if plain["digest"] != fresh.digest:
            raise errors.FailedPrecondition("AUDIT_STALE")
        _change(
            fresh,
            "OPEN",
            state="RESOLVED",
            decision=plain["decision"],
            resolve_time=now,
            resolution=plain["reason"],
            resolver=call.actor,
        )
        if plain["decision"] == "PASS":
            _rule(fresh, judged, now)
        _carry_out(activity, fresh, is_submission, publication, Why(Actor.of(call), now, plain["reason"]))
        return str(fresh.uid)

    with database.write():
        replay.once(call, tenant, command, now)


def _locked(audit: Audit) -> tuple[Activity, Audit]:
    """The audit's activity, locked, and the audit as it stands under that lock, which every change of it holds."""
    activity = lifecycle.lock(_activity_of(audit).uid)
    return activity, Audit.get_by_id(audit.id)


def _activity_of(audit: Audit) -> Activity:
    activity = Activity.get_or_none(Activity.id == audit.activity_id)
    if activity is None:  # Deleted just now, and the audit with it.
        raise access.not_found("audits", audit.uid)
    return activity


def _subject(activity: Activity, audit: Audit) -> tuple[bool, Publication | None]:
    """What the audit decides on: the activity's submission, or its current publication. Raises AUDIT_STALE."""
    if audit.state == "STALE":
        raise errors.FailedPrecondition("AUDIT_STALE")
    is_the_last = activity.audit_id == audit.id and activity.digest == audit.digest
    if is_the_last and activity.state in ("IN_REVIEW", "REJECTED"):
        return True, None
    publication = lifecycle.publication_of(activity)
    is_shown = publication is not None and publication.digest == audit.digest
    if publication is None or not is_shown or publication.state not in ("LIVE", "SUSPENDED"):
        raise errors.FailedPrecondition("AUDIT_STALE")
    return False, publication


def _rule(audit: Audit, judged: Judged | None, now: datetime) -> None:
    """Keep the terms of a PASS; the lexicon that decides now must have nothing to say beyond them."""
    if judged is None:
        raise Moved
    judged.must_hold()
    if judged.judgement.decision != "PASS":
        raise errors.FailedPrecondition("AUDIT_STALE")
    for term in sorted({finding["term"] for finding in audit.findings}):
        try:
            Ruling.create(digest=audit.digest, term=term, audit_id=audit.id, create_time=now)
        except IntegrityError:
            continue  # The same words passed before.


def _carry_out(
    activity: Activity, audit: Audit, is_submission: bool, publication: Publication | None, why: Why
) -> None:
    if is_submission and audit.decision == "PASS":
        publish(activity, audit, why)
    elif is_submission:
        lifecycle.move(activity, "REJECTED", why)
    elif publication is not None:
        to = "LIVE" if audit.decision == "PASS" else "SUSPENDED"
        if publication.state != to:
            move_publication(activity, publication, to, why)


def _change(audit: Audit, before: str, **changes: Any) -> None:
    """Change an audit that is in the state `before`; Conflict(TRY_AGAIN) if it is not."""
    if Audit.update(**changes).where(Audit.id == audit.id, Audit.state == before).execute() != 1:
        raise errors.Conflict("TRY_AGAIN")
    for column, value in changes.items():
        setattr(audit, column, value)
