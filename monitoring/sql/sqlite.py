"""An SQLite database: whether it can be read, how large it is, and whether it is whole."""

import logging
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from monitoring.readings import Readings, discovery, key

_log = logging.getLogger("sharemesh.monitoring")

# A writer never keeps readers waiting in WAL mode; whoever holds the file longer than this keeps everybody out.
_LOCK_WAIT_SECONDS = 0.3
# The check reads the whole file. One that is not done in this time is given up: it keeps the WAL from being emptied.
CHECK_SECONDS = 1.0
CHECK_INTERVAL_SECONDS = 3600.0
# How many of SQLite's steps are between two looks at the time.
_STEPS = 1_000
# https://www.sqlite.org/fileformat.html#the_database_header
_HEADER, _WRITE_VERSION, _WAL_VERSION = 100, 18, b"\2"


class State(NamedTuple):
    """Which file it is, what changes with its content, and whether it is at rest."""

    id: tuple[int, int]
    content: tuple[int, int]
    is_at_rest: bool


class Sqlite:
    """The database in one file, which is opened anew each time, so that one that was replaced is noticed."""

    def __init__(self, path: Path, check_seconds: float = CHECK_SECONDS) -> None:
        self._check_seconds = check_seconds
        self._path, self._log = path, log_of(path)
        self._check_at = 0.0
        self._intact: int | None = None
        self._complaint = ""

    def read(self) -> Readings:
        """The figures; db.up is 0 if the file is gone, locked or none of SQLite's. Never raises."""
        begin = time.monotonic()
        try:
            told = self._figures(begin)
        except (OSError, sqlite3.Error) as error:
            self._tell(f"{error}")
            return {key("db.up"): 0, key("db.kind"): "sqlite", key("db.server"): str(self._path)}
        self._tell("")
        return told

    def close(self) -> None:
        """Nothing is kept open."""

    def _figures(self, begin: float) -> Readings:
        name = str(self._path)
        # Else SQLite would say "unable to open database file" of whatever is wrong.
        size = self._path.stat().st_size
        connection = opened(self._path, _LOCK_WAIT_SECONDS)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            latency = time.monotonic() - begin
            if self._check_at <= begin:
                self._check(connection, begin)
        finally:
            connection.close()
        told: Readings = {
            key("db.up"): 1,
            key("db.kind"): "sqlite",
            key("db.version"): sqlite3.sqlite_version,
            key("db.server"): name,
            key("db.latency"): latency,
            key("db.sqlite.discovery"): discovery([{"{#FILE}": name}]),
            key("db.sqlite.size", name): size,
            key("db.sqlite.wal", name): self._wal(),
        }
        told |= {key(f"db.{name}.discovery"): discovery(()) for name in ("schema", "replication", "galera")}
        if self._intact is not None:
            told[key("db.sqlite.intact", name)] = self._intact
        return told

    def _wal(self) -> int:
        """0 if there is none."""
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    def _check(self, connection: sqlite3.Connection, now: float) -> None:
        """Finds out whether the file is whole, unless that takes too long: then nothing is known."""
        self._check_at = now + CHECK_INTERVAL_SECONDS
        was_at_rest = not self._log.exists()
        end = time.monotonic() + self._check_seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            complaint = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.OperationalError as error:
            self._intact = None
            _log.warning("database_not_checked", {"database": str(self._path), "error": str(error)})
            return
        except sqlite3.DatabaseError as error:
            complaint = str(error)
        finally:
            connection.set_progress_handler(None, 0)
        if was_at_rest and self._log.exists():
            # Somebody began to write meanwhile, and was not kept from it.
            self._check_at = now
            return
        self._intact = int(complaint == "ok")
        if not self._intact:
            _log.error("database_damaged", {"database": str(self._path), "error": complaint})

    def _tell(self, complaint: str) -> None:
        if complaint != self._complaint:
            event = "database_away" if complaint else "database_back"
            _log.warning(event, {"database": str(self._path), "error": complaint})
        self._complaint = complaint


def opened(path: Path, wait_seconds: float) -> sqlite3.Connection:
    """A connection that only reads, and waits so long for whoever keeps the file to himself; for threads in turns.

    One to a file at rest never sees a change: whoever keeps it looks at state() before each question. Raises OSError or
    sqlite3.Error.
    """
    how = "immutable=1" if is_at_rest(path) else "mode=ro"
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}",
        uri=True,
        timeout=wait_seconds,
        isolation_level=None,
        check_same_thread=False,
    )


def is_at_rest(path: Path) -> bool:
    """Whether it is in WAL mode and nobody has it open. Raises OSError.

    To open it as usual would make a -wal and a -shm, even for reading, and they would be ours: a service that runs
    as another user could not write any more.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    return header[_WRITE_VERSION : _WRITE_VERSION + 1] == _WAL_VERSION and not log_of(path).exists()


def state(path: Path) -> State:
    """How it is now. Raises OSError."""
    is_resting, now = is_at_rest(path), path.stat()
    return State((now.st_dev, now.st_ino), (now.st_size, now.st_mtime_ns), is_resting)


def log_of(path: Path) -> Path:
    """Where SQLite keeps what was written and is not in the file yet, in WAL mode."""
    return path.with_name(f"{path.name}-wal")
