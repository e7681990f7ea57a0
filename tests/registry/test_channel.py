"""Channels: what they are told of the control plane, and that their first calls wait for it."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from local import ports
from local.consul import Agent
from registry import certs, channel
from registry.warming import Warming, within
from tests.registry import echo
from tests.registry.scene import Scene

READY = "/sharemesh.v1.RedeemService/VerifyCoupon"
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def bootstrap_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test tells gRPC of the control plane ends with it."""
    monkeypatch.setenv(channel.BOOTSTRAP, "")


def told(control_plane: str, **more: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(channel.bootstrap(control_plane, **more))
    return parsed


@pytest.mark.parametrize(
    ("control_plane", "uri"),
    [
        ("127.0.0.1:18000,127.0.0.2:18001", "ipv4:127.0.0.1:18000,127.0.0.2:18001"),
        ("[::1]:18000,[::2]:18001", "ipv6:[::1]:18000,[::2]:18001"),
        ("plane.example:18000", "dns:///plane.example:18000"),
        ("127.0.0.1:18000", "dns:///127.0.0.1:18000"),
    ],
)
def test_all_planes_are_one_target_of_one_server(control_plane: str, uri: str) -> None:
    (server,) = told(control_plane)["xds_servers"]
    assert server["server_uri"] == uri
    assert server["channel_creds"] == [{"type": "insecure"}]


def test_the_names_of_several_planes_are_resolved_into_addresses_of_one_family() -> None:
    (server,) = told("localhost:18000,127.0.0.1:18001")["xds_servers"]
    assert server["server_uri"] == "ipv4:127.0.0.1:18000,127.0.0.1:18001"


@pytest.mark.parametrize(
    ("control_plane", "complaint"),
    [
        ("no-such-host.invalid:1,127.0.0.1:2", "cannot be resolved: no-such-host.invalid"),
        ("[::1]:1,127.0.0.1:2", "give one kind"),
        ("127.0.0.1", "is not host:port"),
    ],
)
def test_planes_that_cannot_be_one_target_are_refused(control_plane: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        channel.bootstrap(control_plane)


def test_the_control_plane_learns_who_asks_and_from_which_zone() -> None:
    node = told("127.0.0.1:1", zone="a")["node"]
    assert (node["cluster"], node["locality"]) == ("mesh", {"zone": "a"})
    assert node["id"].startswith(socket.gethostname())
    assert node["id"] != told("127.0.0.1:1")["node"]["id"]


def test_with_tls_the_control_plane_is_asked_and_services_are_called_by_certificates(tmp_path: Path) -> None:
    certs.make(tmp_path)
    whole = told("127.0.0.1:1,127.0.0.1:2", tls=tmp_path / "publish")
    assert [creds["type"] for creds in whole["xds_servers"][0]["channel_creds"]] == ["tls"]
    (provider,) = whole["certificate_providers"].values()
    assert provider["config"]["certificate_file"] == str(tmp_path / "publish" / "cert.pem")


def test_a_channel_through_the_mesh_wants_to_know_the_control_plane_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(channel.BOOTSTRAP)
    with pytest.raises(RuntimeError, match="no control plane is known yet"):
        channel.open_channel("xds:///redeem")


class Doors:
    """Channels to one address, which are counted."""

    def __init__(self, port: int) -> None:
        self.opened = 0
        self._port = port

    def __call__(self) -> grpc.aio.Channel:
        self.opened += 1
        return grpc.aio.insecure_channel(f"127.0.0.1:{self._port}")


@asynccontextmanager
async def warming() -> AsyncIterator[tuple[Warming, Doors, int]]:
    """A channel to a port where nobody listens yet."""
    port = ports.free_one()
    doors = Doors(port)
    async with Warming("test", doors, within) as warm:
        yield warm, doors, port


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value


def test_first_calls_wait_together_until_somebody_listens() -> None:
    async def main() -> None:
        async with warming() as (warm, doors, port):
            asking = [warm.unary_unary(READY)(b"", timeout=PATIENCE) for _ in range(20)]
            await asyncio.sleep(1.5)
            assert not any(call.done() for call in asking)
            server, _ = await echo.start(echo.Echo("late"), port)
            began = time.monotonic()
            assert [await call for call in asking] == [b"late"] * 20
            assert time.monotonic() - began < 2
            # One attempt a second, whoever waits.
            assert 2 <= doors.opened <= 4
            await server.stop(None)

    asyncio.run(main())


def test_a_call_whose_deadline_comes_first_was_not_sent_and_leaves_the_others_waiting() -> None:
    async def main() -> None:
        async with warming() as (warm, _, port):
            method = warm.unary_unary(READY)
            patient, hasty = method(b"", timeout=PATIENCE), method(b"", timeout=0.3)
            began = time.monotonic()
            failure = await failure_of(hasty)
            assert time.monotonic() - began == pytest.approx(0.3, abs=0.2)
            assert (failure.code(), "not sent" in str(failure.details())) == (grpc.StatusCode.UNAVAILABLE, True)
            given_up = method(b"", timeout=PATIENCE)
            await asyncio.sleep(0.1)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            server, _ = await echo.start(echo.Echo("late"), port)
            assert await patient == b"late"
            await server.stop(None)

    asyncio.run(main())


def test_a_call_without_a_deadline_waits_as_long_as_servers_work_for_such_a_call() -> None:
    assert (within(None), within(0.5)) == (10.0, 0.5)

    async def main() -> None:
        async with Warming("test", Doors(ports.free_one()), lambda asked: 0.3 if asked is None else asked) as warm:
            began = time.monotonic()
            assert (await failure_of(warm.unary_unary(READY)(b""))).code() == grpc.StatusCode.UNAVAILABLE
            assert time.monotonic() - began < 1

    asyncio.run(main())


def test_the_time_spent_waiting_counts() -> None:
    async def main() -> None:
        async with warming() as (warm, _, port):
            call = warm.unary_stream(READY)(b"", timeout=3)
            await asyncio.sleep(1.2)
            left: list[float | None] = []

            async def remember(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
                left.append(context.time_remaining())
                for answer in (b"1", b"2"):
                    yield answer

            server = grpc.aio.server()
            handlers: dict[str, Any] = {"VerifyCoupon": grpc.unary_stream_rpc_method_handler(remember)}
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler("sharemesh.v1.RedeemService", handlers),)
            )
            server.add_insecure_port(f"127.0.0.1:{port}")
            await server.start()
            assert [answer async for answer in call] == [b"1", b"2"]
            assert left[0] is not None
            assert left[0] < 2
            await server.stop(None)

    asyncio.run(main())


def test_calls_on_a_warm_channel_are_grpcs_own() -> None:
    async def main() -> None:
        async with warming() as (warm, doors, port):
            server, _ = await echo.start(echo.Echo("there"), port)
            method = warm.unary_unary(READY)
            assert await method(b"") == b"there"
            later = method(b"")
            async with doors() as plain:
                own: Any = plain.unary_unary(READY)
                assert type(later) is type(own(b""))
            assert await later == b"there"
            assert doors.opened == 2
            await server.stop(None)

    asyncio.run(main())


def test_closing_ends_whatever_still_waits() -> None:
    async def main() -> None:
        async with warming() as (warm, doors, _):
            waiting = warm.unary_unary(READY)(b"", timeout=PATIENCE)
            await asyncio.sleep(0.1)
            await warm.close()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            opened = doors.opened
            with pytest.raises(grpc.aio.UsageError):
                await warm.unary_unary(READY)(b"", timeout=PATIENCE)
            assert doors.opened == opened

    asyncio.run(main())


def test_the_first_call_waits_for_a_control_plane_that_starts_later(agent: Agent, tmp_path: Path) -> None:
    async def main() -> None:
        dead, late = ports.free(2)
        async with Scene(agent, tmp_path) as scene:
            _, instance, _ = await scene.instance()
            channel.use(channel.bootstrap(f"127.0.0.1:{dead},127.0.0.1:{late}"))
            async with channel.open_channel("xds:///redeem") as opened:
                verify: Any = opened.unary_unary(READY)
                call = verify(b"", timeout=60)
                await asyncio.sleep(1)
                await scene.plane(port=late)
                began = time.monotonic()
                assert (await call).decode() == instance.id
                # One attempt a second; gRPC's own backoff would have grown beyond that.
                assert time.monotonic() - began < 3

    asyncio.run(main())
