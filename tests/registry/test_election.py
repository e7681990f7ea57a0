"""Against real Consul agents, with candidates in processes of their own where they are killed."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from local import consul as local
from local.consul import Agent
from registry import config
from registry.consul import Consul
from registry.election import LOCK_DELAY_SECONDS, PREFIX, RENEW_SECONDS, TTL_SECONDS, Election
from tests.registry.patients import PATIENCE, until

# A candidate that is killed: it says its name as soon as it has been elected.
CANDIDATE = """
import asyncio, sys
from registry import config
from registry.consul import Consul
from registry.election import Election

async def stand():
    async with Consul(config.parse(sys.argv[1])) as consul:
        election = Election(consul, sys.argv[2], "process")
        running = asyncio.create_task(election.run())
        while not election.is_held:
            await asyncio.sleep(0.01)
        print("elected", flush=True)
        await running

asyncio.run(stand())
"""
# Consul's own limit for a session that nobody renews, and what a busy machine adds.
REPLACED_SECONDS = 2 * TTL_SECONDS + LOCK_DELAY_SECONDS + PATIENCE
# Far less than the delay for the locks of the dead would be by default, and than a session's life.
AT_ONCE_SECONDS = 5.0


def of(*agents: Agent, token: str = "") -> Consul:
    place = config.parse(local.url_of(agents))
    assert isinstance(place, config.Consul)
    return Consul(place, (lambda: token) if token else None)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 6 * PATIENCE))


class Candidate:
    """One that stands for a name until it is withdrawn, with a client of its own."""

    def __init__(self, consul: Consul, name: str, who: str) -> None:
        self.consul = consul
        self.election = Election(consul, name, who)
        self._task = asyncio.create_task(self.election.run())

    async def holds(self) -> bool:
        return self.election.is_held

    async def withdraw(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@asynccontextmanager
async def standing(name: str, *names: str, by: tuple[Agent, ...]) -> AsyncIterator[list[Candidate]]:
    async with contextlib.AsyncExitStack() as at_end:
        candidates = []
        for who in names:
            candidate = Candidate(await at_end.enter_async_context(of(*by)), name, who)
            at_end.push_async_callback(candidate.withdraw)
            candidates.append(candidate)
        yield candidates


def holders(candidates: list[Candidate]) -> list[str]:
    """Who holds the name, if all that have heard of anybody have heard of the same."""
    return [one.election.holder for one in candidates if one.election.is_held]


async def one_holds(candidates: list[Candidate]) -> Candidate:
    async def is_so() -> bool:
        held = holders(candidates)
        return len(held) == 1 and {one.election.holder for one in candidates} == set(held)

    await until(is_so, REPLACED_SECONDS)
    return next(one for one in candidates if one.election.is_held)


@pytest.mark.parametrize("turns", range(4))
def test_who_is_woken_while_he_is_told_to_end_ends(agent: Agent, turns: int) -> None:
    async def story() -> None:
        async with of(agent) as consul:
            election = Election(consul, f"woken-{turns}", "a")
            running = asyncio.create_task(election.run())

            async def is_held() -> bool:
                return election.is_held

            await until(is_held)
            # Its own loop waits for this; so many turns of the event loop later it is about to go on.
            election._woken.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            ended, _ = await asyncio.wait([running], timeout=AT_ONCE_SECONDS)
            assert ended

    run(story)


def test_who_resigns_is_followed_by_another_and_holds_again_if_there_is_none(agent: Agent) -> None:
    async def story() -> None:
        async with standing("resigned", "a", "b", by=(agent,)) as candidates:
            first = await one_holds(candidates)
            (other,) = [one for one in candidates if one is not first]
            first.election.resign()
            await until(other.holds, AT_ONCE_SECONDS)
            await first.withdraw()
            other.election.resign()

            async def has_left() -> bool:
                return not other.election.is_held

            await until(has_left, AT_ONCE_SECONDS)
            await until(other.holds)

    run(story)


def test_of_several_one_is_elected_and_all_know_whom(agent: Agent) -> None:
    async def story() -> None:
        async with standing("several", "a", "b", "c", by=(agent,)) as candidates:
            first = await one_holds(candidates)
            # A few renewals later it still is that one, alone.
            for _ in range(20):
                assert [one for one in candidates if one.election.is_held] == [first]
                await asyncio.sleep(RENEW_SECONDS / 20)

    run(story)


def test_two_of_the_same_name_are_not_taken_for_one(agent: Agent) -> None:
    async def story() -> None:
        async with standing("namesakes", "host", "host", by=(agent,)) as candidates:
            await one_holds(candidates)
            assert len(holders(candidates)) == 1

    run(story)


def test_another_takes_over_at_once_when_the_holder_ends(agent: Agent) -> None:
    async def story() -> None:
        async with standing("ending", "a", "b", by=(agent,)) as candidates:
            first = await one_holds(candidates)
            [other] = [one for one in candidates if one is not first]
            await first.withdraw()
            assert not first.election.is_held
            assert first.election.holder == ""
            assert await until(other.holds) < AT_ONCE_SECONDS
        # Nobody is left, and nobody is named.
        async with of(agent) as consul:
            assert (await consul.lock(PREFIX + "ending")).session == ""

    run(story)


@pytest.mark.slow
def test_a_holder_that_is_killed_is_replaced_when_its_session_has_ended(agent: Agent) -> None:
    async def story() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CANDIDATE, agent.url, "killing"), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), 3 * PATIENCE) == b"elected\n"
            async with standing("killing", "heir", by=(agent,)) as [heir]:

                async def knows() -> bool:
                    return heir.election.holder == "process"

                await until(knows)
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()
                assert not heir.election.is_held
                took = await until(heir.holds, REPLACED_SECONDS)
                # Consul does not take it for dead before, whatever becomes of its process.
                assert took > TTL_SECONDS - RENEW_SECONDS - 1
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    run(story)


def test_the_holder_goes_on_while_consul_is_away_and_after(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agent = local.start(tmp_path, lasting=True)

    async def story() -> None:
        async with standing("away", "a", "b", by=(agent,)) as candidates:
            first = await one_holds(candidates)
            await asyncio.to_thread(agent.crash)

            async def is_noticed() -> bool:
                return sum(record.message == "election_interrupted" for record in caplog.records) == 2

            await until(is_noticed)
            assert holders(candidates) == [first.election.holder]
            await asyncio.to_thread(agent.start_again)

            async def is_over() -> bool:
                return sum(record.message == "election_resumed" for record in caplog.records) == 2

            await until(is_over)
            # It is still its session, and was said once.
            assert await one_holds(candidates) is first
            assert sum(record.message == "election_interrupted" for record in caplog.records) == 2

    try:
        run(story)
    finally:
        agent.stop()


def test_a_consul_that_was_restarted_empty_has_one_holder_again(mortal: Agent) -> None:
    async def story() -> None:
        async with standing("empty", "a", "b", by=(mortal,)) as candidates:
            await one_holds(candidates)
            await asyncio.to_thread(mortal.crash)
            await asyncio.to_thread(mortal.start_again)

            async def is_written() -> bool:
                async with of(mortal) as consul:
                    return bool((await consul.lock(PREFIX + "empty")).session)

            await until(is_written)
            await one_holds(candidates)

    run(story)


def test_a_lock_that_was_taken_away_by_hand_is_elected_anew(agent: Agent) -> None:
    async def story() -> None:
        async with standing("by-hand", "a", "b", by=(agent,)) as candidates:
            await one_holds(candidates)
            async with of(agent) as consul:
                await consul.put("sharemesh/unrelated", "1")
                await consul.delete(PREFIX + "by-hand")

                async def is_written() -> bool:
                    return bool((await consul.lock(PREFIX + "by-hand")).session)

                await until(is_written)
            await one_holds(candidates)

    run(story)


def test_the_holder_survives_the_agent_that_it_was_elected_by(tmp_path: Path) -> None:
    agents = local.cluster(tmp_path)

    async def story() -> None:
        async with standing("cluster", "a", "b", by=tuple(agents)) as candidates:
            first = await one_holds(candidates)
            await asyncio.to_thread(agents[0].crash)

            async def is_looked_after() -> bool:
                async with of(*agents[1:]) as consul:
                    return await consul.renew((await consul.lock(PREFIX + "cluster")).session)

            # A leader is elected, the dead agent's node is known as failed, and several renewals pass.
            await asyncio.sleep(2 * RENEW_SECONDS)
            await until(is_looked_after, 3 * PATIENCE)
            assert await one_holds(candidates) is first

    try:
        run(story)
    finally:
        local.stop(agents)


@pytest.mark.parametrize(
    "rules, right",
    [
        ('key_prefix "sharemesh/" { policy = "write" }', "session:write is needed"),
        ('session_prefix "" { policy = "write" } key_prefix "" { policy = "read" }', "key:write is needed"),
        ('session_prefix "" { policy = "write" }', "key:read is needed"),
    ],
)
def test_a_token_without_the_right_to_be_elected_is_told_which_one_is_missing(
    guarded: Agent, caplog: pytest.LogCaptureFixture, rules: str, right: str
) -> None:
    caplog.set_level(logging.WARNING)
    name = f"election-{right[:5].replace(':', '-')}"
    guarded.ask("/v1/acl/policy", "PUT", {"Name": name, "Rules": rules})
    token = guarded.ask("/v1/acl/token", "PUT", {"Policies": [{"Name": name}]})["SecretID"]

    async def story() -> None:
        async with of(guarded, token=token) as consul:
            candidate = Candidate(consul, "guarded", "a")

            async def is_told() -> bool:
                told: list[Any] = [record.args for record in caplog.records if record.message == "election_interrupted"]
                return any(right in one["error"] for one in told)

            await until(is_told)
            assert not candidate.election.is_held
            await candidate.withdraw()

    run(story)
