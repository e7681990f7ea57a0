"""What happens to every RPC around its servicer: the one pipeline, and what becomes of whatever it raises."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, TypeAlias, TypeVar

import grpc.aio
from google.protobuf.message import Message
from grpc_status import rpc_status

from services.chassis import call, parameters, status, trace
from services.chassis.auth import Verifier
from services.chassis.contract import Method
from services.chassis.errors import DeadlinePassed, Error, Internal, Unauthenticated, Unavailable
from services.chassis.telemetry import Record, Telemetry

T = TypeVar("T")
# As text: only their stubs are generic.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# What a mesh asks of a server before it knows anybody; it sees nothing of the domain.
OPEN_TO_ALL = ("/grpc.health.v1.Health/", "/grpc.reflection.")
# Its watchers stay for ever, and would each hold up a server that drains.
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"

_QUIET_SECONDS = 0.05
_PATIENCE_SECONDS = 1.0


class Pipeline(grpc.aio.ServerInterceptor):
    """Deadline, principal, role, parsing, rules, then the servicer; refusals become statuses, and all is recorded.

    Requests come as bytes and are parsed here, so that garbage and bad UTF-8 are refused like any other bad input.
    """

    def __init__(self, verifier: Verifier, telemetry: Telemetry) -> None:
        self._verifier = verifier
        self._telemetry = telemetry
        self._methods: dict[str, Method] = {}
        self._handlers: dict[str, Handler] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._is_draining = False
        self._last_arrival = 0.0

    def serve(self, methods: Mapping[str, Method]) -> None:
        """Let these RPCs through, by path; whatever is neither among them nor open to all is UNIMPLEMENTED."""
        self._methods.update(methods)

    async def drain(self) -> None:
        """End every open stream, refuse whatever still comes, and wait until hardly anything does.

        gRPC cancels the calls that have arrived but were not yet handed to us when a server stops, and a client does
        not retry a cancelled call as it does an UNAVAILABLE one: so first of all the callers are sent elsewhere.
        """
        self._is_draining = True
        for task in self._streams:
            task.cancel()
        patience = time.monotonic() + _PATIENCE_SECONDS
        while (busy := min(patience, self._last_arrival + _QUIET_SECONDS) - time.monotonic()) > 0:  # noqa: ASYNC110 - silence sets no event.
            await asyncio.sleep(busy)

    # The stubs make this method generic over types that only the handler knows.
    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of an RPC with the pipeline around it."""
        path = handler_call_details.method
        if path.startswith(OPEN_TO_ALL):
            handler = await continuation(handler_call_details)
            return self._endable_watch(handler) if path == HEALTH_WATCH else handler
        method = self._methods.get(path)
        if method is not None and path not in self._handlers:
            self._handlers[path] = self._around(method, await continuation(handler_call_details))
        return self._handlers.get(path)

    def _around(self, method: Method, handler: Any) -> Handler:
        async def answer(raw: bytes, context: Context) -> bytes:
            async def respond(request: Message, record: Record) -> bytes:
                response: Message = await handler.unary_unary(request, context)
                record.tell(response)
                return response.SerializeToString()

            return await self._run(method, raw, context, respond)

        async def stream(raw: bytes, context: Context) -> None:
            async def respond(request: Message, _: Record) -> None:
                async with aclosing(handler.unary_stream(request, context)) as responses:
                    async for response in responses:
                        await context.write(response.SerializeToString())

            with self._endable():
                await self._run(method, raw, context, respond)

        if method.is_stream:
            # A coroutine that writes is another form of a handler that yields; the stubs know only the latter.
            handler_of_stream: Any = stream
            return grpc.unary_stream_rpc_method_handler(handler_of_stream)
        handler_of_one: Any = answer
        return grpc.unary_unary_rpc_method_handler(handler_of_one)

    def _endable_watch(self, handler: Any) -> Handler:
        async def watch(request: Message, context: Context) -> None:
            if self._is_draining:  # One that was ended comes back at once.
                return
            try:
                with self._endable():
                    await handler.unary_stream(request, context)
            except asyncio.CancelledError:
                if not self._is_draining:
                    raise

        endable: Any = watch
        return grpc.unary_stream_rpc_method_handler(endable, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _endable(self) -> Iterator[None]:
        """Let drain() end what this task does meanwhile."""
        task: Any = asyncio.current_task()
        self._streams.add(task)
        try:
            yield
        finally:
            self._streams.discard(task)

    async def _run(
        self, method: Method, raw: bytes, context: Context, respond: Callable[[Message, Record], Awaitable[T]]
    ) -> T:
        """One RPC from its bytes to its answer."""
        self._last_arrival = time.monotonic()
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        locale = status.locale_of(metadata.get("accept-language"))
        record = Record(method.rpc, trace.follow(metadata.get(trace.HEADER)))
        trace.current.set(record.trace)
        seconds = _seconds(method, context)
        limit = asyncio.timeout(seconds)
        late: Error = DeadlinePassed("DEADLINE_PASSED")
        try:
            async with limit:
                if self._is_draining:
                    raise Unavailable("SERVER_DRAINING", retry_after=1.0)
                principal, good_for = await self._verifier.bearer(metadata.get("authorization"))
                record.actor = self._telemetry.pseudonym(principal)
                method.admit(principal)
                if method.is_stream and good_for < seconds:
                    limit.reschedule(asyncio.get_running_loop().time() + good_for)
                    late = Unauthenticated("TOKEN_EXPIRED")
                request = method.parse(raw)
                with call.entered(_call(method, principal, record.actor, request, locale), seconds) as record.notes:
                    record.tell(request)
                    return await respond(request, record)
        except asyncio.CancelledError:
            if not (method.is_stream and self._is_draining):
                record.code = grpc.StatusCode.CANCELLED.name
                raise
            refusal = self._refusal(record, Unavailable("SERVER_DRAINING", retry_after=1.0))
        except Exception as error:  # noqa: BLE001 - this is where everything that was raised is told to the caller.
            refusal = self._refusal(record, late if limit.expired() else error)
        finally:
            self._telemetry.close(record)
        answer = rpc_status.to_status(status.status_of(refusal, locale))
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


def _seconds(method: Method, context: Context) -> float:
    """How long the RPC may take: as long as its caller waits, within our limits."""
    limits = parameters.current()
    longest = limits.stream_deadline_seconds if method.is_stream else limits.deadline_limit_seconds
    asked: float | None = context.time_remaining()
    if asked is None:
        return longest if method.is_stream else limits.default_deadline_seconds
    return min(asked, longest)


def _call(method: Method, principal: call.Principal, actor: str, request: Message, locale: str) -> call.Call:
    return call.Call(
        principal=principal,
        rpc=method.rpc,
        request_id=getattr(request, "request_id", ""),
        digest=hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest(),
        locale=locale,
        actor=actor,
    )
