"""A program that runs beside us with its output in a file, and can be stopped, killed, paused and started again."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Python and its imports take a second; a machine that starts ten of them at once takes many times that.
START_SECONDS = 90.0
# Above the 5 s in which a draining gateway is still found, the 10 s of its last calls, and its own end.
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05
LAST_LINES = 25


class NotReady(RuntimeError):
    """Something did not become ready in time; the message has the end of its log."""


def freeze(pid: int) -> None:
    """Lets a child stand still (SIGSTOP), and returns once all its threads do, which is some time after the signal."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)


@dataclass
class Process:
    """One process: an instance of `service`, or a "plane" or "gateway"."""

    name: str
    service: str
    command: Sequence[str]
    directory: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    # host:port where it serves; "" until that is known.
    address: str = ""
    process: subprocess.Popen[bytes] | None = None
    # How much of the log is of those that ran before.
    _before: int = 0

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError if it does not run."""
        if self.process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Starts it, which serves a moment later; raises RuntimeError if it runs already."""
        if self.is_running:
            raise RuntimeError(f"{self.name} runs already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._before = output.tell()
            self.process = subprocess.Popen(
                list(self.command),
                cwd=self.directory,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C at a terminal reaches whoever started it alone, who ends it in good order.
                start_new_session=True,
            )

    def said(self) -> str:
        """What it has printed since it was last started."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._before)
            return file.read().decode(errors="replace")

    def await_address(self) -> None:
        """Returns as soon as it has printed where it serves, such as "redeem 127.0.0.1:41234", which becomes its
        address; else NotReady."""
        line = re.compile(rf"^{re.escape(self.service)} (\S+:\d+)\n", re.MULTILINE)
        self.wait_until(lambda: bool(line.search(self.said())), "to say where it serves")
        found = line.search(self.said())
        self.address = found[1] if found else ""

    def await_open(self) -> None:
        """Returns as soon as its address takes connections; else NotReady."""
        self.wait_until(lambda: is_open(self.address), f"to listen at {self.address}")

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Returns as soon as it is so; raises NotReady if the process ends first or it takes too long."""
        end = time.monotonic() + START_SECONDS
        while not is_so():
            if not self.is_running:
                raise NotReady(f"{self.name} ended ({self._code()}) and was {what}:\n{self.last_lines()}")
            if time.monotonic() > end:
                raise NotReady(f"{self.name} was {what}, not in {START_SECONDS:.0f} s:\n{self.last_lines()}")
            time.sleep(POLL_SECONDS)

    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.said().splitlines()[-LAST_LINES:])

    def stop(self) -> int:
        """Ends it as an operator does (SIGTERM) and waits for it, killing it if it takes too long; its exit code."""
        process = self.process
        if process is None:
            return 0
        process.terminate()
        # One that stands still would not hear of it.
        process.send_signal(signal.SIGCONT)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL
        finally:
            self.process = None

    def kill(self) -> None:
        """Ends it at once (SIGKILL), whatever it is doing."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Lets it stand still (SIGSTOP) until resume()."""
        freeze(self.pid)

    def resume(self) -> None:
        """Lets it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def start_again(self) -> None:
        """Starts it once more, ended or not, and waits until it serves; an instance has another port then."""
        self.stop()
        self.launch()
        self.await_ready()

    def await_ready(self) -> None:
        """Returns as soon as it serves; else NotReady."""
        if self.service == "plane":
            self.await_open()
        else:
            self.await_address()

    def _code(self) -> str:
        return "was not started" if self.process is None else f"exit code {self.process.returncode}"


def is_open(address: str) -> bool:
    """Whether somebody takes connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        # On this machine: at once or not at all.
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def end_with_parent() -> None:
    """For a child's `preexec_fn`: on Linux it is told to end when the thread that started it ends in whatever way."""
    libc = ctypes.CDLL(None)
    set_parent_death_signal = 1
    if hasattr(libc, "prctl"):
        libc.prctl(set_parent_death_signal, signal.SIGTERM)
