"""The scripts make the tables that the models speak of."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playhouse.schema_diff import diff_models

from services.chassis import database
from services.chassis.database import Database
from services.schema import migrate, tables
from tests import mariadb

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
