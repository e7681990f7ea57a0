"""Who is calling, what for and until when: the facts of one RPC that every layer may ask for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

ANONYMOUS = "ANONYMOUS"


@dataclass(frozen=True)
class Principal:
    """Who a token says its bearer is: a role's name ("MERCHANT") and a subject, "" without a token."""

    role: str
    subject: str


@dataclass(frozen=True)
class Call:
    """One RPC under way.

    `rpc` is "EntryService.CreateStore"; `digest` is the hex SHA-256 of the request's deterministic bytes, without
    fields unknown here; `request_id` is "" where the request has none; `locale` is "zh-CN" or "en"; `actor` is the
    principal's pseudonym as histories and events keep it, "" for the anonymous.
    """

    principal: Principal
    rpc: str
    request_id: str = ""
    digest: str = ""
    locale: str = "zh-CN"
    actor: str = ""


@dataclass
class _Scope:
    call: Call
    deadline: float  # of time.monotonic()
    notes: dict[str, str] = field(default_factory=dict)


_scope: ContextVar[_Scope] = ContextVar("call")


def current() -> Call:
    """The call that this task or pool job works for; LookupError outside of any."""
    return _scope.get().call


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


@contextmanager
def entered(call: Call, seconds: float) -> Iterator[dict[str, str]]:
    """Make `call` the current one, with that many seconds to live; yields the notes it collects."""
    scope = _Scope(call, time.monotonic() + seconds)
    token = _scope.set(scope)
    try:
        yield scope.notes
    finally:
        _scope.reset(token)
