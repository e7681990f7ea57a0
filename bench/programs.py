"""The processes under load: each started on a free port, asked where it is, and ended by its own id."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 30


class Program:
    """One process that prints "<name> host:port" once it serves."""

    def __init__(self, log: Path, *arguments: str) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        if not told:
            self.stop()
            raise RuntimeError(f"{' '.join(arguments)} did not start: {log.read_text(errors='replace')[-2000:]}")
        self.port = int(told.rpartition(":")[2])

    def stop(self) -> None:
        """End it and wait until it has drained."""
        self.end()
        self.wait()

    def end(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended."""
        try:
            self._process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def found_by(log: Path, *arguments: str) -> dict[str, float]:
    """What a module prints as JSON before it ends; raises RuntimeError with its last words."""
    with log.open("ab") as errors:
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {log.read_text(errors='replace')[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


@contextmanager
def running() -> Iterator[list[Program]]:
    """A list to put programs into, all ended together at the end."""
    programs: list[Program] = []
    try:
        yield programs
    finally:
        for program in programs:
            program.end()
        for program in programs:
            program.wait()


def of_service(service: str, url: str, var: Path, log: Path) -> tuple[str, ...]:
    """The arguments of `serve <service>` as it is run in production, on the database at `url`."""
    options = (f"--database={url}", f"--var={var}", f"--logs={log}", "--port=0")
    return ("services", "serve", service, *options)
