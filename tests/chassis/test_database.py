import asyncio
import contextvars
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import peewee
import pymysql
import pytest

from local import mariadb
from local.process import freeze
from services.chassis import call, database, parameters, stores
from services.chassis.database import Database, proxy, write
from services.chassis.errors import Conflict, Exhausted, NotFound, Unavailable
from tests.mesh import poll


def rows() -> list[int]:
    return [number for (number,) in proxy.execute_sql("SELECT number FROM t ORDER BY number").fetchall()]


def insert(number: int) -> None:
    place = "?" if database.dialect() == "sqlite" else "%s"
    proxy.execute_sql(f"INSERT INTO t (number) VALUES ({place})", (number,))


def write_one(number: int) -> None:
    with write():
        insert(number)


@pytest.fixture
def table(empty: Database) -> Database:
    empty.run_here(lambda: proxy.execute_sql("CREATE TABLE t (number BIGINT PRIMARY KEY)"))
    return empty


def test_importing_and_binding_open_nothing(tmp_path: Path) -> None:
    database.bind("mysql://nobody:x@127.0.0.1:1/none").close()
    database.bind(f"sqlite:///{tmp_path}/sub/x.db").close()
    assert not (tmp_path / "sub" / "x.db").exists()


def test_the_dialect_is_the_bound_databases(empty: Database, backend: str) -> None:
    assert database.dialect() == ("sqlite" if backend == "sqlite" else "mysql")


def test_many_writers_wait_for_each_other(table: Database) -> None:
    async def main() -> None:
        await asyncio.gather(*(table.run(write_one, number) for number in range(100)))

    asyncio.run(main())
    assert table.run_here(rows) == list(range(100))


def test_a_transaction_is_undone_whole_when_anything_is_raised(table: Database) -> None:
    def half() -> None:
        with write():
            insert(1)
            raise NotFound("RESOURCE_NOT_FOUND", resource="x")

    with pytest.raises(NotFound):
        table.run_here(half)
    assert table.run_here(rows) == []


def test_a_write_within_a_write_is_a_mistake(table: Database) -> None:
    def nested() -> None:
        with write():
            write_one(1)

    with pytest.raises(RuntimeError, match="within"):
        table.run_here(nested)
    assert table.run_here(rows) == []


def test_a_duplicate_is_the_callers_to_judge(table: Database) -> None:
    table.run_here(write_one, 1)
    with pytest.raises(peewee.IntegrityError):
        table.run_here(write_one, 1)


def test_the_database_is_never_touched_on_the_event_loop(table: Database) -> None:
    table.close()

    async def main() -> None:
        write_one(1)

    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(main())


def test_a_job_sees_its_callers_context(empty: Database) -> None:
    who = contextvars.ContextVar("who", default="nobody")

    async def main() -> str:
        who.set("caller")
        return await empty.run(who.get)

    assert asyncio.run(main()) == "caller"


def test_an_update_counts_the_rows_it_matched_even_when_nothing_changed(table: Database) -> None:
    table.run_here(write_one, 7)
    cursor = table.run_here(lambda: proxy.execute_sql("UPDATE t SET number = 7 WHERE number = 7"))
    assert cursor.rowcount == 1


def test_reads_see_what_others_committed_meanwhile(table: Database) -> None:
    def count_twice() -> tuple[int, int]:
        with write():
            before = len(rows())
            if database.dialect() == "mysql":  # SQLite's writer is alone.
                other = threading.Thread(target=table.run_here, args=(write_one, 1))
                other.start()
                other.join()
            return before, len(rows())

    assert table.run_here(count_twice) == ((0, 0) if database.dialect() == "sqlite" else (0, 1))


def test_too_many_waiting_jobs_are_refused_at_once(empty: Database) -> None:
    async def main() -> None:
        gate = threading.Event()
        jobs = [asyncio.create_task(empty.run(gate.wait)) for _ in range(4 + 2)]
        await asyncio.sleep(0)
        with pytest.raises(Exhausted, match="QUEUE_FULL"):
            await empty.run(rows)
        gate.set()
        await asyncio.gather(*jobs)

    old = parameters.swap(replace(parameters.current(), queue_limit=2))
    try:
        asyncio.run(main())
    finally:
        parameters.swap(old)


def test_a_job_whose_caller_went_away_before_its_turn_never_runs(table: Database) -> None:
    async def main() -> None:
        gate = threading.Event()
        busy = [asyncio.create_task(table.run(gate.wait)) for _ in range(4)]
        late = asyncio.create_task(table.run(write_one, 1))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        gate.set()
        await asyncio.gather(*busy)
        assert await table.run(rows) == []

    asyncio.run(main())


def test_closing_waits_for_the_jobs_under_way(table: Database, empty_url: str) -> None:
    async def main() -> None:
        started, gate = threading.Event(), threading.Event()

        def slow() -> None:
            with write():
                started.set()
                gate.wait()
                insert(1)

        job = asyncio.create_task(table.run(slow))
        await asyncio.to_thread(started.wait)
        closing = asyncio.create_task(asyncio.to_thread(table.close))
        gate.set()
        await asyncio.gather(job, closing)

    asyncio.run(main())
    again = database.bind(empty_url)
    assert again.run_here(rows) == [1]
    again.close()


def test_it_is_up_while_it_answers(empty: Database) -> None:
    assert asyncio.run(empty.is_up())


def test_a_file_that_was_taken_away_is_a_database_that_is_away(tmp_path: Path) -> None:
    db = database.bind(f"sqlite:///{tmp_path}/sub/x.db")
    assert db.ping()
    (tmp_path / "sub").rename(tmp_path / "elsewhere")
    assert not db.ping()
    (tmp_path / "elsewhere").rename(tmp_path / "sub")
    assert db.ping()
    db.close()


def test_a_database_that_hangs_is_down_in_time_and_holds_up_nobody_who_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.2)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        db = database.bind(f"mysql://nobody:x@127.0.0.1:{silent.getsockname()[1]}/none")
        assert not asyncio.run(db.is_up())
        assert not asyncio.run(db.is_up())
        db.close()
        assert time.monotonic() - began < stores.CONNECT_SECONDS


def test_no_other_try_is_made_once_the_callers_time_is_over(empty: Database) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise peewee.OperationalError(pymysql.err.OperationalError(1213, "Deadlock found"))

    with call.entered(call.Call(call.Principal("MERCHANT", "m1"), "EntryService.CreateStore"), seconds=0):
        with pytest.raises(Conflict, match="TRY_AGAIN"):
            empty.run_here(work)
        assert tries == [1]
    with pytest.raises(Conflict, match="TRY_AGAIN"):
        empty.run_here(work)
    assert len(tries) > 2


def test_a_lock_that_is_not_released_is_a_conflict_in_the_end(tmp_path: Path) -> None:
    db = database.bind(f"sqlite:///{tmp_path}/x.db", pool=2)
    db._store.timeout = 0.01  # type: ignore[union-attr]  # Two seconds a try would be waited for in vain.
    db.run_here(lambda: proxy.execute_sql("CREATE TABLE t (number BIGINT PRIMARY KEY)"))
    held, gate = threading.Event(), threading.Event()

    def hold() -> None:
        with write():
            held.set()
            gate.wait()

    holder = threading.Thread(target=db.run_here, args=(hold,))
    holder.start()
    held.wait()
    with pytest.raises(Conflict, match="TRY_AGAIN"):
        db.run_here(write_one, 1)
    gate.set()
    holder.join()
    db.run_here(write_one, 1)
    db.close()


@pytest.fixture
def on_maria(maria: mariadb.Server) -> Database:
    bound = database.bind(maria.fresh("chassis"), pool=4)
    bound.run_here(lambda: proxy.execute_sql("CREATE TABLE t (number BIGINT PRIMARY KEY)"))
    return bound


def kill_own_connection(port: int) -> None:
    """What a restarted server or a cut cable does to a kept connection."""
    (number,) = proxy.execute_sql("SELECT CONNECTION_ID()").fetchone()
    with mariadb.connect(port) as connection, connection.cursor() as cursor:
        cursor.execute(f"KILL {number}")


def test_a_connection_lost_before_commit_is_replaced_and_the_work_done_once(
    on_maria: Database, maria: mariadb.Server
) -> None:
    tries: list[int] = []

    def work() -> None:
        with write():
            insert(1)
            tries.append(1)
            if len(tries) == 1:
                kill_own_connection(maria.port)
            insert(2)

    on_maria.run_here(work)
    assert len(tries) == 2
    assert on_maria.run_here(rows) == [1, 2]
    on_maria.close()


def test_a_connection_lost_at_commit_is_left_to_the_caller(on_maria: Database, maria: mariadb.Server) -> None:
    tries: list[int] = []

    def work() -> None:
        with write():
            tries.append(1)
            insert(1)
            kill_own_connection(maria.port)

    with pytest.raises(Unavailable, match="outcome"):
        on_maria.run_here(work)
    assert len(tries) == 1
    assert on_maria.run_here(rows) == []
    on_maria.close()


def test_the_victim_of_a_deadlock_is_run_again_from_its_start(on_maria: Database) -> None:
    on_maria.run_here(write_one, 1)
    on_maria.run_here(write_one, 2)
    both_hold = threading.Barrier(2)
    tries: list[tuple[int, int]] = []

    def cross(first: int, second: int) -> None:
        is_first_try = (first, second) not in tries
        tries.append((first, second))
        with write():
            proxy.execute_sql("SELECT * FROM t WHERE number = %s FOR UPDATE", (first,))
            if is_first_try:
                both_hold.wait()
            proxy.execute_sql("SELECT * FROM t WHERE number = %s FOR UPDATE", (second,))
            insert(first * 10)

    async def main() -> None:
        await asyncio.gather(on_maria.run(cross, 1, 2), on_maria.run(cross, 2, 1))

    asyncio.run(main())
    assert len(tries) == 3
    assert on_maria.run_here(rows) == [1, 2, 10, 20]
    on_maria.close()


def test_a_server_that_became_read_only_is_unavailable(on_maria: Database, maria: mariadb.Server) -> None:
    with mariadb.connect(maria.port) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE USER app@'%' IDENTIFIED BY 'app'")
        cursor.execute("GRANT ALL ON chassis.* TO app@'%'")
        as_app = database.bind(f"mysql://app:app@127.0.0.1:{maria.port}/chassis", pool=1)
        cursor.execute("SET GLOBAL read_only = 1")
        try:
            with pytest.raises(Unavailable, match="DATABASE_UNAVAILABLE"):
                as_app.run_here(write_one, 1)
        finally:
            cursor.execute("SET GLOBAL read_only = 0")
            cursor.execute("DROP USER app@'%'")
    as_app.close()
    on_maria.close()


def test_a_server_that_is_stopped_in_its_tracks_is_down_until_it_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = mariadb.start(tmp_path_factory.mktemp("frozen"))
    db = database.bind(server.fresh("chassis"), pool=2)
    try:
        assert asyncio.run(db.is_up())
        freeze(server.process.pid)
        began = time.monotonic()
        assert not asyncio.run(db.is_up())
        # By its own limit, not by that of the statement which is still waiting.
        assert time.monotonic() - began < stores.STATEMENT_SECONDS
        server.process.send_signal(signal.SIGCONT)
        poll(lambda: asyncio.run(db.is_up()), 30)
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()
    db.close()


def test_a_server_that_stopped_is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = mariadb.start(tmp_path_factory.mktemp("away"))
    db = database.bind(server.fresh("chassis"), pool=2)
    assert db.ping()
    server.stop()
    assert not db.ping()
    with pytest.raises(Unavailable, match="DATABASE_UNAVAILABLE"):
        db.run_here(rows)
    db.close()


def test_statements_are_given_as_long_as_the_one_who_binds_says() -> None:
    store = stores.store_of("mysql://somebody:secret@127.0.0.1/shop", statement_seconds=7)
    assert store.connect_params["read_timeout"] == store.connect_params["write_timeout"] == 7
