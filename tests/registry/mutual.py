"""Real servers with mutual TLS, whose connections last half a second so that handshakes never stop."""

import asyncio
import gc
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from envoy.service.discovery.v3 import ads_pb2_grpc

from registry import channel, resources, tls
from registry.instance import Instance
from registry.view import View
from registry.xds import Discovery

METHOD = "/probe.Probe/Call"
# A handshake and a call take milliseconds; a busy machine takes many times that.
DEADLINE = 10.0
SHORT_LIVED = (("grpc.max_connection_age_ms", 500), ("grpc.max_connection_age_grace_ms", 5_000))


@asynccontextmanager
async def serving(folder: Path, plane: Discovery | None = None, heard: list[str] | None = None) -> AsyncIterator[int]:
    """A server of the identity that answers with its caller's, and notes it in `heard`; gives its port."""

    async def who_calls(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        caller = tls.caller(context.auth_context())
        if heard is not None:
            heard.append(caller)
        return caller.encode()

    server = grpc.aio.server(options=SHORT_LIVED)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(who_calls)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("probe.Probe", {"Call": handler}),))
    if plane is not None:
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(plane, server)
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(folder))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def called(through: grpc.aio.Channel, seconds: float = DEADLINE) -> str:
    """Whom the server says it was called by; raises grpc.aio.AioRpcError."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = through.unary_unary(METHOD)
    return (await call(b"", timeout=seconds)).decode()


async def refused(through: grpc.aio.Channel) -> str:
    """Why a call cannot be made at all; fails if it can."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await called(through, seconds=3.0)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return str(caught.value.details())


async def shown_by(port: int, caller: Path) -> int:
    """The serial number of the certificate that a server shows to a new connection of the caller's."""
    context = ssl.create_default_context(cafile=caller / "ca.pem")
    context.load_cert_chain(caller / "cert.pem", caller / "key.pem")
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(certificate).serial_number


def announce(plane: Discovery, ports: Mapping[str, Sequence[int]]) -> None:
    """Have a plane tell that these services are on these ports of this machine, with TLS."""
    views = [
        View(service, tuple(Instance(service, f"{service}-{port}", "127.0.0.1", port) for port in of_service))
        for service, of_service in ports.items()
    ]
    plane.publish(lambda caller: resources.build(views, caller, is_tls=True))


def use(monkeypatch: pytest.MonkeyPatch, planes: Sequence[int], folder: Path) -> None:
    """Have this test's channels ask these planes, with that identity."""
    places = ",".join(f"127.0.0.1:{port}" for port in planes)
    told = channel.bootstrap(places, tls=folder)
    assert json.loads(told)["certificate_providers"]
    # As long as any earlier channel lives, in the traceback of a refusal for one, gRPC goes on asking its planes.
    gc.collect()
    monkeypatch.setenv(channel.BOOTSTRAP, told)
