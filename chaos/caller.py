"""Somebody who calls until there is an answer, and writes down how each try ended."""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from services.chassis.tokens import DevIssuer
from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2

_CONTRACTS = {"entry": entry_pb2, "publish": publish_pb2, "audit": audit_pb2, "share": share_pb2, "redeem": redeem_pb2}
# The patience of a person in front of an app; a call takes milliseconds.
CALL_SECONDS = 10.0
# Between two tries of who got no answer.
_PAUSE_SECONDS = 0.1
# No outage that is made here lasts that long: who is not answered by then never will be.
_PATIENCE_SECONDS = 60.0
_TOKEN_SECONDS = 86_400
# How many writes are asked once more in the end.
_AGAIN = 150
# What tells nothing about the outcome: the caller asks again, with the same request_id.
_NO_ANSWER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}
# What stands for the details of an answer with a field that our contract does not have.
NEWER = "of a newer release"
# Likewise for a submission that no audit answered in time: it is judged later.
PENDING = "audited later"
# Field 1000, as a newer client would send it: whatever instance it comes to passes over it.
_FROM_NEWER = b"\xc0\x3e\x01"
# Whose answers name something that exists exactly once from then on, and still does when all is over.
MAKING = ("CreateMerchant", "CreateStore", "CreateShare", "ClaimCoupon", "RedeemCoupon", "ReverseRedemption")


class Method(NamedTuple):
    """One RPC of the contracts: its service's short name, its path on the wire, and the class of its answers."""

    service: str
    path: str
    answer: type[Message]
    is_write: bool


METHODS = {
    method.name: Method(
        service,
        f"/{contract.full_name}/{method.name}",
        GetMessageClass(method.output_type),
        "request_id" in method.input_type.fields_by_name,
    )
    for service, module in _CONTRACTS.items()
    for contract in module.DESCRIPTOR.services_by_name.values()
    for method in contract.methods
}


class Refused(Exception):
    """An answer that no retry would change, or a wrong one; the turn ends here."""


class Asked(NamedTuple):
    """A write that was answered: by whom, what, and the name in the answer."""

    rpc: str
    request: Any
    who: tuple[str, str]
    name: str


@dataclass
class Book:
    """What callers were told: by RPC the name in the answer by request_id, and the last writes themselves."""

    made: dict[str, dict[str, str]] = field(default_factory=lambda: {rpc: {} for rpc in MAKING})
    last: deque[Asked] = field(default_factory=lambda: deque(maxlen=_AGAIN))

    def note(self, asked: Asked) -> None:
        """One more answer."""
        if asked.rpc in self.made:
            self.made[asked.rpc][asked.request.request_id] = asked.name
            self.last.append(asked)


class Record:
    """One line for each try: [begin, end, rpc, way, status, details], times by time.monotonic()."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)

    def line(self, begin: float, rpc: str, way: str, status: str, details: str = "") -> None:
        """Write one down that has just ended."""
        told = [round(begin, 4), round(time.monotonic(), 4), rpc, way, status, details]
        self._file.write(json.dumps(told, ensure_ascii=False) + "\n")


class Bearers:
    """A token for everybody who calls, made when it is needed first."""

    def __init__(self, issuer: DevIssuer) -> None:
        self._issuer = issuer
        self._headers: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}

    def of(self, who: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """The headers of a role and a subject; ("", "") has no token."""
        if who not in self._headers:
            language = ("accept-language", "en")
            bearer = [("authorization", f"Bearer {self._issuer.issue(*who, _TOKEN_SECONDS)}")] if who[0] else []
            self._headers[who] = (language, *bearer)
        return self._headers[who]


class Pace:
    """So many calls a second, evenly, whoever makes them; 0 stands still."""

    def __init__(self, rate: float) -> None:
        self._rate, self._next = rate, 0.0
        self._changed = asyncio.Event()

    def change(self, rate: float) -> None:
        """From now on."""
        self._rate = rate
        self._changed.set()

    async def turn(self) -> None:
        """Returns when the next call is due; what was missed while nobody could call is not made up for."""
        while not self._rate:
            self._changed.clear()
            await self._changed.wait()
        now = time.monotonic()
        self._next = max(self._next + 1 / self._rate, now - 1 / self._rate)
        await asyncio.sleep(self._next - now)


@dataclass
class Caller:
    """Calls the five services one way ("mesh" or "gateway"), by a channel to each service."""

    way: str
    channels: Mapping[str, grpc.aio.Channel]
    bearers: Bearers
    record: Record
    book: Book
    pace: Pace

    async def ask(self, who: tuple[str, str], rpc: str, request: Any) -> Any:
        """The answer, however many tries it takes; a write gets its request_id here. Raises Refused."""
        method = METHODS[rpc]
        if method.is_write and not request.request_id:
            request.request_id = secrets.token_hex(16)
        if rpc == "GetOffer":
            request.MergeFromString(_FROM_NEWER)
        await self.pace.turn()
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            begin = time.monotonic()
            try:
                answer = await self._try(method, who, request)
            except grpc.aio.AioRpcError as error:
                self.record.line(begin, rpc, self.way, error.code().name, error.details() or "")
                if error.code() not in _NO_ANSWER or time.monotonic() > end:
                    raise Refused from error
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self.record.line(begin, rpc, self.way, "OK", _remark(rpc, answer))
                if method.is_write:
                    self.book.note(Asked(rpc, request, who, getattr(answer, "name", "")))
                return answer

    def wrong(self, rpc: str, told: str) -> Refused:
        """To be raised for an answer that should be another one; it is written down like a failed call."""
        self.record.line(time.monotonic(), rpc, self.way, "WRONG", told)
        return Refused(told)

    async def _try(self, method: Method, who: tuple[str, str], request: Any) -> Any:
        call: Any = self.channels[method.service].unary_unary(
            method.path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=method.answer.FromString,
        )
        return await call(request, metadata=self.bearers.of(who), timeout=CALL_SECONDS)

    def watch(self, who: tuple[str, str], request: publish_pb2.WatchActivityRequest, seconds: float) -> Any:
        """A stream of WatchActivityResponses."""
        call: Any = self.channels["publish"].unary_stream(
            METHODS["WatchActivity"].path,
            request_serializer=publish_pb2.WatchActivityRequest.SerializeToString,
            response_deserializer=publish_pb2.WatchActivityResponse.FromString,
        )
        return call(request, metadata=self.bearers.of(who), timeout=seconds)


def _remark(rpc: str, answer: Any) -> str:
    """What is worth noting of an answer."""
    if rpc == "SubmitActivity" and answer.state == entry_pb2.ACTIVITY_STATE_PENDING_AUDIT:
        return PENDING
    return NEWER if len(UnknownFieldSet(answer)) > 0 else ""
