"""The yardstick: grpc.aio on uvloop with nothing behind it, answering bytes with bytes."""

import asyncio
import signal
import sys
from typing import Any

import grpc.aio
import uvloop


class Echo(grpc.GenericRpcHandler):
    """Answers /bench.Echo/<n> with n bytes."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if path not in self._handlers:
            answer = bytes(int(path.rpartition("/")[2]))

            async def echo(request: bytes, context: object) -> bytes:
                return answer

            handler: Any = echo
            self._handlers[path] = grpc.unary_unary_rpc_method_handler(handler)
        return self._handlers[path]


async def serve() -> None:
    """Serve on a free port, which is printed, until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"echo 127.0.0.1:{port}\n")
    sys.stdout.flush()
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve())
