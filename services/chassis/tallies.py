"""RPCs counted by status, refusal and caller, and sorted by duration, for Prometheus to collect.

Its client's own counters keep a lock for each number and look a label's numbers up each time, which every call would
pay for; here one event loop counts, and a scrape reads.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

import prometheus_client
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_LABELS = [*map(str, _BOUNDS), "+Inf"]


class Tally:
    """What is counted of one RPC ("EntryService.GetStore")."""

    def __init__(self) -> None:
        self.by_code: Counter[str] = Counter()
        # How many took up to each bound, and longer than the one before.
        self.by_duration = [0] * len(_LABELS)
        self.seconds = 0.0

    def count(self, code: str, seconds: float) -> None:
        """Count an RPC that ended with this status ("OK") after so many seconds."""
        self.by_code[code] += 1
        self.by_duration[bisect_left(_BOUNDS, seconds)] += 1
        self.seconds += seconds


class Tallies(Collector):
    """The tallies of all RPCs of this process."""

    def __init__(self) -> None:
        self._of: dict[str, Tally] = {}
        self._callers: dict[str, Counter[str]] = {}
        # By ErrorReason, such as "STOCK_EXHAUSTED".
        self.refusals: Counter[str] = Counter()

    def of(self, rpc: str) -> Tally:
        """The tally of an RPC, the same for whoever asks."""
        tally = self._of.get(rpc)
        return self._of.setdefault(rpc, Tally()) if tally is None else tally

    def callers_of(self, service: str) -> Counter[str]:
        """How many RPCs each kind of caller has sent to a service ("redeem"); the same for whoever asks."""
        return self._callers.setdefault(service, Counter())

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        rpcs = CounterMetricFamily("sharemesh_rpcs", "RPCs answered.", labels=["rpc", "code"])
        durations = HistogramMetricFamily(
            "sharemesh_rpc_seconds", "Seconds from an RPC's arrival to its answer.", labels=["rpc"]
        )
        for rpc, tally in list(self._of.items()):
            for code, count in list(tally.by_code.items()):
                rpcs.add_metric([rpc, code], count)
            buckets = [
                (bound, float(total)) for bound, total in zip(_LABELS, accumulate(tally.by_duration), strict=True)
            ]
            durations.add_metric([rpc], buckets, tally.seconds)
        calls = CounterMetricFamily("sharemesh_calls", "RPCs by caller and service.", labels=["caller", "service"])
        for service, callers in list(self._callers.items()):
            for caller, count in list(callers.items()):
                calls.add_metric([caller, service], count)
        refusals = CounterMetricFamily("sharemesh_refusals", "RPCs refused, by the reason told.", labels=["reason"])
        for reason, count in list(self.refusals.items()):
            refusals.add_metric([reason], count)
        yield from (rpcs, durations, calls, refusals)


RPCS = Tallies()
prometheus_client.REGISTRY.register(RPCS)
