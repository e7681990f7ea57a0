"""Batching: whatever queued up while the last transaction committed becomes the next one; nobody waits for a timer.

The batcher takes decoded commands with their deadlines and gives each caller an outcome. It knows neither the wire
that a command came by nor what it means.
"""

import asyncio
import random
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

from services.chassis import parameters
from services.chassis.errors import Conflict, DeadlinePassed, Error, Exhausted, Unavailable
from services.chassis.script import DuplicateKey, Script

C = TypeVar("C")
R = TypeVar("R")
T = TypeVar("T")

# Past this a transaction only gets longer for everybody in it.
MOST = 64
# How many turns of the loop without a newcomer end a crowd: some hundred microseconds, and where a turn takes long no
# more than this. One caller alone waits for none.
_QUIET_TURNS = 16
_QUIET_SECONDS = 0.002
# Each try may have cost a whole lock wait already, so more of them would outlive the callers' deadlines.
_TRIES = 4
# Whoever is found to be in the way of others gets no more than this besides.
_TRIES_APART = 2
_BACKOFF_SECONDS = 0.02


class Driver(Protocol):
    """What runs a script in one transaction, which is committed when run() returns."""

    async def run(self, script: Script[T]) -> T:
        """The script's result. Raises Conflict if others were in the way, Unavailable if the database or the outcome
        of the COMMIT is lost, DuplicateKey, and whatever the script raises; then nothing more comes of it, and the
        same commands may be run again, which finds those that were committed after all."""

    async def close(self) -> None:
        """Let go of the database."""


class _Waiting(Generic[C, R]):
    """A command, until when it is wanted, and who waits for its outcome."""

    __slots__ = ("answer", "command", "deadline", "tenant")

    def __init__(self, command: C, tenant: str, deadline: float, answer: "asyncio.Future[R]") -> None:
        self.command, self.tenant, self.deadline, self.answer = command, tenant, deadline, answer

    def is_wanted(self, now: float) -> bool:
        """Whether somebody still waits; whose deadline has passed is told so."""
        if self.answer.done():
            return False
        if now < self.deadline:
            return True
        self.answer.set_exception(DeadlinePassed("DEADLINE_PASSED"))
        return False

    def settle(self, outcome: R | Error) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Error):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Lane(Generic[C, R]):
    """The queue of one kind of commands, fair between tenants: each gets its turn, however long the others' queues."""

    def __init__(self, decide: Callable[[Sequence[C]], Script[list[R | Error]]], wake: Callable[[], None]) -> None:
        self.decide = decide
        self._wake = wake
        self._queues: OrderedDict[str, deque[_Waiting[C, R]]] = OrderedDict()
        self._length = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __len__(self) -> int:
        return self._length

    async def submit(self, command: C, tenant: str, deadline: float) -> R:
        """The command's outcome once it is committed; raises its refusal.

        `deadline` is of time.monotonic(); a command that was not begun by then, or whose caller is cancelled, never
        runs. Raises Exhausted(QUEUE_FULL) to who has more than a fair share of a full queue, DeadlinePassed, and what
        Driver.run() raises once trying again is useless; Unavailable(SERVER_DRAINING) once the batcher closes.
        """
        queue = self._queues.get(tenant)
        limit = parameters.current().queue_limit
        if self._length >= limit and len(queue or ()) * max(1, len(self._queues)) >= limit:
            raise Exhausted("QUEUE_FULL")
        self._wake()
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if queue is None:
            queue = self._queues[tenant] = deque()
        queue.append(_Waiting(command, tenant, deadline, answer))
        self._length += 1
        return await answer

    def take(self, most: int) -> list[_Waiting[C, R]]:
        """The next commands that somebody still waits for, at most so many, one of each tenant in turn."""
        now = time.monotonic()
        taken: list[_Waiting[C, R]] = []
        while self._queues and len(taken) < most:
            tenant, queue = self._queues.popitem(last=False)
            waiting = queue.popleft()
            self._length -= 1
            if queue:
                self._queues[tenant] = queue
            if waiting.is_wanted(now):
                taken.append(waiting)
        return taken


class Batcher:
    """The one writer of a database's hot rows in this process: one transaction at a time, of all who wait."""

    def __init__(self, driver: Driver, most: int = MOST) -> None:
        self._driver = driver
        self._most = most
        self._lanes: list[Lane[Any, Any]] = []
        self._work: asyncio.Task[None] | None = None
        self._is_closing = False

    def lane(self, decide: Callable[[Sequence[C]], Script[list[R | Error]]]) -> Lane[C, R]:
        """The queue of commands that `decide` makes a script of; it gives each command's outcome, in their order."""
        lane = Lane(decide, self._begin)
        self._lanes.append(lane)
        return lane

    async def close(self) -> None:
        """Settle what is queued, then let go of the database; if that is away, nobody waits for its return."""
        self._is_closing = True
        if self._work is not None:
            # Whoever gives up waiting for it must not end it.
            await asyncio.wait([self._work])
        await self._driver.close()

    def _begin(self) -> None:
        if self._is_closing:
            raise Unavailable("SERVER_DRAINING", retry_after=1.0)
        if self._work is None:
            self._work = asyncio.create_task(self._until_nobody_waits(), context=Context())

    async def _until_nobody_waits(self) -> None:
        try:
            is_crowd = False
            while any(self._lanes):
                if is_crowd:
                    await self._gather()
                is_crowd = False
                for lane, batch in self._batches():
                    is_crowd = is_crowd or len(batch) > 1
                    await self._settle(lane, batch)
        finally:
            self._work = None

    async def _gather(self) -> None:
        """Let those come who are on their way: one arrives in a turn of the loop, and a transaction of few costs nearly
        what one of many does. It ends when nobody comes any more, or half a batch waits: the others are unpacked while
        that half commits."""
        turns, since, waiting = 0, time.monotonic(), sum(map(len, self._lanes))
        while turns < _QUIET_TURNS and time.monotonic() < since + _QUIET_SECONDS and waiting < self._most // 2:
            await asyncio.sleep(0)
            before, waiting, turns = waiting, sum(map(len, self._lanes)), turns + 1
            if waiting > before:
                turns, since = 0, time.monotonic()

    def _batches(self) -> Iterator[tuple[Lane[Any, Any], list[_Waiting[Any, Any]]]]:
        for lane in self._lanes:
            batch = lane.take(self._most) if lane else []
            if batch:
                yield lane, batch

    async def _settle(self, lane: Lane[C, R], batch: list[_Waiting[C, R]], tries: int = _TRIES) -> None:
        """Run the batch until each command has its outcome; one that breaks it is found by running them singly, and a
        tenant whose rows are locked elsewhere by running each tenant's apart."""
        for tries_left in reversed(range(tries)):
            try:
                outcomes = await self._driver.run(_complete(lane.decide, [one.command for one in batch]))
            except (Conflict, Unavailable, DuplicateKey) as error:
                if not tries_left or self._is_lost(error):
                    return await self._give_up(lane, batch, error)
                if isinstance(error, Conflict) and len({one.tenant for one in batch}) > 1:
                    return await self._settle_apart(lane, batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, it costs the command it came from only.
                return await self._give_up(lane, batch, error)
            else:
                for one, outcome in zip(batch, outcomes, strict=True):
                    one.settle(outcome)
                return None
            await asyncio.sleep(random.uniform(0, _BACKOFF_SECONDS * 2 ** (tries - tries_left)))
            now = time.monotonic()
            batch = [one for one in batch if one.is_wanted(now)]
            if not batch:
                return None
        raise AssertionError("the last try returns")

    async def _settle_apart(self, lane: Lane[C, R], batch: list[_Waiting[C, R]]) -> None:
        for tenant in dict.fromkeys(one.tenant for one in batch):
            now = time.monotonic()
            theirs = [one for one in batch if one.tenant == tenant and one.is_wanted(now)]
            if theirs:
                await self._settle(lane, theirs, _TRIES_APART)

    async def _give_up(self, lane: Lane[C, R], batch: list[_Waiting[C, R]], error: Exception) -> None:
        if len(batch) > 1 and not isinstance(error, Conflict | Unavailable):
            for one in batch:
                if one.is_wanted(time.monotonic()):
                    await self._settle(lane, [one])
        else:
            rest = [one for lane in self._lanes for one in lane.take(sys.maxsize)] if self._is_lost(error) else []
            for one in (*batch, *rest):
                one.fail(error)

    def _is_lost(self, error: Exception) -> bool:
        return self._is_closing and isinstance(error, Unavailable)


def _complete(
    decide: Callable[[Sequence[C]], Script[list[R | Error]]], commands: Sequence[C]
) -> Script[list[R | Error]]:
    """The script that `decide` makes of the commands; undone if it leaves one of them without its outcome."""
    statements, outcomes = yield from decide(commands)
    if len(outcomes) != len(commands):
        raise RuntimeError(f"{len(outcomes)} outcomes of {len(commands)} commands")
    return statements, outcomes
