"""Our load generator beside h2load, both against the echo: what it costs itself, and whether it holds a server back."""

import os
import re
import shutil
import statistics
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.load import Task
from bench.programs import Program

_CALLERS = 64
_SECONDS = 1
_ROUNDS = 5
_REQUEST, _ANSWER = 200, 250


@dataclass(frozen=True)
class Generator:
    """Medians of one generator: calls a second that the echo answered, and its own CPU in microseconds a call."""

    name: str
    rate: float
    cpu: float


def compare(folder: Path) -> list[Generator]:
    """Both, in turn; ours alone if h2load is not on PATH."""
    program = Program(folder / "echo.log", "bench.echo")
    found: dict[str, list[tuple[float, float]]] = {"ours": []}
    h2load = shutil.which("h2load")
    try:
        for _ in range(_ROUNDS):
            found["ours"].append(_ours(program.port))
            if h2load is not None:
                found.setdefault("h2load", []).append(_h2load(h2load, program.port, folder))
    finally:
        program.stop()
    return [
        Generator(name, statistics.median(rate for rate, _ in runs), statistics.median(cpu for _, cpu in runs))
        for name, runs in found.items()
    ]


def _ours(port: int) -> tuple[float, float]:
    path, messages = f"/bench.Echo/{_ANSWER}", [bytes(_REQUEST)]
    report = load.run(Task([port], "grpc", path, [""] * _CALLERS, messages, _SECONDS, is_endless=True))
    calls = sum(report.statuses.values())
    return calls / report.seconds, report.cpu["generator"] / calls * 1e6


def _h2load(program: str, port: int, folder: Path) -> tuple[float, float]:
    body = folder / "h2load.body"
    body.write_bytes(struct.pack(">BI", 0, _REQUEST) + bytes(_REQUEST))
    command = [program, f"--clients={_CALLERS}", "--max-concurrent-streams=1", f"--duration={_SECONDS}"]
    command += [f"--data={body}", "--header=content-type: application/grpc", "--header=te: trailers"]
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/bench.Echo/{_ANSWER}"], capture_output=True, text=True, check=True
    )
    seconds, after = time.perf_counter() - began, os.times()
    told = re.search(r"(\d+) succeeded", done.stdout)
    if told is None or not int(told[1]):
        raise RuntimeError(f"h2load says: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return int(told[1]) / seconds, cpu / int(told[1]) * 1e6
