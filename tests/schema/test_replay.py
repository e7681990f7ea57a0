"""Outcomes are remembered for as long as they are promised to be, and no longer."""

from datetime import UTC, datetime, timedelta

import pytest

from services.chassis import database, errors, parameters
from services.chassis.call import Call, Principal
from services.chassis.database import Database
from services.schema import replay
from services.schema.tables import Replay

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
KEPT = timedelta(days=parameters.Parameters.replay_retention_days)


def call(request_id: str, digest: str = "a" * 64) -> Call:
    return Call(Principal("MERCHANT", "lin"), "EntryService.CreateStore", request_id, digest)


def run_once(one: Call, outcome: str, now: datetime = NOW) -> tuple[str, bool]:
    with database.write():
        return replay.once(one, "merchant", lambda: outcome, now)


def test_a_replay_gets_the_first_outcome_and_runs_nothing(db: Database) -> None:
    assert db.run_here(run_once, call("request-1"), "first") == ("first", False)
    assert db.run_here(run_once, call("request-1"), "second") == ("first", True)


def test_another_body_is_refused_and_a_refusal_is_not_remembered(db: Database) -> None:
    def refused() -> str:
        raise errors.FailedPrecondition("ACTIVITY_ENDED")

    def refuse() -> None:
        with database.write():
            replay.once(call("request-2"), "merchant", refused, NOW)

    with pytest.raises(errors.FailedPrecondition):
        db.run_here(refuse)
    assert db.run_here(run_once, call("request-2"), "now") == ("now", False)
    with pytest.raises(errors.Invalid, match="REQUEST_ID_REUSED"):
        db.run_here(run_once, call("request-2", "b" * 64), "other")


def test_outcomes_are_forgotten_once_they_were_kept_for_their_time(db: Database) -> None:
    for place in range(3):
        db.run_here(run_once, call(f"request-old-{place}"), "old", NOW - KEPT - timedelta(seconds=1))
    db.run_here(run_once, call("request-young"), "young", NOW - KEPT)
    assert db.run_here(replay.forget, NOW) == 3
    assert db.run_here(replay.forget, NOW) == 0
    assert [row.outcome for row in db.run_here(lambda: list(Replay.select()))] == ["young"]
