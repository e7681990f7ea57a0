"""Real Consul agents for the tests that need one."""

from collections.abc import Iterator

import pytest

from local import consul
from local.consul import Agent


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One with ACLs: without a token nothing is seen."""
    agent = consul.start(tmp_path_factory.mktemp("guarded"), acl=True)
    yield agent
    agent.stop()
