"""The sidecar's beat, its start, and what it says of settings that cannot be used."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from local import ports
from local.consul import Agent
from local.process import Process
from monitoring.delivery.outbox import Outbox
from monitoring.readings import Readings
from monitoring.sidecar import AlreadyRuns, Sidecar, Source, alone
from monitoring.sources import Settings, opened
from monitoring.zabbix import Sender
from registry import config

ROOT = Path(__file__).resolve().parents[2]
# A beat takes milliseconds; a busy machine takes many times that.
PATIENCE = 20.0


class Kept(Outbox):
    """One that shows what was put into it; nobody takes it from there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "outbox.db", Sender([("127.0.0.1", ports.free_one())]))
        self.told: list[tuple[str, Readings, int]] = []

    def put(self, host: str, readings: Readings, clock: int) -> None:
        self.told.append((host, readings, clock))
        super().put(host, readings, clock)

    def last(self, key: str) -> object:
        """The last value of a key; None: there was none."""
        return next((readings[key] for _, readings, _ in reversed(self.told) if key in readings), None)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 2 * PATIENCE))


async def until(is_so: Callable[[], bool]) -> None:
    begin = time.monotonic()
    while not is_so():
        assert time.monotonic() - begin < PATIENCE, "it did not come"
        await asyncio.sleep(0.02)


def test_a_reader_that_hangs_or_fails_is_told_of_and_holds_up_no_other(tmp_path: Path) -> None:
    async def story() -> None:
        release, is_broken = asyncio.Event(), True

        async def hangs() -> Readings:
            await release.wait()
            return {"sharemesh.a": 1}

        async def fails() -> Readings:
            if is_broken:
                raise OSError("no disk")
            return {"sharemesh.b": 2}

        async def works() -> Readings:
            return {"sharemesh.c": 3}

        kept, stopped = Kept(tmp_path), asyncio.Event()
        sources = [Source(name, "machine", read) for name, read in (("h", hangs), ("f", fails), ("w", works))]
        running = asyncio.create_task(Sidecar(sources, kept, "machine", beat=1).run(stopped))
        await until(lambda: kept.last("sharemesh.sidecar.failed[h]") == 1)
        assert kept.last("sharemesh.sidecar.failed[f]") == 1
        assert kept.last("sharemesh.sidecar.failed[w]") == 0
        assert (kept.last("sharemesh.a"), kept.last("sharemesh.b"), kept.last("sharemesh.c")) == (None, None, 3)
        is_broken = False
        release.set()
        await until(lambda: kept.last("sharemesh.sidecar.failed[h]") == kept.last("sharemesh.sidecar.failed[f]") == 0)
        assert (kept.last("sharemesh.a"), kept.last("sharemesh.b")) == (1, 2)
        stopped.set()
        await running
        clocks = [clock for _, readings, clock in kept.told if "sharemesh.sidecar.alive" in readings]
        assert clocks == sorted(set(clocks)), "two beats in one second"
        kept.close()

    run(story())


def test_a_source_that_is_not_on_is_not_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async def never() -> Readings:
            raise AssertionError("asked")

        kept, stopped = Kept(tmp_path), asyncio.Event()
        source = Source("mesh", "sharemesh", never, lambda: False)
        running = asyncio.create_task(Sidecar([source], kept, "machine", beat=1).run(stopped))
        await until(lambda: len(kept.told) > 1)
        stopped.set()
        await running
        assert kept.last("sharemesh.sidecar.failed[mesh]") == 0
        kept.close()

    run(story())


def test_what_goes_on_for_the_readers_and_ends_is_the_end_of_the_sidecar(tmp_path: Path) -> None:
    async def story() -> None:
        async def breaks() -> None:
            raise RuntimeError("a fault of ours")

        kept = Kept(tmp_path)
        chore = asyncio.create_task(breaks())
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await Sidecar([], kept, "machine", 1, [chore]).run(asyncio.Event())
        kept.close()

    run(story())


@pytest.mark.parametrize(("database", "is_on"), [("", False), ("sqlite:///nowhere/none.db", True)])
def test_a_sidecar_without_a_database_leaves_it_to_others_to_tell_of_the_mesh(
    agent: Agent, database: str, is_on: bool
) -> None:
    async def story() -> None:
        settings = Settings("machine", "mesh", config.parse(agent.url), None, None, database, (), None, (), 10)
        async with AsyncExitStack() as at_end:
            sources, chores = await opened(settings, at_end)
            (reporter,) = [source for source in sources if source.name == "reporter"]
            await until(lambda: len(chores) == 1 + is_on and reporter.is_on() == is_on)

    run(story())


def test_a_machine_has_one_sidecar_for_a_host_and_the_next_may_come_when_it_is_gone() -> None:
    host = f"host-{os.getpid()}"
    with alone(host):
        with pytest.raises(AlreadyRuns, match="another sidecar of this machine tells for"):
            alone(host)
        alone(f"{host}-2").close()
    alone(host).close()


def test_a_second_sidecar_on_a_machine_says_so_and_ends(tmp_path: Path) -> None:
    host = f"host-{os.getpid()}"
    command = [sys.executable, "-m", "monitoring", "--zabbix", f"127.0.0.1:{ports.free_one()}", "--zabbix-host", host]
    command += ["--registry", "static:", "--monitoring-var"]
    first = Process("sidecar", "sidecar", [*command, str(tmp_path / "1")], ROOT, tmp_path / "1.log")
    first.launch()
    try:
        first.wait_until(lambda: "sidecar tells for" in first.said(), "to say for whom it tells")
        second = subprocess.run(
            [*command, str(tmp_path / "2")], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert second.returncode == 2
        assert second.stderr == (
            f"monitoring: another sidecar of this machine tells for {host}: stop it, or give this one a "
            "--zabbix-host of its own\n"
        )
    finally:
        code = first.stop()
    assert code == 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("", "--zabbix: say where Zabbix is"),
        ("--zabbix here:there", "--zabbix: 'here:there' is not host:port"),
        ("--zabbix a --beat 0", "--beat: '0' is not a number of seconds from 1"),
        ("--zabbix a --beat 90", "--beat: '90' is not a number of seconds from 1 to 20"),
        ("--zabbix a --registry consul", "--registry: 'consul' begins with none of"),
        ("--zabbix a --registry-token /nowhere", "--registry-token: there is no file /nowhere"),
        ("--zabbix a --zabbix-tls /nowhere", "--zabbix-tls: there is no folder /nowhere"),
        ("--zabbix a --zabbix-psk-identity x", "--zabbix-psk and --zabbix-psk-identity belong together"),
        ("--zabbix a --database oracle://x", "--database: is neither sqlite:///file nor mysql://"),
        ("--zabbix a --gateway ftp://x:1", "--gateway: 'ftp://x:1' is neither host:port nor https://host:port"),
        ("--zabbix a --stock-low most", "--stock-low: 'most' is not a percentage"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_to_do(flags: str, complaint: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monitoring", *flags.split(), "--monitoring-var", str(tmp_path)]
    command += [] if "--zabbix-host" in flags else ["--zabbix-host", f"host-{os.getpid()}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"monitoring: {complaint}")
    assert "Traceback" not in done.stderr


def test_it_shows_once_what_it_would_tell(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "monitoring",
        "--once",
        "--registry",
        f"static:redeem=127.0.0.1:{ports.free_one()}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    lines = {cells[0]: cells[1] for line in done.stdout.splitlines() if len(cells := line.split()) > 1}
    assert lines["host.name"] == socket.gethostname()
    assert 0 <= float(lines["host.cpu[user]"]) <= 100
    assert lines["service.instances[redeem]"] == "0"
