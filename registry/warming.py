"""A channel whose first calls wait for whoever tells it where to go, instead of failing while that one starts."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc.aio

_log = logging.getLogger("sharemesh.registry")

# An attempt that failed is followed by one on a new channel, since the old one's own connection to the control plane
# backs off, for up to two minutes in the end.
_ATTEMPT_SECONDS = 1.0
# An attempt that has not failed yet: beyond the 10 s after which gRPC turns from instances that do not answer to those
# of another zone.
_PATIENCE_SECONDS = 15.0
# For calls that do not say how long they may take: as long as servers give them then.
_DEFAULT_SECONDS = 10.0


class Warming(grpc.aio.Channel):
    """The channel that `opened` gives, once it is connected; calls made earlier wait for that within their deadlines.

    Those whose deadline comes first fail as UNAVAILABLE, without having been sent. Calls after the first connection
    are the other channel's own, and cost nothing more. `seconds` says how long a call may take that asked for so long,
    or None; logs have its `name`. It has no RPCs whose requests are streams, as no contract has.
    """

    def __init__(
        self, name: str, opened: Callable[[], grpc.aio.Channel], seconds: Callable[[float | None], float]
    ) -> None:
        self._name = name
        self._open = opened
        self.seconds = seconds
        self._warm: grpc.aio.Channel | None = None
        self._warming: asyncio.Task[grpc.aio.Channel] | None = None
        self._waiting: grpc.aio.Channel | None = None
        self._is_closed = False

    async def ready(self) -> grpc.aio.Channel:
        """The other channel, connected; all who wait for it share one warm-up, which outlives the patience of each."""
        if self._warm is not None:
            return self._warm
        if self._is_closed:
            raise grpc.aio.UsageError("Channel is closed.")
        # One that failed by an error nobody foresaw must not stand for all later calls.
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm_up())
        return await asyncio.shield(self._warming)

    def now(self) -> grpc.aio.Channel | None:
        """The other channel, if it has been connected already."""
        return self._warm

    def waiting(self) -> grpc.aio.Channel:
        """A channel that never connects: each of its calls waits for the other channel and is made there."""
        if self._waiting is None:
            self._waiting = grpc.aio.insecure_channel("127.0.0.1:1", interceptors=[_OneAnswer(self), _Stream(self)])
        return self._waiting

    async def _warm_up(self) -> grpc.aio.Channel:
        is_told = False
        while True:
            began = time.monotonic()
            channel = self._open()
            try:
                if await _is_connected(channel):
                    self._warm = channel
                    return channel
            finally:
                if self._warm is None:
                    await channel.close()
            if not is_told:
                is_told = True
                _log.warning("not_connected", {"channel": self._name, "retry": "every second"})
            # Not all processes of a mesh at the same time.
            pause = _ATTEMPT_SECONDS * random.uniform(0.8, 1.0)
            await asyncio.sleep(began + pause - time.monotonic())

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Method(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Method(self, "unary_stream", arguments, options)

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        return _refuse

    def stream_stream(self, *_: Any, **__: Any) -> Any:
        return _refuse

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.IDLE if self._warm is None else self._warm.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await (await self.ready()).wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await (await self.ready()).channel_ready()

    async def close(self, grace: float | None = None) -> None:
        self._is_closed = True
        if self._warming is not None and not self._warming.done():
            self._warming.cancel()
            await asyncio.wait([self._warming])
        for channel in (self._waiting, self._warm):
            if channel is not None:
                await channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class _Method:
    """An RPC of a channel that warms up."""

    def __init__(self, channel: Warming, kind: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._channel = channel
        self._kind = kind
        self._arguments = arguments
        self._options = options
        self._warm: Any = None

    def __call__(self, request: Any, **options: Any) -> Any:
        if self._warm is not None:
            return self._warm(request, **options)
        channel = self._channel.now()
        if channel is not None:
            return self.on(channel)(request, **options)
        wait = getattr(self._channel.waiting(), self._kind)(
            self._arguments[0] if self._arguments else self._options["method"]
        )
        return wait(_Early(request, self, options), timeout=options.get("timeout"))

    def on(self, channel: grpc.aio.Channel) -> Any:
        """The RPC on the connected channel."""
        if self._warm is None:
            self._warm = getattr(channel, self._kind)(*self._arguments, **self._options)
        return self._warm


class _Early(NamedTuple):
    """A call that was made too early; it takes the place of its request."""

    request: Any
    method: _Method
    options: dict[str, Any]


class _Waiting:
    def __init__(self, channel: Warming) -> None:
        self._channel = channel

    async def _made(self, early: _Early) -> Any:
        """The call, made on the connected channel in the time that is left."""
        began = time.monotonic()
        asked: float | None = early.options.get("timeout")
        try:
            async with asyncio.timeout(self._channel.seconds(asked)):
                channel = await self._channel.ready()
        except TimeoutError as error:
            none = grpc.aio.Metadata()
            told = "not sent: the control plane cannot be reached, or knows no instance that can be"
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, none, none, told) from error
        left = {} if asked is None else {"timeout": max(0.0, began + asked - time.monotonic())}
        return early.method.on(channel)(early.request, **{**early.options, **left})


class _OneAnswer(_Waiting, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._made(request)


class _Stream(_Waiting, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._made(request)


def within(asked: float | None) -> float:
    """The seconds that a call may take to which nothing else applies."""
    return _DEFAULT_SECONDS if asked is None else asked


async def _is_connected(channel: grpc.aio.Channel) -> bool:
    """Whether a new channel's first attempt to connect succeeds."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    return False
                await channel.wait_for_state_change(state)
    except TimeoutError:
        return False
    return True


def _refuse(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("no contract streams requests; open a channel of gRPC's own for it")
