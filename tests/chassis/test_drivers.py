"""The two drivers when others are in the way, connections break and the database goes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from local import mariadb
from services.chassis import database, stores
from services.chassis.batching import Driver
from services.chassis.database import Database
from services.chassis.drivers import LoopDriver, ThreadDriver, driver_of
from services.chassis.errors import Conflict, DeadlinePassed, Unavailable
from services.chassis.script import DuplicateKey, RowsMissed, Script, Statement
from tests.chassis.cable import Cable, laid
from tests.chassis.till import Counter, Put, Rival, opened, rivalling, until

Kind = Callable[[Database, float], Driver]


def on_the_loop(db: Database, seconds: float) -> Driver:
    return LoopDriver(database.proxy.obj, seconds)


def in_a_thread(db: Database, seconds: float) -> Driver:
    return ThreadDriver(db)


@pytest.fixture
def rival(empty_url: str, empty: Database) -> Iterator[Rival]:
    """`empty` has the till's tables, and somebody else uses them too."""
    with rivalling(empty_url) as other:
        yield other


@pytest.fixture
def maria_rival(maria: mariadb.Server) -> Iterator[Rival]:
    """The till's tables on MariaDB, and somebody else who uses them."""
    with rivalling(maria.fresh("chassis")) as other:
        yield other


@pytest.fixture(params=[on_the_loop, in_a_thread], ids=["loop", "thread"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Both ways to run a script on MariaDB."""
    made: Kind = request.param
    return made


@asynccontextmanager
async def cabled(maria: mariadb.Server, kind: Kind, seconds: int = 10) -> AsyncIterator[tuple[Cable, Counter]]:
    """A counter whose connection to MariaDB goes through a cable."""
    async with laid(maria.port) as cable:
        db = database.bind(mariadb.url_of(cable.port, "chassis"), pool=1, statement_seconds=seconds)
        try:
            async with opened(db, driver=kind(db, seconds)) as counter:
                yield cable, counter
        finally:
            cable.unclog()
            db.close()


def two() -> tuple[Put, Put]:
    return Put("a"), Put("b", 2)


BOTH = [("a", 1), ("b", 2)]


# Others in the way


def test_the_victim_of_a_deadlock_is_run_again(maria: mariadb.Server, maria_rival: Rival, kind: Kind) -> None:
    ended = threading.Event()

    def cross() -> None:
        # Who has written more is spared.
        maria_rival.ask("BEGIN")
        maria_rival.ask("UPDATE total SET amount = amount + 5 WHERE id > 1")

        def close_the_circle() -> None:
            maria_rival.ask("UPDATE total SET amount = amount + 0 WHERE id = 1")
            maria_rival.release()
            ended.set()

        threading.Thread(target=close_the_circle).start()

    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            counter.till.meanwhile = [cross]
            assert await counter.put(Put("a", also=2), Put("b", 2)) == BOTH
            assert counter.till.runs == [["a", "b"]] * 2

    asyncio.run(main())
    assert ended.wait(10)
    assert maria_rival.entries() == dict(BOTH)


def test_a_lock_timeout_is_tried_again(maria: mariadb.Server, maria_rival: Rival, kind: Kind) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            counter.till.meanwhile = [lambda: maria_rival.hold(2), maria_rival.release]
            assert await counter.put(Put("a", also=2), Put("b", 2)) == BOTH
            assert counter.till.runs == [["a", "b"]] * 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_busy_file_is_tried_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('busy')}/x.db"
    db = database.bind(url)

    async def main(rival: Rival) -> None:
        async with opened(db) as counter:
            rival.hold()
            counter.driver.before = [lambda: None, rival.release]
            assert await counter.put(*two()) == BOTH
            assert counter.driver.passed == 2

    with rivalling(url) as rival:
        asyncio.run(main(rival))
        assert rival.entries() == dict(BOTH)
    db.close()


def test_a_lock_that_is_never_released_is_a_conflict_for_all_and_later_commands_succeed(
    maria: mariadb.Server, maria_rival: Rival
) -> None:
    async def main() -> None:
        async with cabled(maria, on_the_loop) as (_, counter):
            counter.till.meanwhile = [lambda: maria_rival.hold(2)]
            told = await counter.put(Put("a", also=2), Put("b", 2))
            assert [str(one) for one in told if isinstance(one, Conflict)] == ["TRY_AGAIN"] * 2
            maria_rival.release()
            assert await counter.put(*two()) == BOTH

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_what_another_process_commits_between_look_and_write_is_found(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            # Past the till's lock, as whoever locks something else comes.
            counter.till.meanwhile = [lambda: maria_rival.enter("a", 5)]
            assert await counter.put(*two()) == [("a", 5), ("b", 2)]
            assert counter.till.runs == [["a", "b"]] * 2

    asyncio.run(main())
    maria_rival.add(5)
    assert maria_rival.entries() == {"a": 5, "b": 2}


def test_what_another_process_commits_meanwhile_is_found_even_when_closing(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            counter.till.meanwhile = [lambda: maria_rival.enter("a", 5)]
            tasks = counter.begin(Put("a"))
            await asyncio.sleep(0)
            await counter.batcher.close()
            assert await asyncio.gather(*tasks) == [("a", 5)]

    asyncio.run(main())
    maria_rival.add(5)
    assert maria_rival.entries() == {"a": 5}


def test_two_processes_put_each_id_in_once(empty: Database, rival: Rival) -> None:
    async def main() -> None:
        async with opened(empty, most=4) as here, opened(empty, most=4) as there:
            wanted = [Put(f"p{number}", number) for number in range(40)]
            answers = await asyncio.gather(here.put(*wanted), there.put(*reversed(wanted)))
            assert answers[0] == answers[1][::-1] == [(put.id, put.amount) for put in wanted]

    asyncio.run(main())
    assert len(rival.entries()) == 40


# Connections that break


def test_a_connection_killed_between_two_batches_is_replaced(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (cable, counter):
            assert await counter.put(Put("a")) == BOTH[:1]
            kill_all_others(maria_rival)
            assert await counter.put(Put("b", 2)) == BOTH[1:]
            assert cable.connections == 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_connection_killed_between_look_and_write_costs_another_try(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            counter.till.meanwhile = [lambda: kill_all_others(maria_rival)]
            assert await counter.put(*two()) == BOTH
            assert counter.till.runs == [["a", "b"]] * 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_connection_killed_in_the_middle_of_a_statement_costs_another_try(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            assert await counter.put(Put("first", 5)) == [("first", 5)]
            maria_rival.hold()
            tasks = counter.begin(*two())
            await until(lambda: is_asking(maria_rival))
            kill_all_others(maria_rival)
            maria_rival.release()
            assert await asyncio.gather(*tasks) == BOTH
            assert counter.till.runs[1:] == [["a", "b"]] * 2

    asyncio.run(main())
    assert maria_rival.entries() == {"first": 5, **dict(BOTH)}


def test_a_commit_that_never_arrived_is_decided_anew(maria: mariadb.Server, maria_rival: Rival, kind: Kind) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (cable, counter):
            cable.cuts_before_commit = True
            assert await counter.put(*two()) == BOTH
            assert counter.till.runs == [["a", "b"]] * 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_commit_whose_answer_was_lost_is_found_and_not_done_again(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (cable, counter):
            cable.keeps_back_answer = True
            tasks = counter.begin(*two())
            await until(lambda: len(maria_rival.ask("SELECT id FROM entry")) == 2)
            assert not any(task.done() for task in tasks)
            cable.cut()
            assert await asyncio.gather(*tasks) == BOTH
            assert counter.till.runs == [["a", "b"]] * 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_commit_that_arrives_after_it_was_given_up_is_found_and_not_done_again(
    maria: mariadb.Server, maria_rival: Rival
) -> None:
    async def main() -> None:
        async with cabled(maria, lambda db, _: LoopDriver(database.proxy.obj, 0.3)) as (cable, counter):
            counter.till.meanwhile = [cable.clog]
            counter.driver.before = [lambda: None, cable.unclog]
            assert await counter.put(*two()) == BOTH
            assert counter.driver.passed >= 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


# The database goes


def test_a_database_that_is_away_is_unavailable_to_all_and_used_again_once_it_is_back(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (cable, counter):
            assert await counter.put(Put("first", 5)) == [("first", 5)]
            cable.unplug()
            async with asyncio.timeout(10):
                told = await counter.put(*(Put(f"p{number}") for number in range(200)))
            assert {(type(one), one.reason, one.retry_after) for one in told} == {
                (Unavailable, "DATABASE_UNAVAILABLE", 1.0)
            }
            await cable.plug()
            assert await counter.put(*two()) == BOTH

    asyncio.run(main())
    assert maria_rival.entries() == {"first": 5, **dict(BOTH)}


def test_a_database_that_comes_back_between_two_tries_costs_nobody_an_error(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind) as (cable, counter):
            cable.unplug()
            tasks = counter.begin(*two())
            await until(lambda: counter.driver.passed == 2)
            await cable.plug()
            assert await asyncio.gather(*tasks) == BOTH

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_who_runs_out_of_time_between_two_tries_is_not_tried_again(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    overdue = time.monotonic() + 0.5

    def fail_late() -> None:
        kill_all_others(maria_rival)
        time.sleep(max(0.0, overdue - time.monotonic()))

    async def main() -> None:
        async with cabled(maria, kind) as (_, counter):
            (late,) = counter.begin(Put("late"), deadline=overdue)
            (patient,) = counter.begin(Put("a"))
            counter.till.meanwhile = [fail_late]
            assert await patient == ("a", 1)
            with pytest.raises(DeadlinePassed):
                await late
            assert counter.till.runs == [["late", "a"], ["a"]]

    asyncio.run(main())
    assert maria_rival.entries() == {"a": 1}


def test_a_server_that_hangs_is_given_up_and_used_again_once_it_goes_on(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind, seconds=1) as (cable, counter):
            assert await counter.put(Put("a")) == BOTH[:1]
            cable.clog()
            async with asyncio.timeout(10):
                (told,) = await counter.put(Put("lost"))
            assert isinstance(told, Unavailable)
            cable.unclog()
            assert await counter.put(Put("b", 2)) == BOTH[1:]

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_server_that_hangs_when_something_is_to_be_undone_is_given_up(
    maria: mariadb.Server, maria_rival: Rival
) -> None:
    async def main() -> None:
        async with cabled(maria, lambda db, _: LoopDriver(database.proxy.obj, 0.3)) as (cable, counter):
            counter.till.meanwhile = [cable.clog]
            async with asyncio.timeout(5):
                (told,) = await counter.put(Put("poison", flaw="raises"))
            assert isinstance(told, ZeroDivisionError)
            cable.unclog()
            assert await counter.put(*two()) == BOTH

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_a_first_server_that_accepts_and_says_nothing_is_passed_over(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with laid(maria.port) as cable:
            cable.clog()
            url = f"mysql://root@127.0.0.1:{cable.port},127.0.0.1:{maria.port}/chassis"
            db = database.bind(url, statement_seconds=1)
            async with opened(db, driver=kind(db, stores.STATEMENT_SECONDS)) as counter:
                async with asyncio.timeout(2 * stores.CONNECT_SECONDS):
                    assert await counter.put(Put("a")) == BOTH[:1]
                async with asyncio.timeout(1):
                    assert await counter.put(Put("b", 2)) == BOTH[1:]
                assert cable.connections == 1
            db.close()

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


def test_closing_without_the_database_keeps_nobody_waiting(
    maria: mariadb.Server, maria_rival: Rival, kind: Kind
) -> None:
    async def main() -> None:
        async with cabled(maria, kind, seconds=1) as (cable, counter):
            assert await counter.put(*two()) == BOTH
            counter.driver.shut()
            tasks = counter.begin(*(Put(f"p{number}") for number in range(500)))
            await until(lambda: counter.driver.waiting == 1)
            cable.clog()
            closing = asyncio.create_task(counter.batcher.close())
            await asyncio.sleep(0)
            counter.driver.open()
            async with asyncio.timeout(5):
                await closing
            told = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(one) for one in told} == {Unavailable}
            # The one batch that was under way, and none after it.
            assert counter.driver.passed == 2

    asyncio.run(main())
    assert maria_rival.entries() == dict(BOTH)


# Scripts


def test_a_statement_that_touches_another_number_of_rows_than_it_must_undoes_all(empty: Database, rival: Rival) -> None:
    put = Statement("INSERT INTO entry (id, amount) VALUES ?", ([("a", 1)],))
    miss = Statement("UPDATE total SET amount = 1 WHERE id IN ?", ((1, 99),), touches=2)
    hit = Statement("UPDATE total SET amount = amount WHERE id IN ?", ((1, 2),), touches=2)

    def in_the_middle(*statements: Statement) -> Script[int]:
        rows = yield [put, *statements, Statement("SELECT COUNT(*) FROM entry")]
        return [], rows[-1][0][0]

    def at_the_end(*statements: Statement) -> Script[int]:
        yield [Statement("SELECT 1")]
        return [put, *statements], 1

    async def main() -> None:
        driver = driver_of(empty)
        for script in (in_the_middle, at_the_end):
            for bad in ((miss,), (hit, miss), (miss, hit)):
                with pytest.raises(RowsMissed):
                    await driver.run(script(*bad))
            assert rival.ask("SELECT * FROM entry") == []
            assert await driver.run(script(hit, hit)) == 1
            rival.ask("DELETE FROM entry")
        await driver.close()

    asyncio.run(main())
    assert rival.entries() == {}


def test_a_row_that_is_there_already_is_a_duplicate_wherever_it_is_written(empty: Database, rival: Rival) -> None:
    put = Statement("INSERT INTO entry (id, amount) VALUES ?", ([("a", 0), ("b", 0)],))

    def in_the_middle() -> Script[None]:
        yield [put]
        return [], None

    def at_the_end() -> Script[None]:
        yield [Statement("SELECT 1")]
        return [put], None

    rival.ask("INSERT INTO entry VALUES ('b', 0)")

    async def main() -> None:
        driver = driver_of(empty)
        for script in (in_the_middle, at_the_end):
            with pytest.raises(DuplicateKey):
                await driver.run(script())
        await driver.close()

    asyncio.run(main())
    assert rival.entries() == {"b": 0}


def kill_all_others(rival: Rival) -> None:
    others = rival.other_connections()
    assert others
    for number in others:
        rival.ask(f"KILL {number}")


def is_asking(rival: Rival) -> bool:
    """Whether somebody else's statement has been under way for a moment."""
    query = (
        "SELECT COUNT(*) FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command = 'Query' AND time_ms > 50"
    )
    return bool(rival.ask(query)[0][0])
