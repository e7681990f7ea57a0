"""Mutual TLS through the mesh: SPIFFE names decide, and certificates change under load without a lost call."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict

from local import envoy, ports
from registry import certs, identity, sockets, tls
from registry.xds import Discovery
from tests.registry.mutual import DEADLINE, announce, called, refused, serving, shown_by, use

# Processes read their files every second; this many handshakes later, all have.
READ_SECONDS = 2.0 * tls.REFRESH_SECONDS
CALLERS = 3
PAUSE = 0.02


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    certs.make(tmp_path / "tls")
    return tmp_path / "tls"


@asynccontextmanager
async def running(
    mesh: Path, monkeypatch: pytest.MonkeyPatch, service: str, planes_are: str = "control-plane"
) -> AsyncIterator[tuple[list[int], list[Discovery]]]:
    """Two instances of a service, one listed under publish too, and two control planes that the test's channels ask.

    gRPC keeps what it knows of a name for a moment after its last channel: each test has a service of its own.
    """
    async with AsyncExitStack() as stack:
        instances = [await stack.enter_async_context(serving(mesh / service)) for _ in range(2)]
        planes = [Discovery() for _ in range(2)]
        asked = [await stack.enter_async_context(serving(mesh / planes_are, plane)) for plane in planes]
        for plane in planes:
            announce(plane, {service: instances, "publish": instances[:1]})
        use(monkeypatch, asked, mesh / "client")
        yield instances, planes


def through_xds(service: str) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(f"xds:///{service}", grpc.xds_channel_credentials())


class Load:
    """Calls that never stop, and what became of them."""

    def __init__(self, through: grpc.aio.Channel) -> None:
        self._through = through
        self._is_over = False
        self.done = 0
        self.failures: list[str] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(CALLERS)))

    def stop(self) -> None:
        self._is_over = True

    async def _call(self) -> None:
        while not self._is_over:
            try:
                await called(self._through, seconds=2.0)
                self.done += 1
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{error.code()}: {error.details()}")
            await asyncio.sleep(PAUSE)


async def rotated(mesh: Path, port: int, *through: grpc.aio.Channel) -> list[str]:
    """What failed through these channels while leaves were renewed, a new CA came, and the earlier one went."""
    loads = [Load(one) for one in through]
    tasks = [asyncio.create_task(load.run()) for load in loads]
    for renew in (certs.make, partial(certs.make, is_rotation=True), partial(certs.make, is_retirement=True)):
        before, calls = await shown_by(port, mesh / "client"), [load.done for load in loads]
        await asyncio.to_thread(renew, mesh)
        await asyncio.sleep(READ_SECONDS)
        assert await shown_by(port, mesh / "client") != before
        assert all(load.done > known + 20 for load, known in zip(loads, calls, strict=True))
    for load in loads:
        load.stop()
    await asyncio.gather(*tasks)
    return [failure for load in loads for failure in load.failures]


def test_the_plane_says_whom_to_expect_and_nobody_else_is_called(mesh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with (
            running(mesh, monkeypatch, "redeem"),
            through_xds("redeem") as right,
            through_xds("publish") as wrong,
        ):
            assert await called(right) == "client"
            assert "SANs" in await refused(wrong)

    asyncio.run(story())


def test_no_other_identity_can_stand_in_for_the_control_plane(mesh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with running(mesh, monkeypatch, "entry", planes_are="redeem"), through_xds("entry") as channel:
            assert "xDS" in await refused(channel)

    asyncio.run(story())


def bootstrap(port: int, instance: int, expected: str, secrets: Path) -> dict[str, object]:
    """An Envoy that passes gRPC on to one instance, which it expects to have that identity."""
    http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    router = {"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")}
    # A connection that ends of age may refuse a call which it has not begun.
    retries = {"retry_on": "refused-stream,reset,connect-failure", "num_retries": 3}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "one", "retry_policy": retries}}
    manager = {
        **typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    endpoints = {"cluster_name": "one", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(instance)}}]}]}
    cluster = {
        "name": "one",
        "connect_timeout": "2s",
        "load_assignment": endpoints,
        "transport_socket": MessageToDict(sockets.upstream(expected, str(secrets))),
        "typed_extension_protocol_options": {
            http2: {**typed(http2), "explicit_http_config": {"http2_protocol_options": {}}}
        },
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "node": {"id": "edge", "cluster": "gateway"},
        "static_resources": {
            "listeners": [{"address": at(port), "filter_chains": [chain]}],
            "clusters": [cluster],
        },
    }


def typed(name: str) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/{name}"}


def at(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextmanager
def edge(folder: Path, instance: int, expected: str, own: Path) -> Iterator[int]:
    """A real Envoy with that identity; gives the port where it takes calls without TLS."""
    port = ports.free_one()
    folder.mkdir()
    sockets.write_secrets(own, folder / "secrets")
    (folder / "envoy.json").write_text(json.dumps(bootstrap(port, instance, expected, folder / "secrets")))
    command = [str(envoy.find()), "-c", str(folder / "envoy.json"), "--disable-hot-restart", "--log-level", "warning"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def up(port: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def test_envoy_too_calls_only_whom_it_is_told_to_expect(mesh: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(mesh / "redeem") as instance:
            with (
                edge(tmp_path / "right", instance, "redeem", mesh / "gateway") as right,
                edge(tmp_path / "wrong", instance, "audit", mesh / "gateway") as wrong,
            ):
                await up(right)
                await up(wrong)
                async with grpc.aio.insecure_channel(f"127.0.0.1:{right}") as channel:
                    assert await called(channel) == "gateway"
                async with grpc.aio.insecure_channel(f"127.0.0.1:{wrong}") as channel:
                    assert "remote connection failure" in await refused(channel)

    asyncio.run(story())


# In short it is a row of tests/test_chaos.py.
@pytest.mark.slow
def test_certificates_are_rotated_under_load_and_no_call_fails(
    mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = shutil.copytree(mesh, tmp_path / "early")

    async def story() -> None:
        async with running(mesh, monkeypatch, "share") as ((first, second), planes), through_xds("share") as direct:
            with edge(tmp_path / "edge", second, "share", mesh / "gateway") as port:
                await up(port)
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as through_envoy:
                    assert (await called(direct), await called(through_envoy)) == ("client", "gateway")
                    assert await rotated(mesh, first, direct, through_envoy) == []
            # The channels to the planes live on too: what they tell now arrives.
            heard: list[str] = []
            async with serving(mesh / "share", heard=heard) as moved:
                for plane in planes:
                    announce(plane, {"share": [moved]})
                async with asyncio.timeout(DEADLINE):
                    while not heard:
                        await called(direct)
            async with grpc.aio.secure_channel(f"127.0.0.1:{first}", tls.channel_credentials(early / "client")) as late:
                await refused(late)

    asyncio.run(story())


def test_envoy_is_told_of_no_certificate_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(identity.BadCertificate, match=r"ca\.pem"):
        sockets.write_secrets(tmp_path / "gateway", tmp_path / "secrets")
    assert not (tmp_path / "secrets").exists()
