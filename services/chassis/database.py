"""The database: a bounded pool of threads that may touch it, and the one way to open a write transaction."""

import asyncio
import contextvars
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import peewee

from services.chassis import call, parameters
from services.chassis.errors import Conflict, Exhausted, Unavailable
from services.chassis.keys import PRIVATE
from services.chassis.stores import STATEMENT_SECONDS, SqliteStore, Store, is_away, is_passing, store_of

P = ParamSpec("P")
T = TypeVar("T")

# Each try may have cost a whole lock wait already, so more of them would outlive the caller's deadline.
_TRIES = 4
_BACKOFF_SECONDS = 0.02
# A probe that takes longer is as bad as none: a server that hangs may hold a connection for STATEMENT_SECONDS.
ANSWER_SECONDS = 2.0

# What the models of schema/tables.py are bound to; importing them opens nothing.
proxy = peewee.DatabaseProxy()

_ended: contextvars.ContextVar[list[Callable[[], None]]] = contextvars.ContextVar("ended")


class Database:
    """The pool of threads, each keeping one connection, that every use of the database goes through."""

    def __init__(self, store: Store, pool: int) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(pool, thread_name_prefix="database")
        self._size = pool
        self._jobs = 0
        self._is_closing = False
        # A thread of its own, so that a busy pool is not mistaken for a database that is away.
        self._probe = ThreadPoolExecutor(1, thread_name_prefix="database-probe")

    async def run(self, f: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`f(*args, **kwargs)` in a thread of the pool, with the caller's context variables.

        Raises what run_here() raises, and Exhausted(QUEUE_FULL) when too many jobs wait already. A job whose caller
        is cancelled before a thread takes it never runs.
        """
        if self._jobs >= self._size + parameters.current().queue_limit:
            raise Exhausted("QUEUE_FULL")
        job = partial(contextvars.copy_context().run, partial(self.run_here, f, *args, **kwargs))
        self._jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job)
        finally:
            self._jobs -= 1

    def run_here(self, f: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`f(*args, **kwargs)` in this thread, which must not be the event loop's.

        It is run again, as a whole, when it met a deadlock, a lock timeout or a connection lost before COMMIT, for as
        long as the call has time. Raises Conflict(TRY_AGAIN) if that does not end, and
        Unavailable(DATABASE_UNAVAILABLE) while the database is away.
        """
        return self._tried(_TRIES, partial(f, *args, **kwargs))

    def attempt(self, f: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """run_here() with one try, for who tries again in a way of its own."""
        return self._tried(1, partial(f, *args, **kwargs))

    def _tried(self, tries: int, job: Callable[[], T]) -> T:
        for tries_left in reversed(range(tries)):
            try:
                self._store.connect(reuse_if_open=True)
                return job()
            except (peewee.DatabaseError, peewee.InterfaceError) as error:
                if is_away(error):
                    self._store.forget_connection()
                    refusal: Conflict | Unavailable = Unavailable("DATABASE_UNAVAILABLE", retry_after=1.0)
                elif is_passing(error):
                    refusal = Conflict("TRY_AGAIN")
                else:
                    raise
                if not tries_left or self._is_closing or call.seconds_left() == 0:
                    raise refusal from error
            time.sleep(random.uniform(0, _BACKOFF_SECONDS * 2 ** (tries - tries_left)))
        raise AssertionError("the last try returns or raises")

    def ping(self) -> bool:
        """Whether the database answers and takes work, asked in this thread."""
        try:
            self._store.connect(reuse_if_open=True)
            return self._store.is_ready()
        except (peewee.DatabaseError, peewee.InterfaceError):
            self._store.forget_connection()
            return False

    async def is_up(self) -> bool:
        """ping() for the event loop; False too when there is no answer within ANSWER_SECONDS."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._probe, self.ping)
        except TimeoutError:
            return False

    def close(self) -> None:
        """Wait for the jobs under way, then close every connection; nothing can be run afterwards."""
        self._is_closing = True
        self._pool.shutdown(cancel_futures=True)
        # Not for the probe, which a database that hangs may hold.
        self._probe.shutdown(wait=False, cancel_futures=True)
        self._store.forget_connection()
        self._store.close_all()


def bind(url: str, pool: int = 8, statement_seconds: int = STATEMENT_SECONDS) -> Database:
    """Let the models use the database at `url` (see stores.store_of) through at most `pool` threads.

    Opens no connection, so the database may come up later. Raises ValueError for a malformed URL.
    """
    store = store_of(url, statement_seconds)
    if isinstance(store, SqliteStore):
        Path(store.database).parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    proxy.initialize(store)
    return Database(store, pool)


def dialect() -> Literal["sqlite", "mysql"]:
    """Which SQL the bound database speaks."""
    return "sqlite" if isinstance(proxy.obj, SqliteStore) else "mysql"


@contextmanager
def write() -> Iterator[None]:
    """A write transaction: all of it is committed, or none of it if anything is raised; never one within another."""
    store: Store = proxy.obj
    if store.in_transaction():
        raise RuntimeError("a write() within a write(): the outer one could not undo it")
    ended: list[Callable[[], None]] = []
    token = _ended.set(ended)
    try:
        with store.transaction(*store.begin_arguments):
            yield
    finally:
        _ended.reset(token)
        # Also after a failure: perhaps it was committed all the same.
        for tell in ended:
            tell()


def after_write(tell: Callable[[], None]) -> None:
    """Call `tell` once the present write() has ended, one way or the other; LookupError outside of any."""
    _ended.get().append(tell)
