"""How hypothesis runs here, and a merchant's world whose books are looked through after every test."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from services.chassis.database import Database
from tests.ledger import books
from tests.ledger.world import World

# A busy machine is no reason to fail: examples have no deadline of their own, pytest's timeout bounds the test.
settings.register_profile("sharemesh", deadline=None)
settings.load_profile("sharemesh")


@pytest.fixture
def world(db: Database) -> Iterator[World]:
    """One merchant's world in an empty database; afterwards every invariant of the books must hold."""
    yield World()
    assert books.wrongs() == []
