import asyncio
import time
from typing import Any

from services.chassis.deadlines import Deadlines


async def forever() -> None:
    await asyncio.Event().wait()


async def ended(task: "asyncio.Task[Any]") -> float:
    """When the task was cancelled."""
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()
    return time.monotonic()


def test_each_task_ends_at_its_own_deadline_in_whatever_order_they_were_set() -> None:
    async def main() -> None:
        deadlines, now = Deadlines(), time.monotonic()
        due = [now + seconds for seconds in (0.2, 0.05, 0.12, 0.05)]
        tasks = [asyncio.create_task(forever()) for _ in due]
        for task, end in zip(tasks, due, strict=True):
            deadlines.set(task, end)
        for end, at in zip(due, await asyncio.gather(*(ended(task) for task in tasks)), strict=True):
            assert -0.002 <= at - end < 1
        assert all(deadlines.has_passed(task) for task in tasks)

    asyncio.run(main())


def test_a_cleared_task_goes_on_and_a_later_one_still_ends() -> None:
    async def main() -> None:
        deadlines, now = Deadlines(), time.monotonic()
        spared, late = asyncio.create_task(forever()), asyncio.create_task(forever())
        deadlines.set(spared, now + 0.02)
        deadlines.set(late, now + 0.06)
        assert deadlines.clear(spared)
        await ended(late)
        assert not spared.done()
        assert not deadlines.clear(late)
        spared.cancel()

    asyncio.run(main())


def test_a_deadline_that_has_passed_already_ends_its_task_at_once() -> None:
    async def main() -> None:
        deadlines, task = Deadlines(), asyncio.create_task(forever())
        deadlines.set(task, time.monotonic() - 1)
        await ended(task)

    asyncio.run(main())


def test_the_last_word_on_a_deadline_holds() -> None:
    async def main() -> None:
        deadlines, now = Deadlines(), time.monotonic()
        shorter, longer = asyncio.create_task(forever()), asyncio.create_task(forever())
        deadlines.set(shorter, now + 60)
        deadlines.set(shorter, now + 0.05)
        deadlines.set(longer, now + 0.02)
        deadlines.set(longer, now + 60)
        await ended(shorter)
        assert not longer.done()
        longer.cancel()

    asyncio.run(main())
