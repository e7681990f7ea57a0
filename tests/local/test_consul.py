from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from local import consul
from local.consul import Agent
from local.process import is_open


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = consul.start(tmp_path / "consul", lasting=True)
    yield agent
    agent.stop()


def has(agent: Agent, key: str) -> bool:
    try:
        return bool(agent.ask(f"/v1/kv/{key}"))
    except HTTPError as error:
        if error.code != 404:
            raise
        return False


def test_a_lasting_consul_comes_back_on_its_port_with_what_it_knew(agent: Agent) -> None:
    url = agent.url
    agent.ask("/v1/kv/color", "PUT", "red")
    agent.crash()
    assert not is_open(agent.address)
    agent.start_again()
    assert agent.url == url
    assert has(agent, "color")
    agent.crash()
    agent.start_again(fresh=True)
    assert not has(agent, "color")


def test_a_consul_that_does_not_last_comes_back_knowing_nothing(tmp_path: Path) -> None:
    agent = consul.start(tmp_path)
    try:
        agent.ask("/v1/kv/color", "PUT", "red")
        agent.crash()
        agent.start_again()
        assert not has(agent, "color")
    finally:
        agent.stop()
    assert not is_open(agent.address)


def test_with_acls_who_has_no_token_sees_nothing(tmp_path: Path) -> None:
    agent = consul.start(tmp_path, acl=True)
    try:
        assert len(agent.ask("/v1/catalog/nodes")) == 1
        token, agent.token = agent.token, ""
        assert agent.ask("/v1/catalog/nodes") == []
        agent.token = token
    finally:
        agent.stop()


def test_three_servers_outlive_their_leader(tmp_path: Path) -> None:
    agents = consul.cluster(tmp_path)
    try:
        assert consul.url_of(agents).count(",") == 2
        leader = consul.leader_of(agents)
        leader.ask("/v1/kv/color", "PUT", "red")
        leader.crash()
        second = consul.leader_of(agents)
        assert second is not leader
        assert has(second, "color")
        second.ask("/v1/kv/shape", "PUT", "round")
        leader.start_again()
        assert has(leader, "shape")
    finally:
        consul.stop(agents)
    assert not any(is_open(agent.address) for agent in agents)


def test_an_agent_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-flag"):
        consul.start(tmp_path, "-no-such-flag")
