"""Who is calling, what for and until when: the facts of one RPC that every layer may ask for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

ANONYMOUS = "ANONYMOUS"


@dataclass(frozen=True)
class Principal:
    """Who a token says its bearer is: a role's name ("MERCHANT") and a subject, "" without a token."""

    role: str
    subject: str


class Call(NamedTuple):
    """One RPC under way.

    `rpc` is "EntryService.CreateStore"; `digest` is the hex SHA-256 of the request's deterministic bytes, without
    fields unknown here; `request_id` is "" where the request has none, and then so is `digest`; `locale` is "zh-CN"
    or "en"; `actor` is the principal's pseudonym as histories and events keep it, "" for the anonymous.
    """

    principal: Principal
    rpc: str
    request_id: str = ""
    digest: str = ""
    locale: str = "zh-CN"
    actor: str = ""


class _Scope(NamedTuple):
    call: Call
    deadline: float
    notes: dict[str, str]


_scope: ContextVar[_Scope] = ContextVar("call")


def current() -> Call:
    """The call that this task or pool job works for; LookupError outside of any."""
    return _scope.get().call


def deadline() -> float:
    """When the current call must have ended, by time.monotonic(); LookupError outside of any."""
    return _scope.get().deadline


def seconds_left() -> float | None:
    """Seconds until the current call's deadline, never below zero; None outside of any call."""
    scope = _scope.get(None)
    return None if scope is None else max(0.0, scope.deadline - time.monotonic())


def note(*, activity: str = "", share: str = "", coupon: str = "") -> None:
    """Put resource names (never codes) into the current call's event; does nothing outside of any call."""
    scope = _scope.get(None)
    if scope is not None:
        chain = {"activity": activity, "share": share, "coupon": coupon}
        scope.notes.update((link, name) for link, name in chain.items() if name)


def enter(call: Call, deadline: float, notes: dict[str, str]) -> None:
    """Make `call` the one that this task works for until it ends; what is noted goes into `notes`."""
    _scope.set(_Scope(call, deadline, notes))


@contextmanager
def entered(call: Call, seconds: float) -> Iterator[dict[str, str]]:
    """Make `call` the current one meanwhile, with that many seconds to live; yields the notes it collects."""
    scope = _Scope(call, time.monotonic() + seconds, {})
    token = _scope.set(scope)
    try:
        yield scope.notes
    finally:
        _scope.reset(token)
