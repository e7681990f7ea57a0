"""Bringing a database to the present schema: numbered scripts, each applied once."""

from pathlib import Path

from playhouse.migrations import Runner

from services.chassis import database

_SCRIPTS = str(Path(__file__).parent / "migrations")


def up() -> list[str]:
    """Apply the scripts that the bound database has not seen yet; returns their names. Run one at a time."""
    return Runner(database.proxy.obj, _SCRIPTS).up()  # type: ignore[no-any-return]


def is_current() -> bool:
    """Whether every script has been applied."""
    return all(row.applied for row in Runner(database.proxy.obj, _SCRIPTS).status())
