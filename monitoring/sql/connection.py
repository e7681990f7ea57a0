"""One kept connection to the services' database, that only reads and never waits long: MariaDB (MySQL) or SQLite."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from monitoring.sql import location, sqlite
from monitoring.sql.link import Link, TookTooLong, Unreadable

Row = tuple[Any, ...]

# Above any limit of the server's own on a statement: only a server that hangs is given up by this.
ANSWER_SECONDS = 5.0
# What a statement may take, so that it is never in the way.
STATEMENT_SECONDS = 1.0
# A connection that nobody asked for so long may have been closed by the server meanwhile.
_IDLE_SECONDS = 60.0

# Whether a server is a Galera node, and whether that takes work: it greets without its cluster all the same.
_CLUSTERED = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'"
_READY = "SHOW GLOBAL STATUS LIKE 'wsrep_ready'"
# SQLite counts its own instructions, and asks us each so many whether to go on.
_INSTRUCTIONS = 20_000


class Connection:
    """Opened when it is first asked, and again after it was lost; for one thread at a time.

    `url` is one of location.parse(), which raises ValueError for any other.
    """

    def __init__(self, url: str, seconds: float = STATEMENT_SECONDS) -> None:
        where = location.parse(url)
        self._kept: _File | _Server = _File(where, seconds) if isinstance(where, Path) else _Server(where, seconds)
        self.is_sqlite = isinstance(where, Path)

    @property
    def opened(self) -> int:
        """How many databases there were so far: another server may be behind than the one that was asked before."""
        return self._kept.opened

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The rows of a statement with a ? for each parameter. Raises Unreadable."""
        return self._kept.rows(sql, tuple(parameters))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is asked within is answered as of one moment. It locks nothing. Raises Unreadable."""
        self._kept.rows(self._kept.begin, ())
        try:
            yield
        finally:
            # A connection that is lost has ended its transaction.
            with suppress(Unreadable):
                if self._kept.is_open:
                    self._kept.rows("ROLLBACK", ())

    def close(self) -> None:
        """Close it; the next question opens another."""
        self._kept.close()


class _Server:
    """A server of MariaDB's or MySQL's, whose session only reads."""

    begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

    def __init__(self, servers: location.Servers, seconds: float) -> None:
        self._link = Link(servers, Cursor, ANSWER_SECONDS, self._greet)
        self._seconds = seconds
        self._asked = 0.0
        self.opened = 0

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    def rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        now, before = time.monotonic(), self._asked
        self._asked = now
        if now - before > _IDLE_SECONDS:
            self._link.close()
        try:
            if not self._link.is_open and self._link.open():
                self.opened += 1
            return self._link.rows(sql.replace("%", "%%").replace("?", "%s"), parameters)
        except TookTooLong:
            raise _late(self._seconds) from None
        except Unreadable:
            # A node that has lost its cluster refuses everything: another one may do.
            self._link.close()
            raise

    def close(self) -> None:
        self._link.close()

    def _greet(self, session: "pymysql.connections.Connection[Any]") -> None:
        """Raises OSError if the server is a Galera node that lost its cluster."""
        is_mysql = "MariaDB" not in str(session.get_server_info())  # type: ignore[no-untyped-call]
        limit = (
            f"max_execution_time = {self._seconds * 1000:.0f}" if is_mysql else f"max_statement_time = {self._seconds}"
        )
        with session.cursor() as cursor:
            if _is_on(cursor, _CLUSTERED) and not _is_on(cursor, _READY):
                raise OSError("the server is not in a working cluster")
            # A snapshot is one at REPEATABLE READ only. Plain reads lock nothing there either.
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET SESSION {limit}, time_zone = '+00:00'")


class _File:
    """A file of SQLite's, opened again when another took its place, and after each change while it is at rest."""

    begin = "BEGIN"

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._end = 0.0
        self._database: sqlite3.Connection | None = None
        # As it was when it was opened: SQLite goes on reading a file that was removed.
        self._state: sqlite.State | None = None
        self.opened = 0

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        try:
            database = self._open()
            self._end = time.monotonic() + self._seconds
            return database.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            if "interrupted" in str(error):
                raise _late(self._seconds) from None
            self.close()
            raise Unreadable(f"{error}; is {self._path} a migrated database that this user may read?") from None
        except OSError as error:
            self.close()
            raise Unreadable(str(error)) from None

    def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):  # At the end of the sidecar a statement may still run.
                database.close()

    def _open(self) -> sqlite3.Connection:
        """Raises OSError or sqlite3.Error."""
        state, before = sqlite.state(self._path), self._state
        if self._database is not None and before is not None:
            is_changed = before.id != state.id or (before.is_at_rest and before.content != state.content)
            # What is written at first is beside the file, so a snapshot of one that was at rest still is of one moment.
            if not is_changed and (before.is_at_rest == state.is_at_rest or self._database.in_transaction):
                return self._database
            if self._database.in_transaction:
                raise OSError(f"{self._path} was changed while it was read")
        self.close()
        self._database, self._state = sqlite.opened(self._path, self._seconds), state
        self._database.set_progress_handler(lambda: time.monotonic() > self._end, _INSTRUCTIONS)
        if before is None or before.id != state.id:
            self.opened += 1
        return self._database


def _late(seconds: float) -> TookTooLong:
    return TookTooLong(f"a statement took longer than {seconds:g} s")


def _is_on(cursor: Cursor, question: str) -> bool:
    cursor.execute(question)
    row = cursor.fetchone()
    return row is not None and str(row[1]) == "ON"
