"""Batching on both databases, by puts into a till instead of the ledger's commands."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from services.chassis import parameters
from services.chassis.batching import Batcher, Lane
from services.chassis.database import Database
from services.chassis.errors import Conflict, DeadlinePassed, Error, Exhausted, FailedPrecondition, Unavailable
from services.chassis.script import DuplicateKey, Ending, RowsMissed, Script, Statement, step
from tests.chassis.till import Flaw, Put, Rival, ids, opened, rivalling, until

T = TypeVar("T")

PATIENCE_SECONDS = 30.0


@pytest.fixture
def rival(empty_url: str, empty: Database) -> Iterator[Rival]:
    """`empty` has the till's tables, and somebody else uses them too."""
    with rivalling(empty_url) as other:
        yield other


@pytest.fixture
def short_queue() -> Iterator[None]:
    old = parameters.swap(replace(parameters.current(), queue_limit=8))
    yield
    parameters.swap(old)


def puts(*names: str) -> list[Put]:
    return [Put(name) for name in names]


def numbered(count: int, prefix: str = "p") -> list[Put]:
    return [Put(f"{prefix}{number}") for number in range(count)]


# Who runs when


def test_a_lone_command_runs_at_once(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            (task,) = counter.begin(Put("a"))
            # One turn of the loop for its caller, one for the worker: no timer.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert counter.driver.passed == 1
            assert await task == ("a", 1)

    asyncio.run(main())
    assert rival.entries() == {"a": 1}


def test_what_queued_while_a_transaction_ran_is_the_next_one_64_at_most(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            first = counter.begin(Put("first"))
            await until(lambda: counter.driver.waiting == 1)
            rest = counter.begin(*numbered(150))
            await asyncio.sleep(0)
            counter.driver.open()
            outcomes = await asyncio.gather(*first, *rest)
            assert outcomes == [("first", 1), *((put.id, 1) for put in numbered(150))]
            everybody = ids(numbered(150))
            assert counter.till.runs == [["first"], everybody[:64], everybody[64:128], everybody[128:]]

    asyncio.run(main())
    assert len(rival.entries()) == 151


def test_two_lanes_take_turns(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty, most=2) as counter:
            other = counter.batcher.lane(counter.till.putting)
            counter.driver.shut()
            left = counter.begin(*puts("l1", "l2", "l3", "l4"))
            right = [asyncio.create_task(other.submit(put, "one", float("inf"))) for put in puts("r1", "r2", "r3")]
            await asyncio.sleep(0)
            counter.driver.open()
            await asyncio.gather(*left, *right)
            assert counter.till.runs == [["l1", "l2"], ["r1", "r2"], ["l3", "l4"], ["r3"]]

    asyncio.run(main())
    assert len(rival.entries()) == 7


# What one costs the others


def test_a_refusal_and_a_replay_cost_their_own_callers_only(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            assert await counter.put(Put("old", 7)) == [("old", 7)]
            outcomes = await counter.put(
                Put("a"), Put("b", flaw="refused"), Put("old", 9), Put("c", 2), Put("c", 3), Put("d")
            )
            refusal = outcomes.pop(1)
            assert isinstance(refusal, FailedPrecondition)
            assert outcomes == [("a", 1), ("old", 7), ("c", 2), ("c", 2), ("d", 1)]
            assert len(counter.till.runs) == 2

    asyncio.run(main())
    assert rival.entries() == {"old": 7, "a": 1, "c": 2, "d": 1}


@pytest.mark.parametrize(
    ("flaw", "told"),
    [
        ("raises", ZeroDivisionError),
        # Its own, which is no sign of a database that hangs.
        ("times out", TimeoutError),
        ("bad sql", Exception),
        ("bad sql at the end", Exception),
        ("misses", RowsMissed),
        ("twice", DuplicateKey),
        ("too few", RuntimeError),
        ("too many", RuntimeError),
    ],
)
def test_a_poisoned_command_fails_alone_and_leaves_nothing(
    empty: Database, rival: Rival, flaw: Flaw, told: type[Exception]
) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            poisoned = Put("poison", flaw=flaw)
            async with asyncio.timeout(10):
                *before, error, after = await counter.put(*puts("a", "b"), poisoned, Put("c"))
            assert isinstance(error, told)
            assert (before, after) == ([("a", 1), ("b", 1)], ("c", 1))
            assert await counter.put(Put("d")) == [("d", 1)]

    asyncio.run(main())
    assert rival.entries() == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_command_that_is_poisoned_alone_fails_alone(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            (error,) = await counter.put(Put("poison", flaw="raises"))
            assert isinstance(error, ZeroDivisionError)
            assert len(counter.till.runs) == 1

    asyncio.run(main())
    assert rival.entries() == {}


# Deadlines and callers who go


def test_a_command_whose_deadline_passed_in_the_queue_never_runs(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            first = counter.begin(Put("first"))
            await until(lambda: counter.driver.waiting == 1)
            late = counter.begin(Put("late"), deadline=time.monotonic() + 0.05)
            patient = counter.begin(Put("patient"))
            end = time.monotonic() + 0.05
            await until(lambda: time.monotonic() > end)
            counter.driver.open()
            with pytest.raises(DeadlinePassed):
                await late[0]
            assert await asyncio.gather(*first, *patient) == [("first", 1), ("patient", 1)]
            assert counter.till.runs == [["first"], ["patient"]]

    asyncio.run(main())
    assert "late" not in rival.entries()


def test_a_command_whose_caller_was_cancelled_in_the_queue_never_runs(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            first = counter.begin(Put("first"))
            await until(lambda: counter.driver.waiting == 1)
            gone, patient = counter.begin(*puts("gone", "patient"))
            await asyncio.sleep(0)
            gone.cancel()
            counter.driver.open()
            assert await asyncio.gather(*first, patient) == [("first", 1), ("patient", 1)]
            assert gone.cancelled()
            assert counter.till.runs == [["first"], ["patient"]]

    asyncio.run(main())
    assert "gone" not in rival.entries()


def test_what_is_cancelled_or_expires_while_its_transaction_runs_is_committed(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            loop = asyncio.get_running_loop()
            gone, patient = counter.begin(*puts("gone", "patient"))
            (late,) = counter.begin(Put("late"), deadline=time.monotonic() + 0.05)
            overdue = time.monotonic() + 0.06

            def overtake() -> None:
                loop.call_soon_threadsafe(gone.cancel)
                time.sleep(max(0.0, overdue - time.monotonic()))

            counter.till.meanwhile = [overtake]
            assert [await patient, await late] == [("patient", 1), ("late", 1)]
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert await counter.put(Put("next")) == [("next", 1)]

    asyncio.run(main())
    assert sorted(rival.entries()) == ["gone", "late", "next", "patient"]


# The queue


def test_a_full_queue_refuses_who_has_more_than_a_fair_share(empty: Database, rival: Rival, short_queue: None) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            first = counter.begin(Put("first"))
            await until(lambda: counter.driver.waiting == 1)
            crowd = counter.begin(*numbered(10), tenant="crowd")
            await asyncio.sleep(0)
            shops = counter.begin(*numbered(6, "q"), tenant="shop")
            await asyncio.sleep(0)
            counter.driver.open()
            told = await asyncio.gather(*crowd, *shops, return_exceptions=True)
            refused = [one for one in told if isinstance(one, Exhausted)]
            assert [(one.reason, one.retry_after) for one in refused] == [("QUEUE_FULL", 1.0)] * 4
            # The crowd got the whole queue of 8, the shop the half of it that is fair, whoever came first.
            assert [isinstance(one, Exhausted) for one in told] == [False] * 8 + [True] * 2 + [False] * 4 + [True] * 2
            await asyncio.gather(*first)
            assert await counter.put(Put("next"), tenant="crowd") == [("next", 1)]

    asyncio.run(main())
    assert len(rival.entries()) == 1 + 8 + 4 + 1


def test_a_crowd_at_one_merchant_keeps_no_other_waiting_longer_than_a_batch(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            first = counter.begin(Put("first"), tenant="crowd")
            await until(lambda: counter.driver.waiting == 1)
            crowd = counter.begin(*numbered(1000), tenant="crowd")
            await asyncio.sleep(0)
            (lone,) = counter.begin(Put("lone"), tenant="shop")
            await asyncio.sleep(0)
            counter.driver.open()
            assert await lone == ("lone", 1)
            assert "lone" in counter.till.runs[1]
            assert len(counter.till.runs[1]) == 64
            await asyncio.gather(*first, *crowd)

    asyncio.run(main())
    assert len(rival.entries()) == 1002


# The end


def test_closing_settles_what_is_queued_and_refuses_what_comes_later(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            tasks = counter.begin(*numbered(100))
            await until(lambda: counter.driver.waiting == 1)
            closing = asyncio.create_task(counter.batcher.close())
            await asyncio.sleep(0)
            late = await counter.put(Put("late"))
            assert isinstance(late[0], Unavailable)
            assert late[0].reason == "SERVER_DRAINING"
            counter.driver.open()
            await closing
            assert [task.done() for task in tasks] == [True] * 100
            assert await asyncio.gather(*tasks) == [(put.id, 1) for put in numbered(100)]
            (later,) = await counter.put(Put("later"))
            assert isinstance(later, Unavailable)

    asyncio.run(main())
    assert len(rival.entries()) == 100


def test_closing_that_is_given_up_leaves_nobody_without_an_answer(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty) as counter:
            counter.driver.shut()
            tasks = counter.begin(*numbered(3))
            await until(lambda: counter.driver.waiting == 1)
            closing = asyncio.create_task(counter.batcher.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            counter.driver.open()
            async with asyncio.timeout(10):
                assert await asyncio.gather(*tasks) == [(put.id, 1) for put in numbered(3)]

    asyncio.run(main())
    assert len(rival.entries()) == 3


def test_a_tenant_whose_rows_are_locked_elsewhere_keeps_nobody_else_from_an_outcome() -> None:
    locked = "A"

    class Contended:
        """Where whoever touches the locked tenant's rows is told to try again."""

        async def run(self, script: Script[T]) -> T:
            asked = step(script, None)
            assert not isinstance(asked, Ending)
            if any(one.sql == locked for one in asked):
                raise Conflict("TRY_AGAIN")
            ended = step(script, [])
            assert isinstance(ended, Ending)
            return ended.result

        async def close(self) -> None:
            pass

    def decide(commands: Sequence[str]) -> Script[list[str | Error]]:
        yield [Statement(command) for command in commands]
        return [], [*commands]

    async def go() -> list[str | BaseException]:
        batcher = Batcher(Contended())
        lane: Lane[str, str] = batcher.lane(decide)
        end = time.monotonic() + PATIENCE_SECONDS
        asked = [lane.submit(tenant, tenant, end) for tenant in "ABCD" * 8]
        told = await asyncio.gather(*asked, return_exceptions=True)
        await batcher.close()
        return told

    told = asyncio.run(go())
    assert [one for one in told if isinstance(one, str)] == [*"BCD" * 8]
    assert [type(one) for one in told if not isinstance(one, str)] == [Conflict] * 8
