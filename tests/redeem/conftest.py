"""A merchant's world whose books are looked through after every test."""

from collections.abc import Iterator

import pytest

from services.chassis.database import Database
from tests.ledger import books
from tests.ledger.world import World


@pytest.fixture
def world(db: Database) -> Iterator[World]:
    """One merchant's world in an empty database; afterwards every invariant of the books must hold."""
    yield World()
    assert books.wrongs() == []
