"""`make bench`: measures the hot path beside its yardsticks and rivals, and tells which goals are reached."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench import durability, generators, ledger, lone, machine, plan, report, volume, world
from bench.goals import Rows, goals
from bench.people import Tokens
from bench.programs import ROOT, Program, found_by, running
from bench.report import Run
from bench.slices import Bench, Cell, Row, run_group, say
from bench.subjects import OURS, SINGLE, Subject, arguments_of, subject
from bench.traffic import HOT, REDEEM
from bench.world import World
from local import mariadb


def main() -> int:
    """Run the groups that are asked for; returns 1 if the ledger did not agree."""
    parser = _parser()
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(plan.groups(arguments.full)):
        parser.error(f"only with --full: {', '.join(unknown)}")
    with _folder() as folder:
        try:
            disk = durability.SlowDisk(folder)
        except durability.NoCompiler as missing:
            parser.error(str(missing))
        with durability.server(folder / "mariadb", disk) as database:
            run = _run(arguments, _Stage(folder, database, Bench(disk, database.process.pid, arguments.seconds)))
    # A part of a run would overwrite what a whole one found.
    if not arguments.only:
        report.write(run, ROOT)
    report.show(run.goals)
    return 1 if run.disagreements else 0


@dataclass
class _Stage:
    """Where it all happens; worlds by how many coupons of others they have."""

    folder: Path
    database: mariadb.Server
    bench: Bench
    shops: dict[int, World] = field(default_factory=dict)

    def shop(self, coupons: int) -> World:
        """The world with so many coupons of others, laid when it is asked for first."""
        if coupons not in self.shops:
            url = self.database.fresh(f"bench_{coupons}")
            self.shops[coupons] = world.lay(url, self.folder / "var")
            if coupons:
                say(f"laying {coupons:,} coupons")
                volume.fill(self.shops[coupons], coupons, time.time_ns() // 1000)
        return self.shops[coupons]


def _run(arguments: argparse.Namespace, stage: _Stage) -> Run:
    began = time.monotonic()
    parts = found_by(stage.folder / "pipeline.log", "bench.pipeline", str(stage.folder / "var"))
    say("the pipeline: " + ", ".join(f"{part} {cost:.1f} us" for part, cost in parts.items()))
    rows: list[Row] = []
    disagreements: list[str] = []
    for group, cells in plan.groups(arguments.full).items():
        if not arguments.only or group in arguments.only:
            say(f"{group}:")
            rows += _measure(stage, cells, arguments.rounds)
            disagreements += _check(stage)
    shop, is_whole = stage.shop(0), not arguments.only
    trips = {
        f"{name}: {work}": lone.round_trips(name, work, plan.service_of(work), shop, stage.folder)
        for work in (REDEEM, HOT)
        for name in (OURS, SINGLE)
        if is_whole or plan.service_of(work) in {plan.service_of(row.cell.work) for row in rows}
    }
    say("".join(f"{what}: {count:.1f} round trips a call\n" for what, count in trips.items()))
    first = lone.first_answer_seconds(shop, stage.folder)
    compared = generators.compare(stage.folder) if is_whole else []
    disagreements += _check(stage)
    say(f"it took {(time.monotonic() - began) / 60:.1f} minutes")
    return Run(
        machine={**machine.describe(stage.folder), "mariadb": _version(shop)},
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        command="make bench-full" if arguments.full else "make bench",
        goals=goals(Rows(rows), first),
        rows=rows,
        round_trips=trips,
        pipeline=parts,
        generators=compared,
        disagreements=disagreements,
    )


def _measure(stage: _Stage, cells: list[Cell], rounds: int) -> list[Row]:
    """The rows of one group, each subject with processes of its own."""
    with running() as programs:
        subjects: dict[tuple[str, str, int, int], Subject] = {}
        planned = []
        for cell in cells:
            shop, service = stage.shop(cell.coupons), plan.service_of(cell.work)
            key = cell.subject, service, cell.coupons, cell.processes
            if key not in subjects:
                arguments = arguments_of(cell.subject, service, shop, stage.folder)
                log = stage.folder / f"{cell.subject} {service}.err"
                first = len(programs)
                for _ in range(cell.processes if arguments else 0):
                    programs.append(Program(log, *arguments))
                subjects[key] = subject(cell.subject, programs[first:], Tokens(shop.var))
            planned.append((cell, subjects[key], shop))
        return run_group(stage.bench, planned, rounds)


def _check(stage: _Stage) -> list[str]:
    """What the ledgers disagree about, said at once."""
    found = []
    for shop in stage.shops.values():
        answered = stage.bench.answered.pop(shop.url, set())
        found += ledger.disagreements(shop, answered)
        say(f"the ledger was compared with {len(answered):,} answers")
    for line in found:
        say(f"THE LEDGER DISAGREES: {line}")
    return found


def _version(shop: World) -> str:
    with shop.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone() or ("",)
        return str(version)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for one run on the disk of the project: /tmp may be memory, where a sync costs nothing."""
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="also the rows that no goal needs")
    parser.add_argument("--only", action="append", default=[], choices=[*plan.groups(True)], help="these groups alone")
    parser.add_argument("--rounds", type=int, default=5, help="slices of each row [default: 5]")
    parser.add_argument("--seconds", type=float, default=1.2, help="length of a slice [default: 1.2]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
