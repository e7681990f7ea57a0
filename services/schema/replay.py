"""The same request_id, the same outcome: committed outcomes, remembered in the command's own transaction."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from peewee import IntegrityError

from services.chassis import database, errors, parameters
from services.chassis.call import Call
from services.schema.tables import Replay

# Rows deleted in one transaction: few enough that no command waits for it.
_SLICE = 500


def key(call: Call, tenant: str) -> str:
    """What a request_id is unique within: the tenant, who asks, and the RPC. A digest, so that no subject is kept."""
    scope = (tenant, call.principal.role, call.principal.subject, call.rpc, call.request_id)
    return hashlib.sha256("\x00".join(scope).encode()).hexdigest()


def check(call: Call, first: Replay) -> str:
    """The first outcome; raises Invalid(REQUEST_ID_REUSED) if it was another body's."""
    if first.digest != call.digest:
        raise errors.Invalid("REQUEST_ID_REUSED")
    return str(first.outcome)


def first(call: Call, tenant: str) -> str | None:
    """The outcome of this request if it was committed before, for a command that must look before it begins."""
    row = Replay.get_or_none(Replay.key == key(call, tenant))
    return None if row is None else check(call, row)


def once(call: Call, tenant: str, command: Callable[[], str], now: datetime) -> tuple[str, bool]:
    """Run `command` unless this request was committed before; returns its outcome and whether it is a replay.

    Call it inside a write(). The row is inserted before the command runs, so that a second request with the same id
    waits for the first to commit and then finds its outcome; if the command raises, the row goes with the transaction
    and the request is judged anew next time.
    """
    scope = key(call, tenant)
    try:
        Replay.insert(key=scope, digest=call.digest, outcome="", create_time=now).execute()
    except IntegrityError:
        # Only the statement failed, the transaction goes on; at READ COMMITTED it sees the row that made it fail.
        return check(call, Replay.get_by_id(scope)), True
    outcome = command()
    Replay.update(outcome=outcome).where(Replay.key == scope).execute()
    return outcome, False


def forget(now: datetime) -> int:
    """Delete a slice of the outcomes that were kept long enough, in a write() of its own; returns how many.

    A request that old is judged anew. Call it again until it returns 0.
    """
    kept_from = now - timedelta(days=parameters.current().replay_retention_days)
    with database.write():
        old = [row.key for row in Replay.select(Replay.key).where(Replay.create_time < kept_from).limit(_SLICE)]
        return int(Replay.delete().where(Replay.key.in_(old)).execute()) if old else 0
