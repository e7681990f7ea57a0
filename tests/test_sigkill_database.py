"""MariaDB killed in mid-batch, twice: it comes back, and the ledger agrees with every answer that any caller got."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import mariadb
from services.chassis import database
from services.chassis.tokens import DevIssuer
from tests.callers import Book, Caller, batches, lay, let_batches_go
from tests.conftest import migrated
from tests.mesh import settings_for
from tests.servers import Servers

TASKS = 32
CRASHES = 2
# Answers before each crash, and after the last.
ANSWERS = 100


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.Server]:
    """A MariaDB of this test's own."""
    server = mariadb.start(tmp_path_factory.mktemp("crashing"))
    yield server
    server.stop()


def crash(server: mariadb.Server, url: str) -> int:
    """Crashes the server in the middle of a batch; returns how many batches were under way."""
    under_way = let_batches_go(url)
    server.crash()
    return under_way


async def load(book: Book, caller: Caller, servers: Servers, server: mariadb.Server) -> None:
    try:
        await servers.start()
        async with asyncio.TaskGroup() as tasks:
            for number in range(TASKS):
                tasks.create_task(book.rounds(caller, number))
            await book.reaches(ANSWERS)
            for _ in range(CRASHES):
                under_way = await asyncio.to_thread(crash, server, servers.url)
                answered, before, begin = book.answers, caller.unanswered, time.monotonic()
                await asyncio.to_thread(server.start_again)
                await book.reaches(answered + 1)
                away = time.monotonic() - begin
                told = f"{caller.unanswered - before} told to ask again, next answer after {away:.1f} s"
                sys.stdout.write(f"crashed after {answered} answers with {under_way} batches under way; {told}\n")
                await book.reaches(book.answers + ANSWERS)
            book.is_over = True
        async with asyncio.TaskGroup() as tasks:
            for number in range(TASKS):
                tasks.create_task(book.again(caller, number))
    finally:
        await servers.kill()


def test_answers_outlive_a_database_that_crashes_in_mid_batch(server: mariadb.Server, tmp_path: Path) -> None:
    url = server.fresh("crashing")
    migrated(url)
    db = database.bind(url, pool=1)
    try:
        activity, store = db.run_here(lay)
        servers, book = Servers(url, tmp_path), Book()
        caller = Caller(servers, DevIssuer.of(settings_for(url, tmp_path)), activity, store)
        asyncio.run(load(book, caller, servers, server))
        db.run_here(book.check)
        claims, uses = db.run_here(batches)
        sys.stdout.write(f"the largest batches: {claims} claims, {uses} redemptions\n")
        assert min(claims, uses) > 1
    finally:
        db.close()
