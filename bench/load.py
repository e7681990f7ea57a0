"""The load generator, a process of its own: callers in a closed loop, each on a connection of its own.

h2load cannot send another body with each call, which redemptions need. Started by run(); reads a Task from its standard
input and writes a Report to its standard output, both pickled.
"""

import gc
import pickle
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import machine
from bench.programs import ROOT
from bench.wire import CLIENTS, Client

# A call that has no answer this long after the slice's end never gets one.
_PATIENCE_SECONDS = 15.0
_CHUNK = 65_536
# What stands for a status where no answer came.
NO_ANSWER = -2


@dataclass(frozen=True)
class Task:
    """What to send where: the callers take the messages in turn, once each or (`is_endless`) again and again.

    The n-th caller calls the n-th of the `ports`, and so around: a channel with static round-robin.
    """

    ports: Sequence[int]
    protocol: str  # a key of wire.CLIENTS
    path: str
    tokens: Sequence[str]  # one a caller, "" for none
    messages: Sequence[bytes]
    seconds: float
    warm_seconds: float = 0.2
    is_endless: bool = False
    # Processes whose usage is read at both ends of the slice, by any name.
    watched: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What came of it. `sent` messages were used; `answers` has (message, caller, status) of every call, also of the
    warm-up.

    All else is of the slice alone: `seconds` long, `statuses` and latencies of the calls answered in it, CPU seconds
    and context switches by the watched processes' names (and "generator"), CPU of all programs, stolen time.
    """

    sent: int
    answers: list[tuple[int, int, int]]
    answer_bytes: int
    seconds: float
    statuses: dict[int, int]
    p50_ms: float
    p99_ms: float
    cpu: dict[str, float]
    switches: dict[str, int]
    busy: float
    stolen: float


def run(task: Task) -> Report:
    """Run the task in a fresh process; raises RuntimeError with its last words if it fails."""
    # Not -m: what is pickled belongs to bench.load, not to __main__.
    command = [sys.executable, "-c", "from bench import load; load.main()"]
    limit = task.warm_seconds + task.seconds + _PATIENCE_SECONDS + 30
    done = subprocess.run(command, input=pickle.dumps(task), capture_output=True, timeout=limit, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"the generator failed: {done.stderr.decode(errors='replace')[-2000:]}")
    report: Report = pickle.loads(done.stdout)
    return report


class _Caller:
    """One connection, and its call under way."""

    __slots__ = ("client", "message", "number", "sent_at", "socket")

    def __init__(self, number: int, port: int, client: Client) -> None:
        self.number = number
        self.client = client
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message = 0
        self.sent_at = 0


class _Slice:
    """The callers at work."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._callers = {}
        self._poll = select.epoll()
        for number, token in enumerate(task.tokens):
            port = task.ports[number % len(task.ports)]
            client = CLIENTS[task.protocol](f"127.0.0.1:{port}", task.path, token)
            caller = _Caller(number, port, client)
            self._callers[caller.socket.fileno()] = caller
            self._poll.register(caller.socket.fileno(), select.EPOLLIN)
        self._watched = {**task.watched, "generator": 0}
        self.sent = 0
        self.answers: list[tuple[int, int, int]] = []
        self.latencies = array("Q")

    def run(self) -> Report:
        """Warm up, measure, and wait for the last answers."""
        for caller in self._callers.values():
            caller.socket.sendall(caller.client.opening())
            self._send(caller)
        self._go_on(self._task.warm_seconds)
        before, began = self._look(), time.perf_counter()
        first = len(self.latencies)
        self._go_on(self._task.seconds)
        after, seconds = self._look(), time.perf_counter() - began
        last = len(self.latencies)
        self._finish()
        latencies = sorted(self.latencies[first:last])
        usages = [(name, before[0][name], after[0][name]) for name in self._watched]
        return Report(
            sent=self.sent,
            answers=self.answers,
            answer_bytes=next(iter(self._callers.values())).client.answer_bytes,
            seconds=seconds,
            statuses=dict(Counter(status for *_, status in self.answers[first:last])),
            p50_ms=quantile(latencies, 0.5) / 1e6,
            p99_ms=quantile(latencies, 0.99) / 1e6,
            cpu={name: new.cpu - old.cpu for name, old, new in usages},
            switches={name: new.switches - old.switches for name, old, new in usages},
            busy=after[1].busy - before[1].busy,
            stolen=after[1].stolen - before[1].stolen,
        )

    def _look(self) -> tuple[dict[str, machine.Usage], machine.Totals]:
        usages = {name: machine.usage(pid) if pid else _own_usage() for name, pid in self._watched.items()}
        return usages, machine.totals()

    def _send(self, caller: _Caller) -> bool:
        """Let the caller make its next call, if there is a message left."""
        place = self.sent
        if place >= len(self._task.messages):
            if not self._task.is_endless:
                return False
            place %= len(self._task.messages)
        caller.message = place
        self.sent += 1
        data = caller.client.call(self._task.messages[place])
        caller.sent_at = time.perf_counter_ns()
        if caller.socket.send(data) != len(data):
            raise RuntimeError("a request did not fit into the socket's buffer")
        return True

    def _go_on(self, seconds: float) -> None:
        """Call for that long, or until all messages are used."""
        end = time.perf_counter_ns() + int(seconds * 1e9)
        while (left := end - time.perf_counter_ns()) > 0:
            for caller in self._answered(left / 1e9):
                if not self._send(caller):
                    return

    def _finish(self) -> None:
        """Take the answers of the calls under way."""
        waiting = self.sent - len(self.answers)
        end = time.perf_counter() + _PATIENCE_SECONDS
        while waiting and time.perf_counter() < end:
            waiting -= len(self._answered(0.1))
        self.answers += [(0, 0, NO_ANSWER)] * waiting

    def _answered(self, seconds: float) -> list[_Caller]:
        """The callers whose calls are answered, noted, waiting that long for the first."""
        done = []
        for number, _ in self._poll.poll(seconds):
            caller = self._callers[number]
            data = caller.socket.recv(_CHUNK)
            if not data:
                raise RuntimeError("the server closed a connection")
            status = caller.client.feed(data)
            if status is not None:
                self.latencies.append(time.perf_counter_ns() - caller.sent_at)
                self.answers.append((caller.message, caller.number, status))
                done.append(caller)
            control = caller.client.control()
            if control:
                caller.socket.sendall(control)
        return done


def _own_usage() -> machine.Usage:
    # Not by /proc: its ticks are too coarse for one who may idle half of the time.
    return machine.Usage(time.process_time(), 0)


def quantile(ordered: Sequence[int], part: float) -> float:
    """The value below which that part of them lies; 0 of none."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * part))]) if ordered else 0.0


def main() -> None:
    """The generator's process."""
    given: Task = pickle.load(sys.stdin.buffer)
    # Nothing here makes cycles.
    gc.freeze()
    gc.disable()
    sys.stdout.buffer.write(pickle.dumps(_Slice(given).run()))
