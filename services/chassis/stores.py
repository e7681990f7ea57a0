"""The two kinds of database behind one URL: how each opens its connections, and what its errors mean."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import peewee
from pymysql.constants import CLIENT, CR, ER

from services.chassis.errors import Unavailable

# How long a statement waits for another's lock; a call that may be tried some times has about ten seconds in all.
LOCK_WAIT_SECONDS = 2
# A server in the same mesh accepts within a second or not at all; no statement of ours needs ten, and a process that
# stops waits for those under way.
CONNECT_SECONDS = 3
STATEMENT_SECONDS = 10

WSREP_NOT_READY = 1047
WSREP_COMMIT_FAILED = 1180
CONNECTION_KILLED = 1927
# PyMySQL's InterfaceError for a connection whose socket is gone already.
SOCKET_GONE = 0

_PASSING_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_AWAY_SQLITE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
_PASSING_MARIA = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}
_AWAY_MARIA = {
    SOCKET_GONE,
    CR.CR_CONNECTION_ERROR,
    CR.CR_CONN_HOST_ERROR,
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    ER.CON_COUNT_ERROR,
    ER.SERVER_SHUTDOWN,
    # Read-only: after a failover the writer is another server, which a new connection finds.
    ER.OPTION_PREVENTS_STATEMENT,
    WSREP_NOT_READY,
    WSREP_COMMIT_FAILED,
    CONNECTION_KILLED,
}
# Wrong in the URL, so waiting is useless.
_MISDIRECTED_SQLITE = {sqlite3.SQLITE_NOTADB}
_MISDIRECTED_MARIA = {ER.DBACCESS_DENIED_ERROR, ER.ACCESS_DENIED_ERROR, ER.BAD_DB_ERROR}

_MALFORMED = "is not mysql://user:password@host:port/name; percent-encode special characters"


def is_passing(error: peewee.PeeweeException) -> bool:
    """Whether another transaction was in the way: this one is gone, and may be run again from its start."""
    return _code(error, _PASSING_SQLITE, _PASSING_MARIA)


def is_away(error: peewee.PeeweeException) -> bool:
    """Whether the connection or the database itself failed, not the statement."""
    return _code(error, _AWAY_SQLITE, _AWAY_MARIA)


def misdirected(error: peewee.PeeweeException) -> str:
    """The database's own words, without the password, if its URL has the wrong user, password or name; else ""."""
    cause = getattr(error, "orig", None)
    return str(cause.args[-1]) if cause and _code(error, _MISDIRECTED_SQLITE, _MISDIRECTED_MARIA) else ""


def _code(error: peewee.PeeweeException, sqlite: set[int], maria: set[int]) -> bool:
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in sqlite  # The low byte of an extended code.
    return cause is not None and bool(cause.args) and cause.args[0] in maria


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Kept(peewee.Database):
    """Connections stay open from job to job, each in the thread that opened it and never the event loop's."""

    begin_arguments: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._opened: set[Any] = set()
        super().__init__(*args, **kwargs)

    def connect(self, reuse_if_open: bool = False) -> bool:
        if _is_on_event_loop():
            raise RuntimeError("the database blocks: await Database.run(...) instead of using it on the event loop")
        return super().connect(reuse_if_open)

    def _initialize_connection(self, connection: Any) -> None:
        self._opened.add(connection)

    def commit(self) -> None:
        try:
            super().commit()
        except (peewee.DatabaseError, peewee.InterfaceError) as error:
            if is_away(error):
                # Perhaps it was committed, so it is not run again: the caller's request_id will tell.
                raise Unavailable("DATABASE_UNAVAILABLE", "the outcome is not known", retry_after=1.0) from error
            raise

    def rollback(self) -> None:
        try:
            super().rollback()
        except (peewee.DatabaseError, peewee.InterfaceError):
            # A connection that is gone, or a transaction that the database gave up already: what led here matters.
            self.forget_connection()

    def forget_connection(self) -> None:
        """Close this thread's connection whatever state it is in; the next use opens another."""
        if not self.is_closed():
            connection = self.connection()
            self.dispose()
            self._shut(connection)

    def close_all(self) -> None:
        """Close every thread's connection, once those threads have ended."""
        for connection in tuple(self._opened):
            self._shut(connection)

    def _shut(self, connection: Any) -> None:
        self._opened.discard(connection)
        with suppress(Exception):  # Closing says goodbye to a server that may be gone.
            connection.close()


class SqliteStore(_Kept, peewee.SqliteDatabase):
    """SQLite in WAL mode; a write transaction takes its lock at once (IMMEDIATE) instead of failing half-way."""

    begin_arguments = ("IMMEDIATE",)

    def is_ready(self) -> bool:
        """Whether the file is still in its place: SQLite goes on writing to one that was removed."""
        self.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
        return Path(self.database).exists()


class MariaStore(_Kept, peewee.MySQLDatabase):
    """MariaDB, or whatever speaks its protocol, at READ COMMITTED."""

    sql_mode = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

    def _initialize_connection(self, connection: Any) -> None:
        super()._initialize_connection(connection)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}, time_zone = '+00:00'")

    def is_ready(self) -> bool:
        """Whether it takes work: a Galera node that lost its cluster answers SELECT 1 all the same."""
        clustered = self._variable("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'") == "ON"
        return not clustered or self._variable("SHOW GLOBAL STATUS LIKE 'wsrep_ready'") == "ON"

    def _variable(self, query: str) -> str:
        row = self.execute_sql(query).fetchone()
        return str(row[1]) if row else ""


Store = SqliteStore | MariaStore


def store_of(url: str, statement_seconds: int = STATEMENT_SECONDS) -> Store:
    """The store that a URL names: sqlite:///relative, sqlite:////absolute or mysql://user:password@host:port/name.

    On MariaDB a statement that takes longer than `statement_seconds` is given up with its connection. Nothing is
    opened. Raises ValueError for anything else, in words that hold no part of the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(_MALFORMED) from None  # Its words may hold a part of the password.
    path = unquote(parts.path[1:])
    if not path:
        raise ValueError("names no database")
    if parts.scheme == "sqlite" and not parts.netloc:
        return SqliteStore(
            path,
            pragmas={"journal_mode": "wal", "foreign_keys": 1, "synchronous": "full"},
            timeout=LOCK_WAIT_SECONDS,
            check_same_thread=False,  # Only for close_all(), after the threads have ended.
        )
    if parts.scheme == "mysql" and parts.hostname:
        if parts.query or parts.fragment or set(parts.path[1:]) & set("/@"):
            raise ValueError(_MALFORMED)
        return MariaStore(
            path,
            host=parts.hostname,
            port=port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            collation="utf8mb4_bin",
            # Rows matched, as SQLite counts them, not rows changed: conditional updates look at the count.
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=statement_seconds,
            write_timeout=statement_seconds,
        )
    raise ValueError("is neither sqlite:///file nor mysql://user:password@host:port/name")
