"""Somebody with a token, as a native app would be: a stub of each service, and refusals read by their reason."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sharemesh.v1.audit_pb2_grpc import AuditServiceStub
from sharemesh.v1.entry_pb2_grpc import EntryServiceStub
from sharemesh.v1.publish_pb2_grpc import PublishServiceStub
from sharemesh.v1.redeem_pb2_grpc import RedeemServiceStub
from sharemesh.v1.share_pb2_grpc import ShareServiceStub

# Longer than any call takes on a busy machine, shorter than a person's patience.
DEADLINE_SECONDS = 20.0


class Person:
    """Stubs of the five services for one bearer; `token` "" is an anonymous, `channels` is by service name."""

    def __init__(self, name: str, channels: Mapping[str, grpc.Channel], token: str = "", locale: str = "zh-CN") -> None:
        self.name = name
        as_bearer = _Bearer(token, locale)
        opened = {service: grpc.intercept_channel(channel, as_bearer) for service, channel in channels.items()}
        self.entry = EntryServiceStub(opened["entry"])
        self.publish = PublishServiceStub(opened["publish"])
        self.audit = AuditServiceStub(opened["audit"])
        self.share = ShareServiceStub(opened["share"])
        self.redeem = RedeemServiceStub(opened["redeem"])


class Refusal(NamedTuple):
    """What a refused call carries: the status's name, the reason from the contract, and words for a person."""

    status: str
    reason: str
    words: str
    metadata: dict[str, str]


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Reads a refusal; without an ErrorInfo its reason is "" and its words are the status's own."""
    call = cast(grpc.Call, error)  # What the stubs raise is both.
    status = rpc_status.from_call(call)
    info, words = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(words)
    return Refusal(call.code().name, info.reason, words.message or call.details() or "", dict(info.metadata))


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Shows the token and names the language with every call, and gives each a deadline."""

    def __init__(self, token: str, locale: str) -> None:
        self._metadata = [("accept-language", locale), *([("authorization", f"Bearer {token}")] if token else [])]

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_token(client_call_details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_token(client_call_details), request)

    def _with_token(self, call: grpc.ClientCallDetails) -> _Details:
        given = list(call.metadata or ())
        timeout = DEADLINE_SECONDS if call.timeout is None else call.timeout
        metadata = [*given, *self._metadata]
        return _Details(call.method, timeout, metadata, call.credentials, call.wait_for_ready, call.compression)
