"""The scripts make the tables that the models speak of."""

from playhouse.schema_diff import diff_models

from services.chassis import database
from services.chassis.database import Database
from services.schema import migrate, tables


def test_a_migrated_database_has_exactly_the_tables_of_the_models(db: Database) -> None:
    assert not db.run_here(lambda: diff_models(database.proxy.obj, list(tables.ALL)))


def test_a_migrated_database_is_current_and_migrating_it_again_does_nothing(db: Database) -> None:
    assert db.run_here(migrate.is_current)
    assert db.run_here(migrate.up) == []
