"""Long work in a thread of a process that serves, so that those who are served do not notice."""

import ctypes
import gc
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

# A call that is served changes threads some ten times, and waits this long each time for one that works; by default it
# is ten times as much.
_SWITCH_SECONDS = 0.0005
T = TypeVar("T")

_turn = threading.Lock()
_switching: list[float] = []
_collecting = threading.Lock()


@contextmanager
def yielding() -> Iterator[None]:
    """Give way to other threads often meanwhile."""
    with _turn:
        _switching.append(sys.getswitchinterval() if not _switching else _switching[0])
        sys.setswitchinterval(min(_switching[0], _SWITCH_SECONDS))
    try:
        yield
    finally:
        with _turn:
            before = _switching.pop()
            if not _switching:
                sys.setswitchinterval(before)


def gently(many: Iterable[T]) -> Iterator[T]:
    """The same, one after the other, with a chance for other threads before each: compiled loops give none."""
    # Python gives them none either while it yields from another.
    for one in many:  # noqa: UP028
        yield one


@contextmanager
def lasting() -> Iterator[None]:
    """What is made meanwhile stays for long, and is left out of garbage collections from then on: each of them would
    hold everybody up for as long as walking over all of it takes. What has no cycle in it is still freed at once.

    Memory that was only needed for the making is given back to the system.
    """
    with _collecting:
        is_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
            gc.freeze()
            _trim()
        finally:
            if is_enabled:
                gc.enable()


def _trim() -> None:
    """The C library keeps freed memory for its process, tens of megabytes here; glibc's can be told not to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
