"""Judges again, after the head changed, what was judged before: one worker at a time, which another can go on for.

Each decision is committed together with the place that the worker has come to, and only while the worker still has the
rollout to itself: whoever is killed, paused or superseded in between leaves nothing half done or done twice.
"""

from datetime import datetime, timedelta
from typing import Any

import peewee

from services.audit import gauges, walk
from services.audit.cases import Judged, Moved, move_publication
from services.audit.domain import TRIES, settle
from services.audit.engine import Engine
from services.audit.pictures.readings import Unread
from services.audit.yielding import yielding
from services.chassis import database, errors, logs, parameters
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Publication, Rollout

_MACHINE = Actor("SERVICE")
# One job of the pool, so that others get their turn in between: some milliseconds each.
_BATCH = 10

_log = logs.of("audit")


class Lost(Exception):
    """The rollout is another worker's, or over."""


def take(worker: str, now: datetime) -> int | None:
    """Get the running rollout for one worker to itself, if nobody has it; returns its id. Opens its own write()."""
    rollout = Rollout.select().where(Rollout.state == "RUNNING").order_by(Rollout.id.desc()).first()
    if rollout is None:
        return None
    if rollout.worker != worker and rollout.lease_until is not None and rollout.lease_until > now:
        return None
    is_new = rollout.lease_until is None
    changes = {"total_count": walk.count(now)} if is_new else {}
    as_it_was = Rollout.lease_until.is_null() if is_new else Rollout.lease_until == rollout.lease_until
    with database.write():
        taken = (
            Rollout.update(worker=worker, lease_until=_lease(now), **changes)
            .where(Rollout.id == rollout.id, Rollout.state == "RUNNING", Rollout.worker == rollout.worker, as_it_was)
            .execute()
        )
    # A lease that is renewed within one microsecond changes nothing, and MariaDB then counts no row.
    return rollout.id if taken or (rollout.worker == worker and rollout.lease_until == _lease(now)) else None


def go_on(rollout_id: int, worker: str, engine: Engine, now: datetime, *, waits: bool = True) -> bool:
    """Judge the next few of a rollout that this worker has taken; False once there is nothing left for it to do.

    Raises Unread for pictures of a submission that must be read before it can go on, unless it `waits` for none: then
    such a submission stays as it is.
    """
    rollout = Rollout.get_by_id(rollout_id)
    if rollout.state != "RUNNING" or rollout.worker != worker:
        return False
    ids = walk.next_ids(rollout.stage, rollout.done_id, _BATCH, now)
    try:
        with yielding():
            for row_id in ids:
                _judge(rollout, row_id, engine, now, waits=waits)
        if not ids:
            _end_stage(rollout, now)
    except Lost:
        return False
    return rollout.state == "RUNNING"


def _judge(rollout: Rollout, row_id: int, engine: Engine, now: datetime, *, waits: bool) -> None:
    for _ in range(TRIES):
        try:
            judged = _judged(rollout, row_id, engine, now)
        except (peewee.PeeweeException, Lost):
            raise
        except Exception as error:
            if waits and isinstance(error, Unread):
                raise
            # One snapshot that cannot be judged must not keep the others waiting.
            _log.exception("reaudit_failed", {"stage": rollout.stage, "id": row_id})
            _advance(rollout, row_id, "failed", now)
            return
        try:
            _settle(rollout, row_id, judged, now)
        except (Moved, errors.Error):
            # Edited, decided or deleted meanwhile: look again.
            continue
        return
    _log.warning("reaudit_failed", {"stage": rollout.stage, "id": row_id})
    _advance(rollout, row_id, "failed", now)


def _judged(rollout: Rollout, row_id: int, engine: Engine, now: datetime) -> Judged | None:
    """What the rollout's lexicon makes of it; None if that is known already, or nothing is to be judged."""
    case = walk.case_of(rollout.stage, row_id)
    if case is None:
        return None
    if case.publication_id is not None:
        activity_id = Publication.get_by_id(case.publication_id).activity_id
        last = walk.last_audit(activity_id, case.digest)
        if last is not None and last.lexicon_release == rollout.release and last.state != "STALE":
            return None
    # Nothing is published before its pictures are read. What is public already is judged by what is known of them: at a
    # second a picture, a bad word would otherwise stay until all others' pictures are read.
    judged = Judged.of(case, engine, now, waits=case.publication_id is None)
    if judged.judgement.release != rollout.release:
        raise Lost
    return judged


def _settle(rollout: Rollout, row_id: int, judged: Judged | None, now: datetime) -> None:
    outcome = ""
    with database.write():
        if judged is not None:
            outcome = _carry_out(rollout, judged, now)
        _put_down(rollout, row_id, outcome, now)
    _tell(outcome)


def _advance(rollout: Rollout, row_id: int, outcome: str, now: datetime) -> None:
    with database.write():
        _put_down(rollout, row_id, outcome, now)
    _tell(outcome)


def _carry_out(rollout: Rollout, judged: Judged, now: datetime) -> str:
    """Do what the judgement says; returns what came of it, "" if nothing changed."""
    if judged.case.publication_state == "SUSPENDED":
        return _restore(rollout, judged, now)
    audit = settle(judged, Why(_MACHINE, now, judged.reason()))
    if judged.case.publication_id is not None:
        return {"REJECT": "suspended", "REVIEW": "review"}.get(audit.decision, "")
    decided = {"PASS": "published", "REJECT": "rejected"}
    return "review" if audit.state == "OPEN" else decided[audit.decision]


def _restore(rollout: Rollout, judged: Judged, now: datetime) -> str:
    """Let a publication that the machine suspended be LIVE again, unless this lexicon rejects it too."""
    activity, publication = judged.case.standing()
    judged.must_hold()
    before = walk.machines(activity.id, judged.case.digest)
    if before is None or publication is None:
        raise Moved
    if judged.judgement.decision == "REJECT":
        return ""
    judged.record(activity, publication.revision, now, appeal=before.appeal, appeal_time=before.appeal_time)
    move_publication(activity, publication, "LIVE", Why(_MACHINE, now, rollout.reason))
    return "restored"


def _put_down(rollout: Rollout, row_id: int, outcome: str, now: datetime) -> None:
    """The place that was reached, with what came of it; Lost unless the rollout is still this worker's."""
    changes: dict[str, Any] = {"done_id": row_id, "judged_count": Rollout.judged_count + 1, "lease_until": _lease(now)}
    if outcome:
        changes[f"{outcome}_count"] = getattr(Rollout, f"{outcome}_count") + 1
    _change(rollout, changes)
    rollout.done_id = row_id


def _end_stage(rollout: Rollout, now: datetime) -> None:
    left = walk.STAGES[walk.STAGES.index(rollout.stage) + 1 :]
    changes = {"stage": left[0], "done_id": 0} if left else {"state": "DONE", "end_time": now}
    with database.write():
        _change(rollout, changes)
    for column, value in changes.items():
        setattr(rollout, column, value)
    if not left:
        _log.info("reaudit_done", {"rollout": rollout.uid, "release": rollout.release})


def _change(rollout: Rollout, changes: dict[str, Any]) -> None:
    is_its = (Rollout.state == "RUNNING", Rollout.worker == rollout.worker, Rollout.done_id == rollout.done_id)
    if Rollout.update(**changes).where(Rollout.id == rollout.id, *is_its).execute() != 1:
        raise Lost


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=parameters.current().reaudit_lease_seconds)


def _tell(outcome: str) -> None:
    gauges.REAUDITED.labels(outcome or "unchanged").inc()
