"""Reads what a service's /metrics says of its RPCs.

prometheus_client's own parser takes about 15 us a line, 28 times as long: for ten processes with all 54 RPCs that alone
would be 3 % of a core at a beat of 5 s, thrice what the whole sidecar may take. Nothing else is read than four
families that are written by services/chassis/tallies.py, one sample a line, by the text format's rules.
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

# Of each family the labels that its series have here, in this order.
RPCS, BUCKETS = "sharemesh_rpcs_total", "sharemesh_rpc_seconds_bucket"
CALLS, REFUSALS = "sharemesh_calls_total", "sharemesh_refusals_total"
_LABELS = {RPCS: ("rpc", "code"), BUCKETS: ("rpc", "le"), CALLS: ("caller", "service"), REFUSALS: ("reason",)}
START = "process_start_time_seconds"
_WANTED = (*(f"{family}{{" for family in _LABELS), f"{START} ")
# Stands there before the first call, too.
_MARK = f"# TYPE {RPCS} counter"
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Series(NamedTuple):
    """One counter: its family and the values of its labels."""

    family: str
    first: str
    second: str = ""


class Counted(NamedTuple):
    """Counters by their series as they are written, and when their process began as Unix seconds (0: unknown)."""

    counters: Mapping[str, float]
    start: float


def parse(text: str) -> Counted:
    """What stands in the text; ValueError if it is not that of a service of the mesh."""
    if _MARK not in text:
        raise ValueError("is not the /metrics of a service of the mesh")
    counters: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith(_WANTED):
            series, _, number = line.rpartition(" ")
            counters[series] = float(number)
    return Counted(counters, counters.pop(START, 0.0))


# All series of a mesh, by far; each is read once.
@lru_cache(maxsize=8192)
def series_of(text: str) -> Series:
    """The series that is written so; ValueError if it has other labels."""
    family, _, rest = text.partition("{")
    labels = dict(_LABEL.findall(rest))
    if family not in _LABELS or set(labels) != set(_LABELS[family]):
        raise ValueError(f"{text} has unknown labels")
    return Series(family, *(labels[name] for name in _LABELS[family]))


def quantile(share: float, buckets: Mapping[float, float]) -> float:
    """The value that this share of the observations lies under, by counts up to each bound; needs at least one.

    By even spread within a bucket, and the highest finite bound for the last one, as Prometheus' histogram_quantile.
    """
    bounds = sorted(buckets)
    rank = share * buckets[bounds[-1]]
    lower = below = 0.0
    for bound in bounds[:-1]:
        if buckets[bound] >= rank:
            inside = buckets[bound] - below
            return lower + (bound - lower) * (rank - below) / inside if inside > 0 else bound
        lower, below = bound, buckets[bound]
    return lower
