"""`sharemesh route` and `sharemesh mesh status` against a real Consul."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from local import consul as local
from local import ports
from local.consul import Agent
from registry import commands, config, routes
from registry.commands import Place
from registry.consul import Consul
from registry.instance import CONTROL_PLANE, Instance
from tests.registry.patients import at

SERVICES = ("audit", "redeem")


@pytest.fixture(scope="module")
def alive() -> Iterator[int]:
    """The port of a server that is well."""
    server = grpc.server(ThreadPoolExecutor(4))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait()


@pytest.fixture
def place(agent: Agent) -> Iterator[Place]:
    """An empty registry."""
    yield Place(config.parse(agent.url), SERVICES)
    for id in agent.ask("/v1/agent/services"):
        agent.ask(f"/v1/agent/service/deregister/{id}", "PUT")
    agent.ask("/v1/kv/?recurse=1", "DELETE")


def register(agent: Agent, *instances: Instance) -> None:
    """In their states, with Consul's own checks to come."""

    async def story() -> None:
        async with Consul(config.Consul((agent.address,))) as registry:
            for one in instances:
                await registry.register(one, is_tls=False, has_passed=one.state == "passing")

    asyncio.run(story())


def rows(text: str) -> list[str]:
    """Each line of a table below its head, with single blanks."""
    lines = [line for line in text.splitlines() if line.strip()]
    return [" ".join(line.split()) for line in lines[2:]]


def value(agent: Agent, service: str) -> str | None:
    async def story() -> str | None:
        async with Consul(config.Consul((agent.address,))) as registry:
            return await registry.value(routes.key_of(service))

    return asyncio.run(story())


def test_a_rule_is_set_shown_and_cleared(agent: Agent, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.route(place, "redeem", "v2=10%") == 0
    assert value(agent, "redeem") == '{"canary": {"v2": 10}}'
    assert rows(capsys.readouterr().out) == ["redeem v2 10 % v2 0 %: none is passing"]
    assert commands.route(place) == 0
    expected = ["audit none no instance is passing", "redeem v2 10 % v2 0 %: none is passing"]
    assert rows(capsys.readouterr().out) == expected
    assert commands.route(place, "redeem", is_clear=True) == 0
    assert value(agent, "redeem") is None
    assert rows(capsys.readouterr().out) == ["redeem none no instance is passing"]


def test_a_rule_shows_what_each_version_gets_now(
    agent: Agent, place: Place, alive: int, capsys: pytest.CaptureFixture[str]
) -> None:
    register(agent, at(alive), at(alive), at(alive, version="v2"))
    assert commands.route(place, "redeem") == 0
    assert rows(capsys.readouterr().out) == ["redeem none v1 66.7 %, v2 33.3 %"]
    register(agent, at(alive), at(alive, version="v2"))
    assert commands.route(place, "redeem", "v2=10%,v3=1%") == 0
    expected = "redeem v2 10 %, v3 1 % v1 90.0 %, v2 10.0 %, v3 0 %: none is passing"
    assert rows(capsys.readouterr().out) == [expected]


def test_a_broken_rule_is_shown_and_does_not_count(
    agent: Agent, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.ask(f"/v1/kv/{routes.key_of('audit')}", "PUT", {"canary": {"[red]": 10}})
    assert commands.route(place, "audit") == 0
    assert "broken, the last good one counts: '[red]' is not a version" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("service", "canary", "is_clear", "complaint"),
    [
        ("reedem", "v2=10%", False, "no service is named reedem: give one of audit, redeem"),
        ("", "v2=10%", False, "--canary and --clear are for one service: name one of audit, redeem"),
        ("", "", True, "--canary and --clear are for one service: name one of audit, redeem"),
        ("redeem", "v2=10%", True, "give one of them"),
        ("redeem", "v2=101%", False, "--canary: 101 % for v2 is not from 0 to 100; give for example --canary v2=10%"),
        ("redeem", "10%", False, "--canary: '10%' is not version=percent, as in v2=10%"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_set(
    agent: Agent,
    place: Place,
    service: str,
    canary: str,
    is_clear: bool,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent.ask(f"/v1/kv/{routes.key_of('redeem')}", "PUT", {"canary": {}})
    assert commands.route(place, service, canary, is_clear) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.startswith("sharemesh: ")
    assert said.out == ""
    assert value(agent, "redeem") == '{"canary": {}}'


def test_the_status_shows_each_instance_with_its_part_of_the_traffic(
    agent: Agent, place: Place, alive: int, capsys: pytest.CaptureFixture[str]
) -> None:
    here = replace(at(alive), zone="west")
    there = replace(at(alive), zone="east")
    canary = replace(at(alive, version="v2"), zone="[bold]")
    down = replace(at(ports.free_one()), state="critical")
    plane = at(alive, CONTROL_PLANE)
    register(agent, here, there, canary, down, plane)
    agent.ask(f"/v1/kv/{routes.key_of('redeem')}", "PUT", {"canary": {"v2": 10}})
    assert commands.status(place) == 0
    out = capsys.readouterr().out
    found = {row.split()[1]: row for row in rows(out)}
    where = f"127.0.0.1:{alive}"
    assert found["none"] == "audit none is registered"
    assert found[here.id] == f"redeem {here.id} {where} west v1 passing 45.0 %"
    assert found[there.id] == f"redeem {there.id} {where} east v1 passing 45.0 %"
    assert found[canary.id] == f"redeem {canary.id} {where} [bold] v2 passing 10.0 %"
    assert found[down.id] == f"redeem {down.id} {down.address} v1 critical 0.0 %"
    assert found[plane.id] == f"{CONTROL_PLANE} {plane.id} {where} v1 passing"
    assert "Callers prefer the instances of their own zone" in out


def test_without_consul_the_commands_say_so_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    away = f"127.0.0.1:{ports.free_one()}"
    place = Place(config.Consul((away,)), SERVICES)
    for asked in (
        partial(commands.status, place),
        partial(commands.route, place),
        partial(commands.route, place, "redeem", "v2=1%"),
    ):
        assert asked() == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert f"sharemesh: {away} cannot be asked: Connection refused\n" in said.err
        assert "See --registry." in said.err


def test_a_list_of_addresses_has_no_rules(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(config.Static({}), SERVICES)
    assert commands.status(place) == 2
    assert commands.route(place, "redeem", "v2=1%") == 2
    assert "give --registry consul://host:8500" in capsys.readouterr().err


def test_the_token_file_is_used_and_missed_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guarded = local.start(tmp_path / "consul", acl=True)
    try:
        file = tmp_path / "token"
        place = Place(config.parse(guarded.url), SERVICES, token=file)
        assert commands.route(place, "redeem", "v2=1%") == 1
        assert str(file) in capsys.readouterr().err
        assert commands.route(replace(place, token=None), "redeem", "v2=1%") == 1
        assert "check the ACL token" in capsys.readouterr().err
        file.write_text(guarded.token)
        assert commands.route(place, "redeem", "v2=1%") == 0
    finally:
        guarded.stop()
