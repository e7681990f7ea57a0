"""A MariaDB of the benchmark's own, whose fsync and fdatasync can be made slower while it runs."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import mariadb

_SOURCE = Path(__file__).with_name("slow_sync.c")
_VARIABLE = "SHAREMESH_SYNC_DELAY"
# Durability is MariaDB's default. Memory and log are those of a server that has the machine's tables in memory: with
# the default 128 MB and 96 MB the disk would be measured. Flushed at once, not in idle time, which would fall into
# somebody else's slice.
_OPTIONS = ("--innodb-log-file-size=1G", "--innodb-flush-log-at-trx-commit=1", "--skip-log-bin")


class NoCompiler(RuntimeError):
    """There is no C compiler here; the message says what to do."""


class SlowDisk:
    """The library that waits in fsync and fdatasync, and the file that tells it how long."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise NoCompiler("cc is missing: install gcc or clang, which compiles the library that slows fsync down")
        self.library = folder / "slow_sync.so"
        command = [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(self.library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self._delay = folder / "sync_delay"
        self._delay.write_bytes(struct.pack("=Q", 0))
        # The one way to reach a process that local.mariadb starts.
        os.environ[_VARIABLE] = str(self._delay)

    @contextmanager
    def slowed(self, ms: float) -> Iterator[None]:
        """Let every sync take `ms` longer while the body runs."""
        self._tell(int(ms * 1e6))
        try:
            yield
        finally:
            self._tell(0)

    def _tell(self, nanoseconds: int) -> None:
        # In place: the library has the file mapped.
        with self._delay.open("r+b") as file:
            file.write(struct.pack("=Q", nanoseconds))


@contextmanager
def server(folder: Path, disk: SlowDisk) -> Iterator[mariadb.Server]:
    """A MariaDB with its files in `folder`, stopped at the end."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    pool = f"--innodb-buffer-pool-size={min(4096, pages // 2**20 // 4)}M"
    started = mariadb.start(folder, *_OPTIONS, pool, preload=disk.library)
    try:
        yield started
    finally:
        started.stop()
