"""Calls to the other services: each carries the trace, a token and what is left of the time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc.aio

from registry.channel import open_channel
from services.chassis import call, trace
from services.chassis.errors import Unavailable

# A call between two services of one mesh takes milliseconds; one that does not return soon had better be retried.
DEFAULT_SECONDS = 5.0

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Mesh:
    """One shared channel to each service, by its target for registry.channel; `token` gives one that is good now."""

    def __init__(self, targets: Mapping[str, str], token: Callable[[], str]) -> None:
        self._targets = targets
        self._interceptors = (_UnaryUnary(token), _UnaryStream(token))
        self._channels: dict[str, grpc.aio.Channel] = {}

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel for a service's stub; KeyError for a service without an address."""
        if service not in self._channels:
            self._channels[service] = open_channel(self._targets[service], self._interceptors, _seconds)
        return self._channels[service]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close()


@contextmanager
def dependency(service: str) -> Iterator[None]:
    """Where a call to another service is made: its absence becomes Unavailable(DEPENDENCY_UNAVAILABLE, service=...).

    Every other status stays the grpc.aio.AioRpcError that it is.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() not in _AWAY:
            raise
        raise Unavailable("DEPENDENCY_UNAVAILABLE", retry_after=1.0, service=service) from error


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(_dressed(client_call_details, self._token()), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(_dressed(client_call_details, self._token()), request)


def _dressed(details: grpc.aio.ClientCallDetails, token: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.set_all("authorization", [f"Bearer {token}"])
    metadata.set_all(trace.HEADER, [(trace.current.get() or trace.follow(None)).header()])
    seconds = _seconds(details.timeout)
    return grpc.aio.ClientCallDetails(details.method, seconds, metadata, details.credentials, details.wait_for_ready)


def _seconds(asked: float | None) -> float:
    """How long a call may take: no longer than the one that it is made for."""
    own = DEFAULT_SECONDS if asked is None else asked
    left = call.seconds_left()
    return own if left is None else min(own, left)
