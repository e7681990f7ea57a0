"""Which lexicon decides: releasing one, going back to one, and the history of that with who and why."""

from datetime import datetime
from typing import Any

from services.audit import releases
from services.audit.engine import Engine
from services.chassis import database, errors, paging
from services.chassis.call import Call
from services.chassis.names import name, uid_of
from services.schema import access, replay
from services.schema.tables import LexiconRelease, Rollout


def release_lexicon(call: Call, plain: dict[str, Any], engine: Engine, now: datetime) -> dict[str, Any]:
    """Make the lexicon plain["name"] the head, with plain["reason"]; a Rollout.

    Raises NotFound; Conflict(ETAG_MISMATCH) unless plain["head"], if given, is the head; FailedPrecondition:
    LEXICON_IS_HEAD, LEXICON_UNREADABLE.
    """
    return _change_head(call, plain, "RELEASE", engine, now)


def rollback_lexicon(call: Call, plain: dict[str, Any], engine: Engine, now: datetime) -> dict[str, Any]:
    """Make a lexicon the head again that was it before; a Rollout.

    Raises as release_lexicon(), and FailedPrecondition(LEXICON_NEVER_RELEASED).
    """
    return _change_head(call, plain, "ROLLBACK", engine, now)


def _change_head(call: Call, plain: dict[str, Any], kind: str, engine: Engine, now: datetime) -> dict[str, Any]:
    release = known(plain["name"])
    expected = known(plain["head"], "head") if plain.get("head") else None

    if replay.first(call, "") is None and release != releases.head():
        # Nothing becomes the head that cannot judge; and what can is ready here when it does.
        engine.candidate(release)

    def command() -> str:
        head = releases.locked_head(for_change=True)
        if expected not in (None, head):
            raise errors.Conflict("ETAG_MISMATCH")
        if release == head:
            raise errors.FailedPrecondition("LEXICON_IS_HEAD")
        if kind == "ROLLBACK" and not Rollout.select().where(Rollout.release == release).exists():
            raise errors.FailedPrecondition("LEXICON_NEVER_RELEASED")
        return str(releases.begin(release, kind, now, call.actor, plain["reason"]).uid)

    with database.write():
        uid, _ = replay.once(call, "", command, now)
    return rollout_view(Rollout.get(Rollout.uid == uid))


def known(wire_name: str, field: str = "name") -> str:
    """The release of that name; else NotFound."""
    release = uid_of("lexicons", wire_name, field)
    if not LexiconRelease.select().where(LexiconRelease.release == release).exists():
        raise access.not_found("lexicons", release)
    return release


def get_rollout(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The Rollout as far as it has come; else NotFound."""
    uid = uid_of("rollouts", plain["name"])
    rollout = Rollout.get_or_none(Rollout.uid == uid)
    if rollout is None:
        raise access.not_found("rollouts", uid)
    return rollout_view(rollout)


def list_rollouts(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A page of rollouts, newest first."""
    page = paging.page_of(plain.get("page_token", ""), plain.get("page_size", 0), call, {})
    query = Rollout.select().order_by(Rollout.id.desc()).limit(page.size + 1)
    if page.after is not None:
        query = query.where(Rollout.id < page.after)
    rows = list(query)
    shown = rows[: page.size]
    after = shown[-1].id if len(rows) > page.size else None
    return {"rollouts": [*map(rollout_view, shown)], "next_page_token": paging.token_of(after, call, {})}


def rollout_view(rollout: Rollout) -> dict[str, Any]:
    """In the shape of Rollout."""
    told = ("kind", "state", "actor", "reason", "create_time", "end_time")
    counts = ("total", "judged", "suspended", "restored", "published", "rejected", "review", "failed")
    return {
        "name": name("rollouts", rollout.uid),
        "lexicon": name("lexicons", rollout.release),
        "previous": rollout.previous and name("lexicons", rollout.previous),
        **{key: getattr(rollout, key) for key in told},
        **{f"{key}_count": getattr(rollout, f"{key}_count") for key in counts},
    }
