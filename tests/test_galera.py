"""Three real nodes, of which the one that is written to is killed in mid-load: nothing answered is lost or twice."""

import asyncio
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local import galera, mariadb
from services.chassis import database, stores
from services.chassis.database import proxy
from services.chassis.errors import Unavailable
from services.chassis.tokens import DevIssuer
from services.schema import migrate
from services.schema.tables import Coupon, Redemption, Replay, Supply
from tests import callers, shoppers
from tests.ledger import books
from tests.ledger.world import World
from tests.mesh import poll, settings_for
from tests.servers import Servers
from tests.shoppers import Answers

pytestmark = [pytest.mark.slow, pytest.mark.galera]

NAME = "sharemesh"
PROCESSES = 2
CALLERS = 32
# Answers between one event and the next, and how long they may take.
ANSWERS = 150
ANSWER_SECONDS = 60.0
STOCK = 120
LOOK_UPS = 300


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[galera.Cluster]:
    """Three nodes in step, with a migrated and empty database."""
    with galera.started(tmp_path) as running:
        with mariadb.connect(running.nodes[0].ports.sql) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NAME}")
        bound = database.bind(running.url(NAME), pool=1)
        bound.run_here(migrate.up)
        bound.close()
        yield running


def lay() -> None:
    """An activity whose stock runs out, and one whose does not."""
    world = World()
    for subject in shoppers.CUSTOMERS:
        world.customer(subject)
    world.publish(stock=STOCK, per_customer=STOCK)
    world.publish(stock=1_000_000, per_customer=1_000_000)


def written(node: galera.Node) -> int:
    """How many transactions this node has given to the others."""
    return int(node.status("wsrep_replicated") or 0)


def test_a_node_killed_and_come_back_under_load_costs_no_answer_its_truth(cluster: galera.Cluster) -> None:
    db = database.bind(cluster.url(NAME), pool=1)
    db.run_here(lay)
    db.close()
    spawn = multiprocessing.get_context("spawn")
    answers, closing = spawn.Value("i", 0), spawn.Event()

    def await_answers() -> None:
        wanted = answers.value + ANSWERS
        poll(lambda: answers.value >= wanted, ANSWER_SECONDS)

    with ProcessPoolExecutor(
        PROCESSES, mp_context=spawn, initializer=shoppers.enter, initargs=(answers, closing)
    ) as processes:
        shopping = [processes.submit(shoppers.shop, cluster.url(NAME), seed) for seed in range(PROCESSES)]
        try:
            await_answers()
            cluster.kill_at_commit(0)
            begin = time.monotonic()
            await_answers()
            away = time.monotonic() - begin
            cluster.rejoin(0)
            back = written(cluster.nodes[0])
            poll(lambda: written(cluster.nodes[0]) > back, ANSWER_SECONDS)
            await_answers()
        finally:
            closing.set()
        told = [thread for one in shopping for thread in one.result()]
    report = sum((one.told for one in told), Counter[str]())
    longest = max(one.longest for one in told)
    sys.stdout.write(
        f"{answers.value} answers; {ANSWERS} took {away:.1f} s with a node killed; longest {longest:.1f} s\n"
    )
    sys.stdout.write(f"{report}\n")
    assert report["STOCK_EXHAUSTED"] > 0
    assert report["DATABASE_UNAVAILABLE: the outcome is not known"] > 0
    for node in cluster.nodes:
        db = database.bind(mariadb.url_of(node.ports.sql, NAME), pool=1)
        db.run_here(check, told)
        db.close()


def check(told: list[Answers]) -> None:
    """The books agree with themselves and with every answer, and hold nothing that was answered to nobody."""
    assert books.wrongs() == []
    claimed = sum((one.claims for one in told), Counter[tuple[str, str, str]]())
    redeemed = sum((one.redemptions for one in told), Counter[tuple[str, str, str]]())
    kept = [(row.key, row.digest, row.outcome) for row in Replay.select()]
    # One outcome a request_id, whatever became of the connection that it was first asked by.
    assert sorted(kept) == sorted([*claimed, *redeemed])
    assert any(times > 1 for times in claimed.values()), "nothing was asked again"
    assert sorted(uid for _, _, uid in claimed) == sorted(
        row.uid for row in Coupon.select().where(Coupon.customer.is_null(False))
    )
    assert sorted(uid for _, _, uid in redeemed) == sorted(row.uid for row in Redemption.select())
    assert Supply.select().order_by(Supply.activity_id).first().taken == STOCK


def test_servers_outlive_the_node_that_they_write_to(cluster: galera.Cluster, tmp_path: Path) -> None:
    url = cluster.url(NAME)
    db = database.bind(url, pool=1)
    activity, store = db.run_here(callers.lay)
    servers, book = Servers(url, tmp_path), callers.Book()
    caller = callers.Caller(servers, DevIssuer.of(settings_for(url, tmp_path)), activity, store)

    async def load() -> None:
        try:
            await servers.start()
            async with asyncio.TaskGroup() as tasks:
                for number in range(CALLERS):
                    tasks.create_task(book.rounds(caller, number))
                await book.reaches(ANSWERS)
                await asyncio.to_thread(cluster.kill_at_commit, 0)
                await book.reaches(book.answers + ANSWERS)
                book.is_over = True
            async with asyncio.TaskGroup() as tasks:
                for number in range(CALLERS):
                    tasks.create_task(book.again(caller, number))
        finally:
            await servers.kill()

    asyncio.run(load())
    sys.stdout.write(f"{book.answers} answers, {caller.unanswered} unanswered\n")
    db.run_here(book.check)
    db.close()


def test_a_node_without_its_cluster_takes_no_work(cluster: galera.Cluster) -> None:
    db = database.bind(cluster.url(NAME), pool=1)
    assert db.ping()
    cluster.kill(0)
    poll(lambda: cluster.nodes[1].status("wsrep_cluster_size") == "2")
    assert db.ping()
    cluster.kill(1)
    poll(lambda: cluster.nodes[2].status("wsrep_ready") == "OFF")
    with mariadb.connect(cluster.nodes[2].ports.sql) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT 1") == 1
    assert not db.ping()
    with pytest.raises(Unavailable, match="DATABASE_UNAVAILABLE"):
        db.run_here(lay)
    db.close()


def test_a_look_up_on_another_node_finds_what_was_committed(cluster: galera.Cluster) -> None:
    """Without wsrep_sync_wait some of these look-ups come too early, more of them on a busy machine."""
    db = database.bind(cluster.url(NAME), pool=1)
    readers: list[Any] = [stores.store_of(mariadb.url_of(node.ports.sql, NAME)) for node in cluster.nodes[1:]]
    for reader in readers:
        reader.connect()
    db.run_here(lambda: proxy.execute_sql("CREATE TABLE looked_up (number BIGINT PRIMARY KEY)"))
    for number in range(LOOK_UPS):
        db.run_here(insert, number)
        (found,) = (
            readers[number % 2].execute_sql("SELECT count(*) FROM looked_up WHERE number = %s", (number,)).fetchone()
        )
        assert found == 1
    for reader in readers:
        reader.forget_connection()
    db.close()


def insert(number: int) -> None:
    with database.write():
        proxy.execute_sql("INSERT INTO looked_up (number) VALUES (%s)", (number,))
