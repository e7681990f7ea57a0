"""The machine's judgement of what would be published, and who may see it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from services.audit.cases import Case, Judged, Moved, move_publication, publish
from services.audit.engine import Engine
from services.audit.views import audit_view, audit_views, finding_views
from services.chassis import database, errors, paging
from services.chassis.call import Call
from services.chassis.names import uid_of
from services.schema import access, lifecycle, pages, replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Activity, Audit, Merchant

# Each try judges a newer state of things; a merchant who edits faster than this is asked to come back.
TRIES = 5
_ASKED = ("activity", "state", "category", "decision", "lexicon_release", "min_age", "max_age", "order")


def audit_activity(call: Call, plain: dict[str, Any], engine: Engine, now: datetime) -> dict[str, Any]:
    """Judge the pending submission of an activity, else its live publication, and move it by the decision.

    The judging is done outside of the transaction, which then commits only if state, digest and lexicon release are
    those that were judged; else it is done again. Returns the Audit. Raises NotFound, FailedPrecondition
    (ACTIVITY_STATE) when there is nothing to judge, Conflict(TRY_AGAIN).
    """
    for _ in range(TRIES):
        activity = access.activity(call, plain["activity"], "activity")
        tenant = Merchant.get_by_id(activity.merchant_id).uid
        uid = replay.first(call, tenant)
        if uid is None:
            judged = Judged.of(Case.of(activity), engine, now)
            try:
                uid = decide(call, tenant, judged, now)
            except Moved:
                continue
        return audit_view(Audit.get(Audit.uid == uid))
    raise errors.Conflict("TRY_AGAIN")


def decide(call: Call, tenant: str, judged: Judged, now: datetime) -> str:
    """Write a judgement down and move what it is about; returns the audit's uid. Raises Moved."""

    def command() -> str:
        return str(settle(judged, Why(Actor.of(call), now, judged.reason())).uid)

    with database.write():
        uid, _ = replay.once(call, tenant, command, now)
    return uid


def settle(judged: Judged, why: Why) -> Audit:
    """Write a judgement of a submission or of a LIVE publication down, and move it; within a write(). Raises Moved."""
    activity, publication = judged.case.standing()
    judged.must_hold()
    if publication is not None:
        audit = judged.record(activity, publication.revision, why.now)
        if audit.decision == "REJECT":
            move_publication(activity, publication, "SUSPENDED", why)
    elif activity.state == "IN_REVIEW":
        audit = _again(activity, judged, why)
    else:
        audit = judged.record(activity, activity.revision, why.now)
        _submitted(activity, audit, why)
    return audit


def _submitted(activity: Activity, audit: Audit, why: Why) -> None:
    if audit.decision == "PASS":
        publish(activity, audit, why)
    else:
        to = "REJECTED" if audit.decision == "REJECT" else "IN_REVIEW"
        lifecycle.move(activity, to, why, audit_id=audit.id)


def _again(activity: Activity, judged: Judged, why: Why) -> Audit:
    """A submission that waits for a person, judged by another release: it may pass now, but only the person rejects."""
    before = Audit.get_by_id(activity.audit_id)
    if before.lexicon_release == judged.judgement.release:
        return before
    kept = {"appeal": before.appeal, "appeal_time": before.appeal_time}
    if judged.judgement.decision == "PASS":
        audit = judged.record(activity, activity.revision, why.now, **kept)
        publish(activity, audit, why)
    else:
        audit = judged.record(activity, activity.revision, why.now, state="OPEN", **kept)
        lifecycle.point_to_audit(activity, audit.id)
    return audit


def get_audit(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The Audit, for its merchant and for operators; else NotFound."""
    return audit_view(find(call, plain["name"]))


def find(call: Call, wire_name: str) -> Audit:
    """The audit of that name, if it is the caller's to see; else NotFound."""
    uid = uid_of("audits", wire_name)
    audit = Audit.get_or_none(Audit.uid == uid)
    if audit is None or not (access.sees_all(call) or access.owns(call, audit.merchant_id)):
        raise access.not_found("audits", uid)
    return audit


def list_audits(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A page of audits, newest first, OPEN ones oldest first, or in plain["order"].

    `plain` filters by activity, state, category, decision and lexicon_release, and by min_age and max_age in seconds.
    """
    asked = {key: plain.get(key) for key in _ASKED}
    page = paging.page_of(plain.get("page_token", ""), plain.get("page_size", 0), call, asked)
    is_queue = asked["order"] == "OLDEST_FIRST" if asked["order"] else asked["state"] == "OPEN"
    query = Audit.select().order_by(Audit.id if is_queue else Audit.id.desc())
    if page.after is not None:
        query = query.where(Audit.id > page.after if is_queue else Audit.id < page.after)
    if not access.sees_all(call):
        query = query.where(Audit.merchant_id << access.merchant_ids(call))
    for condition in _conditions(asked, now):
        query = query.where(condition)
    shown, after = pages.page(query, page.size, Audit.findings)
    return {"audits": audit_views(shown), "next_page_token": paging.token_of(after, call, asked)}


def _conditions(asked: dict[str, Any], now: datetime) -> Iterator[Any]:
    """What audits must be that were asked for."""
    if asked["activity"]:
        uid = uid_of("activities", asked["activity"], "activity")
        yield Audit.activity_id << Activity.select(Activity.id).where(Activity.uid == uid)
    if asked["category"]:
        yield Audit.categories.contains(f",{asked['category']},")
    for name in ("state", "decision", "lexicon_release"):
        if asked[name]:
            yield getattr(Audit, name) == asked[name]
    if asked["min_age"] is not None:
        yield _since(lambda time: time <= now - timedelta(seconds=asked["min_age"]))
    if asked["max_age"] is not None:
        yield _since(lambda time: time >= now - timedelta(seconds=asked["max_age"]))


def _since(holds: Callable[[Any], Any]) -> Any:
    """That the time which an audit's age counts from is such; without COALESCE, which no index would serve."""
    return holds(Audit.appeal_time) | (Audit.appeal_time.is_null() & holds(Audit.create_time))


def check_text(call: Call, plain: dict[str, Any], engine: Engine, now: datetime) -> dict[str, Any]:
    """What the words in plain["text"] would come to; nothing is kept."""
    judgement = engine.judge_text(plain["text"], now)
    return {
        "decision": judgement.decision,
        "findings": finding_views(judgement.findings, {"": plain["text"]}),
        "lexicon_release": judgement.release,
    }
