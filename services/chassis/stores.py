"""The two kinds of database behind one URL: how each opens its connections, and what its errors mean."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import peewee
import pymysql
from pymysql.constants import CLIENT, CR, ER

from services.chassis import hosts
from services.chassis.errors import Unavailable
from services.chassis.hosts import Address, Hosts

# How long a statement waits for another's lock; a call that may be tried some times has about ten seconds in all.
LOCK_WAIT_SECONDS = 2
# A server in the same mesh accepts within a second or not at all; no statement of ours needs ten, and a process that
# stops waits for those under way.
CONNECT_SECONDS = 3
STATEMENT_SECONDS = 10
# For a look whether a server is back: it is part of a health check, which must have an answer in ANSWER_SECONDS.
TRIAL_SECONDS = 1
MARIA_PORT = 3306

SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_SESSION = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}, time_zone = '+00:00'",
)
# For a driver that is not peewee's; without backslashes in texts a quote is all there is to escape.
SESSION = (
    *_SESSION,
    f"SET SESSION collation_connection = 'utf8mb4_bin', sql_mode = '{SQL_MODE},NO_BACKSLASH_ESCAPES'",
)

WSREP_NOT_READY = 1047
WSREP_COMMIT_FAILED = 1180
CONNECTION_KILLED = 1927
# PyMySQL's InterfaceError for a connection whose socket is gone already.
SOCKET_GONE = 0

_PASSING_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_AWAY_SQLITE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
_PASSING_MARIA = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}
# What a connection fails with whose server is gone, or is no part of a working cluster: another of its URL may do.
FAILOVER = frozenset(
    {
        SOCKET_GONE,
        CR.CR_CONNECTION_ERROR,
        CR.CR_CONN_HOST_ERROR,
        CR.CR_SERVER_GONE_ERROR,
        CR.CR_SERVER_LOST,
        ER.SERVER_SHUTDOWN,
        WSREP_NOT_READY,
    }
)
_AWAY_MARIA = {
    *FAILOVER,
    ER.CON_COUNT_ERROR,
    # Read-only: after a failover the writer is another server, which a new connection finds.
    ER.OPTION_PREVENTS_STATEMENT,
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


def is_passing_code(code: int | None) -> bool:
    """is_passing() by MariaDB's number of the error."""
    return code in _PASSING_MARIA


def is_away_code(code: int | None) -> bool:
    """is_away() by MariaDB's number of the error."""
    return code in _AWAY_MARIA


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


def _open(connection: Any) -> bool:
    script, row = hosts.opening(*_SESSION), None
    with connection.cursor() as cursor:
        while True:
            try:
                cursor.execute(script.send(row))
            except StopIteration as end:
                return bool(end.value)
            row = cursor.fetchone()


class MariaStore(_Kept, peewee.MySQLDatabase):
    """MariaDB, or whatever speaks its protocol, at READ COMMITTED, on the first of its hosts that takes work."""

    sql_mode = SQL_MODE

    def __init__(self, addresses: tuple[Address, ...], user: str, password: str, name: str, **options: Any) -> None:
        self.addresses, self.user, self.password, self.name = addresses, user, password, name
        self.hosts = Hosts(addresses)
        self._places: dict[Any, Address] = {}
        super().__init__(name, user=user, password=password, **options)

    def credentials(self, address: Address) -> dict[str, Any]:
        """What another driver connects to this server with: host, port, user, password, database."""
        host, port = address
        return {"host": host, "port": port, "user": self.user, "password": self.password, "database": self.name}

    def connect(self, reuse_if_open: bool = False) -> bool:
        is_kept = reuse_if_open and not self.is_closed() and not self.in_transaction()
        if is_kept and not self.hosts.is_first(self._places[self.connection()]):
            # A server that comes before this connection's is back, or this one's failed somebody else.
            self.forget_connection()
        return super().connect(reuse_if_open)

    def _connect(self) -> Any:
        failure: Exception | None = None
        for address in self.hosts.order():
            try:
                connection = self._open(address)
            except pymysql.err.MySQLError as error:
                if error.args[0] not in FAILOVER:
                    raise
                self.hosts.failed(address)
                failure = error
            else:
                self.hosts.answered(address)
                self._places[connection] = address
                return connection
        assert failure is not None
        raise failure

    def _open(self, address: Address, **limits: int) -> Any:
        """A connection to this server, which takes work."""
        host, port = address
        connection = pymysql.connect(
            host=host, port=port, database=self.name, autocommit=True, **{**self.connect_params, **limits}
        )
        try:
            if not _open(connection):
                raise pymysql.err.OperationalError(WSREP_NOT_READY, f"{host}:{port} is not in a working cluster")
        except BaseException:
            connection.close()
            raise
        return connection

    def _shut(self, connection: Any) -> None:
        self._places.pop(connection, None)
        super()._shut(connection)

    def is_ready(self) -> bool:
        """Whether one of the servers takes work; and looks whether one that was passed over is back."""
        passed_over = self.hosts.to_try_again()
        if passed_over is not None:
            self._try_again(passed_over)
        try:
            if self._is_in_order():
                return True
        except (peewee.DatabaseError, peewee.InterfaceError) as error:
            if not is_away(error):
                raise
        self.forget_connection()
        return self.connect()

    def _is_in_order(self) -> bool:
        """Whether this thread's server takes work."""
        return not hosts.is_on(self.execute_sql(hosts.CLUSTERED).fetchone()) or hosts.is_on(
            self.execute_sql(hosts.READY).fetchone()
        )

    def _try_again(self, address: Address) -> None:
        try:
            self._open(
                address, connect_timeout=TRIAL_SECONDS, read_timeout=TRIAL_SECONDS, write_timeout=TRIAL_SECONDS
            ).close()
        except pymysql.err.MySQLError:
            self.hosts.failed(address)
        else:
            self.hosts.answered(address)


Store = SqliteStore | MariaStore


def store_of(url: str, statement_seconds: int = STATEMENT_SECONDS) -> Store:
    """The store that a URL names: sqlite:///relative, sqlite:////absolute or mysql://user:password@host:port/name.

    Instead of one host:port there may be several with commas between: servers of one database (Galera's nodes), of
    which the first that takes work is used. On MariaDB a statement that takes longer than `statement_seconds` is given
    up with its connection. Nothing is opened. Raises ValueError for anything else, in words that hold no part of the
    URL.
    """
    try:
        parts = urlsplit(url)
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
    if parts.scheme == "mysql" and parts.netloc:
        return _maria(parts, path, statement_seconds)
    raise ValueError("is neither sqlite:///file nor mysql://user:password@host:port/name")


def _maria(parts: SplitResult, name: str, statement_seconds: int) -> MariaStore:
    credentials, _, places = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    if parts.query or parts.fragment or set(parts.path[1:]) & set("/@"):
        raise ValueError(_MALFORMED)
    try:
        addresses = hosts.parse(places, MARIA_PORT)
    except ValueError as error:
        raise ValueError(str(error) if "," in places else _MALFORMED) from None
    return MariaStore(
        addresses,
        unquote(user),
        unquote(password),
        name,
        collation="utf8mb4_bin",
        # Rows matched, as SQLite counts them, not rows changed: conditional updates look at the count.
        client_flag=CLIENT.FOUND_ROWS,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=statement_seconds,
        write_timeout=statement_seconds,
    )
