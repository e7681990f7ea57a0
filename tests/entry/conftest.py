import pytest

from services.chassis.database import Database
from tests.entry.desk import Desk, opened


@pytest.fixture
def desk(db: Database) -> Desk:
    """A merchant with one store, on both databases."""
    return opened(db)
