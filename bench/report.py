"""What a run says in the end: the table of goals, docs/benchmarks.md with its plots, and bench/results.json."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import rich
from rich.table import Table

from bench import plots
from bench.generators import Generator
from bench.goals import Goal, echo_of
from bench.plan import LONE
from bench.slices import Row
from bench.world import REDEEMED_ACTIVITIES, SPREAD_ACTIVITIES

RESULTS = Path("bench/results.json")
DOCUMENT = Path("docs/benchmarks.md")

# What stands above each group's table.
_EXPLAINED = {
    "redeem": (
        f"A till's orders with one coupon each, every coupon once, of {REDEEMED_ACTIVITIES} activities of one "
        "merchant. *Mixed* sends a tenth replays of earlier requests, and a tenth coupons that are redeemed already."
    ),
    "claim": (
        f"*Hot* is a flash crowd on one activity, *spread* is over {SPREAD_ACTIVITIES} activities. Each caller is a "
        "customer of its own, and claims as often as it can."
    ),
    "read": "*Get offer* is anonymous, *get my offer* is a customer's, *list offers* is a page of 20.",
    "slow disk": "Each fsync and fdatasync of MariaDB takes 1 ms longer than it does; the echo has none.",
    "volume": "The same load with so many coupons of others in the table.",
    "processes": "So many processes of the service on the same cores; callers are spread over them in turn.",
}
_HEAD = (
    "who | what | callers | calls/s | least–most | of echo | p50 ms | p99 ms | server us | database us | switches "
    "| memory MB | disturbed"
)


@dataclass(frozen=True)
class Run:
    """Everything that a run found out; `round_trips` by what was called."""

    machine: dict[str, str]
    date: str
    command: str
    goals: Sequence[Goal]
    rows: Sequence[Row]
    round_trips: dict[str, float]
    pipeline: dict[str, float]  # microseconds by part
    generators: Sequence[Generator]
    disagreements: Sequence[str]


def show(goals: Iterable[Goal]) -> None:
    """Print the table of goals."""
    table = Table("goal", "measured", "wanted", "")
    for goal in goals:
        told = "[green]reached[/]" if goal.is_reached else "[red]missed[/]"
        table.add_row(goal.name, f"{goal.value:.2f}{goal.unit}", goal.told, told)
    rich.print(table)


def write(run: Run, root: Path) -> None:
    """Write the document, its plots and the results below `root`."""
    (root / RESULTS).write_text(json.dumps(_results(run), ensure_ascii=False, indent=1) + "\n")
    shown = plots.draw(run.rows, (root / DOCUMENT).parent)
    (root / DOCUMENT).write_text("\n".join(_document(run, shown)) + "\n")


def _results(run: Run) -> dict[str, object]:
    goals = [
        {"name": goal.name, "value": round(goal.value, 4), "goal": goal.told, "reached": goal.is_reached}
        for goal in run.goals
    ]
    return {
        "machine": run.machine,
        "date": run.date,
        "command": run.command,
        "goals": goals,
        "rows": [_plain(row) for row in run.rows],
        "round_trips": run.round_trips,
        "pipeline_us": {part: round(cost, 2) for part, cost in run.pipeline.items()},
        "generators": [asdict(generator) for generator in run.generators],
        "ledger": list(run.disagreements) or "agrees",
    }


def _plain(row: Row) -> dict[str, object]:
    figures = ("rate", "p50_ms", "p99_ms", "server_cpu", "database_cpu", "switches")
    return {
        **asdict(row.cell),
        "threads": row.threads,
        **{figure: round(row.median(figure), 3) for figure in figures},
        "rates": [round(one.rate, 1) for one in row.slices],
        "rss_mb": round(row.rss_mb, 1),
        "repeated": row.repeated,
        "disturbed": sum(one.is_disturbed for one in row.slices),
        "unexpected": row.unexpected,
    }


def _document(run: Run, shown: Sequence[Path]) -> Iterator[str]:
    yield f"# Benchmarks\n\nMade by `{run.command}` on {run.date}; every line of it is generated.\n"
    yield "Neighbours move absolute figures by a factor of three: only ratios within one run tell anything.\n"
    yield from (f"- {name}: {told}" for name, told in run.machine.items())
    yield "\n## Goals\n\ngoal | measured | wanted | \n--- | ---: | ---: | ---"
    for goal in run.goals:
        told = "reached" if goal.is_reached else "**missed**"
        yield f"{goal.name} | {goal.value:.2f}{goal.unit} | {goal.told} | {told}"
    agreed = "The ledger agreed with itself and with every answer after each group."
    yield "\n" + ("\n".join(f"THE LEDGER DISAGREED: {line}" for line in run.disagreements) or agreed)
    yield from (f"\n![{path.stem}]({path.name})" for path in shown)
    yield _HOW
    for group, rows in groupby(run.rows, key=lambda row: row.cell.group):
        yield f"\n## {group.capitalize()}\n\n{_EXPLAINED[group]}\n\n{_HEAD}"
        yield " | ".join(["---", "---", *["---:"] * (_HEAD.count("|") - 1)])
        yield from (_line(row, run.rows) for row in rows)
    yield "\n## One caller\n\nRound trips to the database a call, counted by a relay in front of MariaDB.\n"
    yield "call | round trips\n--- | ---:"
    yield from (f"{name} | {trips:.1f}" for name, trips in run.round_trips.items())
    yield "\n## The pipeline\n\nEach part by itself, and all of it for a RedeemCoupon whose servicer does nothing.\n"
    yield "part | us a call\n--- | ---:"
    yield from (f"{part} | {cost:.1f}" for part, cost in run.pipeline.items())
    yield "\n## The generator\n\nOurs sends another message with each call, which h2load cannot. Against the echo:\n"
    yield "generator | calls/s | its own CPU, us a call\n--- | ---: | ---:"
    yield from (f"{one.name} | {one.rate:,.0f} | {one.cpu:.0f}" for one in run.generators)


_HOW = """
## How it is measured

A caller is a TCP connection of its own with one call outstanding (a closed loop), all from one process that sends
prebuilt HTTP/2 frames and checks every grpc-status. Servers are the real processes with every interceptor, logs to
files and real tokens. Load, server and MariaDB share the machine. Each round runs a short slice of every row of a group
in shuffled order, the echo included; figures are medians over the rounds. A slice is repeated when the host stole, or
other programs used, too much of it; what was disturbed to the last is counted in the last column. CPU is a call's, in
microseconds; *switches* are context switches of the server a call; memory is the server's after the group.
MariaDB has its default durability, a buffer pool that holds the tables and a redo log of 1 GB."""


def _line(row: Row, rows: Sequence[Row]) -> str:
    cell, echo = row.cell, echo_of(row, rows)
    who = ", ".join(filter(None, (cell.subject, cell.circumstances)))
    rates = [one.rate for one in row.slices]
    disturbed = sum(one.is_disturbed for one in row.slices)
    told = [
        who,
        cell.work,
        str(cell.callers) if cell.callers else f"{row.threads} threads",
        f"{row.median('rate'):,.0f}",
        f"{min(rates):,.0f}–{max(rates):,.0f}",
        f"{row.median('rate') / echo:.2f}" if echo else "",
        f"{row.median('p50_ms'):.2f}",
        f"{row.median('p99_ms'):.2f}",
        f"{row.median('server_cpu'):.0f}",
        f"{row.median('database_cpu'):.0f}",
        f"{row.median('switches'):.1f}" if cell.callers == LONE else "",
        f"{row.rss_mb:.0f}" if row.rss_mb else "",
        str(disturbed) if disturbed else "",
    ]
    return " | ".join(told) + (f" unexpected answers: {row.unexpected}" if row.unexpected else "")
