"""The one builder of servers, and what a process of them does from its start to its last accepted call."""

import asyncio
import errno
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc.aio
import prometheus_client
import uvloop
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from registry.channel import KEEPALIVE_MS
from services.chassis import contract, logs, paging, parameters
from services.chassis.auth import Verifier
from services.chassis.database import Database
from services.chassis.handlers import collected, serve
from services.chassis.interceptors import Pipeline
from services.chassis.keys import Keyring
from services.chassis.reflection import reflect
from services.chassis.registered import Served, registration
from services.chassis.settings import BadSetting, Settings
from services.chassis.telemetry import Telemetry

if TYPE_CHECKING:
    from registry.registration import Registration

S = TypeVar("S")
T = TypeVar("T")

LOOPBACK = "127.0.0.1"
# Watchers of health act on what they see within a second or two; more often would only cost.
PROBE_SECONDS = 1.0
# For a GOAWAY to be on the wire before the refusals of the calls that were held back for it.
GOAWAY_SECONDS = 0.01
# Certificates live for days at least, and are complained of while a third of that is left.
CERTIFICATE_SECONDS = 3600.0
# Far above what the rules allow, so that it is they, with their reasons, who refuse a picture that is too large.
_REQUEST_BYTES = 4 * parameters.Parameters.image_bytes
_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"


class Server:
    """One service on one port, with health, reflection and the pipeline; made inside the running event loop."""

    def __init__(self, service: str, settings: Settings, keys: Keyring, verifier: Verifier) -> None:
        """Binds the port, so that `address` is known before anything is served.

        Raises BadSetting if the port is taken.
        """
        self.service = service
        self._telemetry = Telemetry(service, keys)
        self._pipeline = Pipeline(verifier, self._telemetry)
        self._health = health.aio.HealthServicer()
        self._contracts: list[str] = []
        self._chores: list[tuple[Callable[[], Awaitable[None]], Callable[[], float]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        options = [
            ("grpc.max_receive_message_length", _REQUEST_BYTES),
            # Without it a second process on the same port would silently get half the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
        ]
        self._grpc = grpc.aio.server(options=options)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        watch = collected(health_pb2_grpc.add_HealthServicer_to_server, self._health)[_HEALTH_WATCH]
        serve(self._grpc, {_HEALTH_WATCH: self._pipeline.around_health_watch(watch)})
        host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
        wanted = f"{host}:{settings.port_of(service)}"
        # gRPC says so too, but prints a line of its innards first.
        if _is_taken(settings.host, settings.port_of(service)):
            raise BadSetting(f"--port: {wanted}, where {service} would listen, is taken; try --port 6000")
        try:
            self.port = self._listen(wanted, settings.tls and settings.tls / service)
        except RuntimeError as error:
            raise BadSetting(f"--host, --port: {service} cannot listen on {wanted}") from error
        self.address = f"{host}:{self.port}"
        paging.encrypt_with(keys.derive("paging"))

    def _listen(self, address: str, tls: Path | None) -> int:
        """The port; `tls` is the folder of the service's own certificate."""
        if tls is None:
            return self._grpc.add_insecure_port(address)
        # Only where it is wanted: the others' processes stay smaller.
        from registry import identity
        from registry import tls as mutual

        async def look() -> None:
            if complaint := identity.warning(tls):
                logs.of(self.service).warning("certificate", {"warning": complaint})

        try:
            credentials = mutual.server_credentials(tls)
        except identity.BadCertificate as error:
            raise BadSetting(f"--tls: {error}") from error
        self.repeat(look, lambda: CERTIFICATE_SECONDS)
        return self._grpc.add_secure_port(address, credentials)

    def add(self, name: str, register: Callable[[S, grpc.aio.Server], None], servicer: S) -> None:
        """Serve a contract ("sharemesh.v1.EntryService") by a servicer; `register` is the stubs' add_..._to_server.

        What the contract does not name is not served, whatever `register` has.
        """
        handlers = collected(register, servicer)
        methods = contract.methods_of(name)
        serve(self._grpc, {path: self._pipeline.around(method, handlers[path]) for path, method in methods.items()})
        self._contracts.append(name)

    @property
    def served(self) -> Served:
        """What the registry is told of it."""
        return Served(self.service, self.port, next(iter(self._contracts), ""))

    def repeat(self, chore: Callable[[], Awaitable[None]], every: Callable[[], float]) -> None:
        """Do a chore again and again while the server runs, `every()` seconds apart; a failure ends one round only."""
        self._chores.append((chore, every))

    async def start(self) -> None:
        """Accept calls and begin the chores."""
        reflect(self._grpc, [*self._contracts, health.SERVICE_NAME])
        await self._grpc.start()
        self._tasks = [asyncio.create_task(self._again_and_again(*chore)) for chore in self._chores]

    async def report(self, is_up: bool) -> None:
        """Tell whoever watches its health whether the server can do its work."""
        state = HealthCheckResponse.SERVING if is_up else HealthCheckResponse.NOT_SERVING
        for name in ("", *self._contracts):
            await self._health.set(name, state)

    async def look_away(self) -> None:
        """Be NOT_SERVING for good, while calls are still accepted."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more calls, let those under way end within `grace` seconds, and end streams and chores."""
        await self._pipeline.drain()
        stopping = asyncio.create_task(self._grpc.stop(grace))
        # Its first step sends GOAWAY to all peers, who from then on call elsewhere.
        await asyncio.wait([stopping], timeout=GOAWAY_SECONDS)
        self._pipeline.close()
        await stopping
        await _cancelled(self._tasks)
        # A full disk must not keep the servers after this one from draining.
        with suppress(OSError):
            await asyncio.to_thread(self._telemetry.flush)

    async def _again_and_again(self, chore: Callable[[], Awaitable[None]], every: Callable[[], float]) -> None:
        while True:
            # Not all processes at the same time.
            await asyncio.sleep(every() * random.uniform(0.5, 1.0))
            try:
                await chore()
            except Exception:  # noqa: BLE001 - the next round may succeed; this one is logged.
                name = getattr(chore, "__qualname__", repr(chore))
                logs.of(self.service).exception("chore_failed", {"chore": name})


@asynccontextmanager
async def running(servers: Sequence[Server], db: Database, settings: Settings) -> AsyncIterator[int]:
    """Serve while the body runs, then drain and close the database; yields the port of /metrics.

    Other processes are told of the servers while they serve, and are told of their end before it comes. The servers
    stop one after the other, so callers come before the services that they call.
    """
    # Whatever fails, and wherever, all that was begun by then is ended.
    async with AsyncExitStack() as at_end:
        at_end.push_async_callback(asyncio.to_thread, db.close)
        metrics, _ = _metrics(settings)
        at_end.callback(metrics.server_close)
        at_end.push_async_callback(asyncio.to_thread, metrics.shutdown)
        served = [server.served for server in servers]
        entry = await at_end.enter_async_context(registration(served, f"{LOOPBACK}:{metrics.server_port}", settings))
        at_end.push_async_callback(_stop, servers, entry)
        for server in servers:
            await server.start()
        await _report(servers, db)
        if entry:
            await entry.start()
        at_end.push_async_callback(_cancelled, [asyncio.create_task(_keep_reporting(servers, db))])
        yield metrics.server_port


def stop_signal() -> asyncio.Event:
    """What is set by the first SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopped.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopped


def on_uvloop(main: Coroutine[Any, Any, T]) -> T:
    """Run a process's main coroutine on the loop that every server is measured with."""
    return uvloop.run(main)


def _is_taken(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # What a server left behind a moment ago is in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _metrics(settings: Settings) -> Any:
    try:
        return prometheus_client.start_http_server(settings.metrics_port, LOOPBACK)
    except OSError as error:
        raise BadSetting(f"--metrics-port: cannot listen on {LOOPBACK}:{settings.metrics_port}") from error


async def _stop(servers: Sequence[Server], entry: "Registration | None") -> None:
    limits = parameters.current()
    for server in servers:
        await server.look_away()
    if entry:
        await entry.leave()
    await asyncio.sleep(limits.drain_seconds)
    end = time.monotonic() + limits.stop_seconds
    for server in servers:
        await server.stop(min(limits.grace_seconds, max(0.0, end - time.monotonic())))


async def _keep_reporting(servers: Sequence[Server], db: Database) -> None:
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        try:
            await _report(servers, db)
        except Exception:  # noqa: BLE001 - the next look may succeed; what it found out last would stay for ever else.
            logs.of(servers[0].service).exception("health_unknown")


async def _report(servers: Sequence[Server], db: Database) -> None:
    is_up = await db.is_up()
    for server in servers:
        await server.report(is_up)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
