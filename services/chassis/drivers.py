"""The two ways to run a script: on the event loop for MariaDB, and in a thread of its own for SQLite."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import asyncmy
import peewee
from asyncmy import errors as maria
from pymysql.constants import CLIENT, ER

from services.chassis import database, hosts, stores
from services.chassis.batching import Driver
from services.chassis.database import Database
from services.chassis.errors import Conflict, Unavailable
from services.chassis.hosts import Address
from services.chassis.script import DuplicateKey, Ending, Row, RowsMissed, Script, Statement, bound, literal, step
from services.chassis.stores import MariaStore, Store

T = TypeVar("T")

# A row count that is not the one that had to be ends the round trip before its COMMIT: one more than the largest number
# is an error, and a SET passes it on, which a DO does not.
_GUARD = "SET @missed = 9223372036854775807 + (ROW_COUNT() <> {touches})"
_OUT_OF_RANGE = 1690


def driver_of(db: Database) -> Driver:
    """The better way for the bound database; docs/adr/0014 has the figures."""
    store: Store = database.proxy.obj
    return LoopDriver(store) if isinstance(store, MariaStore) else ThreadDriver(db)


def played(script: Script[T]) -> T:
    """The script's result, run in this thread in a write() of its own, one statement after the other.

    Raises IntegrityError for a key that is there already, and RowsMissed.
    """
    with database.write():
        asked = step(script, None)
        while not isinstance(asked, Ending):
            asked = step(script, [_rows(one) for one in asked])
        for one in asked.statements:
            _rows(one)
        return asked.result


def _rows(statement: Statement) -> Sequence[Row]:
    store: Any = database.proxy.obj
    cursor = store.execute_sql(*bound(statement, database.dialect()))
    if statement.touches not in (None, cursor.rowcount):
        raise RowsMissed(f"{cursor.rowcount} rows, not {statement.touches}: {statement.sql}")
    return cursor.fetchall() if cursor.description else ()


class ThreadDriver:
    """A thread with a connection of its own, through the models' store: for what would block the event loop."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    async def run(self, script: Script[T]) -> T:
        """See Driver.run."""
        job = partial(self._db.attempt, played, script)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except peewee.IntegrityError as error:
            raise DuplicateKey from error

    async def close(self) -> None:
        """See Driver.close; the connection itself is the Database's to close."""
        await asyncio.to_thread(self._thread.shutdown)


class LoopDriver:
    """One connection on the event loop; every yield of a script is one round trip, its ending and COMMIT another."""

    def __init__(self, store: MariaStore, statement_seconds: float = stores.STATEMENT_SECONDS) -> None:
        """`statement_seconds` is how long a transaction may take; it is given up with its connection then."""
        self._store = store
        self._seconds = statement_seconds
        self._connection: Any = None
        self._address: Address = store.addresses[0]

    async def run(self, script: Script[T]) -> T:
        """See Driver.run."""
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return await self._transact(script)
        except BaseException as error:
            code = error.args[0] if isinstance(error, maria.MySQLError) and error.args else None
            # Without a number it is the driver's own: who knows where in the conversation it stands.
            is_lost = isinstance(error, maria.MySQLError) and not isinstance(code, int)
            is_cut = limit.expired() or isinstance(error, asyncio.CancelledError)
            is_gone = is_lost or is_cut or stores.is_away_code(code)
            await self._undo(is_gone)
            if code == ER.DUP_ENTRY:
                raise DuplicateKey from error
            if stores.is_passing_code(code):
                raise Conflict("TRY_AGAIN") from error
            if is_gone and isinstance(error, Exception):
                raise Unavailable("DATABASE_UNAVAILABLE", retry_after=1.0) from error
            if code == _OUT_OF_RANGE:
                raise RowsMissed from error
            raise

    async def close(self) -> None:
        """See Driver.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(maria.MySQLError, OSError):
                await connection.ensure_closed()

    async def _transact(self, script: Script[T]) -> T:
        if self._connection is not None and not self._store.hosts.is_first(self._address):
            await self.close()
        if self._connection is None:
            self._connection = await self._connected()
        cursor = self._connection.cursor()
        asked = step(script, None)
        while not isinstance(asked, Ending):
            asked = step(script, await _round_trip(cursor, asked))
        await _round_trip(cursor, [*_guarded(asked.statements), Statement("COMMIT")])
        return asked.result

    async def _connected(self) -> Any:
        """A connection to the first of the store's servers that takes work; raises Unavailable if none does."""
        failure: Exception | None = None
        for address in self._store.hosts.order():
            try:
                connection = await self._greeted(address)
            except (maria.MySQLError, TimeoutError) as error:
                if isinstance(error, maria.MySQLError) and error.args[0] not in stores.FAILOVER:
                    raise
                failure = error
            else:
                if connection is not None:
                    self._store.hosts.answered(address)
                    self._address = address
                    return connection
            self._store.hosts.failed(address)
        raise Unavailable("DATABASE_UNAVAILABLE", retry_after=1.0) from failure

    async def _greeted(self, address: Address) -> Any:
        """A connection ready for work, or None if the server takes none."""
        # Also for the greeting: one that accepts and then says nothing must not keep us from the next server.
        async with asyncio.timeout(stores.CONNECT_SECONDS):
            connection = await asyncmy.connect(
                **self._store.credentials(address),
                charset="utf8mb4",
                client_flag=CLIENT.MULTI_STATEMENTS | CLIENT.FOUND_ROWS,
            )
            takes_work = False
            try:
                takes_work = await _greet(connection.cursor())
            finally:
                if not takes_work:
                    connection.close()
        return connection if takes_work else None

    async def _undo(self, is_gone: bool) -> None:
        """Let nothing of a broken transaction stand; a connection that may be in the middle of something goes."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not is_gone:
            with suppress(maria.MySQLError, OSError):
                async with asyncio.timeout(self._seconds):
                    await connection.rollback()
                self._connection = connection
                return
        # The server undoes what a lost connection had begun.
        connection.close()


async def _greet(cursor: Any) -> bool:
    """Make the session ours; whether the server takes work."""
    greeting, row = hosts.opening(*stores.SESSION), None
    while True:
        try:
            await cursor.execute(greeting.send(row))
        except StopIteration as end:
            return bool(end.value)
        row = await cursor.fetchone()


def _guarded(statements: Sequence[Statement]) -> list[Statement]:
    guarded = []
    for one in statements:
        guarded.append(Statement(one.sql, one.args))
        if one.touches is not None:
            guarded.append(Statement(_GUARD.format(touches=one.touches)))
    return guarded


async def _round_trip(cursor: Any, statements: Sequence[Statement]) -> list[Sequence[Row]]:
    """The rows of each statement, all sent at once; raises RowsMissed."""
    await cursor.execute(";".join([literal(one) for one in statements]))
    rows: list[Sequence[Row]] = []
    for one in statements:
        if rows:
            await cursor.nextset()
        if one.touches not in (None, cursor.rowcount):
            raise RowsMissed(f"{cursor.rowcount} rows, not {one.touches}: {one.sql}")
        rows.append(await cursor.fetchall())
    return rows
