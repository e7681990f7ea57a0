"""What happens to every RPC around its servicer: the one pipeline, and what becomes of whatever it raises.

It wraps the handlers once, at the start: the interceptors of grpc.aio would cost each call as much as all that is here.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import grpc.aio
from google.protobuf.message import Message
from grpc_status import rpc_status

from services.chassis import call, parameters, status, trace
from services.chassis.auth import Verifier
from services.chassis.contract import Method
from services.chassis.deadlines import Deadlines, Task
from services.chassis.errors import DeadlinePassed, Error, Internal, Unauthenticated, Unavailable
from services.chassis.handlers import Context, Handler, Respond, answering, streaming, streams
from services.chassis.telemetry import Record, Telemetry, kind_of

# A drain looks for arrivals that often, and is over once it saw none so many times running, or has looked its fill.
_LOOK_SECONDS = 0.01
_QUIET_LOOKS = 5
_MOST_LOOKS = 100

# Apps send one of a few lists.
_locale_of = lru_cache(maxsize=256)(status.locale_of)


class Pipeline:
    """Deadline, principal, role, parsing, rules, then the servicer; refusals become statuses, and all is recorded.

    Requests come as bytes and are parsed here, so that garbage and bad UTF-8 are refused like any other bad input.
    """

    def __init__(self, verifier: Verifier, telemetry: Telemetry) -> None:
        self._verifier = verifier
        self._telemetry = telemetry
        self._deadlines = Deadlines()
        self._streams: set[Task] = set()
        self._is_draining = False
        self._is_closed = asyncio.Event()
        self._last_arrival = 0.0

    def around(self, method: Method, handler: Any) -> Handler:
        """The handler of an RPC with the pipeline around it."""
        respond = streaming(handler.unary_stream) if method.is_stream else answering(handler.unary_unary)

        async def answer(raw: bytes, context: Context) -> bytes | None:
            return await self._run(method, respond, raw, context)

        async def stream(raw: bytes, context: Context) -> None:
            with self._ending_with_the_server():
                await self._run(method, respond, raw, context)

        if method.is_stream:
            return streams(stream)
        handler_of_one: Any = answer
        return grpc.unary_unary_rpc_method_handler(handler_of_one)

    def around_health_watch(self, handler: Any) -> Handler:
        """The handler of a health watch, made to end when the server drains: watchers would each hold it up."""

        async def watch(request: Message, context: Context) -> None:
            if self._is_draining:  # One that was ended comes back at once.
                return
            try:
                with self._ending_with_the_server():
                    await handler.unary_stream(request, context)
            except asyncio.CancelledError:
                if not self._is_draining:
                    raise

        return streams(watch, handler.request_deserializer, handler.response_serializer)

    async def drain(self) -> None:
        """End every open stream, hold back whatever still comes, and wait until hardly anything does.

        gRPC cancels the calls that have arrived but were not yet handed to us when a server stops, and a client does
        not retry a cancelled call as it does an UNAVAILABLE one. So callers get no answer, on which they would call
        again, before they have been told by close() to do so elsewhere.
        """
        self._is_draining = True
        for task in self._streams:
            task.cancel()
        # Silence is counted in looks: while the loop is held up, time goes by and no call can be handed to us.
        quiet = 0
        for _ in range(_MOST_LOOKS):
            latest = self._last_arrival
            await asyncio.sleep(_LOOK_SECONDS)
            quiet = quiet + 1 if self._last_arrival == latest else 0
            if quiet == _QUIET_LOOKS:
                break

    def close(self) -> None:
        """Refuse what drain() held back: to be called once the server has begun to stop, and so has told its peers."""
        self._is_closed.set()

    @contextmanager
    def _ending_with_the_server(self) -> Iterator[None]:
        """Let drain() end what this task does meanwhile."""
        task: Any = asyncio.current_task()
        self._streams.add(task)
        try:
            yield
        finally:
            self._streams.discard(task)

    async def _run(self, method: Method, respond: Respond, raw: bytes, context: Context) -> bytes | None:
        """One RPC from its bytes to its answer."""
        self._last_arrival = arrival = time.monotonic()
        headers = _headers(context)
        record = Record(method.rpc, trace.follow(headers.traceparent), arrival)
        trace.current.set(record.trace)
        deadline = arrival + _seconds(method, context)
        late: Error | None = None
        task: Any = asyncio.current_task()
        self._deadlines.set(task, deadline)
        try:
            if self._is_draining:
                await self._is_closed.wait()
                raise Unavailable("SERVER_DRAINING", retry_after=1.0)
            principal, record.actor, good_for = await self._verifier.bearer(
                headers.authorization, self._telemetry.pseudonym
            )
            record.caller = kind_of(principal)
            method.admit(principal)
            if method.is_stream and arrival + good_for < deadline:
                self._deadlines.set(task, arrival + good_for)
                late = Unauthenticated("TOKEN_EXPIRED")
            request = method.parse(raw)
            record.tell(request)
            call.enter(_call(method, principal, record.actor, request, headers.locale), deadline, record.notes)
            return await respond(request, context, record)
        except asyncio.CancelledError:
            # Its caller may be gone at the same moment, or its server about to stop.
            if self._deadlines.has_passed(task) and task.uncancel() == 0:
                refusal = self._refusal(record, late or DeadlinePassed("DEADLINE_PASSED"))
            elif method.is_stream and self._is_draining:
                refusal = self._refusal(record, Unavailable("SERVER_DRAINING", retry_after=1.0))
            else:
                record.code = grpc.StatusCode.CANCELLED.name
                raise
        except Exception as error:  # noqa: BLE001 - this is where everything that was raised is told to the caller.
            has_passed = self._deadlines.has_passed(task)
            refusal = self._refusal(record, late or DeadlinePassed("DEADLINE_PASSED") if has_passed else error)
        finally:
            self._deadlines.clear(task)
            self._telemetry.close(record)
        answer = rpc_status.to_status(status.status_of(refusal, headers.locale))
        return await context.abort(answer.code, answer.details, answer.trailing_metadata)

    def _refusal(self, record: Record, error: Exception) -> Error:
        """What to tell the caller; what nobody foresaw is logged, and told to nobody."""
        if isinstance(error, Error) and status.is_known(error):
            refusal = error
        else:
            self._telemetry.unforeseen(record, error)
            refusal = Internal("INTERNAL")
        record.code, record.reason = status.CODES[type(refusal)].name, refusal.reason
        return refusal


class _Headers(NamedTuple):
    authorization: str | None
    traceparent: str | None
    locale: str


def _headers(context: Context) -> _Headers:
    authorization = traceparent = language = None
    metadata: Any = context.invocation_metadata() or ()
    for key, value in metadata:
        if key == "authorization":
            authorization = value
        elif key == trace.HEADER:
            traceparent = value
        elif key == "accept-language":
            language = value
    return _Headers(authorization, traceparent, _locale_of(language))


def _seconds(method: Method, context: Context) -> float:
    """How long the RPC may take: as long as its caller waits, within our limits."""
    limits = parameters.current()
    longest = limits.stream_deadline_seconds if method.is_stream else limits.deadline_limit_seconds
    asked: float | None = context.time_remaining()
    if asked is None:
        return longest if method.is_stream else limits.default_deadline_seconds
    return min(asked, longest)


def _call(method: Method, principal: call.Principal, actor: str, request: Any, locale: str) -> call.Call:
    request_id: str = request.request_id if method.is_replayable else ""
    # Only a request that may come again is ever compared with itself.
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest() if request_id else ""
    return call.Call(principal, method.rpc, request_id, digest, locale, actor)
