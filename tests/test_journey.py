import io
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.cells import cell_len
from rich.console import Console

from local import mariadb
from services.journey import story, table
from services.journey.people import Person
from services.journey.scene import CAST
from services.journey.telling import Step
from tests.mesh import Mesh

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120
TODAY = date(2026, 3, 4)


def command(name: str, folder: Path, *flags: str) -> list[str]:
    """A command line of a product that keeps everything in `folder` and listens on free ports."""
    places = [f"--var={folder}", f"--logs={folder}/log", f"--images=file://{folder}/images", "--port=0"]
    return [sys.executable, "-m", "services", name, *places, f"--database=sqlite:///{folder}/sharemesh.db", *flags]


@contextmanager
def begun(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The process of a command line, with its output to read; it never outlives the body, even if that fails."""
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def played(mesh: Mesh, today: date) -> tuple[list[Step], str]:
    """The steps of a journey through the mesh, and what a console would have shown."""
    console = table.console(io.StringIO())

    def person(name: str) -> Person:
        return mesh.person(*CAST[name])

    steps = story.play(person, today, table.Shown(console))
    assert isinstance(console.file, io.StringIO)
    return steps, console.file.getvalue()


def test_the_journey_comes_out_as_expected(mesh: Mesh) -> None:
    steps, shown = played(mesh, TODAY)
    assert [step for step in steps if not step.is_expected] == [], shown
    assert len(steps) > 30
    assert {"CUSTOMER_LIMIT_REACHED", "SELF_REFERRAL", "COUPON_REFUSED", "COUPON_REDEEMED", "RESOURCE_NOT_FOUND"} <= {
        step.outcome for step in steps
    }


def test_a_step_that_comes_out_otherwise_is_told(mesh: Mesh) -> None:
    # What Lin enters is over before it is submitted.
    steps, shown = played(mesh, date(2020, 1, 1))
    assert [step.outcome for step in steps if not step.is_expected] == ["ACTIVITY_ENDED"]
    assert "expected was REJECTED" in shown
    assert "NOT as expected: step 7" in table.summary(steps)


@pytest.mark.parametrize("width", [80, 100])
def test_nothing_but_what_happened_is_wrapped(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    shown = table.Shown(console)
    shown.chapter("Sharing")
    for _ in range(10):
        shown.step(Step("Mallory", "would like a second one " * 3, "RPC", "CUSTOMER_LIMIT_REACHED", "OK", 4, "No."))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) == width
    assert [line for line in lines if line != line.rstrip()] == []
    assert any(re.match(r"# +who +what .* outcome +expected\?", line) for line in lines)
    assert any(re.match(r"10 Mallory would .* CUSTOMER_LIMIT_REACHED NO", line) for line in lines)


@pytest.mark.parametrize("name", ["demo", "run"])
def test_a_newcomer_can_read_the_journey_in_a_log(name: str, tmp_path: Path) -> None:
    with begun(command(name, tmp_path / "var")) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Anybody else"):
                assert_it_is_up(lines)
                process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, "\n".join(lines)
    shown = [line for line in lines if not line.lstrip().startswith(("TOKEN=", "grpcurl"))]
    assert "all as expected" in "\n".join(shown)
    assert not any("\x1b" in line for line in lines)
    assert max(map(cell_len, shown)) <= table.WIDTH
    assert [line for line in shown if line != line.rstrip()] == []
    assert lines[-2:] == ["Stopping: calls under way end first.", "Stopped."] or name == "demo"
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def assert_it_is_up(lines: list[str]) -> None:
    """The five services are where the lines say, and serve."""
    addresses = re.findall(r"^  (entry|publish|audit|share|redeem) +(\S+)$", "\n".join(lines), re.MULTILINE)
    assert len(addresses) == 5
    for _, address in addresses:
        with grpc.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # Its own stubs do not know its methods.
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_token_of_the_command_line_is_taken(tmp_path: Path) -> None:
    issue = [*command("token", tmp_path), "--role=customer", "--subject=alice", "--ttl=60"]
    token = subprocess.run(issue, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)


def test_a_database_that_is_behind_stops_the_start_with_what_to_do(maria: mariadb.Server, tmp_path: Path) -> None:
    url = maria.fresh("behind")
    flags = [f"--database={url}"]
    started = subprocess.run([*command("serve", tmp_path, *flags), "all"], cwd=ROOT, capture_output=True, text=True)
    assert started.returncode == 2
    assert "run `sharemesh migrate`" in started.stderr
    migrated = subprocess.run(command("migrate", tmp_path, *flags), cwd=ROOT, capture_output=True, text=True)
    assert migrated.returncode == 0, migrated.stderr
    assert "applied 0001_first" in migrated.stdout
    with begun([*command("serve", tmp_path, *flags), "redeem"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("redeem 127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    "user, name, words", [("root:hunter2", "sharemesh", "Access denied"), ("root", "no_such", "Unknown database")]
)
@pytest.mark.parametrize("arguments", [["migrate"], ["serve", "all"], ["run"]], ids=lambda arguments: arguments[0])
def test_a_database_that_does_not_let_us_in_is_told_in_one_line(
    maria: mariadb.Server, tmp_path: Path, arguments: list[str], user: str, name: str, words: str
) -> None:
    flags = [f"--database=mysql://{user}@127.0.0.1:{maria.port}/{name}", *arguments[1:]]
    done = subprocess.run(command(arguments[0], tmp_path, *flags), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"sharemesh: --database: {words}")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_the_help_for_tokens_shows_what_they_depend_on(tmp_path: Path) -> None:
    done = subprocess.run([*command("token", tmp_path), "--help"], cwd=ROOT, capture_output=True, text=True)
    assert set(re.findall(r"--[a-z-]+", done.stdout)) == {
        *("--help", "--role", "--subject", "--ttl", "--var", "--issuer", "--audience")
    }


def test_a_bad_setting_fails_by_its_name(tmp_path: Path) -> None:
    environment = {**os.environ, "SHAREMESH_METRICS_PORT": "many"}
    done = subprocess.run(command("demo", tmp_path), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "SHAREMESH_METRICS_PORT" in done.stderr
    assert "Traceback" not in done.stderr


LOADED = """
import asyncio, sys
from pathlib import Path
from services import start
from services.chassis import database
from services.schema import migrate
from tests.mesh import settings_for

async def build(folder, url):
    async with start.built(["redeem"], db, settings_for(url, folder)):
        print(*sorted(name for name in sys.modules if name.startswith("services.")))

folder = Path(sys.argv[1])
url = f"sqlite:///{folder}/sharemesh.db"
db = database.bind(url)
db.run_here(migrate.up)
asyncio.run(build(folder, url))
db.close()
"""


def test_serving_one_service_loads_no_other(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    assert "redeem" in loaded
    assert not loaded & {"entry", "publish", "audit", "share"}
