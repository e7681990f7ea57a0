"""The control plane as its clients see it: real planes, a real Consul, and instances and callers of their own."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local import consul as local
from local import ports
from local.consul import Agent
from registry import certs, channel, policy, routes
from registry.__main__ import main
from registry.instance import CONTROL_PLANE, Instance
from registry.plane import RULES_SECONDS, Memory, Rules
from registry.routes import Route
from tests.registry import echo
from tests.registry.echo import Echo
from tests.registry.patients import until
from tests.registry.scene import PATIENCE, ROOT, Scene

# Long enough for some 150 calls to a service, and for Consul to find out that an instance is gone.
WATCHED = 1.5
# For some 350 calls, by which a share is known.
COUNTED = 4.0
# "Within 1 s of it passing" is what the mesh promises.
PROMISED = 1.0


def run(agent: Agent, directory: Path, story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        async with Scene(agent, directory) as scene:
            await story(scene)

    asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE))


def test_an_instance_killed_under_load_costs_no_call_and_the_next_one_is_called_within_a_second(
    agent: Agent, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        names = ("redeem", "publish")
        starting = asyncio.gather(*(scene.instance(name) for name in 2 * names))
        plane, made = await asyncio.gather(scene.plane(), starting)
        first = made[: len(names)]
        caller = await scene.caller(",".join(names), plane)
        await caller.until(lambda report: len(report.answers) == 4)
        for process, *_ in first:
            process.kill()
        await asyncio.sleep(WATCHED)
        report = await caller.report()
        assert not report.failures
        assert sum(report.answers.values()) > 100
        _, instance, registration = await scene.instance(is_registered=False)
        await registration.start()
        passed = await is_passing(scene, instance)
        report = await caller.until(lambda report: instance.id in report.answers)
        assert report.firsts[instance.id] - passed < PROMISED

    run(agent, tmp_path, story)


async def is_passing(scene: Scene, instance: Instance) -> float:
    """Waits until Consul says so; then, as time.time()."""

    async def has_passed() -> bool:
        found = await scene.consul.instances(instance.service)
        return any(one.id == instance.id and one.state == "passing" for one in found)

    await until(has_passed)
    return time.time()


def test_an_instance_that_drains_costs_no_call_and_gets_none_after_it_left(agent: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        plane, leaving, staying = await asyncio.gather(scene.plane(), scene.instance(), scene.instance())
        caller = await scene.caller("redeem", plane)
        await leaving[2].leave()
        await caller.until(lambda report: list(report.answers) == [staying[1].id])
        leaving[0].stop()
        report = await caller.report()
        assert not report.failures

    run(agent, tmp_path, story)


def test_canary_rules_changed_live_move_their_part_of_the_calls_and_the_header_picks_a_version(
    agent: Agent, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        plane, *made = await asyncio.gather(scene.plane(), scene.instance(), scene.instance())
        olds = [instance.id for _, instance, _ in made]
        caller = await scene.caller("redeem", plane)
        await scene.consul.put(routes.key_of("redeem"), Route({"v2": 20}).text())
        new = (await scene.instance(version="v2"))[1].id
        await caller.until(lambda report: 0 < report.share(new) < 0.5)
        await caller.report()
        await asyncio.sleep(COUNTED)
        report = await caller.report()
        # 20 % of some 350 calls: 5 standard deviations are 11 %.
        assert not report.failures
        assert 0.09 < report.share(new) < 0.31
        assert abs(report.share(olds[0]) - report.share(olds[1])) < 0.1
        await scene.consul.put(routes.key_of("redeem"), Route({"v2": 100}).text())
        await caller.until(lambda report: report.share(new) == 1)
        await caller.until(lambda report: report.share(*olds) == 1, version="v1")
        await scene.consul.put(routes.key_of("redeem"), Route({"v2": 0}).text())
        await caller.until(lambda report: report.share(*olds) == 1)
        await caller.until(lambda report: report.share(new) == 1, version="v2")
        # Nobody has that: as if nothing were asked for.
        await caller.until(lambda report: report.share(*olds) == 1, version="v3")
        await scene.consul.delete(routes.key_of("redeem"))
        await caller.until(lambda report: 0.2 < report.share(new) < 0.5)

    run(agent, tmp_path, story)


def test_a_canary_by_its_tag_gets_its_percentage_and_no_call_fails_when_it_is_killed(
    agent: Agent, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        plane, (_, old, _), (process, instance, _) = await asyncio.gather(
            scene.plane(), scene.instance(), scene.instance(version="v2", canary=50)
        )
        caller = await scene.caller("redeem", plane)
        await caller.until(lambda report: 0.3 < report.share(instance.id) < 0.7)
        process.kill()
        await asyncio.sleep(WATCHED)
        report = await caller.report()
        assert not report.failures
        await caller.until(lambda report: report.share(old.id) == 1)

    run(agent, tmp_path, story)


def test_callers_prefer_their_own_zone_and_go_elsewhere_when_nobody_is_left_in_it(agent: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        plane, near, far = await asyncio.gather(scene.plane(), scene.instance(zone="east"), scene.instance(zone="west"))
        east, nowhere = await asyncio.gather(*(scene.caller("redeem", plane, zone=zone) for zone in ("east", "")))
        await east.until(lambda report: report.share(near[1].id) == 1)
        await nowhere.until(lambda report: 0.3 < report.share(far[1].id) < 0.7)
        near[0].kill()
        await asyncio.sleep(WATCHED)
        report = await east.report()
        assert not report.failures
        await east.until(lambda report: report.share(far[1].id) == 1)

    run(agent, tmp_path, story)


def test_nobody_notices_a_consul_that_is_away_and_comes_back_empty(mortal: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        plane, *made = await asyncio.gather(scene.plane(), scene.instance(), scene.instance())
        ids = {instance.id for _, instance, _ in made}
        caller = await scene.caller("redeem", plane)
        await scene.consul.put(routes.key_of("redeem"), Route({"v9": 10}).text())
        mortal.crash()
        await asyncio.sleep(WATCHED / 2)
        await asyncio.to_thread(mortal.start_again, fresh=True)
        await caller.until(lambda report: set(report.answers) == ids)

        async def are_back() -> bool:
            return len(await scene.consul.instances("redeem")) == 2

        await until(are_back)
        await asyncio.sleep(WATCHED)
        report = await caller.report()
        assert not report.failures
        assert set(report.answers) == ids

    run(mortal, tmp_path, story)


def test_an_acl_that_shows_nothing_any_more_takes_no_instance_away(tmp_path: Path) -> None:
    guarded = local.start(tmp_path / "guarded", acl=True)
    token = tmp_path / "token"
    token.write_text(guarded.token)

    async def story(scene: Scene) -> None:
        plane, *made = await asyncio.gather(
            scene.plane("--registry-token", str(token)), scene.instance(), scene.instance()
        )
        ids = {instance.id for _, instance, _ in made}
        caller = await scene.caller("redeem", plane)
        # No token at all is everybody's, which may see nothing. A query that is under way is answered when something
        # changes, here a dead port's registration.
        token.write_text("")
        dead = Instance("redeem", "dead", "127.0.0.1", 1)

        async def is_held() -> bool:
            await scene.consul.register(replace(dead, zone=str(time.time())), is_tls=False)
            return "empty_set_held" in plane.said()

        await until(is_held)
        await caller.report()
        await asyncio.sleep(WATCHED)
        report = await caller.report()
        assert not report.failures
        assert set(report.answers) == ids

    try:
        run(guarded, tmp_path, story)
    finally:
        guarded.stop()


def test_the_last_instance_to_leave_is_called_until_the_grace_time_is_over(agent: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        plane, (_, instance, registration) = await asyncio.gather(scene.plane("--grace", "3"), scene.instance())
        caller = await scene.caller("redeem", plane)
        await registration.leave()
        left = time.monotonic()
        while not (report := await caller.report()).failures:
            assert set(report.answers) <= {instance.id}
            assert time.monotonic() < left + PATIENCE
            await asyncio.sleep(0.1)
        assert time.monotonic() >= left + 3
        assert all(failure.startswith("redeem UNAVAILABLE") for failure in report.failures)

    run(agent, tmp_path, story)


def test_with_tls_clients_services_planes_and_consul_show_each_other_who_they_are(tmp_path: Path) -> None:
    certs.make(tmp_path / "tls")
    secured = local.start(tmp_path / "secured", tls=tmp_path / "tls/consul")

    async def story(scene: Scene) -> None:
        planes = await asyncio.gather(*(scene.plane("--tls", str(tmp_path / "tls")) for _ in range(2)))
        # The second says that it is redeem, and has the certificate of another.
        made = await asyncio.gather(*(scene.instance(tls=tmp_path / "tls" / name) for name in ("redeem", "entry")))
        own = made[0][1].id
        caller = await scene.caller("redeem", *planes, tls=tmp_path / "tls/client")
        # Of two in turn each would have got some of these.
        report = await caller.until(lambda report: sum(report.answers.values()) > 5)
        assert set(report.answers) == {own}

    try:
        run(secured, tmp_path, story)
    finally:
        secured.stop()


def test_an_instance_that_is_well_by_its_word_but_fails_every_call_is_taken_out(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Scene) -> None:
        plane = await scene.plane()
        monkeypatch.setenv(channel.BOOTSTRAP, channel.bootstrap(plane.address))
        echoes = [Echo("one"), Echo("two"), Echo("broken", is_broken=True)]
        servers = [await echo.start(one) for one in echoes]
        for one, (_, port) in zip(echoes, servers, strict=True):
            await scene.consul.register(Instance("share", one.name, "127.0.0.1", port), is_tls=False, has_passed=True)
        async with grpc.aio.insecure_channel("xds:///share") as mesh:
            stub: Any = mesh.unary_unary(policy.methods_of("share")[0].path)

            async def is_called() -> bool:
                # As many as count for an ejection, were one of three to get its part. Until it is out, a call may
                # be so unlucky as to find the broken one at each of its attempts.
                before = echoes[2].calls
                calls = (stub(b"", timeout=PATIENCE, wait_for_ready=True) for _ in range(90))
                answers = await asyncio.gather(*calls, return_exceptions=True)
                return echoes[2].calls > before or not set(answers) <= {b"one", b"two"}

            async def is_out() -> bool:
                return not await is_called()

            await until(is_called)
            await until(is_out)
        for one, (server, _) in zip(echoes, servers, strict=True):
            await scene.consul.deregister(one.name)
            await server.stop(0)

    run(agent, tmp_path, story)


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_with_two_control_planes_the_end_of_one_costs_no_call_and_changes_still_arrive(
    agent: Agent, tmp_path: Path, ending: str
) -> None:
    async def story(scene: Scene) -> None:
        *planes, _ = await asyncio.gather(scene.plane(), scene.plane(), scene.instance())
        caller = await scene.caller("redeem", *planes)
        await asyncio.to_thread(getattr(planes[0], ending))
        new = (await scene.instance())[1].id
        await caller.until(lambda report: new in report.answers)

    run(agent, tmp_path, story)


def test_callers_that_start_before_the_control_plane_find_it_when_it_comes(agent: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.instance()
        port = ports.free_one()
        waiting = asyncio.create_task(scene.caller_of("redeem", f"127.0.0.1:{port}"))
        await asyncio.sleep(WATCHED)
        assert not waiting.done()
        await scene.plane(port=port)
        await (await waiting).until(lambda report: bool(report.answers))

    run(agent, tmp_path, story)


def test_it_registers_itself_and_is_serving_only_once_consul_has_answered(mortal: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        mortal.crash()
        plane = await scene.plane()
        async with grpc.aio.insecure_channel(plane.address) as asked:
            stub: Any = health_pb2_grpc.HealthStub(asked)
            check = stub.Check
            request = health_pb2.HealthCheckRequest()
            assert (await check(request, timeout=5)).status == health_pb2.HealthCheckResponse.NOT_SERVING
            await asyncio.to_thread(mortal.start_again)

            async def is_serving() -> bool:
                return bool((await check(request, timeout=5)).status == health_pb2.HealthCheckResponse.SERVING)

            await until(is_serving)

        async def has_passed() -> bool:
            return [one.state for one in await scene.consul.instances(CONTROL_PLANE)] == ["passing"]

        await until(has_passed)
        assert await asyncio.to_thread(plane.stop) == 0
        assert await scene.consul.instances(CONTROL_PLANE) == []

    run(mortal, tmp_path, story)


@pytest.mark.parametrize(
    "flags, complaint",
    [
        ("--registry static:a=b:1", "--registry: a control plane follows Consul"),
        ("--registry consul://nowhere", "--registry: 'consul://nowhere' 'nowhere' is not host:port"),
        ("--listen 18000", "--listen: '18000' is not host:port"),
        ("--listen 0.0.0.0:0", "--advertise: 0.0.0.0 is every address"),
        ("--grace soon", "--grace: 'soon' is not a number of seconds"),
        ("--registry-token nofile", "--registry-token: there is no file nofile"),
        ("--tls nofolder", "nofolder/control-plane/ca.pem"),
        ("--listen 127.0.0.1:{taken}", "--listen: cannot listen on 127.0.0.1:"),
    ],
)
def test_a_bad_flag_is_one_clear_line(
    agent: Agent, flags: str, complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["registry", *flags.format(taken=agent.port).split()])
    assert main() == 2
    told = capsys.readouterr().err
    assert told.startswith("registry: ")
    assert complaint in told
    assert told.count("\n") == 1


def test_settings_come_from_the_environment_too() -> None:
    environment = os.environ | {"SHAREMESH_REGISTRY": "static:redeem=127.0.0.1:1"}
    command = [sys.executable, "-m", "registry"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"registry: --registry: a control plane follows Consul")


ONE, TWO = (Instance("redeem", name, "127.0.0.1", port) for name, port in (("one", 1), ("two", 2)))
CANARY = Instance("redeem", "canary", "127.0.0.1", 3, version="v2")


def test_an_empty_answer_replaces_a_known_set_only_after_its_grace_time() -> None:
    memory = Memory("redeem", grace=30)
    memory.learn([ONE, TWO], 0)
    memory.learn([], 10)
    assert memory.next_change(10) == 40
    assert memory.view(39.9, None).instances == (ONE, TWO)
    assert memory.view(40, None).instances == ()
    memory.learn([TWO], 50)
    assert memory.view(50, None).instances == (TWO,)


def test_an_empty_answer_that_is_taken_back_in_time_leaves_no_trace() -> None:
    memory = Memory("redeem", grace=30)
    memory.learn([ONE], 0)
    memory.learn([], 10)
    memory.learn([ONE], 20)
    assert not memory.is_held(20)
    assert memory.view(45, None).instances == (ONE,)


def test_a_first_answer_that_is_empty_is_not_told_before_its_grace_time_either() -> None:
    memory = Memory("redeem", grace=30)
    memory.learn([], 0)
    assert memory.view(29, None).instances is None
    assert memory.view(30, None).instances == ()


@pytest.mark.parametrize(
    ("host", "port"),
    [("localhost", 1), ("", 1), ("0.0.0.0", 1), ("fe80::1%lo", 1), ("127.0.0.1", 0), ("127.0.0.1", -1), ("::1", 2**33)],
)
def test_an_instance_that_no_client_could_read_hides_no_other(host: str, port: int) -> None:
    memory = Memory("redeem", grace=30)
    strange = Instance("redeem", "strange", host, port)
    memory.learn([ONE, strange], 0)
    assert memory.view(0, None).instances == (ONE,)
    memory.learn([strange], 10)
    assert memory.view(39, None).instances == (ONE,)
    assert memory.view(40, None).instances == ()


def test_a_set_is_no_longer_held_at_the_moment_when_it_is_given_up() -> None:
    memory = Memory("redeem", grace=30)
    memory.learn([ONE], 0)
    memory.learn([], 10)
    assert memory.is_held(39)
    # Rules that waited for it end now, since nothing else may happen for a long time.
    assert not memory.is_held(40)


def test_a_new_version_gets_its_cluster_before_its_calls_and_keeps_it_after_them() -> None:
    memory = Memory("redeem", settle=2)
    memory.learn([ONE], 0)
    assert memory.view(0, None).clusters == frozenset()
    memory.learn([ONE, CANARY], 10)
    assert memory.view(11.9, None).clusters == {"v1", "v2"}
    assert memory.view(11.9, None).routed == frozenset()
    assert memory.next_change(11.9) == 12
    assert memory.view(12, None).routed == {"v1", "v2"}
    memory.learn([ONE], 1000)
    assert memory.view(1001.9, None).clusters == {"v1", "v2"}
    assert memory.view(1001.9, None).routed == frozenset()
    assert memory.view(1002, None).clusters == frozenset()
    assert memory.next_change(1002) == float("inf")


def test_a_plane_that_has_just_begun_sends_calls_to_all_versions_at_once() -> None:
    memory = Memory("redeem", settle=2)
    memory.learn([ONE, CANARY], 5)
    assert memory.view(5, None).routed == {"v1", "v2"}


def test_rules_that_are_all_gone_are_followed_until_it_is_clear_that_consul_is_not() -> None:
    rules = Rules()
    rules.learn({routes.key_of("redeem"): Route({"v2": 5}).text(), routes.key_of("audit"): "{"}, 0)
    assert rules.current(0, is_held=False) == {"redeem": Route({"v2": 5})}
    rules.learn({}, 10)
    assert rules.next_change(10) == 10 + RULES_SECONDS
    assert rules.current(10, is_held=False)
    assert rules.current(10 + RULES_SECONDS, is_held=True)
    assert not rules.current(10 + RULES_SECONDS, is_held=False)


def test_a_rule_that_is_broken_by_a_slip_counts_as_it_was() -> None:
    rules = Rules()
    rules.learn({routes.key_of("redeem"): Route({"v2": 5}).text()}, 0)
    rules.learn({routes.key_of("redeem"): '{"canary": {"v2": "five"}}'}, 1)
    assert rules.current(1, is_held=False) == {"redeem": Route({"v2": 5})}


def test_a_rule_that_is_one_of_several_goes_at_once() -> None:
    rules = Rules()
    text = Route({"v2": 5}).text()
    rules.learn({routes.key_of("redeem"): text, routes.key_of("audit"): text}, 0)
    rules.learn({routes.key_of("redeem"): text}, 1)
    assert list(rules.current(1, is_held=False)) == ["redeem"]
