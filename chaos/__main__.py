"""`make chaos`: does to a mesh under load what happens to meshes, and counts what its callers notice."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaos import books, report, rows, stage
from chaos.counting import ROOT, Counting
from chaos.load import Answers
from chaos.report import Result, Run, Screen
from chaos.rows import Row
from chaos.stage import Short, Stage
from local.mesh import Mesh
from registry.consul import RegistryAway
from services.chassis.settings import SERVICES

NOBODY = "0 failed"
# On a mesh with two of everything and three Consul servers.
ROWS = (
    Row("steady", "nothing", NOBODY, rows.steady),
    Row("rolling", "graceful rolling restart of every instance", NOBODY, rows.roll),
    Row("kill", "kill -9 of one instance of each service", NOBODY, rows.kill_one_of_each),
    Row("plane", "one of two control planes killed, then the other", NOBODY, rows.kill_plane),
    Row("planes", "all control planes down in mid-life, an instance killed meanwhile", NOBODY, rows.no_plane),
    Row("start", "control planes down when an app and an instance start", NOBODY, rows.no_plane_at_start),
    Row("leader", "Consul's leader of three killed", NOBODY, rows.kill_leader),
    Row("away", "Consul down for a while", NOBODY, rows.no_consul),
    Row("empty", "Consul restarted empty", NOBODY, rows.empty_consul),
    Row("dead", "a service registers a dead port", NOBODY, rows.dead_port),
    Row("hung", "an instance hangs (SIGSTOP)", "failures end within 3 s", rows.hang, rows.failures_ended),
    Row(
        "scale", "scale-out of redeem", "first call within 1 s, 0 failed", rows.scale_out("redeem", rows.FOUND_SECONDS)
    ),
    Row(
        "streams",
        "scale-out of publish",
        "no stream breaks, 0 failed",
        rows.scale_out("publish", rows.SELDOM_SECONDS),
        rows.streams_stand,
    ),
    Row(
        "canary", "a v2 canary with a new field, its share changed live", NOBODY, rows.next_release, rows.newer_answers
    ),
    Row("gateway", "kill -9 of one instance of each, all calls by the gateway", NOBODY, rows.kill_behind_gateway),
    Row("cost", "gateway against direct at 1 and 8 callers", "a measurement", rows.cost),
)
# On a mesh with ACLs and mutual TLS.
GUARDED = (
    Row("guarded", "nothing, with ACLs and mutual TLS", NOBODY, rows.steady),
    Row("blind", "the ACL answers nothing", NOBODY, rows.blind),
    Row("certificates", "certificates rotated", NOBODY, rows.rotate),
)
# All callers come from one address, many as one person: what the gateway would rather refuse is no failure here.
_LIMITS = {"SHAREMESH_GATEWAY_CALLS_PER_PRINCIPAL": "0", "SHAREMESH_GATEWAY_CALLS_PER_ADDRESS": "0"}
PLAIN: dict[str, Any] = {"scale": dict.fromkeys(SERVICES, 2), "consuls": 3, "settings": _LIMITS}
GUARD: dict[str, Any] = {"scale": {"redeem": 2}, "tls": True, "acl": True, "gateway": False}
BETWEEN = "between the rows, and until the last stream had caught up"


def main() -> int:
    """Run the rows that are asked for; returns 1 if one falls short."""
    arguments = _parser().parse_args()
    screen, began = Screen(), time.monotonic()
    results: list[Result] = []
    disagreements: list[str] = []
    answered = 0
    for all_rows, shape in ((ROWS, PLAIN), (GUARDED, GUARD)):
        these = [row for row in all_rows if not arguments.only or row.name in arguments.only]
        if these:
            with _folder(arguments.keep) as folder:
                made, wrongs, count = run(these, folder, arguments.rate, screen, **shape)
            results += made
            disagreements += wrongs
            answered += count
    compared = f"The ledger was compared with itself and with {answered:,} answers"
    minutes = (time.monotonic() - began) / 60
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    whole = Run(date, "make chaos", arguments.rate, minutes, results, compared, disagreements)
    screen.table(whole)
    # A part of a run would overwrite what a whole one found.
    if not arguments.only:
        report.write(whole, ROOT)
    return 0 if whole.is_reached else 1


def run(
    these: Sequence[Row], folder: Path, rate: float, screen: Screen, times: dict[str, float] | None = None, **shape: Any
) -> tuple[list[Result], list[str], int]:
    """The rows on one mesh of that shape: their results, what the ledger disagrees about, how many answers it has."""
    screen.say("starting a mesh ...")
    with Mesh(folder, **shape) as mesh:
        one = stage.started(folder, mesh, rate, **(times or {}))
        try:
            results = _play(these, one, screen)
            answers, rest = _end(one.load)
        finally:
            one.load.kill()
        results.append(rest)
        screen.row(rest)
        found = books.disagreements(mesh.database, answers)
    for line in found:
        screen.say(f"THE LEDGER DISAGREES: {line}")
    return results, found, sum(map(len, answers.made.values()))


def _play(these: Sequence[Row], one: Stage, screen: Screen) -> list[Result]:
    results = []
    for row in these:
        screen.say(f"{row.title} ...")
        results.append(_result(row, one))
        screen.row(results[-1])
    return results


def _result(row: Row, one: Stage) -> Result:
    """What the row came to; the calls of a row are those that end between its beginning and its settling."""
    begin = time.monotonic()
    complaints, measured = [], []
    try:
        measured.append(row.act(one))
    except Short as short:
        complaints.append(str(short))
    except (RegistryAway, RuntimeError, OSError, subprocess.SubprocessError) as error:
        # The rows after it may still tell something.
        complaints.append(f"it could not be done: {error}")
    time.sleep(one.settle)
    seen = one.load.take()
    try:
        measured.append(row.judge(seen, begin))
    except Short as short:
        complaints += [str(short), *seen.told()]
    measured += [f"{seen.pending} submissions were audited later"] if seen.pending else []
    told = "; ".join(filter(None, measured))
    seconds = time.monotonic() - begin
    return Result(row.title, row.wanted, told, seen.calls, len(seen.failed), seen.resumed, seconds, complaints)


def _end(load: Counting) -> tuple[Answers, Result]:
    """The end of the load, and what was in no row."""
    begin = time.monotonic()
    answers = load.stop()
    seen = load.take()
    complaints = seen.told() if seen.failed else []
    numbers = seen.calls, len(seen.failed), seen.resumed
    return answers, Result(BETWEEN, NOBODY, "", *numbers, time.monotonic() - begin, complaints)


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    """A folder for one mesh on the disk of the project."""
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=cache))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m chaos", description=__doc__)
    names = [row.name for row in (*ROWS, *GUARDED)]
    parser.add_argument("--only", action="append", default=[], choices=names, help="these rows alone")
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second [default: 100]")
    parser.add_argument("--keep", action="store_true", help="keep the logs under .cache/chaos-*")
    return parser


if __name__ == "__main__":
    sys.exit(main())
