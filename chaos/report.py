"""What a run says: a line while each row runs, the table in the end, and docs/chaos.md."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

DOCUMENT = Path("docs/chaos.md")
_HEAD = "what is done | calls | failed | streams resumed | measured | wanted | "


@dataclass(frozen=True)
class Result:
    """What one row came to; `complaints` in words, none if it is as wanted."""

    title: str
    wanted: str
    measured: str
    calls: int
    failed: int
    resumed: int
    seconds: float
    complaints: Sequence[str] = field(default_factory=tuple)

    @property
    def is_reached(self) -> bool:
        """Whether it is as wanted."""
        return not self.complaints


@dataclass(frozen=True)
class Run:
    """All of it: when, by which command, and in how many minutes."""

    date: str
    command: str
    rate: float
    minutes: float
    results: Sequence[Result]
    # What the ledger was compared with, and what did not agree.
    books: str
    disagreements: Sequence[str]

    @property
    def is_reached(self) -> bool:
        """Whether every row is as wanted and the books are right."""
        return not self.disagreements and all(result.is_reached for result in self.results)


class Screen:
    """The console."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def say(self, text: str) -> None:
        """A line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def row(self, result: Result) -> None:
        """A row that has just ended."""
        mark = "[green]as wanted[/]" if result.is_reached else "[red]falls short[/]"
        told = f"{result.calls} calls, {result.failed} failed, {result.resumed} streams resumed"
        self._console.print(f"{mark}  {result.title} ({result.seconds:.0f} s): {told}; ", end="", soft_wrap=True)
        self.say(result.measured)
        for complaint in result.complaints:
            self.say(f"    {complaint}")

    def table(self, run: Run) -> None:
        """All rows."""
        table = Table("what is done", "calls", "failed", "resumed", "measured", "wanted", "")
        for one in run.results:
            told = "[green]as wanted[/]" if one.is_reached else "[red]falls short[/]"
            numbers = str(one.calls), str(one.failed), str(one.resumed)
            table.add_row(one.title, *numbers, one.measured, one.wanted, told)
        self._console.print(table)
        self.say(f"{run.books}; {'; '.join(run.disagreements) or 'it agrees'}. {run.minutes:.1f} minutes.")


def write(run: Run, root: Path) -> None:
    """Write the document below `root`."""
    (root / DOCUMENT).write_text("\n".join(_document(run)) + "\n")


def _document(run: Run) -> Iterator[str]:
    yield f"# Chaos\n\nMade by `{run.command}` on {run.date}, in {run.minutes:.1f} minutes; every line is generated.\n"
    yield _HOW.format(rate=run.rate)
    yield f"\n{_HEAD}\n--- | ---: | ---: | ---: | --- | --- | ---"
    yield from map(_line, run.results)
    yield f"\n{run.books}: {'; '.join(run.disagreements) or 'it agrees'}."
    yield from _complaints(run.results)


def _line(one: Result) -> str:
    told = "as wanted" if one.is_reached else "**falls short**"
    return f"{one.title} | {one.calls} | {one.failed} | {one.resumed} | {one.measured} | {one.wanted} | {told}"


def _complaints(results: Iterable[Result]) -> Iterator[str]:
    for one in results:
        if one.complaints:
            yield f"\n{one.title}:\n"
            yield from (f"- {complaint}" for complaint in one.complaints)


_HOW = """Callers make {rate:.0f} calls a second of every RPC of the five services, each with a deadline of 10 s: most
through the control plane by stock gRPC channels (`xds:///redeem`), a fifth by the gateway. A try that is not answered
OK counts as failed, and is made again with the same request_id, so that in the end every answer must stand in the
database exactly once. Streams of WatchActivity are open all the time; one that breaks and goes on by its cursor within
10 s counts as resumed, and a change that it misses or sees twice as failed. Two instances of each service, two control
planes, three Consul servers, a gateway, MariaDB and the callers share one machine. The rows on tokens and certificates
run on a second mesh, with ACLs and mutual TLS, two instances of redeem and one of each other service."""
