"""The mesh end to end, in short: every component real, each a process of its own; `make chaos` has the long form."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local.mesh import Mesh
from registry import channel
from services.chassis.settings import SERVICES, Settings
from services.chassis.tokens import DevIssuer
from services.journey import showing
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
# Far above what anything takes here, on a busy machine too.
PATIENCE = 60.0
# Callers of one service, and how long each pauses between calls: some hundred calls a second.
CALLERS = 4
PAUSE = 0.03


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    database = f"sqlite:///{folder}/sharemesh.db"
    with (
        pytest.MonkeyPatch.context() as patched,
        Mesh(folder, scale={"redeem": 2}, planes=2, gateway=False, database=database) as running,
    ):
        patched.setenv(channel.BOOTSTRAP, running.bootstrap)
        yield running


def settings_of(mesh: Mesh) -> Settings:
    return replace(Settings(), var=Path(mesh.environment["SHAREMESH_VAR"]))


def bearer(mesh: Mesh) -> list[tuple[str, str]]:
    return [("authorization", "Bearer " + DevIssuer.of(settings_of(mesh)).issue("CUSTOMER", "nobody"))]


def test_the_journey_from_a_draft_to_a_redeemed_coupon_goes_through_the_mesh(mesh: Mesh) -> None:
    # Submitting an activity has publish call audit, through the mesh like everybody.
    assert showing.play({service: f"xds:///{service}" for service in SERVICES}, settings_of(mesh))


class Load:
    """Calls to redeem that never pause for long; what became of them, and by how many connections."""

    def __init__(self) -> None:
        self.answered = 0
        self.failures: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self, mesh: Mesh) -> AsyncIterator[None]:
        is_over = asyncio.Event()
        token = bearer(mesh)

        async def call(stub: Any) -> None:
            while not is_over.is_set():
                try:
                    await stub.ListCoupons(redeem_pb2.ListCouponsRequest(), metadata=token, timeout=5)
                    self.answered += 1
                except grpc.aio.AioRpcError as error:
                    self.failures[f"{error.code().name} {error.details()}"] += 1
                await asyncio.sleep(PAUSE)

        async with channel.open_channel("xds:///redeem") as opened:
            stub: Any = redeem_pb2_grpc.RedeemServiceStub(opened)
            callers = [asyncio.create_task(call(stub)) for _ in range(CALLERS)]
            try:
                yield
            finally:
                is_over.set()
                await asyncio.gather(*callers)

    async def until_answered(self, count: int) -> None:
        """Returns after so many more answers."""
        wanted = self.answered + count
        async with asyncio.timeout(PATIENCE):
            while self.answered < wanted:  # noqa: ASYNC110 - answers set no event.
                await asyncio.sleep(PAUSE)


# In short it is a row of tests/test_chaos.py.
@pytest.mark.slow
def test_a_rolling_restart_under_load_costs_no_call(mesh: Mesh) -> None:
    load = Load()

    async def main() -> None:
        async with load.running(mesh):
            await load.until_answered(20)
            for instance in mesh.instances_of("redeem"):
                assert await asyncio.to_thread(instance.stop) == 0
                await asyncio.to_thread(instance.start_again)
                await asyncio.to_thread(mesh.await_passing, [instance])
            await load.until_answered(50)

    asyncio.run(main())
    assert load.failures == {}
    assert load.answered > 200


def rows(shown: str, service: str) -> list[list[str]]:
    """The cells of a service's rows in a table, without those that are empty."""
    return [line.split() for line in shown.splitlines() if line.split()[:1] == [service]]


def test_status_shows_every_instance_with_its_health_and_part_of_the_traffic(mesh: Mesh) -> None:
    shown = mesh.run("mesh", "status")
    found = {service: rows(shown, service) for service in SERVICES}
    assert {service: len(lines) for service, lines in found.items()} == {**dict.fromkeys(SERVICES, 1), "redeem": 2}
    assert {line[2] for line in found["redeem"]} == {one.address for one in mesh.instances_of("redeem")}
    assert {tuple(line[3:]) for line in found["redeem"]} == {("v1", "passing", "50.0", "%")}


def test_a_canary_gets_its_part_and_leaves_the_registry_before_it_takes_no_more_calls(mesh: Mesh) -> None:
    canary = mesh.start("redeem", release="v2", zone="a")
    assert "v2 60 %" in mesh.run("route", "redeem", "--canary", "v2=60%")
    shown = [line for line in rows(mesh.run("mesh", "status"), "redeem") if "v2" in line]
    assert [line[2:] for line in shown] == [[canary.address, "a", "v2", "passing", "60.0", "%"]]
    assert "none" in mesh.run("route", "redeem", "--clear")

    async def leave() -> tuple[int, redeem_pb2.ListCouponsResponse]:
        async with grpc.aio.insecure_channel(canary.address) as direct:
            stub: Any = redeem_pb2_grpc.RedeemServiceStub(direct)
            health: Any = health_pb2_grpc.HealthStub(direct)
            os.kill(canary.pid, signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                while canary.address in await asyncio.to_thread(mesh.passing, "redeem"):  # noqa: ASYNC110 - Consul's.
                    await asyncio.sleep(PAUSE)
            state = (await health.Check(health_pb2.HealthCheckRequest())).status
            return state, await stub.ListCoupons(redeem_pb2.ListCouponsRequest(), metadata=bearer(mesh), timeout=5)

    state, answer = asyncio.run(leave())
    assert state == health_pb2.HealthCheckResponse.NOT_SERVING
    assert answer == redeem_pb2.ListCouponsResponse()
    assert canary.process is not None
    assert canary.process.wait(PATIENCE) == 0
    mesh.instances.remove(canary)


def refused(mesh: Mesh, *arguments: str) -> tuple[int, str]:
    """The exit code and the complaint of a command that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=ROOT,
        env={**os.environ, **mesh.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("route", "redem"), "no service is named redem"),
        (("serve", "redeem", "--control-plane="), "--control-plane is needed with --registry consul://"),
        (("serve", "redeem", "--tls", "."), "--tls: "),
        (("serve", "redeem", "--control-plane", "no-such.invalid:1,127.0.0.1:2"), "cannot be resolved"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_that_says_why(
    mesh: Mesh, arguments: tuple[str, ...], complaint: str
) -> None:
    code, told = refused(mesh, *arguments)
    assert (code, complaint in told, "Traceback" in told) == (2, True, False), told
