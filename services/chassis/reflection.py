"""Reflection, so that tools can call the services without their contracts."""

from collections.abc import Sequence
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

# The v1 messages are v1alpha's on the wire; the package has only the latter.
V1 = "grpc.reflection.v1.ServerReflection"


class _Pool:
    """The descriptor pool, which by itself does not find methods by name (`pkg.Service.Method`), as tools ask for."""

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindFileContainingSymbol(symbol.rpartition(".")[0])


def reflect(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let the server tell what these services are, by both versions of the protocol."""
    pool: Any = _Pool(descriptor_pool.Default())
    names = [*services, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool)
    info = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(names, pool).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": info}),))
