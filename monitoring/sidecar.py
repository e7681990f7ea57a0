"""The sidecar's beat: every reader is asked at once, and what it tells goes into the outbox with the beat's clock."""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

import psutil

from monitoring.readings import Rates, Readings, discovery, key

_log = logging.getLogger("sharemesh.monitoring")

# What a version of ours is called where the package is not installed.
_UNKNOWN = "unknown"
# A reader that is asked at the end of the sidecar's life is not waited for longer.
END_SECONDS = 1.0
# A timer may end a moment before the second that it is for has begun.
_EARLY_SECONDS = 0.1


class AlreadyRuns(Exception):
    """Another sidecar of this machine tells for the same Zabbix host; the message says so."""


class Waiting(Protocol):
    """What the outbox knows of itself; totals are since it was opened."""

    waiting: int
    oldest_age_seconds: float
    sent: int
    dropped: int
    refused: int


class Outbox(Protocol):
    """Where values wait for Zabbix."""

    def put(self, host: str, readings: Readings, clock: int) -> None:
        """Keep the readings of one Zabbix host, taken at `clock`, seconds since the epoch."""

    def stats(self) -> Waiting:
        """How many wait, and what became of the others."""


class Source:
    """A reader, the Zabbix host it tells of, and whether it is its turn: of the mesh only one sidecar tells."""

    def __init__(
        self,
        name: str,
        host: str,
        read: Callable[[], Coroutine[Any, Any, Readings]],
        is_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name, self.host, self.read, self.is_on = name, host, read, is_on
        self.task: asyncio.Task[Readings] | None = None
        # Whether it could not be asked, or did not answer, at the last beat.
        self.has_failed = False
        self.complaint = ""


class Sidecar:
    """All sources of one machine; `host` is the machine's own Zabbix host, `beat` seconds lie between two beats.

    `chores` are what goes on for the sources: if one of them ends, so does the sidecar, with what it raised.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        outbox: Outbox,
        host: str,
        beat: float,
        chores: Sequence[asyncio.Task[None]] = (),
    ) -> None:
        self._sources = sources
        self._outbox = outbox
        self._host = host
        self._beat = beat
        self._chores = chores
        self._rates = Rates()
        self._process = psutil.Process()
        self._version = _installed()
        self._took = 0.0

    async def run(self, stopped: asyncio.Event) -> None:
        """Beat until it is told to stop."""
        last = 0
        try:
            while not stopped.is_set():
                for chore in self._chores:
                    if chore.done():
                        chore.result()
                        raise RuntimeError(f"{chore.get_coro()} has ended")
                clock = int(time.time() + _EARLY_SECONDS)
                # The first beat may have come just before its second.
                if clock != last:
                    self.beat(clock)
                last = clock
                # On whole multiples, as Zabbix's own checks are: two beats never fall into one second.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._beat - time.time() % self._beat):
                        await stopped.wait()
        finally:
            await self._end()

    def beat(self, clock: int) -> None:
        """Ask everybody who has answered the last time; who has not is late, and holds up nobody."""
        for source in self._sources:
            if source.task is not None and not source.task.done():
                self._fail(source, "it has not answered since the beat before")
            elif source.is_on():
                source.task = asyncio.create_task(source.read())
                source.task.add_done_callback(partial(self._take, source, clock, time.monotonic()))
            else:
                # Whoever is asked instead may do better.
                source.has_failed, source.complaint = False, ""
        self._outbox.put(self._host, self._own(), clock)

    def _take(self, source: Source, clock: int, begin: float, task: asyncio.Task[Readings]) -> None:
        self._took = max(self._took, time.monotonic() - begin)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # Whatever happens to one reader, the others go on.
            self._fail(source, f"{type(error).__name__}: {error}")
            return
        if source.has_failed:
            _log.warning("reader_back", {"reader": source.name})
        source.has_failed, source.complaint = False, ""
        self._outbox.put(source.host, task.result(), clock)

    def _fail(self, source: Source, complaint: str) -> None:
        if complaint != source.complaint:
            _log.warning("reader_failed", {"reader": source.name, "error": complaint})
        source.has_failed, source.complaint = True, complaint

    def _own(self) -> Readings:
        """How the sidecar itself does: of the time since the last beat."""
        stats, now = self._outbox.stats(), time.monotonic()
        took, self._took = self._took, 0.0
        told: Readings = {
            key("sidecar.alive"): 1,
            key("sidecar.beat"): took,
            key("sidecar.memory"): self._process.memory_info().rss,
            key("sidecar.buffer"): stats.waiting,
            key("sidecar.buffer.age"): stats.oldest_age_seconds,
            key("sidecar.dropped"): stats.dropped,
            key("sidecar.refused"): stats.refused,
            key("sidecar.version"): self._version,
            key("sidecar.reader.discovery"): discovery({"{#READER}": source.name} for source in self._sources),
        }
        for name, count, factor in (("sidecar.values", stats.sent, 1), ("sidecar.cpu", time.process_time(), 100)):
            rate = self._rates.of(name, count, now)
            if rate is not None:
                told[key(name)] = rate * factor
        for source in self._sources:
            told[key("sidecar.failed", source.name)] = int(source.has_failed)
        return told

    async def _end(self) -> None:
        tasks = [source.task for source in self._sources if source.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=END_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def alone(host: str) -> socket.socket:
    """Makes this process the one of this machine that tells for the Zabbix host, for as long as the socket is open.

    The kernel forgets the name with the process, however it ends. Raises AlreadyRuns.
    """
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0sharemesh-sidecar/{host}"[:107])
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise AlreadyRuns(
            f"another sidecar of this machine tells for {host}: stop it, or give this one a --zabbix-host of its own"
        ) from error
    return holder


def _installed() -> str:
    try:
        return version("sharemesh")
    except ModuleNotFoundError:
        return _UNKNOWN
