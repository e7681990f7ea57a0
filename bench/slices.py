"""Short slices of load, interleaved: each round runs every cell once in another order, so all share the same minute."""

import random
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from bench import ledger, machine
from bench.durability import SlowDisk
from bench.load import Report
from bench.subjects import ECHO, RAW, Demand, Subject
from bench.traffic import OK, WRITES, Traffic, traffic
from bench.world import World

# A slice is disturbed when the host took, or programs that are not ours used, more than these parts of the machine.
_STOLEN = 0.03
_OTHERS = 0.08
# How often one slice is repeated, and how many of a group's slices are, so that a run ends on a busy machine too.
_REPEATS = 2
_REPEATED = 0.4
# Messages for a first slice, and how many more than last time each later one gets.
_FIRST_COUNT = 3000
_MARGIN = 1.6
_SIZING_SECONDS = 0.3
# Enough different messages where they can be sent again and again.
_FEW = 64
_THREADS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Cell:
    """One row of the tables: who does what for how many callers, and under which circumstances."""

    # The rows whose slices are interleaved with its own.
    group: str
    subject: str
    work: str
    callers: int
    # How much slower the disk's sync is than it is.
    sync_ms: float = 0.0
    # Coupons of others in the table; 0 for the world that all other rows share.
    coupons: int = 0
    processes: int = 1

    @property
    def circumstances(self) -> str:
        """In words, "" for the usual ones."""
        found = [f"sync + {self.sync_ms:g} ms"] if self.sync_ms else []
        found += [f"{self.coupons:,} coupons"] if self.coupons else []
        found += [f"{self.processes} processes"] if self.processes > 1 else []
        return ", ".join(found)

    def __str__(self) -> str:
        callers = f"{self.callers} callers" if self.callers else "no callers"
        return ", ".join(filter(None, (f"{self.subject}: {self.work}", callers, self.circumstances)))


@dataclass(frozen=True)
class Slice:
    """What one slice of a cell came to; CPU in microseconds a call. `stolen` by the host and used by `others` are parts
    of the machine."""

    rate: float
    p50_ms: float
    p99_ms: float
    server_cpu: float
    database_cpu: float
    switches: float
    unexpected: dict[int, int]
    stolen: float
    others: float

    @property
    def is_disturbed(self) -> bool:
        """Whether too much else went on."""
        return self.stolen > _STOLEN or self.others > _OTHERS

    def __str__(self) -> str:
        told = f"{self.rate:,.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, CPU us a call:"
        told += f" server {self.server_cpu:.0f}, database {self.database_cpu:.0f}"
        told += f", UNEXPECTED {self.unexpected}" if self.unexpected else ""
        disturbed = f", disturbed: stolen {self.stolen:.0%}, others {self.others:.0%}"
        return told + (disturbed if self.is_disturbed else "")


@dataclass
class Row:
    """All slices of a cell, and the server's memory after the last."""

    cell: Cell
    slices: list[Slice] = field(default_factory=list)
    repeated: int = 0
    rss_mb: float = 0.0
    # The best number of them, for who has no callers.
    threads: int = 0

    @property
    def unexpected(self) -> dict[int, int]:
        """How often which status was answered that should not have been."""
        found: Counter[int] = Counter()
        for one in self.slices:
            found.update(one.unexpected)
        return dict(found)

    def median(self, figure: str) -> float:
        """The median of a figure over the slices; 0 if there are none."""
        return statistics.median(getattr(one, figure) for one in self.slices) if self.slices else 0.0


@dataclass
class Bench:
    """What every slice needs; `answered` collects the keys in replay of the writes that were answered OK."""

    disk: SlowDisk
    database_pid: int
    seconds: float
    answered: dict[str, set[str]] = field(default_factory=dict)  # by the database's URL
    # Bytes of our answers by work, messages that a slice takes and best numbers of threads by cell.
    answer_bytes: dict[str, int] = field(default_factory=dict)
    counts: dict[Cell, int] = field(default_factory=dict)
    threads: dict[Cell, int] = field(default_factory=dict)

    def run(self, cell: Cell, subject: Subject, shop: World) -> Slice:
        """One slice."""
        report, sent = self._load(cell, subject, shop, self.seconds)
        while report.seconds < self.seconds / 2:  # It ran out of messages.
            self.counts[cell] *= 2
            report, sent = self._load(cell, subject, shop, self.seconds)
        calls = max(1, sum(count for status, count in report.statuses.items() if status in sent.expected))
        return Slice(
            rate=calls / report.seconds,
            p50_ms=report.p50_ms,
            p99_ms=report.p99_ms,
            server_cpu=_of_server(report.cpu) / calls * 1e6,
            database_cpu=report.cpu["database"] / calls * 1e6,
            switches=_of_server(report.switches) / calls,
            unexpected={status: n for status, n in report.statuses.items() if status not in sent.expected},
            stolen=report.stolen / report.seconds / machine.cores(),
            others=(report.busy - sum(report.cpu.values())) / report.seconds / machine.cores(),
        )

    def size(self, cell: Cell, subject: Subject, shop: World) -> None:
        """Slices that nobody records: the server warms up, and tells how many messages a whole one takes."""
        if subject.name == RAW:
            self._find_threads(cell, subject, shop)
            return
        report, _ = self._load(cell, subject, shop, _SIZING_SECONDS)
        if subject.name != ECHO:
            self.answer_bytes[cell.work] = report.answer_bytes

    def _find_threads(self, cell: Cell, subject: Subject, shop: World) -> None:
        """Try the numbers of threads, and keep the best."""
        rates = {}
        for threads in _THREADS:
            self.threads[cell] = threads
            report, _ = self._load(cell, subject, shop, _SIZING_SECONDS)
            rates[threads] = report.statuses.get(OK, 0) / report.seconds
        self.threads[cell] = max(rates, key=rates.__getitem__)
        say(f"{cell}: " + ", ".join(f"{threads} threads {rate:,.0f}/s" for threads, rate in rates.items()))

    def _load(self, cell: Cell, subject: Subject, shop: World, seconds: float) -> tuple[Report, Traffic]:
        # The echo uses nothing up.
        count = _FEW if subject.name == ECHO else self.counts.get(cell, _FIRST_COUNT)
        sent = traffic(cell.work, count, shop)
        callers = self.threads.get(cell, cell.callers)
        watched = {"database": self.database_pid}
        demand = Demand(sent, shop, callers, seconds, self.answer_bytes.get(cell.work, 0), watched)
        with self.disk.slowed(cell.sync_ms) if cell.sync_ms else nullcontext():
            report = subject.load(demand)
        self._settle(cell, subject, shop, sent, report)
        return report, sent

    def _settle(self, cell: Cell, subject: Subject, shop: World, sent: Traffic, report: Report) -> None:
        """Keep what was answered, give back what was not used, and say how many messages the next slice needs."""
        if subject.name == ECHO:
            shop.give_back([wish.what for wish in sent.wishes if wish.is_fresh and sent.uses_codes])
            return
        if cell.work not in WRITES:
            return
        answered = self.answered.setdefault(shop.url, set())
        for place, caller, status in report.answers:
            if status == OK:
                answered.add(ledger.key(shop, cell.work, caller, sent.wishes[place].request_id))
        if sent.uses_codes:
            shop.give_back([wish.what for wish in sent.wishes[report.sent :] if wish.is_fresh])
        # A slice that ran out of messages, or nearly, or was slow for once, says too little.
        rate = sum(report.statuses.values()) / report.seconds
        wanted = int(rate * (self.seconds + 0.5) * _MARGIN)
        self.counts[cell] = max(wanted, self.counts.get(cell, _FIRST_COUNT))


def run_group(bench: Bench, cells: Sequence[tuple[Cell, Subject, World]], rounds: int) -> list[Row]:
    """Run every cell's slices, one a round in shuffled order, and return the cells' rows in the order given."""
    rows = {cell: Row(cell) for cell, _, _ in cells}
    # Ours first: the echo answers with as many bytes.
    for cell, subject, shop in sorted(cells, key=lambda one: one[1].name == ECHO):
        bench.size(cell, subject, shop)
    repeats_left = int(len(cells) * rounds * _REPEATED)
    for turn in range(rounds):
        for cell, subject, shop in random.sample(cells, len(cells)):
            tries = _tries(bench, cell, subject, shop, 1 + min(_REPEATS, repeats_left))
            repeats_left -= len(tries) - 1
            rows[cell].slices.append(min(tries, key=lambda one: one.stolen + one.others))
            rows[cell].repeated += len(tries) - 1
            say(f"{turn + 1}/{rounds} {cell}: {rows[cell].slices[-1]}")
    for cell, subject, _ in cells:
        rows[cell].threads = bench.threads.get(cell, 0)
        rows[cell].rss_mb = max(map(machine.rss_mb, subject.pids), default=0.0)
    return list(rows.values())


def _tries(bench: Bench, cell: Cell, subject: Subject, shop: World, most: int) -> list[Slice]:
    """The slice, tried again while it is disturbed, at most so often."""
    tries: list[Slice] = []
    while len(tries) < most and (not tries or tries[-1].is_disturbed):
        tries.append(bench.run(cell, subject, shop))
    return tries


def say(text: str) -> None:
    """Tell the progress at once."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _of_server(usage: Mapping[str, float]) -> float:
    return sum(amount for name, amount in usage.items() if name.startswith("server"))
