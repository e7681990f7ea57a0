"""Real servers whose health is asked: in this process, or as `python -m tests.monitoring.ward redeem PORT`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from local.process import Process
from registry import policy
from registry.instance import Instance, new_id

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 20.0


@dataclass
class Ward:
    """A server that says that one service, and the whole of it, is well until it says otherwise."""

    service: str
    server: grpc.aio.Server
    health: health.aio.HealthServicer
    host: str
    port: int

    async def say(self, is_well: bool) -> None:
        state = HealthCheckResponse.SERVING if is_well else HealthCheckResponse.NOT_SERVING
        for name in ("", *([policy.service_of(self.service)] if self.service in policy.SERVICES else [])):
            await self.health.set(name, state)

    def instance(self, id: str = "") -> Instance:
        """What it is registered as."""
        return Instance(self.service, id or new_id(self.service), self.host, self.port)


@asynccontextmanager
async def serving(
    service: str = "redeem", port: int = 0, credentials: grpc.ServerCredentials | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Ward]:
    """One in this process."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    at = f"{host}:{port}"
    port = server.add_secure_port(at, credentials) if credentials else server.add_insecure_port(at)
    ward = Ward(service, server, servicer, host, port)
    await ward.say(is_well=True)
    await server.start()
    try:
        yield ward
    finally:
        await server.stop(0)


@asynccontextmanager
async def process(folder: Path, service: str = "redeem", port: int = 0) -> AsyncIterator[Process]:
    """One in a process of its own, which has said its address."""
    command = [sys.executable, "-m", "tests.monitoring.ward", service, str(port)]
    made = Process(service, service, command, ROOT, folder / f"{service}.log")
    try:
        await asyncio.to_thread(made.launch)
        await asyncio.to_thread(made.await_address)
        yield made
    finally:
        await asyncio.to_thread(made.kill)


async def _serve(service: str, port: str) -> None:
    async with serving(service, int(port)) as ward:
        sys.stdout.write(f"{service} 127.0.0.1:{ward.port}\n")
        sys.stdout.flush()
        await ward.server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
