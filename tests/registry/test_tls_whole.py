"""The whole mesh with --tls: Consul with ACLs, control planes, services and the gateway, all real processes."""

import asyncio
import ssl
import urllib.request
from pathlib import Path

import grpc
import grpc.aio
import pytest

from local.mesh import Mesh
from registry import certs, channel

# Its parts are tested one by one, and certificates change under load in test_chaos too.
pytestmark = pytest.mark.slow

LIST = "/sharemesh.v1.EntryService/ListMerchants"
# A call takes milliseconds; a busy machine takes many times that.
DEADLINE = 10.0
PAUSE = 0.05


async def asked(through: grpc.aio.Channel, token: str) -> bytes:
    ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = through.unary_unary(LIST)
    return await ask(b"", timeout=DEADLINE, metadata=(("authorization", f"Bearer {token}"),))


def rotate(mesh: Mesh) -> None:
    """A new CA, and instances that began before it and after it."""
    assert mesh.tls is not None
    certs.make(mesh.tls, is_rotation=True)
    for agent in mesh.consuls:
        agent.reload()
    mesh.start("entry")
    certs.make(mesh.tls, is_retirement=True)
    for agent in mesh.consuls:
        agent.reload()
    mesh.start("entry")


async def lived_through(mesh: Mesh, token: str) -> list[str]:
    """What failed, through the mesh and through the gateway, while certificates were rotated."""
    failures: list[str] = []
    done, over = 0, asyncio.Event()

    async def call(through: grpc.aio.Channel) -> None:
        nonlocal done
        while not over.is_set():
            try:
                await asked(through, token)
                done += 1
            except grpc.aio.AioRpcError as error:
                failures.append(f"{error.code()}: {error.details()}")
            await asyncio.sleep(PAUSE)

    async with (
        channel.open_channel("xds:///entry") as inside,
        grpc.aio.insecure_channel(mesh.gateway_address) as outside,
    ):
        await asked(inside, token)
        await asked(outside, token)
        callers = [asyncio.create_task(call(one)) for one in (inside, outside)]
        await asyncio.to_thread(rotate, mesh)
        over.set()
        await asyncio.gather(*callers)
    # Some seconds of two callers.
    assert done > 50
    return failures


def test_a_mesh_with_tls_serves_its_own_refuses_others_and_outlives_its_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maria_url: str
) -> None:
    with Mesh(tmp_path / "mesh", tls=True, acl=True, database=maria_url) as mesh:
        assert mesh.tls is not None
        monkeypatch.setenv(channel.BOOTSTRAP, mesh.bootstrap)
        token = mesh.run("token", "--role", "merchant", "--subject", "m1").strip()
        assert asyncio.run(lived_through(mesh, token)) == []
        for process in (mesh.instances_of("entry")[0], mesh.planes[0]):
            with grpc.insecure_channel(process.address) as plain:
                ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = plain.unary_unary("/grpc.health.v1.Health/Check")
                with pytest.raises(grpc.RpcError):
                    ask(b"", timeout=DEADLINE)
        nobody = ssl.create_default_context(cafile=mesh.tls / "client/ca.pem")
        with pytest.raises(OSError, match="certificate"):
            urllib.request.urlopen(f"https://{mesh.consuls[0].address}/v1/status/leader", context=nobody, timeout=5)
