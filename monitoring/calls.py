"""Who calls what on this machine, how often and how fast: by each service's own counters, which are not sampled."""

import asyncio
import time
from collections.abc import Sequence

from monitoring import exposition
from monitoring.census import Census
from monitoring.contracts import STREAMS
from monitoring.exposition import BUCKETS, CALLS, REFUSALS, RPCS, Series
from monitoring.growth import Growth
from monitoring.page import fetched
from monitoring.pulse import SERVING, Pulse
from monitoring.readings import Readings, discovery, key

# A page takes some milliseconds to be written, many times that in a process whose core is busy; the shortest beat is
# one second.
SCRAPE_SECONDS = 0.8
AT_ONCE = 8
OK = "OK"
# What is not its caller's fault. https://grpc.io/docs/guides/status-codes/
FAULTS = frozenset({"UNAVAILABLE", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "DATA_LOSS", "UNIMPLEMENTED"})
QUANTILES = {"rpc.p50": 0.50, "rpc.p95": 0.95, "rpc.p99": 0.99}


class Calls:
    """The counters of the census' instances on this machine, summed up; `pages` are more addresses of /metrics."""

    def __init__(self, census: Census, pages: Sequence[str] = ()) -> None:
        self._census = census
        self._pages = tuple(pages)
        self._growth = Growth()
        self._pulses: dict[str, Pulse] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        # The discovery rules, and how many series were known when they were written.
        self._discovered: Readings = {}
        self._size = 0

    async def read(self) -> Readings:
        """Rates a second since the last reading, shares in %, quantiles in seconds; at the first, what there is only.

        A process that could not be read is counted, and what it has counted meanwhile comes with its next reading.
        """
        if not self._census.is_known:
            return {}
        # A process with several services has one page.
        pages = dict.fromkeys((*self._pages, *(one.metrics for one in self._census.own if one.metrics)))
        self._pulses = {page: self._pulses.get(page) or Pulse(f"metrics of {page}") for page in pages}
        self._growth.begin(pages)
        await asyncio.gather(*map(self._scrape, pages))
        failed = sum(pulse.state != SERVING for pulse in self._pulses.values())
        readings: Readings = {
            key("instances.scraped"): len(pages) - failed,
            key("instances.scrape.failed"): failed,
        }
        if self._size != self._growth.size:
            self._size, self._discovered = self._growth.size, _discovered(self._growth)
        readings |= self._discovered
        if self._growth.compared:
            readings |= _rpcs(self._growth) | _callers(self._growth)
        return readings

    async def _scrape(self, address: str) -> None:
        pulse = self._pulses[address]
        async with self._places:
            try:
                page = exposition.parse(await fetched(address, "/metrics", SCRAPE_SECONDS))
                self._growth.take(address, page, time.monotonic())
            except (OSError, ValueError) as error:
                pulse.missed(type(error).__name__, str(error))
            else:
                pulse.answered(SERVING)


def _discovered(growth: Growth) -> Readings:
    rpcs, callers, refusals = (growth.known[family] for family in (RPCS, CALLS, REFUSALS))
    failures = [one for several in rpcs.values() for one in several if one.second != OK]
    calls = [one for several in callers.values() for one in several]
    return {
        key("rpc.discovery"): discovery({"{#RPC}": rpc} for rpc in rpcs),
        key("rpc.status.discovery"): discovery({"{#RPC}": one.first, "{#CODE}": one.second} for one in failures),
        key("caller.discovery"): discovery({"{#CALLER}": one.first, "{#SERVICE}": one.second} for one in calls),
        key("refusal.discovery"): discovery({"{#REASON}": reason} for reason in refusals),
    }


def _rpcs(growth: Growth) -> Readings:
    """Rate, faults and quantiles of each RPC; one that nobody called in this beat has a rate of 0, and no quantiles."""
    readings: Readings = {}
    all_rates = all_faults = 0.0
    for rpc, several in growth.known[RPCS].items():
        rate = faults = 0.0
        for one in several:
            part = growth.rates.get(one, 0.0)
            rate += part
            faults += part if _is_fault(one) else 0.0
            if one.second != OK:
                readings[key("rpc.status", rpc, one.second)] = part
        readings[key("rpc.rate", rpc)] = rate
        readings[key("rpc.faults", rpc)] = faults
        readings[key("rpc.fault.share", rpc)] = 100.0 * faults / rate if rate else 0.0
        # How long a stream lasted says nothing of its speed, and it ends when its time is up, which is no fault.
        if rate and rpc not in STREAMS:
            readings |= _quickness(growth, rpc)
        all_rates += rate
        all_faults += faults
    return readings | {key("rpc.rate.all"): all_rates, key("rpc.faults.all"): all_faults}


def _quickness(growth: Growth, rpc: str) -> Readings:
    buckets = {float(one.second): growth.counts.get(one, 0.0) for one in growth.known[BUCKETS][rpc]}
    if not any(buckets.values()):
        return {}
    return {key(name, rpc): exposition.quantile(share, buckets) for name, share in QUANTILES.items()}


def _callers(growth: Growth) -> Readings:
    return {
        key(name, *filter(None, (one.first, one.second))): growth.rates.get(one, 0.0)
        for family, name in ((CALLS, "caller.rate"), (REFUSALS, "refusal.rate"))
        for several in growth.known[family].values()
        for one in several
    }


def _is_fault(one: Series) -> bool:
    return one.second in FAULTS and not (one.first in STREAMS and one.second == "DEADLINE_EXCEEDED")
