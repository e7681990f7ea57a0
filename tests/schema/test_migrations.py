"""The scripts make the tables that the models speak of."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playhouse.schema_diff import diff_models

from local import mariadb
from services.chassis import database, stores
from services.chassis.database import Database
from services.chassis.script import bound
from services.ledger import statements
from services.schema import migrate, tables

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SCRIPTS = Path(migrate.__file__).parent / "migrations"


def test_a_migrated_database_has_exactly_the_tables_of_the_models(db: Database) -> None:
    assert not db.run_here(lambda: diff_models(database.proxy.obj, list(tables.ALL)))


def test_a_migrated_database_is_current_and_migrating_it_again_does_nothing(db: Database) -> None:
    assert db.run_here(migrate.is_current)
    assert db.run_here(migrate.up) == []


def test_two_processes_that_migrate_at_once_apply_each_script_once(maria: mariadb.Server) -> None:
    url = maria.fresh("migrating")
    db = database.bind(url, pool=2)
    try:
        with ThreadPoolExecutor(2) as both:
            applied = list(both.map(lambda _: db.run_here(migrate.up), range(2)))
        assert sorted(map(len, applied)) == [0, len(list(SCRIPTS.glob("[0-9]*.py")))]
    finally:
        db.close()


def test_who_waits_for_the_first_to_migrate_outlasts_what_a_statement_may_take(
    maria: mariadb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = maria.fresh("waiting")
    monkeypatch.setattr(stores, "STATEMENT_SECONDS", 1)
    db = database.bind(url, pool=1)

    def wait() -> None:
        with migrate._alone():
            pass

    try:
        with mariadb.connect(maria.port) as first, first.cursor() as cursor, ThreadPoolExecutor(1) as second:
            cursor.execute("SELECT GET_LOCK('sharemesh.migrate', 0)")
            waiting = second.submit(db.run_here, wait)
            # Longer than all the tries of a statement that gives up.
            cursor.execute("SELECT SLEEP(5)")
            assert not waiting.done()
            cursor.execute("DO RELEASE_LOCK('sharemesh.migrate')")
            waiting.result()
    finally:
        db.close()


def test_people_whose_subjects_differ_in_case_or_accents_are_told_apart_whatever_the_default(
    maria: mariadb.Server,
) -> None:
    db = database.bind(maria.fresh("careless"), pool=1)

    def subjects() -> list[str]:
        database.proxy.execute_sql("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        migrate.up()
        for subject in ("lin", "Lin", "lín"):
            tables.Customer.create(merchant_id=1, subject=subject, pseudonym=subject, create_time=NOW)
        return [row.subject for row in tables.Customer.select().where(tables.Customer.subject == "lin")]

    try:
        assert db.run_here(subjects) == ["lin"]
    finally:
        db.close()


def test_a_claim_finds_its_pool_by_one_index_even_while_old_versions_pile_up(db: Database, backend: str) -> None:
    """With a second index that began with share_id, MariaDB went over to scanning the table at times like these."""

    def plan() -> str:
        row = {"merchant_id": 1, "share_id": 0, "state": "AVAILABLE"}
        for start in range(0, 4000, 500):
            block = [
                {**row, "uid": f"u{n}", "code": f"{n:016}", "activity_id": n % 4} for n in range(start, start + 500)
            ]
            tables.Coupon.insert_many(block).execute()
        tables.Coupon.update(state="CLAIMED").where(tables.Coupon.id <= 3900).execute()
        if backend == "mariadb":
            database.proxy.execute_sql("ANALYZE TABLE coupon")
        explain = "EXPLAIN " if backend == "mariadb" else "EXPLAIN QUERY PLAN "
        sql, values = bound(statements.lock_pool(activity_id=1, share_id=0, count=3), database.dialect())
        return str(list(database.proxy.execute_sql(explain + sql, values)))

    assert "coupon_activity_id_share_id_state_id" in db.run_here(plan)
