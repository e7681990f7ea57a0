"""The rival of the audit: houbb/sensitive-word, the best known engine of its kind for Java, in a process of its own."""

import fcntl
import hashlib
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from local import maven, packages

SOURCE = Path(__file__).with_name("java")
OUTPUT = packages.CACHE / "bench-java"
# It takes 5 s with Maven's own store filled.
BUILD_SECONDS = 280
# To read its words takes a second.
END_SECONDS = 30.0


class BuildFailed(RuntimeError):
    """Maven did not build it; the message has Maven's words."""


class Houbb:
    """The running program with its words (a deny list) and its sets of texts, none of which may hold a line break."""

    def __init__(self, folder: Path, words: Sequence[str], sets: Sequence[Sequence[str]]) -> None:
        files = []
        for number, lines in enumerate([words, *sets]):
            path = folder / f"houbb-{number}.txt"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            files.append(str(path))
        command = [*_command(), *files]
        with (folder / "houbb.err").open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        if self._read() != "ready":
            self.stop()
            raise RuntimeError((folder / "houbb.err").read_text(errors="replace")[-2000:])

    def search(self, index: int, begin: int, end: int) -> int:
        """Searches the texts from `begin` to `end` (exclusive) of a set, one a call; in how many it found anything."""
        assert self._process.stdin
        self._process.stdin.write(f"{index} {begin} {end}\n")
        self._process.stdin.flush()
        return int(self._read())

    def cpu(self) -> float:
        """The seconds of CPU that all its threads have used, the compiler's and the collector's too."""
        # The kernel's clock of another process: the same as clock_getcpuclockid() gives.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def stop(self) -> None:
        """End it and wait until it has."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def _command() -> list[str]:
    """The command line, after Maven has built the program unless it is built already."""
    programs = maven.find()
    sources = sorted([SOURCE / "pom.xml", *SOURCE.rglob("*.java")])
    wanted = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    built = OUTPUT / "built"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (OUTPUT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists() or built.read_text() != wanted:
            _build(programs)
            built.write_text(wanted)
    return [programs.java, "-Dfile.encoding=UTF-8", "-cp", f"{OUTPUT}/classes:{OUTPUT}/lib/*", "bench.Houbb"]


def _build(programs: maven.Programs) -> None:
    command = [programs.maven, "--batch-mode", "--quiet", f"-Doutput={OUTPUT}", "process-classes"]
    done = subprocess.run(
        command, cwd=SOURCE, env=programs.environment, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    if done.returncode:
        raise BuildFailed(
            f"run `mvn process-classes` in {SOURCE}, with access to Maven's repositories: "
            f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
