"""Real gRPC servers whose health a real Consul asks, and patience with both."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from registry.instance import Instance, new_id

# Each thing awaited takes a second or two; a busy machine takes many times that.
PATIENCE = 20.0


@asynccontextmanager
async def serving(
    credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """A server that says it is well, and its port."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("", HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"127.0.0.1:{port}"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(0)


def at(port: int, service: str = "redeem", version: str = "v1") -> Instance:
    """An instance of its own name on this machine."""
    return Instance(service, new_id(service), "127.0.0.1", port, version=version)


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> float:
    """Waits for it and returns the seconds that it took; fails when it does not come."""
    start = time.monotonic()
    while not await is_so():
        assert time.monotonic() - start < seconds, "it did not come"
        await asyncio.sleep(0.05)
    return time.monotonic() - start
