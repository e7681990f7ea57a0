"""A real Zabbix for the tests that need one, a receiver of what it tells, and the business's reader."""

import shutil
from collections.abc import Iterator

import pytest
from zabbix_utils import ZabbixAPI

from local import zabbix
from local.webhook import Webhook
from local.zabbix import Stack
from monitoring.business import Business
from services.chassis.database import Database
from tests.monitoring.beats import Clock


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Zabbix that all tests share: each makes hosts of its own, and starts again what it ended."""
    directory = tmp_path_factory.mktemp("zabbix")
    stack = zabbix.start(directory)
    yield stack
    stack.stop()
    # Its logs stay; the data is large.
    shutil.rmtree(directory / "data")


@pytest.fixture(scope="session")
def api(stack: Stack) -> ZabbixAPI:
    """The API of that Zabbix, by which everything is allowed."""
    return stack.api()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A receiver of the test's own."""
    webhook = Webhook()
    yield webhook
    webhook.stop()


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


@pytest.fixture
def business(database_url: str, db: Database, clock: Clock) -> Iterator[Business]:
    """The reader of the bound database, which looks 20 rows of its pass over in a beat."""
    reader = Business(database_url, rows=20, clock=clock, ticks=clock)
    yield reader
    reader.close()
