"""The load as the conductor of a run sees it: a process that is started, paced, and read from by windows of time."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NamedTuple

from chaos.caller import PENDING
from chaos.load import Answers, Plan

ROOT = Path(__file__).resolve().parent.parent
# Imports, the first calls and the world's making; a busy machine takes many times that.
_START_SECONDS = 90.0
# Turns under way end, streams catch up, and some hundred writes are asked again.
_STOP_SECONDS = 120.0


class Try(NamedTuple):
    """One try of a call, or one break of a stream; times by time.monotonic()."""

    begin: float
    end: float
    rpc: str
    way: str
    status: str
    details: str

    @property
    def is_failed(self) -> bool:
        """Whether the caller was let down; a stream that went on by its cursor was not."""
        return self.status not in ("OK", "RESUMED")

    def __str__(self) -> str:
        return f"{self.rpc} by the {self.way} after {self.end - self.begin:.2f} s: {self.status} {self.details[:300]}"


@dataclass(frozen=True)
class Seen:
    """What ended in one window."""

    tries: Sequence[Try]

    @property
    def calls(self) -> int:
        """How many unary calls were tried."""
        return sum(one.rpc != "WatchActivity" for one in self.tries)

    @property
    def failed(self) -> list[Try]:
        """What let a caller down."""
        return [one for one in self.tries if one.is_failed]

    @property
    def resumed(self) -> int:
        """How many streams broke and went on by their cursors."""
        return sum(one.status == "RESUMED" for one in self.tries)

    @property
    def pending(self) -> int:
        """How many submissions were taken, and judged later."""
        return sum(one.details == PENDING for one in self.tries)

    def told(self) -> list[str]:
        """The failures in words, the same ones once with their number."""
        alike = Counter((one.rpc, one.way, one.status, one.details[:300]) for one in self.failed)
        return [f"{count} x {' '.join(what)}" for what, count in alike.most_common(8)]


class Counting:
    """The load's process; whatever ends before take() is called belongs to what is taken."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._path, self._read = Path(plan.record), 0
        self._errors = folder / "load.err"
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chaos.load"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._tell(json.dumps(asdict(plan)))

    def await_ready(self) -> None:
        """Returns as soon as everybody calls; raises RuntimeError if that never comes."""
        if self._line() != "ready":
            self.kill()
            raise RuntimeError(f"the load did not start: {self._errors.read_text(errors='replace')[-3000:]}")

    def pace(self, rate: float) -> None:
        """So many calls a second from now on."""
        self._tell(f"pace {rate}")

    def by_gateway(self, is_all: bool) -> None:
        """Whether everybody comes in by the gateway from now on, or some as before."""
        self._tell("gateway all" if is_all else "gateway some")

    def take(self) -> Seen:
        """What ended since the last take."""
        with self._path.open() as file:
            file.seek(self._read)
            text = file.read()
        whole = text.rpartition("\n")[0]
        self._read += len((whole + "\n").encode()) if whole else 0
        return Seen([Try(*json.loads(line)) for line in whole.splitlines()])

    def stop(self) -> Answers:
        """Lets everybody end; returns what they were answered."""
        self._tell("stop")
        told = self._line()
        self._process.wait(_STOP_SECONDS)
        if not told:
            raise RuntimeError(f"the load broke off: {self._errors.read_text(errors='replace')[-3000:]}")
        return Answers(**json.loads(told))

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _tell(self, line: str) -> None:
        _pipe(self._process.stdin).write(line + "\n")
        _pipe(self._process.stdin).flush()

    def _line(self) -> str:
        return _pipe(self._process.stdout).readline().strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def pause_until(end: float) -> None:
    """Sleeps until that time of time.monotonic()."""
    time.sleep(max(0.0, end - time.monotonic()))
