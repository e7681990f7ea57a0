"""`make bench-monitoring`: what a sidecar costs beside a mesh of ten instances, whose every RPC was called."""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.programs import ROOT
from local import mariadb, sidecar, zabbix
from local.mesh import Mesh
from local.process import Process
from registry.policy import SERVICES, methods_of

BEATS = (5, 1)
# The goals of a sidecar that beats every five seconds: percent of one core, and MB.
MOST_CPU, MOST_MEMORY = 1.0, 80.0
# Imports, the first discoveries, and the first connections are no part of what goes on.
_WARM_SECONDS = 30.0
_SLICES = 5
_CALL_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """What a sidecar of that beat used; `cpu` in percent of one core by slices of the time."""

    beat: int
    cpu: list[float]
    memory_mb: float
    values: float


def main() -> int:
    """Measure and print; returns 1 if a goal is missed."""
    arguments = _parser().parse_args()
    console = Console(highlight=False)
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="bench-") as name, ExitStack() as at_end:
        folder = Path(name)
        console.print("starting Zabbix and a mesh of ten instances ...")
        stack = zabbix.start(folder / "zabbix")
        at_end.callback(stack.stop)
        mesh = at_end.enter_context(Mesh(folder / "mesh", scale=dict.fromkeys(SERVICES, 2)))
        sidecar.provision(mesh, stack)
        called = _call_everything(mesh)
        console.print(f"every one of {called} RPCs was called once on each instance; nothing else is done meanwhile")
        rows = [_measured(mesh, stack, beat, arguments.seconds) for beat in BEATS]
    _show(console, rows)
    first = rows[0]
    return 0 if statistics.median(first.cpu) < MOST_CPU and first.memory_mb < MOST_MEMORY else 1


def _call_everything(mesh: Mesh) -> int:
    """Has each instance count every unary RPC of its service, by a call without a token; returns how many there are."""
    count = 0
    for service in SERVICES:
        methods = [method for method in methods_of(service) if not method.is_streaming]
        count += len(methods)
        for instance in mesh.instances_of(service):
            with grpc.insecure_channel(instance.address) as channel:
                for method in methods:
                    # Whatever it answers is counted.
                    with suppress(grpc.RpcError):
                        _raw(channel, method.path)(b"", timeout=_CALL_SECONDS)
    return count


def _raw(channel: grpc.Channel, path: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """The RPC as bytes."""
    return channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)


def _measured(mesh: Mesh, stack: zabbix.Stack, beat: int, seconds: float) -> Row:
    process = sidecar.prepared(mesh, stack, beat, mesh.directory / f"sidecar-{beat}")
    sidecar.start(process)
    try:
        time.sleep(_WARM_SECONDS)
        begin, before = time.monotonic(), _sent(stack)
        cpu = [_cpu_share(process, seconds / _SLICES) for _ in range(_SLICES)]
        values = (_sent(stack) - before) / (time.monotonic() - begin)
        return Row(beat, cpu, machine.rss_mb(process.pid), values)
    finally:
        process.stop()


def _cpu_share(process: Process, seconds: float) -> float:
    begin, before = time.monotonic(), machine.usage(process.pid).cpu
    time.sleep(seconds)
    return 100 * (machine.usage(process.pid).cpu - before) / (time.monotonic() - begin)


def _sent(stack: zabbix.Stack) -> int:
    """How many values Zabbix keeps, counted in its tables."""
    with mariadb.connect(stack.mariadb.port) as connection, connection.cursor() as cursor:
        count = 0
        for table in ("history", "history_uint", "history_str", "history_text"):
            cursor.execute(f"SELECT COUNT(*) FROM zabbix.{table}")
            count += cursor.fetchall()[0][0]
    return count


def _show(console: Console, rows: list[Row]) -> None:
    table = Table("beat", "CPU of one core, median", "least to most", "memory", "values a second")
    for row in rows:
        share = f"{statistics.median(row.cpu):.2f} %", f"{min(row.cpu):.2f} to {max(row.cpu):.2f} %"
        table.add_row(f"{row.beat} s", *share, f"{row.memory_mb:.0f} MB", f"{row.values:.0f}")
    console.print(table)
    console.print(f"Wanted at a beat of {BEATS[0]} s: under {MOST_CPU:.0f} % and under {MOST_MEMORY:.0f} MB.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.monitoring", description=__doc__)
    parser.add_argument("--seconds", type=float, default=100.0, help="of each beat [default: 100]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
