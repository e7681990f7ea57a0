"""The job with no RPC at all: threads that run hand-written SQL through PyMySQL, a process of its own.

Started by run(); reads a Task from its standard input and writes a load.Report to its standard output, both pickled.
"""

import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

from bench import job, machine
from bench.load import Report, quantile
from bench.programs import ROOT
from bench.traffic import BASKET, CLAIMS, OK, Wish
from bench.world import connect, customer
from services.chassis.keys import Keyring
from services.ledger.codes import CouponCodes
from services.start import MASTER_KEY

# As gRPC's statuses; another transaction was in the way of an ABORTED one.
_REFUSED, _ABORTED = 9, 10


_CONNECT_SECONDS = 20


@dataclass(frozen=True)
class Task:
    """What to do: `wishes`, each with its key in replay, once each, by so many threads."""

    url: str
    var: Path
    work: str
    shop: job.Shop
    wishes: Sequence[Wish]
    keys: Sequence[str]
    threads: int
    seconds: float
    warm_seconds: float = 0.2
    watched: dict[str, int] = field(default_factory=dict)


def run(task: Task) -> Report:
    """Run the task in a fresh process; raises RuntimeError with its last words if it fails."""
    # Not -m: what is pickled belongs to bench.raw, not to __main__.
    command = [sys.executable, "-c", "from bench import raw; raw.main()"]
    done = subprocess.run(command, input=pickle.dumps(task), capture_output=True, timeout=120, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"raw PyMySQL failed: {done.stderr.decode(errors='replace')[-2000:]}")
    report: Report = pickle.loads(done.stdout)
    return report


class _Work:
    """The threads' common state: wishes are taken in turn."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._codes = CouponCodes(Keyring.open(task.var / MASTER_KEY))
        self._terms = job.Terms()
        self._lock = threading.Lock()
        # Of the threads and who measures them.
        self.ready = threading.Barrier(task.threads + 1)
        self.sent = 0
        self.is_over = False
        # (message, status, nanoseconds), in the order of the answers.
        self.answers: list[tuple[int, int, int]] = []

    def thread(self) -> None:
        """Take wishes until it is over."""
        with connect(self._task.url) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.autocommit(False)
            execute = _execute(cursor)
            self.ready.wait()
            while (place := self._take()) is not None:
                began = time.perf_counter_ns()
                try:
                    self._do(execute, place)
                    connection.commit()
                    status = OK
                except job.Refused:
                    connection.rollback()
                    status = _REFUSED
                except pymysql.OperationalError as error:
                    if error.args[0] not in (ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT):
                        raise
                    connection.rollback()
                    status = _ABORTED
                self.answers.append((place, status, time.perf_counter_ns() - began))

    def _take(self) -> int | None:
        with self._lock:
            if self.is_over or self.sent == len(self._task.wishes):
                self.is_over = True
                return None
            self.sent += 1
            return self.sent - 1

    def _do(self, execute: job.Execute, place: int) -> None:
        task, wish, key = self._task, self._task.wishes[place], self._task.keys[place]
        if task.work in CLAIMS:
            wanted = job.Claim(wish.what, customer(0), key, "")
            job.claim(execute, task.shop, wanted, self._codes, self._terms)
        else:
            order = job.Order(wish.what, BASKET, "order-20261122-0001", "till-1", "raw", key, "")
            job.redeem(execute, task.shop, order, self._terms)


def main() -> None:
    """The process of the threads."""
    task: Task = pickle.load(sys.stdin.buffer)
    work = _Work(task)
    pool = ThreadPoolExecutor(task.threads)
    threads = [pool.submit(work.thread) for _ in range(task.threads)]
    watched = {**task.watched, "server": os.getpid()}
    work.ready.wait(_CONNECT_SECONDS)
    _wait(work, task.warm_seconds)
    first, before, total, began = len(work.answers), _usages(watched), machine.totals(), time.perf_counter()
    _wait(work, task.seconds)
    last, after, seconds = len(work.answers), _usages(watched), time.perf_counter() - began
    totals = machine.totals()
    work.is_over = True
    for thread in threads:
        thread.result()
    latencies = sorted(nanoseconds for *_, nanoseconds in work.answers[first:last])
    report = Report(
        sent=work.sent,
        answers=[(place, 0, status) for place, status, _ in work.answers],
        answer_bytes=0,
        seconds=seconds,
        statuses=dict(Counter(status for _, status, _ in work.answers[first:last])),
        p50_ms=quantile(latencies, 0.5) / 1e6,
        p99_ms=quantile(latencies, 0.99) / 1e6,
        cpu={name: after[name].cpu - before[name].cpu for name in watched},
        switches={name: after[name].switches - before[name].switches for name in watched},
        busy=totals.busy - total.busy,
        stolen=totals.stolen - total.stolen,
    )
    sys.stdout.buffer.write(pickle.dumps(report))


def _wait(work: _Work, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while not work.is_over and time.perf_counter() < end:
        time.sleep(0.005)


def _usages(watched: dict[str, int]) -> dict[str, machine.Usage]:
    return {name: machine.usage(pid) for name, pid in watched.items()}


def _execute(cursor: Cursor) -> Callable[[str, Sequence[Any]], Cursor]:
    def execute(sql: str, args: Sequence[Any]) -> Cursor:
        cursor.execute(sql, args)
        return cursor

    return execute
