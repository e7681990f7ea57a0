"""The handlers that generated code makes of a servicer: caught on their way to the server, and made anew there."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from services.chassis.telemetry import Record

S = TypeVar("S")
# As text: only their stubs are generic.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
# Has the servicer answer a request: with the answer's bytes, or by writing them to the context.
Respond: TypeAlias = Callable[[Message, Context, Record], Awaitable[bytes | None]]


class _Details(NamedTuple):
    method: str
    invocation_metadata: None = None


class Handlers:
    """Stands in for a server where handlers are registered, and serves nothing."""

    def __init__(self) -> None:
        self._generic: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Take handlers, as a server does."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Take the same handlers by name, which generated code gives besides; the generic ones tell all."""

    def __getitem__(self, path: str) -> Handler:
        """The handler of an RPC ("/sharemesh.v1.EntryService/GetStore"); KeyError if there is none."""
        for generic in self._generic:
            handler: Handler | None = generic.service(_Details(path))
            if handler is not None:
                return handler
        raise KeyError(path)


def collected(register: Callable[[S, grpc.aio.Server], None], servicer: S) -> Handlers:
    """What `register`, the stubs' add_..._to_server, would give a server for this servicer."""
    handlers: Any = Handlers()
    register(servicer, handlers)
    return handlers  # type: ignore[no-any-return]


def serve(server: grpc.aio.Server, handlers: Mapping[str, Handler]) -> None:
    """Have a server answer RPCs by path; it looks here before it looks anywhere else."""
    for path, handler in handlers.items():
        _, service, method = path.split("/")
        server.add_registered_method_handlers(service, {method: handler})


def answering(servicer_method: Callable[[Message, Context], Awaitable[Message | bytes]]) -> Respond:
    """For a method with one answer, which it may give as the bytes of a message too: nothing is told of those."""

    async def respond(request: Message, context: Context, record: Record) -> bytes:
        response = await servicer_method(request, context)
        if isinstance(response, bytes):
            return response
        record.tell(response)
        return response.SerializeToString()

    return respond


def streaming(servicer_method: Callable[[Message, Context], Any]) -> Respond:
    """For a method that yields its answers."""

    async def respond(request: Message, context: Context, _: Record) -> None:
        async with aclosing(servicer_method(request, context)) as responses:
            async for response in responses:
                await context.write(response.SerializeToString())

    return respond


def streams(behaviour: Any, *codec: Any) -> Handler:
    """A handler that writes instead of yielding, which grpc.aio takes too; the stubs know only the latter."""
    return grpc.unary_stream_rpc_method_handler(behaviour, *codec)
