"""`python -m registry`: a control plane, which tells xDS clients what Consul knows of the services."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import uvloop
from envoy.service.discovery.v3 import ads_pb2_grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from registry import config, identity, instance, program, tls
from registry.channel import KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS
from registry.consul import Consul
from registry.identity import BadCertificate
from registry.plane import GRACE_SECONDS, Plane
from registry.program import BadSetting
from registry.registration import Registration
from registry.xds import Discovery

_log = logging.getLogger("sharemesh.registry")

NAME = instance.CONTROL_PLANE
# Streams end when they are told so; this is for a client that does not read.
STOP_SECONDS = 2.0
# A certificate lasts for weeks; a line an hour is seen and does not bury others.
CERTIFICATE_SECONDS = 3600.0
EVERYWHERE = ("0.0.0.0", "::")
_FLAGS = {
    "registry": ("consul://127.0.0.1:8500", "consul://host:8500[,host:8500...], or consul+tls://"),
    "listen": ("127.0.0.1:18000", "host:port for xDS clients; port 0: a free one"),
    "registry-token": ("", "file with the ACL token"),
    "tls": ("", "folder of `sharemesh certs`: mutual TLS with clients, between services, and with consul+tls://"),
    "advertise": ("", "host that Consul knows this plane by; default: that of --listen"),
    "zone": ("", "zone that it runs in"),
    "grace": (f"{GRACE_SECONDS:g}", "seconds for which an empty answer does not replace what is known"),
}


@dataclass(frozen=True)
class Settings:
    """What a control plane is told at its start."""

    registry: config.Consul
    host: str
    port: int
    advertise: str
    zone: str
    grace: float
    token: Path | None
    # The folder of this plane's own certificate.
    identity: Path | None


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code of the process."""
    program.log_to_console()
    try:
        uvloop.run(_serve(_read(_parser().parse_args(), os.environ)))
    except (BadSetting, BadCertificate) as error:
        sys.stderr.write(f"registry: {error}\n")
        return 2
    return 0


async def _serve(settings: Settings) -> None:
    discovery, state = Discovery(), health.aio.HealthServicer()
    server, port = _bound(settings, discovery, state)
    token = config.token_in(settings.token) if settings.token else None
    is_tls = settings.identity is not None
    stopped = asyncio.create_task(program.stop_signal().wait())
    async with Consul(settings.registry, token, settings.identity) as consul:
        plane = Plane(consul, discovery, is_tls, settings.grace)
        own = instance.Instance(NAME, instance.new_id(NAME), settings.advertise, port, settings.zone)
        registration = Registration(consul, [own], is_tls)
        await state.set("", HealthCheckResponse.NOT_SERVING)
        await server.start()
        sys.stdout.write(f"{NAME} {config.joined(settings.host, port)}\n")
        sys.stdout.flush()
        await registration.start()
        working = asyncio.create_task(_work(plane, state, settings.identity))
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        await state.enter_graceful_shutdown()
        await registration.leave()
        await _drain(server, discovery)
        working.cancel()
        # A fault in it is this process's end, and is to be seen.
        with suppress(asyncio.CancelledError):
            await working


async def _work(plane: Plane, state: health.aio.HealthServicer, own: Path | None) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(plane.run())
        if own is not None:
            tasks.create_task(_look_after(own))
        await plane.is_ready.wait()
        await state.set("", HealthCheckResponse.SERVING)


async def _look_after(own: Path) -> None:
    """Say in the log when the plane's certificate is about to end."""
    while True:
        if complaint := identity.warning(own):
            _log.warning("certificate", {"warning": complaint})
        await asyncio.sleep(CERTIFICATE_SECONDS)


async def _drain(server: grpc.aio.Server, discovery: Discovery) -> None:
    """Take no new streams first, so that the clients whose streams end go to another replica."""
    stopping = asyncio.create_task(server.stop(STOP_SECONDS))
    await asyncio.sleep(0)
    discovery.close()
    await stopping


def _bound(settings: Settings, discovery: Discovery, state: health.aio.HealthServicer) -> tuple[grpc.aio.Server, int]:
    """The server on its port, which is not served yet. Raises BadSetting if the port is taken."""
    wanted = config.joined(settings.host, settings.port)
    complaint = f"--listen: cannot listen on {wanted}: give another, for example --listen 127.0.0.1:18001"
    # gRPC says so too, but prints lines of its innards first.
    if not _is_free(settings.host, settings.port):
        raise BadSetting(complaint)
    options = [
        # Without it a second process on the same port would silently get half the clients.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # Whoever pings more often is sent away; a gateway does every three seconds.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ]
    server = grpc.aio.server(options=options)
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(discovery, server)
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    try:
        if settings.identity is None:
            return server, server.add_insecure_port(wanted)
        return server, server.add_secure_port(wanted, tls.server_credentials(settings.identity))
    except RuntimeError as error:
        raise BadSetting(complaint) from error


def _is_free(host: str, port: int) -> bool:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m registry", description="The control plane: from Consul to xDS.")
    program.add_flags(parser, _FLAGS)
    return parser


def _read(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The flags, else the environment, else the defaults. Raises BadSetting."""
    given = program.given(arguments, environment, _FLAGS)
    place = program.place(given["registry"])
    if not isinstance(place, config.Consul):
        raise BadSetting("--registry: a control plane follows Consul: give consul://host:8500")
    host, port = _address(given["listen"])
    advertise = given["advertise"].strip("[]") or host
    if advertise in EVERYWHERE:
        raise BadSetting(f"--advertise: {host} is every address: say by which of them others reach this plane")
    grace, token = program.seconds("grace", given["grace"]), program.file("registry-token", given["registry-token"])
    return Settings(place, host, port, advertise, given["zone"], grace, token, _identity(given))


def _address(text: str) -> tuple[str, int]:
    try:
        return config.split(text, lowest_port=0)
    except ValueError as error:
        raise BadSetting(f"--listen: {error}, such as 127.0.0.1:18000") from error


def _identity(given: Mapping[str, str]) -> Path | None:
    return Path(given["tls"]) / NAME if given["tls"] else None


if __name__ == "__main__":
    sys.exit(main())
