"""Real Consul agents for the tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import consul
from local.consul import Agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One that no test ends."""
    agent = consul.start(tmp_path_factory.mktemp("consul"))
    yield agent
    agent.stop()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Agent]:
    """One of the test's own, which forgets everything when it is ended."""
    agent = consul.start(tmp_path / "mortal")
    yield agent
    agent.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One with ACLs: without a token nothing is seen."""
    agent = consul.start(tmp_path_factory.mktemp("guarded"), acl=True)
    yield agent
    agent.stop()
