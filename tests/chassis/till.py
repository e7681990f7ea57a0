"""A till of two tables for tests of batching: what was put in, and a total that must agree with it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import pymysql

from services.chassis.batching import Batcher, Driver, Lane
from services.chassis.database import Database
from services.chassis.drivers import driver_of
from services.chassis.errors import Error, FailedPrecondition
from services.chassis.script import Script, Statement

T = TypeVar("T")

# Row 1 is the total and the lock of every put; the others are only there to be locked.
_TABLES = (
    "CREATE TABLE entry (id VARCHAR(64) PRIMARY KEY, amount BIGINT NOT NULL)",
    "CREATE TABLE total (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL)",
    "INSERT INTO total (id, amount) VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)",
)
_LOCK = "SELECT amount FROM total WHERE id = ? FOR UPDATE"
_ADD = "UPDATE total SET amount = amount + ? WHERE id = ?"
_KNOWN = "SELECT id, amount FROM entry WHERE id IN ?"
_ENTER = "INSERT INTO entry (id, amount) VALUES ?"

Flaw = Literal[
    "", "refused", "raises", "times out", "bad sql", "bad sql at the end", "misses", "twice", "too few", "too many"
]
Outcome = tuple[str, int]


@dataclass(frozen=True)
class Put:
    """A command: put an amount in, once per id, which is first locked together with the row `also` of total."""

    id: str
    amount: int = 1
    flaw: Flaw = ""
    also: int = 0


@dataclass
class Till:
    """Decides puts. `runs` are the ids of each try's; each of `meanwhile` is done between look and write of one try."""

    runs: list[list[str]] = field(default_factory=list)
    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def putting(self, puts: Sequence[Put]) -> Script[list[Outcome | Error]]:
        """Each put's (id, amount), which is the first's of that id, or its refusal."""
        self.runs.append([put.id for put in puts])
        _, rows = yield [Statement(_LOCK, (1,)), Statement(_KNOWN, (tuple(put.id for put in puts),))]
        if self.meanwhile:
            self.meanwhile.pop(0)()
        others = [Statement(_LOCK, (also,)) for also in sorted({put.also for put in puts} - {0})]
        if others:
            yield others
        known: dict[str, int] = dict(rows)
        outcomes = [_outcome(put, known) for put in puts]
        new = [row for row in known.items() if row not in rows]
        flaws = {put.flaw for put in puts}
        if "bad sql" in flaws:
            yield [Statement("SELECT nothing FROM nowhere")]
        outcomes = outcomes[1:] if "too few" in flaws else outcomes + outcomes[:1] * ("too many" in flaws)
        entered = [Statement(_ENTER, (new,)), Statement(_ADD, (sum(amount for _, amount in new), 1), touches=1)]
        return [*(entered if new else ()), *(one for put in puts for one in _spoiled(put))], outcomes


def _outcome(put: Put, known: dict[str, int]) -> Outcome | Error:
    if put.flaw == "refused":
        return FailedPrecondition("STOCK_EXHAUSTED")
    if put.flaw == "raises":
        raise ZeroDivisionError(put.id)
    if put.flaw == "times out":
        raise TimeoutError(put.id)
    return put.id, known.setdefault(put.id, put.amount)


def _spoiled(put: Put) -> list[Statement]:
    if put.flaw == "bad sql at the end":
        return [Statement("UPDATE nowhere SET nothing = 1")]
    if put.flaw == "misses":
        return [Statement(_ADD, (1, 99), touches=1)]
    return [Statement(_ENTER, ([(put.id, 1)],))] if put.flaw == "twice" else []


class Turnstile:
    """A driver before the real one that counts who passes, and may be shut."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.passed = 0
        self.waiting = 0
        # Done before each try, one after the other.
        self.before: list[Callable[[], None]] = []
        self._open = asyncio.Event()
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def run(self, script: Script[T]) -> T:
        self.waiting += 1
        await self._open.wait()
        self.waiting -= 1
        self.passed += 1
        if self.before:
            self.before.pop(0)()
        return await self._driver.run(script)

    async def close(self) -> None:
        await self._driver.close()


@dataclass
class Counter:
    """Where puts are handed in: a lane of a real batcher on a real driver."""

    till: Till
    driver: Turnstile
    batcher: Batcher
    lane: Lane[Put, Outcome]

    async def put(self, *puts: Put, tenant: str = "one", deadline: float = float("inf")) -> list[Any]:
        """What became of each put: its outcome or the exception that its caller got."""
        waiting = (self.lane.submit(put, tenant, deadline) for put in puts)
        return await asyncio.gather(*waiting, return_exceptions=True)

    def begin(self, *puts: Put, tenant: str = "one", deadline: float = float("inf")) -> "list[asyncio.Task[Outcome]]":
        """A caller for each put, in this order."""
        return [asyncio.create_task(self.lane.submit(put, tenant, deadline)) for put in puts]


@asynccontextmanager
async def opened(db: Database, most: int = 64, driver: Driver | None = None) -> AsyncIterator[Counter]:
    """A counter with nobody at it yet; the batcher is closed at the end."""
    turnstile, till = Turnstile(driver or driver_of(db)), Till()
    batcher = Batcher(turnstile, most)
    try:
        yield Counter(till, turnstile, batcher, batcher.lane(till.putting))
    finally:
        turnstile.open()
        await batcher.close()


class Rival:
    """Another connection to the same database, past everything of ours."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.dialect = parts.scheme
        self._connection: Any
        if self.dialect == "sqlite":
            self._connection = sqlite3.connect(parts.path[1:], isolation_level=None, check_same_thread=False)
        else:
            self._connection = pymysql.connect(
                host=parts.hostname, port=parts.port or 0, user="root", database=parts.path[1:], autocommit=True
            )

    def ask(self, sql: str) -> Sequence[Any]:
        """The rows of one statement, committed at once unless it follows a BEGIN."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def hold(self, total: int = 1) -> None:
        """Lock a row of total until release(); on SQLite that is the whole file."""
        self.ask("BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN")
        self.ask(f"UPDATE total SET amount = amount WHERE id = {total}")

    def release(self) -> None:
        self.ask("ROLLBACK")

    def enter(self, id: str, amount: int) -> None:
        """The first half of what another process's put does."""
        self.ask(f"INSERT INTO entry (id, amount) VALUES ('{id}', {amount})")

    def add(self, amount: int) -> None:
        """The other half."""
        self.ask(f"UPDATE total SET amount = amount + {amount} WHERE id = 1")

    def entries(self) -> dict[str, int]:
        """What was put in; asserts that the total agrees."""
        rows = dict(self.ask("SELECT id, amount FROM entry"))
        ((total,),) = self.ask("SELECT amount FROM total WHERE id = 1")
        assert total == sum(rows.values())
        return rows

    def other_connections(self) -> list[int]:
        """MariaDB's ids of everybody else's connections to this database."""
        return [
            row[0]
            for row in self.ask(
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
        ]

    def close(self) -> None:
        self._connection.close()


@contextmanager
def rivalling(url: str) -> Iterator[Rival]:
    """A rival that made the tables."""
    rival = Rival(url)
    try:
        for sql in _TABLES:
            rival.ask(sql)
        yield rival
    finally:
        rival.close()


def ids(puts: Iterable[Put]) -> list[str]:
    return [put.id for put in puts]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails after `seconds` at the latest."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what the condition is about tells nobody.
            await asyncio.sleep(0.005)
