"""The goals, each a number made of medians of one run, and whether it is reached."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from bench.plan import BIG, LONE, MANY, SLOW_MS, SMALL
from bench.slices import Row
from bench.subjects import ECHO, FASTAPI, OURS, RAW, SINGLE
from bench.traffic import CLAIMS, HOT, MIXED, OFFER, REDEEM


@dataclass(frozen=True)
class Goal:
    """A number and the bound that it should keep: at least (`is_least`) or at most `bound`."""

    name: str
    value: float
    bound: float
    is_least: bool
    unit: str = ""

    @property
    def is_reached(self) -> bool:
        return self.value >= self.bound if self.is_least else self.value <= self.bound

    @property
    def told(self) -> str:
        """The bound in words: ">= 0.55"."""
        return f"{'>=' if self.is_least else '<='} {self.bound:g}{self.unit}"


class Rows:
    """The rows of a run, found by what was measured; KeyError for what was not."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def figure(
        self, figure: str, group: str, subject: str, work: str, callers: int = MANY, *, coupons: int = 0
    ) -> float:
        """The median of a figure of the group's row."""
        wanted = (group, subject, work, callers, coupons, 1)
        for row in self._rows:
            cell = row.cell
            if wanted == (cell.group, cell.subject, cell.work, cell.callers, cell.coupons, cell.processes):
                return row.median(figure)
        raise KeyError(wanted)

    def rate(self, group: str, subject: str, work: str, callers: int = MANY) -> float:
        """Calls a second."""
        return self.figure("rate", group, subject, work, callers)

    def cost(self, work: str, coupons: int) -> float:
        """CPU of server and database together, in microseconds a call, with so many coupons in the table."""
        parts = ("server_cpu", "database_cpu")
        return sum(self.figure(part, "volume", OURS, work, coupons=coupons) for part in parts)

    def most_memory(self) -> float:
        """The most that one process of ours had after load, in MB."""
        found = [row.rss_mb for row in self._rows if row.cell.subject == OURS and row.rss_mb]
        if not found:
            raise KeyError(OURS)
        return max(found)


def goals(rows: Rows, first_answer: float | None) -> list[Goal]:
    """Every goal whose rows were measured; `first_answer` in seconds."""
    found = []
    for name, unit, bound, is_least, value in _asked(rows):
        try:
            found.append(Goal(name, value(), bound, is_least, unit))
        except (KeyError, ZeroDivisionError):
            continue
    if first_answer is not None:
        found.append(Goal("first answer from a cold start", first_answer, 1.0, False, " s"))
    return found


def _asked(rows: Rows) -> Iterator[tuple[str, str, float, bool, Callable[[], float]]]:
    """(name, unit, bound, whether it is the least, value) of each."""
    least, most = True, False

    def rates(group: str, subject: str, work: str, other: str, others: str) -> Callable[[], float]:
        return lambda: rows.rate(group, subject, work) / rows.rate(group, other, others)

    def latencies(work: str, other: str) -> Callable[[], float]:
        group = "claim" if work in CLAIMS else "redeem"
        p50 = partial(rows.figure, "p50_ms", group)
        return lambda: p50(OURS, work, LONE) / p50(other, work, LONE)

    def tail(group: str, work: str) -> Callable[[], float]:
        return lambda: rows.figure("p99_ms", group, OURS, work) / rows.figure("p50_ms", group, OURS, work)

    def growth(work: str) -> Callable[[], float]:
        return lambda: rows.cost(work, BIG) / rows.cost(work, SMALL)

    yield "redeem / echo", "", 0.55, least, rates("redeem", OURS, REDEEM, ECHO, REDEEM)
    yield "redeem with replays and refusals / echo", "", 0.45, least, rates("redeem", OURS, MIXED, ECHO, REDEEM)
    yield "redeem / one transaction a call", "", 2.0, least, rates("redeem", OURS, REDEEM, SINGLE, REDEEM)
    yield "hot claim / echo", "", 0.55, least, rates("claim", OURS, HOT, ECHO, HOT)
    yield "hot claim / best single form", "", 3.0, least, lambda: rows.rate("claim", OURS, HOT) / _best_single(rows)
    yield "cached offer / echo", "", 0.85, least, rates("read", OURS, OFFER, ECHO, OFFER)
    for work in (REDEEM, HOT):
        yield f"{work}, one caller's p50 / one transaction a call's", "", 1.0, most, latencies(work, SINGLE)
        yield f"{work}, one caller's p50 / echo's", "", 2.2, most, latencies(work, ECHO)
    slow = f"sync + {SLOW_MS:g} ms: redeem / one transaction a call"
    yield slow, "", 2.0, least, rates("slow disk", OURS, REDEEM, SINGLE, REDEEM)
    yield f"redeem, {MANY} callers' p99 / p50", "", 3.0, most, tail("redeem", REDEEM)
    yield f"claim hot, {MANY} callers' p99 / p50", "", 3.0, most, tail("claim", HOT)
    for work in (REDEEM, HOT):
        yield f"{work}, CPU a call: {BIG:,} coupons / {SMALL:,}", "", 1.2, most, growth(work)
    yield "memory of one process after load", " MB", 90.0, most, rows.most_memory


def _best_single(rows: Rows) -> float:
    """The most hot claims a second of those who make one transaction of each."""
    return max(rows.rate("claim", SINGLE, HOT), rows.rate("claim", RAW, HOT, 0), rows.rate("claim", FASTAPI, HOT))


def echo_of(row: Row, rows: Iterable[Row]) -> float:
    """What the echo answered a second in the row's group, asked for the like by as many callers; 0 if it was not."""
    wanted = row.cell.callers or MANY
    found = [
        other
        for other in rows
        if (other.cell.group, other.cell.subject, other.cell.callers) == (row.cell.group, ECHO, wanted)
    ]
    like = [other for other in found if other.cell.work == row.cell.work]
    return (like or found)[0].median("rate") if found else 0.0
