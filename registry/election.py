"""One of all: who of the processes that stand for a name in the mesh holds it, by a lock in Consul."""

import asyncio
import contextlib
import logging
import random
import time

from registry.consul import CALL_SECONDS, Consul, RegistryAway, pause
from registry.entries import Lock

_log = logging.getLogger("sharemesh.registry")

PREFIX = "sharemesh/elections/"
# Consul takes no less, and ends a session between one and two of these after its last renewal.
TTL_SECONDS = 10
# Three renewals get lost before the session does.
RENEW_SECONDS = 3.0
# Consul keeps what a dead holder held from the others for this long, by default 15 s, lest it should still be at work.
# What is elected here may be done twice for a moment, and had better not be left undone.
LOCK_DELAY_SECONDS = 1
# Who resigns leaves the others this much time: they hear of it at once.
REST_SECONDS = 2.0


class Election:
    """Stands for a name, `who` in words that the others are told, until it is cancelled.

    While Consul is away the holder goes on holding, since nobody else can become it, until Consul says that its session
    is gone. So if Consul is away for the holder alone, there are two for that time: what they do must bear that.
    """

    def __init__(self, consul: Consul, name: str, who: str) -> None:
        self._consul = consul
        self._key = PREFIX + name
        self._who = who
        self._session = ""
        self._lock = Lock()
        # Whether the lock may be another's by now than was read last.
        self._is_stale = True
        self._woken = asyncio.Event()
        self._rests_until = 0.0
        self._complaint = ""

    @property
    def is_held(self) -> bool:
        """Whether it is this one that holds the name."""
        return bool(self._session) and self._lock.session == self._session

    @property
    def holder(self) -> str:
        """Who holds the name, by what was heard last; "": nobody."""
        return self._lock.value

    async def run(self) -> None:
        """Go on for ever; when cancelled, give the name away to whoever stands for it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._wake())
                tasks.create_task(self._stand())
        finally:
            await self._leave()

    def resign(self) -> None:
        """Leave the name to somebody else who stands for it; if nobody does, this one has it again a moment later."""
        self._rests_until = time.monotonic() + REST_SECONDS
        self._woken.set()

    async def _wake(self) -> None:
        async for _ in self._consul.watch_lock(self._key):
            self._is_stale = True
            self._woken.set()

    async def _stand(self) -> None:
        failures = 0
        while True:
            self._woken.clear()
            rest = self._rests_until - time.monotonic()
            if rest > 0:
                await self._leave()
                await asyncio.sleep(rest)
            try:
                await self._look()
            except RegistryAway as error:
                self._is_stale = True
                self._complain(str(error))
                wait = pause(failures)
                failures += 1
            else:
                self._complain("")
                failures = 0
                # Until then the name is kept from everybody, which the watch does not tell the end of.
                wait = (RENEW_SECONDS if self._lock.session else LOCK_DELAY_SECONDS) * random.uniform(0.75, 1.0)
            # asyncio.wait_for() of Python 3.11 loses a cancellation that comes with what it waits for, and what wakes
            # this one comes with others' ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _look(self) -> None:
        """Keep the session, and read the lock if it may have changed: asking costs more than all the rest here."""
        was_held = self.is_held
        if not self._session or not await self._consul.renew(self._session):
            self._session = ""
            self._session = await self._consul.session(self._key, TTL_SECONDS, LOCK_DELAY_SECONDS)
        elif not self._is_stale and self._lock.session:
            return
        # The watch may say otherwise meanwhile.
        self._is_stale = False
        lock = await self._consul.lock(self._key)
        if not lock.session:
            await self._consul.acquire(self._key, self._who, self._session)
            lock = await self._consul.lock(self._key)
        before, self._lock = self._lock, lock
        if lock.value != before.value or self.is_held != was_held:
            _log.info("elected", {"election": self._key, "holder": lock.value, "is_held": self.is_held})

    async def _leave(self) -> None:
        session, is_held = self._session, self.is_held
        self._session, self._lock = "", Lock()
        if not session:
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                if is_held:
                    # First: what a session holds at its end is kept from the others for the delay.
                    await self._consul.release(self._key, session)
                await self._consul.end(session)
        except (RegistryAway, TimeoutError) as error:
            _log.warning("not_released", {"election": self._key, "error": str(error) or "Consul gives no answer"})

    def _complain(self, complaint: str) -> None:
        """Say once that nothing can be done, and why, and once that it can again."""
        if complaint and not self._complaint:
            _log.warning("election_interrupted", {"election": self._key, "error": complaint})
        if self._complaint and not complaint:
            _log.warning("election_resumed", {"election": self._key})
        self._complaint = complaint
