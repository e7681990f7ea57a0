"""What a sidecar reads: each reader made of the settings, with the Zabbix host that it tells of."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from monitoring.business import Business
from monitoring.calls import Calls
from monitoring.catalogue import Catalogue
from monitoring.census import Census
from monitoring.database import Database
from monitoring.gateways import Gateways
from monitoring.heartbeat import Heartbeat
from monitoring.host import Host
from monitoring.readings import Readings, Value, key
from monitoring.sidecar import Source
from registry import config
from registry.consul import Consul
from registry.election import Election
from registry.program import BadSetting

# Of all sidecars of a mesh, the one that holds this tells of what belongs to none of its machines.
ELECTION = "reporter"
# A reporter whose database is away for so long lets somebody else try: it may be away for this machine alone.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Settings:
    """What is read, and the Zabbix hosts of the machine and of the mesh."""

    host: str
    mesh_host: str
    registry: config.Static | config.Consul
    token: Path | None
    # This process's own certificate.
    identity: Path | None
    # "": neither the database nor the business is looked at.
    database: str
    # Each host:port, or https://host:port.
    gateways: tuple[str, ...]
    authorities: Path | None
    # Each host:port of /metrics that the registry does not tell of.
    pages: tuple[str, ...]
    stock_low: float


class Reporter:
    """Who tells of the mesh: the elected sidecar, and with a static registry this one."""

    def __init__(self, settings: Settings, election: Election | None, database: Database | None) -> None:
        self._host = settings.host
        self._election = election
        self._is_alone = isinstance(settings.registry, config.Static)
        self._database = database
        self._is_database_up: Value | None = None
        self._well_at = time.monotonic()

    @property
    def is_on(self) -> bool:
        """Whether it is this sidecar."""
        return self._is_alone if self._election is None else self._election.is_held

    async def read(self) -> Readings:
        """Who it is, and whether its database was up at the last beat: without it no service serves."""
        told: Readings = {key("mesh.alive"): 1, key("mesh.reporter"): self._host}
        if self._is_database_up is not None:
            told[key("mesh.database")] = self._is_database_up
        return told

    async def read_database(self) -> Readings:
        """How the machine's database does."""
        assert self._database is not None
        told = await asyncio.to_thread(self._database.read)
        self._is_database_up = told.get(key("db.up"))
        now = time.monotonic()
        if self._is_database_up or self._election is None or not self._election.is_held:
            self._well_at = now
        elif now > self._well_at + PATIENCE_SECONDS:
            self._well_at = now
            self._election.resign()
        return told


async def opened(
    settings: Settings, at_end: AsyncExitStack, stands: bool = True
) -> tuple[list[Source], list[asyncio.Task[None]]]:
    """All readers, open until `at_end`, and what goes on for them meanwhile and never ends by itself.

    `stands`: for the election. Raises BadSetting and BadCertificate.
    """
    consul: Consul | None = None
    if isinstance(settings.registry, config.Consul):
        token = config.token_in(settings.token) if settings.token else None
        consul = await at_end.enter_async_context(Consul(settings.registry, token, settings.identity))
        census = Census(consul)
    else:
        census = Census(settings.registry)
    heartbeat, calls, host = Heartbeat(census, settings.identity), Calls(census, settings.pages), Host()
    at_end.push_async_callback(heartbeat.close)
    database, business = _of_database(settings, at_end)
    # Who has no database could not tell of the business, and leaves it to those who have.
    election = Election(consul, ELECTION, settings.host) if consul and database and stands else None
    reporter = Reporter(settings, election, database)

    async def read_host() -> Readings:
        return host.read()

    machine = {"host": read_host, "instances": heartbeat.read, "calls": calls.read}
    mesh = {"reporter": reporter.read, "mesh": Catalogue(census, heartbeat, consul).read}
    if settings.gateways:
        try:
            gateways = Gateways(settings.gateways, settings.authorities)
        except OSError as error:
            raise BadSetting(f"--gateway-authorities: {settings.authorities} cannot be used: {error}") from error
        at_end.push_async_callback(gateways.close)
        machine["gateways"] = gateways.read
    if database and business:
        machine["database"] = reporter.read_database
        mesh["business"] = partial(asyncio.to_thread, business.read)
    sources = [Source(name, settings.host, read) for name, read in machine.items()]
    sources += [Source(name, settings.mesh_host, read, lambda: reporter.is_on) for name, read in mesh.items()]
    return sources, _started(at_end, [census.run()] if consul else [], [election.run()] if election else [])


def _of_database(settings: Settings, at_end: AsyncExitStack) -> tuple[Database | None, Business | None]:
    if not settings.database:
        return None, None
    try:
        database, business = Database(settings.database), Business(settings.database, settings.stock_low)
    except ValueError as error:
        raise BadSetting(f"--database: {error}") from error
    for one in (database, business):
        at_end.push_async_callback(asyncio.to_thread, one.close)
    return database, business


def _started(at_end: AsyncExitStack, *chores: list[Coroutine[None, None, None]]) -> list[asyncio.Task[None]]:
    """These as tasks until the end, when an elected one gives its office away."""
    tasks = [asyncio.create_task(chore) for several in chores for chore in several]

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    at_end.push_async_callback(end)
    return tasks
