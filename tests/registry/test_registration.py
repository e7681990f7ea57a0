"""Against a real Consul that is ended, emptied, hung and started again."""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from local import consul as local
from local import ports
from local.consul import Agent
from local.process import freeze
from registry import config
from registry.consul import CALL_SECONDS, FIRST_PAUSE, Consul
from registry.instance import CRITICAL, PASSING, Instance
from registry.registration import LOOK_SECONDS, Registration
from tests.registry.patients import PATIENCE, at, serving, until

# Servers that give each other up within a second or two, instead of five or more.
QUICK = '-hcl=gossip_lan { probe_interval = "200ms" probe_timeout = "100ms" suspicion_mult = 2 }'


def of(*agents: Agent) -> Consul:
    place = config.parse(local.url_of(agents))
    assert isinstance(place, config.Consul)
    return Consul(place)


async def passes(registry: Consul, *instances: Instance) -> float:
    async def is_so() -> bool:
        return [await registry.state_of(one.id) for one in instances] == [PASSING] * len(instances)

    return await until(is_so)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "sharemesh.registry"]


def test_instances_are_registered_and_pass_and_are_gone_for_good_after_leaving(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        async with of(agent) as registry, serving() as (_, port):
            instances = [at(port), at(port, "audit")]
            registration = Registration(registry, instances, is_tls=False)
            await registration.start()
            await passes(registry, *instances)
            start = time.monotonic()
            await registration.leave()
            assert time.monotonic() - start < CALL_SECONDS
            assert [await registry.state_of(one.id) for one in instances] == [None, None]
            await asyncio.sleep(1.5 * LOOK_SECONDS)
            assert [await registry.state_of(one.id) for one in instances] == [None, None]
            await registration.leave()
        assert [event for event in events(caplog) if event != "health_seen"] == ["registered", "registered"]

    asyncio.run(story())


def test_a_consul_that_was_restarted_empty_knows_the_instances_again_by_itself(
    mortal: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        async with of(mortal) as registry, serving() as (_, port):
            one = at(port)
            registration = Registration(registry, [one], is_tls=False)
            await registration.start()
            await passes(registry, one)
            await until(lambda: said(caplog, "health_seen"))
            mortal.crash()
            await until(lambda: said(caplog, "registry_away"))
            await asyncio.to_thread(mortal.start_again)
            states = []

            async def is_back() -> bool:
                states.append(await registry.state_of(one.id))
                return states[-1] is not None

            await until(is_back)
            # Consul knew it as good: nobody has to wait for its next check.
            assert states[-1] == PASSING
            await until(lambda: said(caplog, "registry_back"))
            await registration.leave()
        assert events(caplog) == ["registered", "health_seen", "registry_away", "registered_again", "registry_back"]

    asyncio.run(story())


def test_a_service_starts_while_consul_is_away_and_is_registered_when_it_comes(
    mortal: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    # Whatever another test has set: of its changes of state only those that an operator must hear of.
    caplog.set_level("WARNING", logger="sharemesh.registry")

    async def story() -> None:
        async with of(mortal) as registry, serving() as (_, port):
            mortal.crash()
            one = at(port)
            registration = Registration(registry, [one], is_tls=False)
            start = time.monotonic()
            await registration.start()
            assert time.monotonic() - start < 0.5
            # Long enough to be tried some times.
            await asyncio.sleep(8 * FIRST_PAUSE)
            await asyncio.to_thread(mortal.start_again)
            await passes(registry, one)
            await registration.leave()
        # One line for each change, however often it was tried.
        assert events(caplog) == ["registry_away", "registry_back"]

    asyncio.run(story())


def test_leaving_takes_bounded_time_and_raises_nothing_while_consul_is_away(
    mortal: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with of(mortal) as registry:
            registration = Registration(registry, [at(ports.free_one())], is_tls=False)
            await registration.start()
            mortal.crash()
            start = time.monotonic()
            await registration.leave()
            assert time.monotonic() - start < CALL_SECONDS + 1
        assert events(caplog)[-1] == "not_deregistered"

    asyncio.run(story())


def test_leaving_takes_bounded_time_and_raises_nothing_while_consul_hangs(mortal: Agent) -> None:
    async def story() -> None:
        async with of(mortal) as registry:
            one = at(ports.free_one())
            registration = Registration(registry, [one], is_tls=False)
            freeze(mortal.pid)
            try:
                await registration.start()
                await asyncio.sleep(0.1)
                start = time.monotonic()
                await registration.leave()
                assert time.monotonic() - start < 2 * CALL_SECONDS + 1
            finally:
                os.kill(mortal.pid, signal.SIGCONT)

    asyncio.run(story())


def test_an_instance_that_never_started_leaves_without_a_word(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            await Registration(registry, [at(1)], is_tls=False).leave()

    asyncio.run(story())


def test_the_leader_of_three_is_killed_and_nobody_is_told_that_an_instance_went(tmp_path: Path) -> None:
    agents = local.cluster(tmp_path / "three", 3, QUICK)
    leader = local.leader_of(agents)
    # The one that a client asks first is the one that dies.
    order = [leader, *(agent for agent in agents if agent is not leader)]

    async def story() -> None:
        async with of(*order) as registry, of(*order[1:]) as others, serving() as (_, port):
            one = at(port)
            registration = Registration(registry, [one], is_tls=False)
            await registration.start()

            async def is_found_by_all() -> bool:
                return len(await asyncio.to_thread(leader.ask, "/v1/health/service/redeem?passing=1")) == len(agents)

            # Each by its own check: what one of them has found, the others show too.
            await until(is_found_by_all)
            told: list[list[Instance]] = []
            watch = asyncio.create_task(follow(registry, told))
            await until(lambda: has(told))
            leader.crash()

            async def is_given_up() -> bool:
                with contextlib.suppress(OSError):
                    checks = await asyncio.to_thread(order[1].ask, "/v1/health/state/critical")
                    return any(check["CheckID"] == "serfHealth" for check in checks)
                return False

            await until(is_given_up)
            assert await others.instances("redeem") == [one]
            # It would be told of at once.
            await asyncio.sleep(0.5)
            assert all(answer == [one] for answer in told)
            await registration.leave()
            await until(lambda: has(told, []))
            watch.cancel()

    try:
        asyncio.run(story())
    finally:
        local.stop(agents)


def test_a_hung_agent_does_not_keep_the_others_waiting(agent: Agent, tmp_path: Path) -> None:
    hung = local.start(tmp_path / "hung")

    async def story() -> None:
        async with of(hung, agent) as registry, of(agent) as other, serving() as (_, port):
            one = at(port)
            freeze(hung.pid)
            registration = Registration(registry, [one], is_tls=False)
            await registration.start()
            assert await passes(other, one) < PATIENCE
            await other.deregister(one.id)
            await passes(other, one)
            await registration.leave()
            assert await other.instances("redeem") == []

    try:
        asyncio.run(story())
    finally:
        os.kill(hung.pid, signal.SIGCONT)
        hung.stop()


async def follow(registry: Consul, told: list[list[Instance]]) -> None:
    async for answer in registry.watch_instances("redeem"):
        told.append(answer)  # noqa: PERF401 - as they come.


async def has(told: list[list[Instance]], last: list[Instance] | None = None) -> bool:
    return bool(told) and (last is None or told[-1] == last)


async def states_until_checked(agent: Agent, registry: Consul, one: Instance) -> set[str | None]:
    """The states that it was in from its registration until Consul had looked at it."""
    states: set[str | None] = set()

    async def is_checked() -> bool:
        states.add(await registry.state_of(one.id))
        found = (await asyncio.to_thread(agent.ask, "/v1/agent/checks")).get(f"service:{one.id}", {})
        return bool(found.get("Output"))

    await until(is_checked)
    states.add(await registry.state_of(one.id))
    return states - {None}


def test_a_dead_port_stays_registered_and_never_passes_until_something_serves_there(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            one = at(ports.free_one())
            registration = Registration(registry, [one], is_tls=False)
            await registration.start()
            assert await states_until_checked(agent, registry, one) == {CRITICAL}
            async with serving(port=one.port):
                await passes(registry, one)
            await registration.leave()

    asyncio.run(story())


def test_another_service_on_the_port_of_a_dead_instance_does_not_pass_for_it(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry, serving() as (_, port):
            # The server there is well, as a whole: it has another service's health.
            one, whole = replace(at(port), health="sharemesh.v1.RedeemService"), at(port, "share")
            registration = Registration(registry, [one, whole], is_tls=False)
            await registration.start()
            await passes(registry, whole)
            assert await states_until_checked(agent, registry, one) == {CRITICAL}
            await registration.leave()

    asyncio.run(story())


def test_what_an_operator_deregisters_by_mistake_comes_back(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry, serving() as (_, port):
            one = at(port)
            registration = Registration(registry, [one], is_tls=False)
            await registration.start()
            await passes(registry, one)
            await registry.deregister(one.id)
            assert await passes(registry, one) < PATIENCE
            await registration.leave()

    asyncio.run(story())


async def said(caplog: pytest.LogCaptureFixture, event: str) -> bool:
    return event in events(caplog)
