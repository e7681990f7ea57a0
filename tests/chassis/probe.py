"""The contract of probe.proto, a servicer for it, and a client that sends bytes as they are."""

import asyncio
import importlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc  # type: ignore[import-untyped]

from services.chassis import call

SERVICE = "sharemesh.test.ProbeService"

_HERE = Path(__file__).parent


@cache
def message(name: str) -> Any:
    """The class of one of probe.proto's messages."""
    _load()
    return GetMessageClass(Default().FindMessageTypeByName(f"sharemesh.test.{name}"))


@cache
def _load() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "probe.bin"
        paths = [_HERE, _HERE.parent.parent / "protos", Path(protoc.__file__).parent / "_proto"]
        code = protoc.main(["protoc", *(f"-I{path}" for path in paths), f"-o{out}", "probe.proto"])
        assert code == 0
        [file] = FileDescriptorSet.FromString(out.read_bytes()).file
        for imported in file.dependency:
            importlib.import_module(imported.removesuffix(".proto").replace("/", ".") + "_pb2")
        Default().AddSerializedFile(file.SerializeToString())


class Probe:
    """Answers Say and Manage with what `answer(request)` returns or raises; Watch writes until it is ended."""

    def __init__(self, answer: Callable[[Any], Awaitable[str]]) -> None:
        _load()
        self._answer = answer
        self.is_watched = asyncio.Event()

    async def say(self, request: Any, _: object) -> Any:
        said = {"text": await self._answer(request), "digest": call.current().digest}
        return message("SayResponse")(**said, name="shares/s1", activity="activities/a2")

    async def watch(self, request: Any, _: object) -> AsyncIterator[Any]:
        yield message("SayResponse")(text=request.text)
        self.is_watched.set()
        await asyncio.Event().wait()


def register(probe: Probe, server: grpc.aio.Server) -> None:
    """What a generated add_ProbeServiceServicer_to_server would do."""
    _load()
    parse = message("SayRequest").FromString
    one: Any = grpc.unary_unary_rpc_method_handler(probe.say, request_deserializer=parse)
    many: Any = grpc.unary_stream_rpc_method_handler(probe.watch, request_deserializer=parse)
    handlers = {"Say": one, "Manage": one, "Forgotten": one, "Watch": many}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def send(
    channel: grpc.aio.Channel, method: str, raw: bytes = b"", seconds: float | None = 10, **metadata: str
) -> Any:
    """The answer to a call with these bytes as its request."""
    _load()
    ask: Any = channel.unary_unary(f"/{SERVICE}/{method}", response_deserializer=message("SayResponse").FromString)
    sent = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
    return await ask(raw, timeout=seconds, metadata=sent)
