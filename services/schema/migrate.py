"""Bringing a database to the present schema: numbered scripts, each applied once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playhouse.migrations import Runner

from services.chassis import database, errors, stores

# The first script takes a second; later ones may have to copy tables.
_WAIT_SECONDS = 300
_COLLATION = "utf8mb4_bin"
_SCRIPTS = str(Path(__file__).parent / "migrations")


def up() -> list[str]:
    """Apply the scripts that the bound database has not seen yet; returns their names.

    On MariaDB a second process waits for the first; on SQLite its caller sees to that.
    """
    with _alone():
        _make_binary()
        return Runner(database.proxy.obj, _SCRIPTS).up()  # type: ignore[no-any-return]


def is_current() -> bool:
    """Whether every script has been applied."""
    return all(row.applied for row in Runner(database.proxy.obj, _SCRIPTS).status())


def _make_binary() -> None:
    """Let MariaDB's new tables tell "Lin" from "lin" and "lín", two people, whatever its operator's default is."""
    if database.dialect() == "mysql":
        (collation,) = database.proxy.execute_sql("SELECT @@collation_database").fetchone()
        if collation != _COLLATION:
            database.proxy.execute_sql(f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {_COLLATION}")


@contextmanager
def _alone() -> Iterator[None]:
    """A lock of the database's own, which goes with the connection; DDL there commits whatever was begun."""
    if database.dialect() == "sqlite":
        yield
        return
    end = time.monotonic() + _WAIT_SECONDS
    while not _is_locked():
        if time.monotonic() > end:
            raise errors.Unavailable("DATABASE_UNAVAILABLE", "another process is migrating the database")
    try:
        yield
    finally:
        database.proxy.execute_sql("DO RELEASE_LOCK('sharemesh.migrate')")


def _is_locked() -> bool:
    """Whether the lock is ours now; waits for less than a statement may take, else the connection would be given up."""
    wait = stores.STATEMENT_SECONDS / 2
    (got,) = database.proxy.execute_sql("SELECT GET_LOCK('sharemesh.migrate', %s)", (wait,)).fetchone()
    return bool(got == 1)
