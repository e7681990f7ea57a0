"""The steps of a journey: each is one call, timed, with an outcome that was expected or was not."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from services.journey.people import refusal_of

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True)
class Step:
    """One call: `outcome` is a state, a figure or the reason of a refusal; `expected` is what it should be."""

    who: str
    what: str
    rpc: str
    outcome: str
    expected: str
    milliseconds: float
    words: str = ""

    @property
    def is_expected(self) -> bool:
        return self.outcome == self.expected


class Show(Protocol):
    """Where a journey is shown as it goes on."""

    def chapter(self, title: str) -> None:
        """A new chapter begins."""

    def step(self, step: Step) -> None:
        """A step is done."""

    def evidence(self, title: str, rows: Sequence[tuple[str, ...]]) -> None:
        """What the last answer held that is worth reading: the first row names the columns."""


class JourneyEnded(Exception):
    """A step went so wrong that the ones after it make no sense."""


class Telling:
    """Makes the calls and keeps the steps."""

    def __init__(self, show: Show) -> None:
        self.show = show
        self.steps: list[Step] = []

    def does(
        self,
        who: str,
        what: str,
        call: "grpc.UnaryUnaryMultiCallable[Q, A]",
        request: Q,
        outcome: Callable[[A], str] = lambda _: "OK",
        expected: str = "OK",
    ) -> A:
        """A call that should succeed, with what its answer should come to; raises JourneyEnded if it is refused."""
        begun = time.perf_counter()
        try:
            answer = call(request)
        except grpc.RpcError as error:
            reason, words = _said(error)
            self._keep(who, what, request, reason, expected, begun, words)
            raise JourneyEnded from error
        self._keep(who, what, request, outcome(answer), expected, begun)
        return answer

    def is_refused(
        self, who: str, what: str, call: "grpc.UnaryUnaryMultiCallable[Q, A]", request: Q, reason: str
    ) -> None:
        """A call that should be refused for that reason."""
        begun = time.perf_counter()
        try:
            call(request)
        except grpc.RpcError as error:
            given, words = _said(error)
            self._keep(who, what, request, given, reason, begun, words)
        else:
            self._keep(who, what, request, "OK", reason, begun)

    def _keep(
        self, who: str, what: str, request: Message, outcome: str, expected: str, begun: float, words: str = ""
    ) -> None:
        rpc = type(request).__name__.removesuffix("Request")
        step = Step(who, what, rpc, outcome, expected, (time.perf_counter() - begun) * 1000, words)
        self.steps.append(step)
        self.show.step(step)


def new_request() -> str:
    """A request_id for one intended write."""
    return uuid.uuid4().hex


def _said(error: grpc.RpcError) -> tuple[str, str]:
    refusal = refusal_of(error)
    return refusal.reason or refusal.status, refusal.words
