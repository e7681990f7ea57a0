"""Servers killed in mid-batch: every answer that a caller got stands, who got none retries to exactly one effect."""

import asyncio
import contextlib
import sqlite3
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from services.chassis.database import Database
from services.chassis.tokens import DevIssuer
from tests.callers import Book, Caller, batches, lay, let_batches_go
from tests.mesh import settings_for
from tests.servers import Servers

TASKS = 32
# Answers before the servers are killed, and after.
ANSWERS_BEFORE = 150
ANSWERS_AFTER = 150
# How long a moment in the middle of a transaction is waited for at most.
MOMENT_SECONDS = 20.0


def await_batch(url: str) -> None:
    """Returns while a batch is being written; of SQLite only that something is can be told."""
    if url.startswith("mysql"):
        let_batches_go(url)
        return
    end = time.monotonic() + MOMENT_SECONDS
    with contextlib.closing(sqlite3.connect(urlsplit(url).path, timeout=0, isolation_level=None)) as connection:
        while not is_written(connection):
            assert time.monotonic() < end, "nobody writes"
            time.sleep(0.001)


def is_written(connection: sqlite3.Connection) -> bool:
    """Whether another connection is in a write transaction."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return True
    connection.execute("ROLLBACK")
    return False


async def load(book: Book, caller: Caller, servers: Servers, url: str) -> None:
    try:
        await servers.start()
        begin = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(TASKS):
                tasks.create_task(book.rounds(caller, number))
            await book.reaches(ANSWERS_BEFORE)
            rate = book.answers / (time.monotonic() - begin)
            await asyncio.to_thread(await_batch, url)
            await servers.kill()
            answered = book.answers
            await servers.start()
            await book.reaches(answered + ANSWERS_AFTER)
            book.is_over = True
        sys.stdout.write(f"{rate:.0f} writes/s; killed after {answered}, {caller.unanswered} unanswered\n")
        async with asyncio.TaskGroup() as tasks:
            for number in range(TASKS):
                tasks.create_task(book.again(caller, number))
    finally:
        await servers.kill()


def test_answers_outlive_a_kill_in_mid_batch_and_the_unanswered_retry_to_one_effect(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    activity, store = db.run_here(lay)
    servers = Servers(database_url, tmp_path)
    caller = Caller(servers, DevIssuer.of(settings_for(database_url, tmp_path)), activity, store)
    book = Book()
    asyncio.run(load(book, caller, servers, database_url))
    assert caller.unanswered > 0, "nothing was in flight"
    book.check()
    claims, uses = batches()
    sys.stdout.write(f"the largest batches: {claims} claims, {uses} redemptions\n")
    assert claims > 1
    assert uses > 1
