"""Keeps what waits for Zabbix in a file, bounded: when there is no more room, the oldest goes."""

import contextlib
import fcntl
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger("sharemesh.monitoring")

# While the file takes nothing, so much is kept in memory, and it is tried again this often.
MEMORY_BYTES = 8 << 20
RETRY_SECONDS = 5.0
# So much of what the file may hold is given up at a time, so that it is not done for each beat.
SHARE = 200
# An empty file is made as small as this.
IDLE_BYTES = 4 << 20
# The journal has this much room from the start, and so many rows go at a time when the disk is full: it has to do.
JOURNAL_BYTES = 128 << 10
FEW_ROWS = 8
# The same complaint is not made again this soon.
SAY_SECONDS = 600.0
# What a row needs beside its body.
ROW_BYTES = 40
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS row (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, clock INTEGER NOT NULL, ns INTEGER NOT NULL, count INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS stamp (host TEXT PRIMARY KEY, clock INTEGER NOT NULL, ns INTEGER NOT NULL);
"""


class Taken(Exception):
    """Another process uses the file; the message says what to do."""


class Stamp(NamedTuple):
    """The last second that a host's values were of, and `ns`: how often its clock had been put back by then."""

    clock: int
    ns: int


class Row(NamedTuple):
    """Some values of one host and second: `values` of them in `body`. Ids grow."""

    id: int
    host: str
    clock: int
    ns: int
    values: int
    body: bytes

    @property
    def size(self) -> int:
        """What it takes of the room, in bytes."""
        return len(self.body) + ROW_BYTES


class Spool:
    """Rows in the order in which they came. Whoever calls sees to it that only one thread does at a time.

    What was added is there after a SIGKILL; to survive a power cut as well, each beat would have to wait for the disk.
    A file that takes nothing (the disk is full), or is not what it should be, is logged, and never an error: rows are
    kept in memory then.
    """

    def __init__(self, file: Path, most_bytes: int) -> None:
        """Opens or makes the file; raises Taken."""
        self.dropped = 0
        self.waiting = 0
        self._file = file
        self._most_bytes = most_bytes
        self._database: sqlite3.Connection | None = None
        # What the file has not taken yet, the newest of all.
        self._memory: list[Row] = []
        self._stamps: dict[str, Stamp] = {}
        self._size = 0
        # Whatever a file had that could not be read at first is older.
        self._next = time.time_ns()
        # Rows up to this id are done with, even if the file has not taken that yet.
        self._floor = 0
        # What of them the file knows of.
        self._written = 0
        # What has changed since first(): rows dropped from memory, or other rows are the oldest now.
        self._gone: set[int] = set()
        self._is_other = False
        self._retry = 0.0
        self._said: dict[str, float] = {}
        self._held = _held(file)
        self._open()

    def close(self) -> None:
        """Leaves all rows to the next one who opens the file."""
        self._retry = 0.0
        self._flush()
        if self._database:
            self._database.close()
        if self._held:
            self._held.close()

    def stamp(self, host: str) -> Stamp | None:
        """The host's last stamp, if it ever had one."""
        return self._stamps.get(host)

    def add(self, host: str, stamp: Stamp, bodies: Sequence[tuple[int, bytes]]) -> None:
        """Keeps rows, each of a count and a body."""
        rows = [Row(self._next + at, host, *stamp, *body) for at, body in enumerate(bodies)]
        self._next += len(rows)
        self._stamps[host] = stamp
        self._memory += rows
        self._size += sum(row.size for row in rows)
        self.waiting += sum(row.values for row in rows)
        if self._size > self._most_bytes:
            self._drop(self._size - self._most_bytes + self._most_bytes // SHARE)
        self._flush()

    def first(self, most: int) -> list[Row]:
        """The oldest rows, of so many values together at the most, but one row at the least."""
        self._gone.clear()
        self._is_other = False
        rows: list[Row] = []
        count = 0
        try:
            for row in self._rows():
                count += row.values
                if rows and count > most:
                    break
                rows.append(row)
        except sqlite3.Error as error:
            # What cannot be read would be in the way of all that comes after it.
            self._set_aside(error)
            return []
        return rows

    def done(self, rows: Sequence[Row]) -> int:
        """Forgets the rows, the oldest; returns how many of their values had not been dropped meanwhile."""
        if self._is_other:
            # These will come again, which does no harm.
            return 0
        kept = [row for row in rows if row.id > self._floor and row.id not in self._gone]
        count = self._forget((row.id, row.values, row.size) for row in kept)
        self._flush()
        self._shrink()
        return count

    def oldest(self) -> int | None:
        """The second of the oldest row."""
        with contextlib.suppress(sqlite3.Error):
            return next((row.clock for row in self._rows()), None)
        return None

    def _shrink(self) -> None:
        """Gives back the room of a long outage."""
        with contextlib.suppress(OSError, sqlite3.Error):
            if self._database and not self.waiting and self._file.stat().st_size > IDLE_BYTES:
                self._database.execute("VACUUM")

    def _rows(self) -> Iterator[Row]:
        """All in order, as they are needed."""
        if self._database:
            rows = "SELECT id, host, clock, ns, count, body FROM row WHERE id > ? ORDER BY id"
            with contextlib.closing(self._database.execute(rows, (self._floor,))) as cursor:
                yield from map(Row._make, cursor)
        yield from self._memory

    def _drop(self, size: int) -> None:
        """Gives up the oldest rows until so many bytes are free."""
        self._say("outbox_full", "it holds what it may, the oldest values are dropped: is Zabbix away?")
        oldest = []
        try:
            for row in self._sizes():
                if size <= 0:
                    break
                size -= row[2]
                oldest.append(row)
        except sqlite3.Error as error:
            self._set_aside(error)
        else:
            self.dropped += self._forget(oldest)

    def _sizes(self) -> Iterator[tuple[int, int, int]]:
        """Id, count and size of all rows in order."""
        if self._database:
            sizes = f"SELECT id, count, length(body) + {ROW_BYTES} FROM row WHERE id > ? ORDER BY id"
            with contextlib.closing(self._database.execute(sizes, (self._floor,))) as cursor:
                yield from cursor
        yield from ((row.id, row.values, row.size) for row in self._memory)

    def _forget(self, rows: Iterable[tuple[int, int, int]]) -> int:
        """Rows are no more from now on, though they go from the file with the next write to it."""
        count = 0
        for id, values, size in rows:
            self._floor = id
            self.waiting -= values
            self._size -= size
            count += values
        self._memory = [row for row in self._memory if row.id > self._floor]
        return count

    def _flush(self) -> None:
        """Has the file know all that we do, if it can."""
        if (self._memory or self._floor != self._written) and time.monotonic() >= self._retry:
            try:
                if not self._database:
                    self._connect()
                self._write()
            except sqlite3.Error as error:
                self._failed(error)
        size = sum(row.size for row in self._memory)
        while size > MEMORY_BYTES:
            row = self._memory.pop(0)
            self._gone.add(row.id)
            size -= row.size
            self._size -= row.size
            self.waiting -= row.values
            self.dropped += row.values

    def _write(self) -> None:
        assert self._database
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM row WHERE id <= ?", (self._floor,))
            self._database.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?)", self._memory)
            stamps = [(host, *stamp) for host, stamp in self._stamps.items()]
            self._database.executemany("INSERT OR REPLACE INTO stamp VALUES (?, ?, ?)", stamps)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._memory, self._written = [], self._floor

    def _open(self) -> None:
        try:
            self._connect()
        except sqlite3.Error as error:
            self._failed(error)

    def _connect(self) -> None:
        """Opens the file and learns what it has; raises sqlite3.Error."""
        database = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        try:
            # Nobody waits for the disk. A journal that stays needs no room when the disk is full, as a WAL would.
            for pragma in ("journal_mode=PERSIST", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                database.execute(f"PRAGMA {pragma}").fetchall()
            database.executescript(_SCHEMA)
            with contextlib.suppress(sqlite3.OperationalError):
                # Pages are written to the journal as they were before they are changed.
                database.execute("INSERT OR REPLACE INTO row VALUES (0, '', 0, 0, 0, zeroblob(?))", (JOURNAL_BYTES,))
                database.execute("UPDATE row SET body = randomblob(?) WHERE id = 0", (JOURNAL_BYTES,))
            database.execute("DELETE FROM row WHERE id = 0")
            sums = f"SELECT coalesce(sum(count), 0), coalesce(sum(length(body) + {ROW_BYTES}), 0), max(id) FROM row"
            count, size, last = database.execute(sums).fetchone()
            stamps = {host: Stamp(clock, ns) for host, clock, ns in database.execute("SELECT * FROM stamp")}
        except sqlite3.Error:
            database.close()
            raise
        self._database = database
        self._stamps = stamps | self._stamps
        self.waiting += count
        self._size += size
        self._next = max(self._next, (last or 0) + 1)
        self._floor = self._written = 0
        self._is_other = True

    def _failed(self, error: sqlite3.Error) -> None:
        """What to do about a file that does not work: make room, or begin a new one, or wait."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT:
            self._set_aside(error)
            return
        with contextlib.suppress(sqlite3.Error):
            if self._database and self._memory:
                self._make_room()
                return
        self._retry = time.monotonic() + RETRY_SECONDS
        self._say("outbox_refused", f"{error}: values are kept in memory, make room for the file or mend its disk")

    def _make_room(self) -> None:
        """Writes after all, at the cost of the oldest rows; raises sqlite3.Error."""
        assert self._database
        first = self._memory[0].id
        # Past this it is not for want of room.
        end = self._size - 2 * sum(row.size for row in self._memory) - JOURNAL_BYTES
        while True:
            on_disk = [row for row in islice(self._sizes(), FEW_ROWS) if row[0] < first]
            if on_disk:
                # They count as dropped when they are gone.
                self._database.execute("DELETE FROM row WHERE id <= ?", (on_disk[-1][0],))
                self._say("outbox_full", "the disk is full, the oldest values are dropped: make room")
                self.dropped += self._forget(on_disk)
            try:
                self._write()
            except sqlite3.Error:
                if not on_disk or self._size < end:
                    raise
            else:
                return

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Begins a new file. What was in the old one is lost to us, but there to be looked at."""
        if self._database:
            self._database.close()
        self._database = None
        for end in ("", "-journal"):
            with contextlib.suppress(OSError):
                self._file.with_name(self._file.name + end).replace(f"{self._file}.corrupt{end}")
        kept = sum(row.values for row in self._memory)
        self.dropped += self.waiting - kept
        self.waiting, self._size = kept, sum(row.size for row in self._memory)
        self._say("outbox_corrupt", f"{error}: moved to {self._file}.corrupt, and begun anew")
        try:
            self._connect()
            self._write()
        except sqlite3.Error:
            self._retry = time.monotonic() + RETRY_SECONDS

    def _say(self, event: str, what: str) -> None:
        if time.monotonic() - self._said.get(event, -SAY_SECONDS) >= SAY_SECONDS:
            self._said[event] = time.monotonic()
            _log.error(event, {"file": str(self._file), "error": what})


def _held(file: Path) -> TextIOWrapper | None:
    """A lock on the file for as long as this is open; None if not even that can be written. Raises Taken."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Not the file itself: to close that would end SQLite's own locks.
        lock = file.with_name(f"{file.name}.lock").open("w")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise Taken(f"{file} is used by another sidecar: stop that one, or give this one a file of its own") from error
    return lock
