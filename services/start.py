"""How each service is built from what its process has: one flat list of steps a service, loaded when asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from registry import channel, config
from services.chassis import parameters, tokens
from services.chassis.batching import Batcher
from services.chassis.client import Mesh
from services.chassis.database import Database
from services.chassis.drivers import driver_of
from services.chassis.keys import Keyring
from services.chassis.server import Server
from services.chassis.settings import SERVICES, BadSetting, Settings

MASTER_KEY = "master.key"


def utc_now() -> datetime:
    """The clock of a process that serves."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Parts:
    """What a service is built from."""

    server: Server
    db: Database
    batcher: Batcher
    clock: Callable[[], datetime]
    keys: Keyring
    mesh: Mesh
    settings: Settings
    # Unwound once the servers have drained.
    at_end: AsyncExitStack


async def entry(parts: Parts) -> None:
    """EntryService, with the built-in templates and the image store."""
    from services.entry.servicer import Servicer
    from sharemesh.v1.entry_pb2_grpc import add_EntryServiceServicer_to_server

    servicer = Servicer(parts.db, parts.clock, parts.keys, images=parts.settings.images)
    parts.at_end.callback(servicer.close)
    await servicer.install()
    parts.server.add("sharemesh.v1.EntryService", add_EntryServiceServicer_to_server, servicer)


async def publish(parts: Parts) -> None:
    """PublishService, with its sweeps: of submissions that no audit has answered yet, and of old replays."""
    from services.publish.servicer import Servicer
    from sharemesh.v1.audit_pb2_grpc import AuditServiceStub
    from sharemesh.v1.publish_pb2_grpc import add_PublishServiceServicer_to_server

    servicer = Servicer(parts.db, parts.clock, parts.keys, audit=AuditServiceStub(parts.mesh.channel("audit")))
    parts.server.add("sharemesh.v1.PublishService", add_PublishServiceServicer_to_server, servicer)
    parts.server.repeat(servicer.sweep, lambda: parameters.current().sweep_seconds)
    parts.server.repeat(servicer.forget, lambda: parameters.current().replay_forget_seconds)


async def audit(parts: Parts) -> None:
    """AuditService, with the program's own lexicon adopted; it follows the head, and judges again what that changes."""
    from services.audit.pictures import reader
    from services.audit.pictures.worker import Worker, kept_by
    from services.audit.servicer import Servicer
    from sharemesh.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
    from sharemesh.v1.entry_pb2_grpc import EntryServiceStub

    pictures = None
    if parts.settings.ocr and reader.is_installed():
        fetch = kept_by(EntryServiceStub(parts.mesh.channel("entry")))
        try:
            await asyncio.to_thread(reader.shared().load)
        except Exception as error:
            # Told now, for no picture is to blame for it.
            raise BadSetting(f"--ocr: the extra ocr is installed but does not load: {error!r}") from error
        pictures = Worker(parts.db, parts.clock, fetch, reader.shared())
        parts.at_end.push_async_callback(pictures.close)
    servicer = Servicer(parts.db, parts.clock, parts.keys, pictures)
    await parts.db.run(servicer.engine.start, parts.clock())
    parts.server.add("sharemesh.v1.AuditService", add_AuditServiceServicer_to_server, servicer)
    parts.server.repeat(servicer.follow, lambda: parameters.current().lexicon_follow_seconds)
    parts.server.repeat(servicer.judge_again, lambda: parameters.current().reaudit_seconds)


async def share(parts: Parts) -> None:
    """ShareService."""
    from services.share.servicer import Servicer
    from sharemesh.v1.share_pb2_grpc import add_ShareServiceServicer_to_server

    servicer = Servicer(
        parts.db, parts.batcher, parts.clock, parts.keys, code_generation=parts.settings.code_generation
    )
    parts.server.add("sharemesh.v1.ShareService", add_ShareServiceServicer_to_server, servicer)


async def redeem(parts: Parts) -> None:
    """RedeemService."""
    from services.redeem.servicer import Servicer
    from sharemesh.v1.redeem_pb2_grpc import add_RedeemServiceServicer_to_server

    servicer = Servicer(
        parts.db, parts.batcher, parts.clock, parts.keys, code_generation=parts.settings.code_generation
    )
    parts.server.add("sharemesh.v1.RedeemService", add_RedeemServiceServicer_to_server, servicer)


STEPS = {"entry": entry, "publish": publish, "audit": audit, "share": share, "redeem": redeem}


@asynccontextmanager
async def built(
    services: Sequence[str], db: Database, settings: Settings, clock: Callable[[], datetime] = utc_now
) -> AsyncIterator[dict[str, Server]]:
    """The servers of these services by name, bound to their ports and ready for server.running().

    Services of one process find each other wherever their ports are, the others where the registry says. Raises
    BadSetting.
    """
    keys = Keyring.open(settings.var / MASTER_KEY)
    verifier = tokens.verifier(settings)
    servers = {name: Server(name, settings, keys, verifier) for name in services}
    targets = _targets(servers, settings)
    batcher = Batcher(driver_of(db))
    async with AsyncExitStack() as at_end:
        at_end.push_async_callback(batcher.close)
        for name, server in servers.items():
            mesh = await at_end.enter_async_context(Mesh(targets, tokens.service_token(settings, name)))
            await STEPS[name](Parts(server, db, batcher, clock, keys, mesh, settings, at_end))
        yield servers


def _targets(servers: Mapping[str, Server], settings: Settings) -> dict[str, str]:
    """Where each service is called, for registry.channel."""
    own = {name: server.address for name, server in servers.items()}
    if isinstance(settings.registry, config.Static):
        return {**settings.registry.targets, **own}
    # A process of several services has a certificate for each, and shows its first one's.
    tls = settings.tls and settings.tls / next(iter(servers))
    try:
        channel.use(channel.bootstrap(settings.control_plane, settings.zone, tls))
    except ValueError as error:
        raise BadSetting(f"--control-plane {error}") from error
    through = {name: f"{channel.SCHEME}{name}" for name in SERVICES}
    # Whom a caller expects at the other end, it is told by the control plane, so with TLS all go that way.
    return through if tls else {**through, **own}
