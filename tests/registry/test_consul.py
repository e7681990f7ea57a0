"""Against real Consul agents and real gRPC servers."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from local import consul as local
from local import ports
from local.consul import Agent
from local.process import freeze
from registry import certs, config, consul, tls
from registry.consul import Consul, RegistryAway
from registry.instance import CRITICAL, PASSING, Instance
from tests.registry.patients import PATIENCE, at, serving, until

T = TypeVar("T")


def of(*agents: Agent, token: Callable[[], str] | None = None, tls: Path | None = None) -> Consul:
    place = config.parse(local.url_of(agents))
    assert isinstance(place, config.Consul)
    return Consul(place, token, tls)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 3 * PATIENCE))


async def state_of(registry: Consul, instance: Instance) -> str | None:
    found = [one.state for one in await registry.instances(instance.service) if one.id == instance.id]
    return found[0] if found else None


async def said_next(answers: AsyncIterator[T]) -> T:
    return await asyncio.wait_for(anext(answers), PATIENCE)


async def passes(registry: Consul, instance: Instance) -> float:
    async def is_so() -> bool:
        return await state_of(registry, instance) == PASSING

    return await until(is_so)


def dead_port() -> int:
    return ports.free_one()


def test_a_registered_instance_passes_as_soon_as_its_server_answers_and_is_gone_when_deregistered(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry, serving() as (_, port):
            one = replace(at(port), zone="west", version="v2", canary=5, metrics="127.0.0.1:9")
            assert await registry.state_of(one.id) is None
            await registry.register(one, is_tls=False)
            assert await registry.state_of(one.id) in (CRITICAL, PASSING)
            await passes(registry, one)
            assert await registry.state_of(one.id) == PASSING
            assert one in await registry.instances("redeem")
            await registry.deregister(one.id)
            assert await registry.state_of(one.id) is None
            assert await state_of(registry, one) is None
            await registry.deregister(one.id)

    run(story)


def test_a_server_that_dies_is_critical_within_seconds(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry, serving() as (server, port):
            one = at(port, "audit")
            await registry.register(one, is_tls=False)
            answers = registry.watch_instances("audit")
            while await said_next(answers) != [one]:
                pass
            await server.stop(0)
            assert await said_next(answers) == []
            assert await state_of(registry, one) == CRITICAL
            await registry.deregister(one.id)

    run(story)


def test_a_dead_port_is_never_passing(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            answers = registry.watch_instances("share")
            assert await said_next(answers) == []
            one = at(dead_port(), "share")
            await registry.register(one, is_tls=False)

            async def is_checked() -> bool:
                checks = await asyncio.to_thread(agent.ask, "/v1/agent/checks")
                return "refused" in checks[f"service:{one.id}"]["Output"]

            await until(is_checked)
            assert await state_of(registry, one) == CRITICAL
            # Nobody was ever told that it could be called.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(answers), 0.5)
            await registry.deregister(one.id)

    run(story)


def test_an_instance_that_passed_before_passes_at_once_and_not_for_long_if_it_is_dead(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            one = at(dead_port(), "entry")
            await registry.register(one, is_tls=False, has_passed=True)
            assert await registry.state_of(one.id) == PASSING

            async def is_found_out() -> bool:
                return await registry.state_of(one.id) == CRITICAL

            await until(is_found_out)
            await registry.deregister(one.id)

    run(story)


def test_to_register_again_changes_what_is_known_and_keeps_the_state(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry, serving() as (_, port):
            one = at(port)
            await registry.register(one, is_tls=False)
            await passes(registry, one)
            answers = registry.watch_instances("redeem")
            assert await said_next(answers) == [one]
            await registry.register(replace(one, zone="east"), is_tls=False, has_passed=True)
            assert await said_next(answers) == [replace(one, zone="east")]
            await registry.deregister(one.id)

    run(story)


def test_maintenance_takes_an_instance_out(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry, serving() as (_, port):
            one = at(port, "publish")
            await registry.register(one, is_tls=False)
            await passes(registry, one)
            await asyncio.to_thread(agent.ask, f"/v1/agent/service/maintenance/{one.id}?enable=true", "PUT")
            assert await registry.state_of(one.id) == "maintenance"
            assert await state_of(registry, one) == "maintenance"
            await registry.deregister(one.id)

    run(story)


def test_keys_are_set_read_listed_and_deleted(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            assert await registry.value("a/one") is None
            assert await registry.values("a/") == {}
            await registry.put("a/one", "一")
            await registry.put("a/two", "")
            await registry.put("b/one", "not asked for")
            assert await registry.value("a/one") == "一"
            assert await registry.values("a/") == {"a/one": "一", "a/two": ""}
            await registry.delete("a/one")
            await registry.delete("a/one")
            assert await registry.values("a/") == {"a/two": ""}

    run(story)


def test_watched_keys_are_told_when_they_change_and_only_then(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            answers = registry.watch_values("watched/")
            assert await said_next(answers) == {}
            coming = asyncio.ensure_future(said_next(answers))
            await registry.put("elsewhere", "1")
            await registry.put("watched/a", "1")
            assert await coming == {"watched/a": "1"}
            coming = asyncio.ensure_future(said_next(answers))
            await registry.put("watched/a", "1")
            await registry.delete("watched/a")
            assert await coming == {}

    run(story)


def test_a_watch_keeps_the_last_answer_while_consul_is_away_and_goes_on_with_a_restarted_one(
    mortal: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with of(mortal) as registry, serving() as (_, port):
            one = at(port)
            # The index of the restarted Consul will be far behind this one's.
            for number in range(50):
                await registry.put("some/key", str(number))
            await registry.register(one, is_tls=False)
            await passes(registry, one)
            instances, keys = registry.watch_instances("redeem"), registry.watch_values("sharemesh/")
            assert (await said_next(instances), await said_next(keys)) == ([one], {})
            coming, coming_key = asyncio.ensure_future(said_next(instances)), asyncio.ensure_future(said_next(keys))
            await asyncio.to_thread(mortal.crash)

            async def is_noticed() -> bool:
                return sum(record.message == "watch_interrupted" for record in caplog.records) == 2

            await until(is_noticed)
            await asyncio.sleep(3 * consul.FIRST_PAUSE)
            assert not coming.done()
            await asyncio.to_thread(mortal.start_again)
            assert await coming == []
            await registry.register(one, is_tls=False)
            assert await said_next(instances) == [one]
            await registry.put("sharemesh/a", "1")
            assert await coming_key == {"sharemesh/a": "1"}
            # One line when it went and one when it came, for each watch.
            assert sum(record.message == "watch_interrupted" for record in caplog.records) == 2
            assert sum(record.message == "watch_resumed" for record in caplog.records) == 2

    run(story)


def test_servers_that_come_back_tell_what_is_and_not_what_was(tmp_path: Path) -> None:
    """They read their history from its beginning, and would tell what they have read of it so far."""
    agent = local.start(tmp_path, lasting=True)
    try:
        for number in range(400):
            gone = {"ID": f"redeem-{number}", "Service": "redeem", "Port": number + 1}
            agent.ask("/v1/catalog/register", "PUT", {"Node": "n", "Address": "127.0.0.1", "Service": gone})
            agent.ask("/v1/catalog/deregister", "PUT", {"Node": "n", "ServiceID": gone["ID"]})
            agent.ask("/v1/kv/sharemesh/was", "PUT" if number % 2 else "DELETE", {} if number % 2 else None)
        agent.ask("/v1/kv/sharemesh/was", "DELETE")
        agent.crash()

        async def story() -> None:
            async with of(agent) as registry:
                coming = asyncio.create_task(asyncio.to_thread(agent.start_again))
                answers = 0
                while not coming.done() or not answers:
                    with contextlib.suppress(RegistryAway):
                        assert await registry.instances("redeem") == []
                        assert await registry.values("sharemesh/") == {}
                        answers += 1
                await coming

        run(story)
    finally:
        agent.stop()


def test_the_index_is_begun_anew_when_it_goes_backwards_and_is_never_zero() -> None:
    assert consul.next_index(None, 7) == 7
    assert consul.next_index(7, 7) == 7
    assert consul.next_index(7, 9) == 9
    assert consul.next_index(9, 7) is None
    assert consul.next_index(None, 0) == 1
    assert consul.next_index(1, 0) is None


def test_pauses_grow_to_a_limit_and_differ() -> None:
    assert all(consul.FIRST_PAUSE / 2 <= consul.pause(0) <= consul.FIRST_PAUSE for _ in range(100))
    assert all(consul.LONGEST_PAUSE / 2 <= consul.pause(10**6) <= consul.LONGEST_PAUSE for _ in range(100))
    assert len({consul.pause(3) for _ in range(10)}) > 1


def test_the_next_address_is_asked_when_one_is_away_and_the_watch_goes_on_there(agent: Agent, mortal: Agent) -> None:
    async def story() -> None:
        async with of(mortal, agent) as registry, of(agent) as second, serving() as (_, port):
            one, other = at(port), at(port)
            for number in range(50):
                await registry.put("some/key", str(number))
            await registry.register(one, is_tls=False)
            await passes(registry, one)
            await second.register(other, is_tls=False)
            await passes(second, other)
            answers = registry.watch_instances("redeem")
            assert await said_next(answers) == [one]
            await asyncio.to_thread(mortal.crash)
            assert await said_next(answers) == [other]
            await registry.register(one, is_tls=False, has_passed=True)
            assert set(await said_next(answers)) == {one, other}
            # Both are asked: it may be registered at either.
            await registry.deregister(one.id)
            await registry.deregister(other.id)
            assert await said_next(answers) == []

    run(story)


def test_an_instance_is_deregistered_at_every_address(agent: Agent, mortal: Agent) -> None:
    async def story() -> None:
        async with of(mortal, agent) as both, of(agent) as second:
            one = at(dead_port())
            await both.register(one, is_tls=False)
            await second.register(one, is_tls=False)
            await both.deregister(one.id)
            assert await both.state_of(one.id) is None
            assert await second.state_of(one.id) is None

    run(story)


def test_a_consul_that_is_away_is_one_exception_that_says_where_and_why(mortal: Agent) -> None:
    async def story() -> None:
        mortal.crash()
        async with of(mortal) as registry:
            for asked in (
                registry.register(at(1), is_tls=False),
                registry.deregister("x"),
                registry.state_of("x"),
                registry.instances("redeem"),
                registry.put("a", "b"),
                registry.delete("a"),
                registry.value("a"),
                registry.values("a"),
            ):
                with pytest.raises(RegistryAway) as away:
                    await asked
                assert str(away.value).startswith(f"{mortal.address} cannot be asked: ")

    run(story)


def test_a_hung_consul_is_away_within_the_deadline(mortal: Agent) -> None:
    async def story() -> None:
        async with of(mortal) as registry:
            await registry.put("a", "b")
            freeze(mortal.pid)
            try:
                start = time.monotonic()
                with pytest.raises(RegistryAway, match="gave no answer within 2 s"):
                    await registry.value("a")
                assert time.monotonic() - start < consul.CALL_SECONDS + 1
            finally:
                os.kill(mortal.pid, signal.SIGCONT)
            assert await registry.value("a") == "b"

    run(story)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", b"220 mail\r\n", b""])
def test_a_wrong_address_is_away_whatever_answers_there(answer: bytes) -> None:
    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(stranger, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Consul(config.Consul((f"127.0.0.1:{port}",))) as registry:
            for asked in (
                registry.state_of("x"),
                registry.instances("redeem"),
                registry.register(at(1), is_tls=False),
                registry.put("a", "b"),
                registry.delete("a"),
                registry.value("a"),
                registry.deregister("x"),
            ):
                with pytest.raises(RegistryAway, match=r"does not answer as a working Consul does|cannot be asked"):
                    await asked

    run(story)


def test_without_a_token_nothing_is_seen_and_writing_is_refused(
    guarded: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tools of Consul's own read it; what this process may do is said by its settings alone.
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", guarded.token)

    async def story() -> None:
        async with of(guarded) as nobody, of(guarded, token=lambda: guarded.token) as known:
            one = at(dead_port())
            await known.register(one, is_tls=False)
            assert await state_of(known, one) == CRITICAL
            assert await nobody.instances("redeem") == []
            assert await said_next(nobody.watch_instances("redeem")) == []
            for asked in (nobody.register(one, is_tls=False), nobody.put("a", "b")):
                with pytest.raises(RegistryAway, match=r"refuses: .*: check the ACL token"):
                    await asked
            await known.deregister(one.id)

    run(story)


def test_a_rotated_token_is_used_at_once(guarded: Agent, tmp_path: Path) -> None:
    file = tmp_path / "token"

    async def story() -> None:
        async with of(guarded, token=config.token_in(file)) as registry:
            with pytest.raises(RegistryAway, match=r"No such file.*token"):
                await registry.value("a")
            file.write_text("00000000-0000-0000-0000-000000000000\n")
            with pytest.raises(RegistryAway, match="refuses: ACL not found: check the ACL token"):
                await registry.put("a", "b")
            file.write_text(guarded.token + "\n")
            await registry.put("a", "b")
            assert await registry.value("a") == "b"

    run(story)


def test_a_watch_whose_token_is_revoked_goes_on_with_the_next_one(guarded: Agent, tmp_path: Path) -> None:
    rules = {"Description": "all", "Policies": [{"Name": "global-management"}]}
    first, second = (guarded.ask("/v1/acl/token", "PUT", rules) for _ in range(2))
    file = tmp_path / "token"
    file.write_text(first["SecretID"])

    async def story() -> None:
        async with (
            of(guarded, token=config.token_in(file)) as registry,
            of(guarded, token=lambda: guarded.token) as root,
        ):
            answers = registry.watch_values("watched/")
            assert await said_next(answers) == {}
            coming = asyncio.ensure_future(said_next(answers))
            await asyncio.to_thread(guarded.ask, f"/v1/acl/token/{first['AccessorID']}", "DELETE")
            file.write_text(second["SecretID"])
            await root.put("watched/a", "1")
            assert await coming == {"watched/a": "1"}

    run(story)


def test_a_watch_that_may_see_no_more_says_that_there_is_nothing(guarded: Agent, tmp_path: Path) -> None:
    # Whether that is believed is for the control plane to judge: Consul says no more.
    file = tmp_path / "token"
    file.write_text(guarded.token)

    async def story() -> None:
        async with (
            of(guarded, token=config.token_in(file)) as registry,
            of(guarded, token=lambda: guarded.token) as root,
        ):
            one = at(dead_port(), "audit")
            await root.register(one, is_tls=False, has_passed=True)
            answers = registry.watch_instances("audit")
            assert await said_next(answers) == [one]
            file.write_text("")
            assert await said_next(answers) == []
            await root.deregister(one.id)

    run(story)


def test_over_tls_consul_and_the_checked_servers_see_certificates(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    certs.make(folder)
    agent = local.start(tmp_path / "consul", tls=folder / "consul")

    async def story() -> None:
        async with (
            of(agent, tls=folder / "client") as registry,
            of(agent) as nobody,
            of(agent, tls=tmp_path / "none") as broken,
            Consul(config.Consul((agent.address,))) as plain,
            serving(tls.server_credentials(folder / "redeem")) as (_, port),
        ):
            one = at(port)
            await registry.register(one, is_tls=True)
            await passes(registry, one)
            for other, words in ((nobody, "certificate"), (broken, "No such file"), (plain, "HTTPS server")):
                with pytest.raises(RegistryAway, match=words):
                    await other.value("a")
            answers = registry.watch_instances("redeem")
            assert await said_next(answers) == [one]
            # With a new CA, and a Consul whose certificate is of it: to trust the old one alone would not do.
            certs.make(folder, is_rotation=True, settle=agent.reload)
            agent.crash()
            await asyncio.to_thread(agent.start_again)
            assert await said_next(answers) == []
            await registry.register(one, is_tls=True)
            assert await said_next(answers) == [one]

    try:
        run(story)
    finally:
        agent.stop()


def test_ports_of_other_kinds_are_away(agent: Agent) -> None:
    async def story() -> None:
        async with Consul(config.Consul((agent.address,), is_tls=True)) as secure:
            with pytest.raises(RegistryAway, match="cannot be asked"):
                await secure.value("a")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            async with Consul(config.Consul((f"127.0.0.1:{silent.getsockname()[1]}",))) as registry:
                with pytest.raises(RegistryAway, match="gave no answer within 2 s"):
                    await registry.value("a")

    run(story)


def test_a_closed_consul_is_a_mistake_of_ours(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            assert await registry.value("a") is None
        with pytest.raises(RuntimeError, match="outside of its async context"):
            await registry.value("a")

    run(story)


def test_who_watches_any_state_is_told_of_those_that_do_not_pass_too(agent: Agent) -> None:
    async def story() -> None:
        async with of(agent) as registry:
            answers = registry.watch_instances("entry", is_any_state=True)
            assert await said_next(answers) == []
            dead = at(dead_port(), "entry")
            await registry.register(dead, is_tls=False)
            assert await said_next(answers) == [replace(dead, state=CRITICAL)]
            await registry.deregister(dead.id)
            assert await said_next(answers) == []

    run(story)


def test_each_address_tells_who_leads_and_which_servers_there_are(agent: Agent) -> None:
    async def story() -> None:
        nobody = f"127.0.0.1:{dead_port()}"
        async with Consul(config.Consul((nobody, agent.address))) as registry:
            leader = await registry.leader(at=agent.address)
            assert await registry.servers(at=agent.address) == [leader]
            with pytest.raises(RegistryAway, match="refused"):
                await registry.leader(at=nobody)

    run(story)
