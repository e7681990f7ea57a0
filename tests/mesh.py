"""The five services really started in this process, on free ports, with a clock that tests set."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from services import start
from services.chassis import database, logs, parameters
from services.chassis.database import Database
from services.chassis.server import on_uvloop, running
from services.chassis.settings import SERVICES, Settings
from services.chassis.tokens import DevIssuer
from services.journey.people import Person

# Noon on a Wednesday in Shanghai, so that no test's day or hour depends on when it is run.
NOON = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)
# Starting takes a fraction of a second; a busy machine takes many times that.
START_SECONDS = 60.0
# More than a process's own bound.
STOP_SECONDS = 60.0


class Clock:
    """What the services take for the present; it stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        """Moves on, for example by `days=1, minutes=5`."""
        self.now += timedelta(**by)


class Mesh:
    """Five running services: their addresses, their clock, and people who call them."""

    def __init__(self, addresses: dict[str, str], clock: Clock, db: Database, settings: Settings) -> None:
        self.addresses = addresses
        self.clock = clock
        self.db = db
        self.settings = settings
        self.issuer = DevIssuer.of(settings)
        self._open = ExitStack()
        self.channels = {
            name: self._open.enter_context(grpc.insecure_channel(address)) for name, address in addresses.items()
        }

    def token(self, role: str, subject: str, ttl: float = 3600) -> str:
        """A token such as token("merchant", "lin"); `ttl` may be negative."""
        return self.issuer.issue(role, subject, ttl)

    def person(self, role: str = "", subject: str = "") -> Person:
        """Typed stubs of the five services for one bearer: mesh.person("customer", "alice").share.ClaimCoupon(...)."""
        return Person(subject or "anonymous", self.channels, self.token(role, subject) if role else "", locale="en")

    def close(self) -> None:
        self._open.close()


def settings_for(url: str, folder: Path) -> Settings:
    """Settings of a process that keeps everything in `folder` and listens on free ports."""
    # Reading pictures takes seconds of a processor, and has tests of its own.
    images = f"file://{folder}/images"
    return replace(Settings(), database=url, var=folder, logs=folder / "log", images=images, ocr=False, port=0)


@contextmanager
def started(url: str, folder: Path, clock: Clock | None = None, **changes: Any) -> Iterator[Mesh]:
    """The five services on a migrated database, on the event loop of a thread; all of it ends with the body.

    `changes` are to settings_for(url, folder).
    """
    logs.to_console()
    clock = clock or Clock()
    settings = replace(settings_for(url, folder), **changes)
    # Nobody watches the health of these, so nobody has to look away before they end.
    before = parameters.swap(replace(parameters.current(), drain_seconds=0.0, grace_seconds=1.0))
    db = database.bind(url)
    ready = threading.Event()
    addresses: dict[str, str] = {}
    stops: list[Callable[[], object]] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with start.built(SERVICES, db, settings, clock) as servers, running(list(servers.values()), db, settings):
            addresses.update({name: server.address for name, server in servers.items()})
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            on_uvloop(serve())
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread.
            failures.append(error)
        finally:
            ready.set()

    # A daemon, so that what does not stop fails its test and does not hold up the end of the run.
    thread = threading.Thread(target=work, name="mesh", daemon=True)
    thread.start()
    try:
        assert ready.wait(START_SECONDS), "the services did not start in time"
        if failures:
            raise failures[0]
        mesh = Mesh(addresses, clock, db, settings)
        try:
            yield mesh
        finally:
            mesh.close()
    finally:
        for stop in stops:
            stop()
        thread.join(STOP_SECONDS)
        parameters.swap(before)
        assert not thread.is_alive(), "the services did not stop in time"
    if failures:
        raise failures[0]


def poll(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails after `seconds` at the latest."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


def request_id() -> str:
    """A new one for each intended write."""
    return secrets.token_hex(16)
