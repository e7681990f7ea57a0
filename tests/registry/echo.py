"""A tiny instance: `python -m tests.registry.echo redeem NAME [TLS]` says its name to any RPC, and that it is well."""

import asyncio
import sys
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from registry import tls


class Echo(grpc.GenericRpcHandler):
    """Any method of the contract; counts its calls, and refuses them all as UNAVAILABLE if it is broken."""

    def __init__(self, name: str, is_broken: bool = False) -> None:
        self.name = name
        self.is_broken = is_broken
        self.calls = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if not handler_call_details.method.startswith("/sharemesh.v1."):
            return None
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.calls += 1
        if self.is_broken:
            await context.abort(grpc.StatusCode.UNAVAILABLE, self.name)
        return self.name.encode()


async def start(echo: Echo, port: int = 0, folder: Path | None = None) -> tuple[grpc.aio.Server, int]:
    """Serves it, and health, with the certificate in this folder if one is given; the port, too."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = health.aio.HealthServicer()
    await servicer.set("", HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers((echo,))
    at = f"127.0.0.1:{port}"
    port = server.add_secure_port(at, tls.server_credentials(folder)) if folder else server.add_insecure_port(at)
    await server.start()
    return server, port


async def _serve(service: str, name: str, folder: str = "") -> None:
    server, port = await start(Echo(name), folder=Path(folder) if folder else None)
    sys.stdout.write(f"{service} 127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
