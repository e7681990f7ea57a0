"""Against real Consul agents, real gRPC servers and the five services."""

import asyncio
import json
import resource
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from local import ports
from local.consul import Agent
from monitoring.catalogue import Catalogue
from monitoring.census import Census
from monitoring.gateways import Gateways
from monitoring.heartbeat import CHECK_SECONDS, LEFT_BEATS, Heartbeat
from monitoring.pulse import LEFT, NOT_SERVING, SERVING, SILENT
from monitoring.readings import Readings, key
from registry import certs, config, tls
from registry.authority import Authority
from registry.consul import Consul
from registry.identity import BadCertificate
from registry.instance import CONTROL_PLANE, Instance
from registry.policy import SERVICES
from tests.conftest import migrated
from tests.mesh import started
from tests.monitoring.ward import PATIENCE, process, serving
from tests.registry.patients import until

DAY = timedelta(days=1)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 3 * PATIENCE))


class Watch:
    """A heartbeat that follows a Consul, in which the test registers."""

    def __init__(self, consul: Consul, census: Census, heartbeat: Heartbeat) -> None:
        self.consul = consul
        self.census = census
        self.heartbeat = heartbeat

    async def beat(self) -> Readings:
        return await self.heartbeat.read()

    async def register(self, *instances: Instance) -> None:
        """Has Consul know them, and waits until the census does."""
        for instance in instances:
            await self.consul.register(instance, is_tls=False, has_passed=True)
        await self.knows({instance.id for instance in instances}, set())

    async def deregister(self, *instances: Instance) -> None:
        for instance in instances:
            await self.consul.deregister(instance.id)
        await self.knows(set(), {instance.id for instance in instances})

    async def knows(self, wanted: set[str], unwanted: set[str]) -> None:
        async def is_so() -> bool:
            known = {one.id for one in self.census.instances}
            return self.census.is_known and wanted <= known and not unwanted & known

        await until(is_so)


@asynccontextmanager
async def watching(agent: Agent, own: Path | None = None) -> AsyncIterator[Watch]:
    place = config.parse(agent.url)
    assert isinstance(place, config.Consul)
    async with Consul(place) as consul:
        census = Census(consul)
        following = asyncio.create_task(census.run())
        heartbeat = Heartbeat(census, own)
        try:
            yield Watch(consul, census, heartbeat)
        finally:
            await heartbeat.close()
            following.cancel()
            await asyncio.wait([following])


def state(readings: Readings, instance: Instance) -> object:
    return readings.get(key("instance.state", instance.service, instance.id))


def misses(readings: Readings, instance: Instance) -> object:
    return readings.get(key("instance.misses", instance.service, instance.id))


def latency(readings: Readings, instance: Instance) -> object:
    return readings.get(key("instance.latency", instance.service, instance.id))


def row_of(readings: Readings, instance: Instance) -> dict[str, str] | None:
    rows = json.loads(str(readings[key("instance.discovery")]))
    return next((row for row in rows if row["{#INSTANCE}"] == instance.id), None)


def at(address: str, service: str = "redeem", id: str = "") -> Instance:
    host, port = config.split(address)
    return Instance(service, id or f"{service}-{port}", host, port)


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[Any]:
    return [record.args for record in caplog.records if record.message == event]


def test_the_five_services_of_a_static_registry_serve(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mesh.db"
    migrated(url)
    with started(url, tmp_path / "var") as mesh:

        async def story() -> None:
            census = Census(config.Static(mesh.addresses))
            heartbeat = Heartbeat(census)
            readings = await heartbeat.read()
            for name, address in mesh.addresses.items():
                assert readings[key("instance.state", name, address)] == SERVING
                assert readings[key("instance.misses", name, address)] == 0
                assert 0 < float(readings[key("instance.latency", name, address)]) < CHECK_SECONDS
            address = mesh.addresses["audit"]
            assert row_of(readings, at(address, "audit", id=address)) == {
                "{#SERVICE}": "audit",
                "{#INSTANCE}": address,
                "{#ADDRESS}": address,
                "{#ZONE}": "",
                "{#VERSION}": "v1",
            }
            whole = await Catalogue(census, heartbeat).read()
            assert {name: whole[key("service.instances", name)] for name in SERVICES} == dict.fromkeys(SERVICES, 1)
            assert key("service.instances", CONTROL_PLANE) not in whole
            assert key("consul.up") not in whole
            await heartbeat.close()

        run(story)


def test_a_killed_instance_is_silent_at_the_next_beat_and_serves_again_when_it_is_back(
    agent: Agent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with watching(agent) as watch, process(tmp_path) as victim:
            one = at(victim.address)
            await watch.register(one)
            assert state(await watch.beat(), one) == SERVING
            victim.kill()
            for missed in (1, 2, 3):
                readings = await watch.beat()
                assert (state(readings, one), misses(readings, one)) == (SILENT, missed)
                assert latency(readings, one) is None
                assert row_of(readings, one) is not None
            async with process(tmp_path, port=one.port):

                async def is_back() -> bool:
                    return state(await watch.beat(), one) == SERVING

                # One beat, but for the pause of 0.5 s at most between attempts to connect.
                assert await until(is_back) < PATIENCE / 2
            await watch.deregister(one)
        [once] = told(caplog, "silent")
        # "refused", or "reset" if the kept connection had not noticed yet.
        assert once["reason"] == "UNAVAILABLE"
        assert len(told(caplog, "answers_again")) == 1

    run(story)


def test_an_instance_that_stands_still_is_silent_and_does_not_hold_up_the_beat(agent: Agent, tmp_path: Path) -> None:
    async def story() -> None:
        async with watching(agent) as watch, process(tmp_path) as victim, serving() as well:
            still, other = at(victim.address), well.instance()
            await watch.register(still, other)
            assert state(await watch.beat(), still) == SERVING
            victim.pause()
            begin = time.monotonic()
            readings = await watch.beat()
            # Without a limit it would be for ever; a busy machine adds to it.
            assert time.monotonic() - begin < 6 * CHECK_SECONDS
            assert (state(readings, still), state(readings, other)) == (SILENT, SERVING)
            victim.resume()

            async def is_back() -> bool:
                return state(await watch.beat(), still) == SERVING

            await until(is_back)
            await watch.deregister(still, other)

    run(story)


def test_one_that_says_that_it_is_not_well_is_not_serving_and_misses_nothing(agent: Agent) -> None:
    async def story() -> None:
        async with watching(agent) as watch, serving() as ward:
            one = ward.instance()
            await watch.register(one)
            await ward.say(is_well=False)
            readings = await watch.beat()
            assert (state(readings, one), misses(readings, one)) == (NOT_SERVING, 0)
            assert latency(readings, one) is not None
            await ward.say(is_well=True)
            assert state(await watch.beat(), one) == SERVING
            await watch.deregister(one)

    run(story)


def test_a_dead_port_is_silent_from_the_first_beat(agent: Agent) -> None:
    async def story() -> None:
        async with watching(agent) as watch:
            one = at(f"127.0.0.1:{ports.free_one()}")
            await watch.register(one)
            readings = await watch.beat()
            assert (state(readings, one), misses(readings, one)) == (SILENT, 1)
            await watch.deregister(one)

    run(story)


def test_one_that_left_is_told_for_some_beats_and_then_no_more(agent: Agent) -> None:
    async def story() -> None:
        async with watching(agent) as watch, serving() as ward:
            one = ward.instance()
            await watch.register(one)
            await watch.beat()
            # As a service ends: it looks away, leaves the registry, and is gone a moment later.
            await ward.say(is_well=False)
            await watch.deregister(one)
            for beat in range(LEFT_BEATS):
                readings = await watch.beat()
                assert state(readings, one) == LEFT
                assert row_of(readings, one) is not None
                if beat == 0:
                    await ward.server.stop(0)
            readings = await watch.beat()
            assert state(readings, one) is None
            assert row_of(readings, one) is None

    run(story)


def test_a_foreign_server_on_the_port_of_a_dead_instance_does_not_pass_for_it(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        page = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with watching(agent) as watch, serving("audit") as stranger:
            wrong = at(f"127.0.0.1:{stranger.port}", "redeem")
            no_grpc = at(f"127.0.0.1:{page.sockets[0].getsockname()[1]}", "share")
            await watch.register(wrong, no_grpc)
            for _ in range(2):
                readings = await watch.beat()
                assert (state(readings, wrong), state(readings, no_grpc)) == (SILENT, SILENT)
            await watch.deregister(wrong, no_grpc)
        page.close()
        assert {one["reason"] for one in told(caplog, "silent")} >= {"NOT_FOUND"}

    run(story)


def test_control_planes_are_asked_and_instances_of_other_machines_are_not(agent: Agent) -> None:
    async def story() -> None:
        async with watching(agent) as watch, serving(CONTROL_PLANE) as plane:
            here, elsewhere = plane.instance(), replace(at("127.0.0.1:9"), host="192.0.2.1", id="elsewhere")
            await watch.register(here, elsewhere)
            readings = await watch.beat()
            assert (state(readings, here), state(readings, elsewhere)) == (SERVING, None)
            whole = await Catalogue(watch.census, watch.heartbeat, watch.consul).read()
            assert whole[key("service.registered", CONTROL_PLANE)] == 1
            assert whole[key("service.registered", "redeem")] == 1
            await watch.deregister(here, elsewhere)

    run(story)


def test_while_consul_is_away_the_last_known_are_asked_and_an_empty_one_drives_nobody_out(mortal: Agent) -> None:
    async def story() -> None:
        async with watching(mortal) as watch, serving() as ward:
            assert await watch.beat() == {}
            one = ward.instance()
            await watch.register(one)
            catalogue = Catalogue(watch.census, watch.heartbeat, watch.consul)
            whole = await catalogue.read()
            assert (whole[key("consul.up")], whole[key("consul.leader")], whole[key("consul.servers")]) == (1, 1, 1)
            assert whole[key("service.instances", "redeem")] == 1
            await asyncio.to_thread(mortal.crash)
            assert state(await watch.beat(), one) == SERVING
            await ward.say(is_well=False)
            assert state(await watch.beat(), one) == NOT_SERVING
            await ward.say(is_well=True)
            whole = await catalogue.read()
            assert (whole[key("consul.up")], whole[key("consul.leader")]) == (0, 0)
            assert whole[key("consul.server.up", mortal.address)] == 0
            assert key("service.instances", "redeem") not in whole
            await asyncio.to_thread(mortal.start_again)
            await watch.knows(set(), {one.id})
            # It has forgotten the instance, which will register again in a moment.
            for _ in range(LEFT_BEATS + 1):
                assert state(await watch.beat(), one) == SERVING
            await watch.register(one)
            assert state(await watch.beat(), one) == SERVING

    run(story)


def test_of_several_addresses_of_consul_each_is_told(agent: Agent) -> None:
    async def story() -> None:
        dead = f"127.0.0.1:{ports.free_one()}"
        async with Consul(config.Consul((dead, agent.address))) as consul:
            census = Census(consul)
            whole = await Catalogue(census, Heartbeat(census), consul).read()
        assert whole[key("consul.server.up", dead)] == 0
        assert whole[key("consul.server.up", agent.address)] == 1
        assert whole[key("consul.up")] == 1
        assert 0 < float(whole[key("consul.latency")]) < 1

    run(story)


def test_two_hundred_instances_are_asked_within_a_beat(agent: Agent) -> None:
    async def story() -> None:
        async with watching(agent) as watch, serving() as a, serving("share") as b, serving("audit") as c:
            wards = (a, b, c)
            many = [wards[number % 3].instance(f"many-{number:03}") for number in range(199)]
            dead = at(f"127.0.0.1:{ports.free_one()}")
            await watch.register(*many, dead)
            await watch.beat()
            begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
            readings = await watch.beat()
            took, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_SELF)
            assert [state(readings, one) for one in many] == [SERVING] * 199
            assert state(readings, dead) == SILENT
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            # With the servers in this process: a third of it is theirs.
            print(f"200 instances: {took * 1000:.0f} ms, {cpu * 1000:.0f} ms of CPU")
            await watch.deregister(*many, dead)

    run(story)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tls") / "tls"
    certs.make(out)
    return out


def given(folder: Path, authority: Authority, begin: datetime, end: datetime) -> grpc.ServerCredentials:
    """What a server of that certificate listens with, which trusts the callers whom this CA signs."""
    cert, private = authority.issue("redeem", [], begin, end)
    return grpc.ssl_server_credentials([(private, cert)], (folder / "ca.pem").read_bytes(), True)


def test_over_mutual_tls_instances_serve_by_whatever_address(agent: Agent, identities: Path) -> None:
    async def story() -> None:
        async with (
            watching(agent, own=identities / "client") as watch,
            serving("redeem", credentials=tls.server_credentials(identities / "redeem")) as ward,
            # This address is in no certificate.
            serving("share", credentials=tls.server_credentials(identities / "share"), host="127.0.0.2") as other,
        ):
            instances = ward.instance(), other.instance()
            await watch.register(*instances)
            assert [state(await watch.beat(), one) for one in instances] == [SERVING, SERVING]
            await watch.deregister(*instances)

    run(story)


def test_an_expired_or_foreign_certificate_or_none_is_no_answer_and_is_said_once(
    agent: Agent, identities: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    ours = Authority.of_pem(*((identities / certs.AUTHORITY / name).read_bytes() for name in ("ca.pem", "key.pem")))
    expired = given(identities / "redeem", ours, now - 2 * DAY, now - DAY)
    foreign = given(identities / "redeem", Authority.new(), now - DAY, now + DAY)

    async def story() -> None:
        async with (
            watching(agent, own=identities / "client") as watch,
            serving("redeem", credentials=expired) as late,
            serving("share", credentials=foreign) as strange,
            serving("audit") as plain,
        ):
            instances = [ward.instance() for ward in (late, strange, plain)]
            await watch.register(*instances)
            for missed in (1, 2, 3):
                readings = await watch.beat()
                assert [state(readings, one) for one in instances] == [SILENT] * 3
                assert [misses(readings, one) for one in instances] == [missed] * 3
            await watch.deregister(*instances)
        # A handshake that a busy machine makes late is another reason, and said once, too.
        said = [one for one in told(caplog, "silent") if one["reason"] == "UNAVAILABLE"]
        assert sorted(one["who"].split()[0] for one in said) == ["audit", "redeem", "share"]
        assert sum("CERTIFICATE_VERIFY_FAILED" in one["error"] for one in said) == 2

    run(story)


def test_the_sidecars_own_certificate_is_followed_and_the_last_good_one_is_kept(
    agent: Agent, identities: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = shutil.copytree(identities / "client", tmp_path / "own")

    async def story() -> None:
        async with (
            watching(agent, own=own) as watch,
            serving("redeem", credentials=tls.server_credentials(identities / "redeem")) as ward,
        ):
            one = ward.instance()
            await watch.register(one)
            assert state(await watch.beat(), one) == SERVING
            (own / "cert.pem").write_bytes(b"")
            for _ in range(2):
                assert state(await watch.beat(), one) == SERVING
            assert len(told(caplog, "certificate_not_taken")) == 1
            for name in ("cert.pem", "key.pem"):
                (own / name).write_bytes((identities / "gateway" / name).read_bytes())
            assert state(await watch.beat(), one) == SERVING
            await watch.deregister(one)

    run(story)
    with pytest.raises(BadCertificate, match="No such file"):
        Heartbeat(Census(config.Static({})), tmp_path / "nothing")


@asynccontextmanager
async def gateway(answer: bytes) -> AsyncIterator[str]:
    """The address of one that answers so to whatever it is asked; with nothing at all if that is empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readline()
        assert asked == b"GET /healthz HTTP/1.1\r\n"
        if answer:
            writer.write(b"HTTP/1.1 " + answer + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def test_a_gateway_serves_drains_hangs_or_is_gone() -> None:
    async def story() -> None:
        async with gateway(b"200 OK") as well, gateway(b"503 Service Unavailable") as draining, gateway(b"") as hanging:
            gone = f"127.0.0.1:{ports.free_one()}"
            addresses = (well, draining, hanging, gone)
            gateways = Gateways(addresses)
            for missed in (1, 2):
                begin = time.monotonic()
                readings = await gateways.read()
                assert time.monotonic() - begin < 3
                states = [readings[key("gateway.state", one)] for one in addresses]
                assert states == [SERVING, NOT_SERVING, SILENT, SILENT]
                assert [readings[key("gateway.misses", one)] for one in addresses] == [0, 0, missed, missed]
                assert float(readings[key("gateway.latency", well)]) > 0
                assert key("gateway.latency", gone) not in readings
                rows = json.loads(str(readings[key("gateway.discovery")]))
                assert rows == [{"{#GATEWAY}": one} for one in sorted(addresses)]
            await gateways.close()

    run(story)
