"""An empty database of either kind, without the product's tables, and settings for servers on free ports."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis import database, parameters
from services.chassis.database import Database
from services.chassis.settings import Settings


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if backend == "mariadb":
        return str(request.getfixturevalue("maria").fresh("chassis"))
    return f"sqlite:///{tmp_path}/chassis.db"


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    """That database, bound, with a small pool."""
    bound = database.bind(empty_url, pool=4)
    yield bound
    bound.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that share nothing with any other test's."""
    return Settings(var=tmp_path / "var", logs=tmp_path / "log", port=0)


@pytest.fixture
def quick_drain() -> Iterator[None]:
    """No time for health watchers to look away: tests have none."""
    old = parameters.swap(replace(parameters.current(), drain_seconds=0.0))
    yield
    parameters.swap(old)
