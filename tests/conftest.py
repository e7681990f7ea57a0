"""What tests share: Consul, both databases, migrated and empty, and the five services started in this process."""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local import consul, mariadb
from local.consul import Agent
from services.chassis import database
from services.chassis.database import Database
from services.schema import migrate, tables

if TYPE_CHECKING:
    from tests.mesh import Mesh


# Locked by those who run a test, and by those who wait to.
_ROOM = Path(__file__)
_DOOR = _ROOM.with_name("__init__.py")


def pytest_configure() -> None:
    """Refuse to test what was compiled before it was changed: Python would run the old code."""
    for built in (Path(__file__).parent.parent / "services").rglob("*.so"):
        name = built.name.partition(".")[0]
        sources = [*built.parent.glob(f"{name}.py"), *built.parent.glob(f"{name}.pxd")]
        if any(built.stat().st_mtime < source.stat().st_mtime for source in sources):
            raise pytest.UsageError(f"{name}.py was changed after it was compiled: run 'make setup'")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where several processes share the tests, run those marked `alone` while the others run none."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    # Whoever comes after one who waits to be alone waits behind it, or its turn would never come.
    is_alone = item.get_closest_marker("alone") is not None
    with locked(_DOOR, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH) as door:
        if not is_alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        with locked(_ROOM, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH):
            return (yield)


@contextmanager
def locked(file: Path, how: int) -> Iterator[int]:
    """Hold a lock that all processes of one checkout know, for the descriptor's life."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """A Consul that no test ends."""
    agent = consul.start(tmp_path_factory.mktemp("consul"))
    yield agent
    agent.stop()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Agent]:
    """A Consul of the test's own, which forgets everything when it is ended."""
    agent = consul.start(tmp_path / "mortal")
    yield agent
    agent.stop()


@pytest.fixture(scope="session")
def maria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.Server]:
    """A real MariaDB of this session's own; without one the tests fail, none is skipped."""
    server = mariadb.start(tmp_path_factory.mktemp("mariadb"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def maria_url(maria: mariadb.Server) -> str:
    """A migrated schema for the tests to take turns with: making one costs half a second, emptying it 10 ms."""
    url = maria.fresh("tests")
    migrated(url)
    return url


@pytest.fixture(scope="session", params=["sqlite", "mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; every test that asks for one runs on both."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty database that nobody uses."""
    return empty_on(backend, request, tmp_path)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """The models bound to a migrated, empty database; `db.run_here(f, ...)` runs `f` in the test's thread."""
    bound = database.bind(database_url)
    yield bound
    bound.close()


@pytest.fixture
def mesh(database_url: str, tmp_path: Path) -> Iterator["Mesh"]:
    """The five services really running on an empty database; see tests/mesh.py."""
    from tests.mesh import started  # Rules are tested without loading a server.

    with started(database_url, tmp_path / "var") as running:
        yield running


def empty_on(backend: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a migrated, empty database; for fixtures of any scope."""
    if backend == "mariadb":
        url = str(request.getfixturevalue("maria_url"))
        emptied(url)
    else:
        url = f"sqlite:///{folder}/sharemesh.db"
        migrated(url)
    return url


def migrated(url: str) -> None:
    """Brings the database at `url` to the present schema."""
    bound = database.bind(url, pool=1)
    bound.run_here(migrate.up)
    bound.close()


def emptied(url: str) -> None:
    """Deletes every row but those that say which migrations were applied."""
    bound = database.bind(url, pool=1)
    bound.run_here(delete_all)
    bound.close()


def delete_all() -> None:
    with database.write():
        for table in tables.ALL:
            table.delete().execute()
