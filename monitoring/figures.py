"""How a reader tells as many of its figures as can be had: each by itself, and counters as rates."""

import logging
from collections.abc import Callable, Iterable, Mapping

import psutil

from monitoring.readings import Rates, Readings, key

_log = logging.getLogger("sharemesh.monitoring")

# What a machine or its kernel answers in its files and calls where a figure is not to be had. psutil also raises
# RuntimeError for a file that is not as it should be, and has no function at all where there is nothing to ask.
UNREADABLE = (OSError, psutil.Error, ValueError, LookupError, AttributeError, NotImplementedError, RuntimeError)

# Some figures of one kind, given the seconds of a monotonic clock.
Part = Callable[[float], Readings]


class Parts:
    """Figures in parts: one that cannot be read is logged once, and loses no other."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = tuple(parts)
        self._complaints: dict[Part, str] = {}

    def read(self, now: float) -> Readings:
        """What can be read."""
        told: Readings = {}
        for part in self._parts:
            try:
                told |= part(now)
            except UNREADABLE as error:
                complaint = f"{type(error).__name__}: {error}"
                if self._complaints.get(part) != complaint:
                    self._complaints[part] = complaint
                    _log.warning("figure_unreadable", {"figure": part.__name__.strip("_"), "error": complaint})
            else:
                self._complaints.pop(part, None)
        return told


def rates_of(rates: Rates, counts: Mapping[str, float], now: float, factor: float = 1) -> Readings:
    """The rates of counters by item key, times `factor`; without those that are not known yet."""
    found = {name: rates.of(name, count, now) for name, count in counts.items()}
    return {name: rate * factor for name, rate in found.items() if rate is not None}


def named(prefix: str, values: Mapping[str, float | None], *parameters: str) -> Readings:
    """Values under the item keys `prefix`.name[parameters]; without those that are None."""
    return {key(f"{prefix}.{name}", *parameters): value for name, value in values.items() if value is not None}
