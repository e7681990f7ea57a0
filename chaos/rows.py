"""The rows: what is done to a mesh under load, and what its callers may notice of it."""

import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chaos import canary
from chaos.caller import NEWER
from chaos.counting import ROOT, Seen
from chaos.stage import Short, Stage, together
from local import consul, ports
from local.process import Process
from registry import channel, config
from registry.consul import Consul
from registry.instance import Instance

# What a mesh promises: a new instance is found, and a hung one left, within these.
FOUND_SECONDS = 1.0
# For a service that so few calls go to that the next one alone may take a second to come.
SELDOM_SECONDS = 5.0
LEFT_SECONDS = 3.0
# Consul finds an instance healthy at most this long before the mesh sees that it does.
_SEEN_SECONDS = 0.15
# For what takes no longer on a busy machine.
_PATIENCE = 30.0
# An app that starts before the control planes do waits this long until they come.
_EARLY_SECONDS = 2.0
# Consul finds a dead port critical at its first check, within a second; so long it was thought to be alive.
_DEAD_SECONDS = 3.0
# A hung instance is resumed after its last caller has lost patience.
_HUNG_SECONDS = 12.0
# A share is told by so many calls at least, and may differ from what was asked for by so many standard deviations.
_COUNTED = 60
_DEVIATIONS = 4

Judge = Callable[[Seen, float], str]


def nobody_failed(seen: Seen, begin: float) -> str:
    """Raises Short unless all calls were answered and all streams went on."""
    if seen.failed:
        raise Short(f"{len(seen.failed)} failed")
    return ""


def failures_ended(seen: Seen, begin: float) -> str:
    """Raises Short if a call that was begun later than LEFT_SECONDS after the beginning failed."""
    last = max((one.begin - begin for one in seen.failed), default=0.0)
    told = f"the last call that failed began {last:.1f} s after it" if seen.failed else "no call failed"
    if last > LEFT_SECONDS:
        raise Short(told)
    return told


@dataclass(frozen=True)
class Row:
    """`act` says in words what it measured, if anything, and raises Short; `judge` looks at the calls meanwhile."""

    name: str
    title: str
    wanted: str
    act: Callable[[Stage], str]
    judge: Judge = nobody_failed


def steady(stage: Stage) -> str:
    """Nothing is done."""
    time.sleep(stage.outage / 2)
    return ""


def roll(stage: Stage) -> str:
    """Every instance is stopped with SIGTERM and started again, one of each service at a time."""
    waves = max(len(stage.mesh.instances_of(one.service)) for one in stage.mesh.instances)
    for wave in range(waves):
        of_each = [stage.mesh.instances_of(service) for service in stage.mesh.scale]
        these = [instances[wave] for instances in of_each if len(instances) > wave]
        together(Process.stop, these)
        stage.start_again(these)
    return f"{len(stage.mesh.instances)} instances"


def kill_one_of_each(stage: Stage) -> str:
    """Kill -9, one after the other in the middle of their calls."""
    these = stage.one_of_each()
    for instance in these:
        instance.kill()
        time.sleep(stage.outage / 8)
    stage.start_again(these)
    return f"{len(these)} instances"


def kill_plane(stage: Stage) -> str:
    """One of two control planes, and then the other: whichever a caller asked, one of them was it."""
    for plane in stage.mesh.planes:
        plane.kill()
        time.sleep(stage.outage / 4)
        plane.start_again()
        time.sleep(stage.outage / 8)
    return ""


def no_plane(stage: Stage) -> str:
    """All control planes are away for a while, and an instance is killed meanwhile."""
    for plane in stage.mesh.planes:
        plane.kill()
    time.sleep(stage.outage / 2)
    victim = stage.mesh.instances_of("redeem")[0]
    victim.kill()
    time.sleep(stage.outage / 2)
    for plane in stage.mesh.planes:
        plane.launch()
    for plane in stage.mesh.planes:
        plane.await_ready()
    stage.start_again([victim])
    return f"{stage.outage:.0f} s without any"


def no_plane_at_start(stage: Stage) -> str:
    """An app and an instance start while no control plane is up; both come to work once there is one."""
    late = stage.mesh.instances_of("publish")[0]
    late.stop()
    for plane in stage.mesh.planes:
        plane.kill()
    late.launch()
    told = partial(subprocess.run, [sys.executable, "-m", "chaos.first", "xds:///redeem"], cwd=ROOT, timeout=_PATIENCE)
    environment = {**os.environ, channel.BOOTSTRAP: stage.mesh.bootstrap}
    with ThreadPoolExecutor(1) as thread:
        app = thread.submit(told, env=environment, capture_output=True, text=True)
        time.sleep(_EARLY_SECONDS)
        for plane in stage.mesh.planes:
            plane.launch()
        done = app.result()
    for process in (*stage.mesh.planes, late):
        process.await_ready()
    stage.mesh.await_passing([late])
    if done.returncode:
        raise Short(f"the app's first call failed: {done.stderr.strip()[-300:]}")
    return f"the app's first call waited {float(done.stdout):.1f} s and was answered"


def kill_leader(stage: Stage) -> str:
    """The leader of three Consul servers is killed; an instance that starts under the next one is found."""
    leader = consul.leader_of(stage.mesh.consuls)
    leader.crash()
    seconds = stage.wait(lambda: any(agent.is_leader() for agent in stage.mesh.consuls), _PATIENCE, "a new leader")
    time.sleep(stage.outage / 4)
    leader.start_again()
    return f"the next leader after {seconds:.1f} s"


def no_consul(stage: Stage) -> str:
    """All Consul servers are away for a while, and come back with what they knew."""
    for agent in stage.mesh.consuls:
        agent.crash()
    time.sleep(stage.outage)
    together(lambda agent: agent.start_again(), stage.mesh.consuls)
    stage.mesh.await_passing(stage.mesh.instances)
    return f"{stage.outage:.0f} s away"


def empty_consul(stage: Stage) -> str:
    """All Consul servers come back and know nothing."""
    for agent in stage.mesh.consuls:
        agent.crash()
    together(lambda agent: agent.start_again(fresh=True), stage.mesh.consuls)
    begin = time.monotonic()
    stage.mesh.await_passing(stage.mesh.instances)
    seconds = time.monotonic() - begin
    time.sleep(stage.outage / 2)
    return f"all registered again after {seconds:.1f} s"


def blind(stage: Stage) -> str:
    """The registry's token loses its rights, so that Consul answers everybody with nothing, and gets them back.

    Meanwhile an instance is killed, whose end wakes the watches, and each control plane starts anew, knowing nothing.
    After it nothing happens for as long as planes doubt: what they learnt then must not come true.
    """
    file = Path(stage.mesh.environment["SHAREMESH_REGISTRY_TOKEN"])
    token, victim = file.read_text(), stage.mesh.instances_of("redeem")[0]
    file.write_text("")
    try:
        victim.kill()
        time.sleep(stage.outage / 2)
        for plane in stage.mesh.planes:
            plane.start_again()
            time.sleep(stage.outage / 4)
    finally:
        file.write_text(token)
    time.sleep(stage.grace + stage.outage / 2)
    stage.start_again([victim])
    return f"{stage.outage:.0f} s of nothing, an instance killed and both control planes started anew meanwhile"


def dead_port(stage: Stage) -> str:
    """An instance is registered, as healthy even, where nobody listens."""
    dead = Instance("redeem", "redeem-dead", "127.0.0.1", ports.free_one())

    async def register() -> None:
        place = config.parse(stage.mesh.environment["SHAREMESH_REGISTRY"])
        assert isinstance(place, config.Consul)
        async with Consul(place) as registry:
            await registry.register(dead, is_tls=False, has_passed=True)
            await asyncio.sleep(_DEAD_SECONDS)
            state = await registry.state_of(dead.id)
            await registry.deregister(dead.id)
        if state != "critical":
            raise Short(f"Consul finds it {state}")

    asyncio.run(register())
    return ""


def hang(stage: Stage) -> str:
    """An instance stands still (SIGSTOP) in the middle of its calls, and goes on when all have given it up."""
    victim = stage.mesh.instances_of("redeem")[0]
    victim.pause()
    try:
        time.sleep(_HUNG_SECONDS)
    finally:
        victim.resume()
    stage.mesh.await_passing([victim])
    return ""


def scale_out(service: str, within: float) -> Callable[[Stage], str]:
    """One more instance of the service; it gets its first call so many seconds after Consul finds it healthy."""

    def act(stage: Stage) -> str:
        new = stage.mesh.start(service)
        wait = within * stage.slack - _SEEN_SECONDS
        seconds = stage.wait(lambda: stage.calls_of(new) > 0, wait, f"the first call of the new {service}")
        time.sleep(stage.outage / 4)
        calls = stage.calls_of(new)
        new.stop()
        stage.mesh.instances.remove(new)
        return f"first call {seconds + _SEEN_SECONDS:.2f} s at most after it passed, {calls} in all"

    return act


def streams_stand(seen: Seen, begin: float) -> str:
    """Raises Short if a stream broke, even if it went on by its cursor."""
    if seen.resumed:
        raise Short(f"{seen.resumed} streams broke")
    return nobody_failed(seen, begin)


def rotate(stage: Stage) -> str:
    """New certificates of a new authority, twice; the old ones are good until the last has read the new ones."""
    for _ in range(2):
        stage.mesh.run("certs", "--out", str(stage.mesh.tls), "--rotate")
        time.sleep(stage.outage)
    return "twice"


def next_release(stage: Stage) -> str:
    """An instance of the next release beside those of this one, with its share changed live."""
    checkout = canary.checkout(stage.folder / "v2")
    stage.mesh.run("route", "redeem", "--canary", "v2=0%")
    new = stage.mesh.start("redeem", release="v2", root=checkout)
    told = []
    try:
        for percent in (10, 50, 0):
            stage.mesh.run("route", "redeem", "--canary", f"v2={percent}%")
            its, count = _calls_meanwhile(stage, new)
            if percent == 50:
                # Few of all calls are those whose answers tell: by chance none of them might have come to it so far.
                stage.wait(lambda: stage.calls_of(new, "GetOffer") > 0, _PATIENCE, "an offer shown by the next release")
            told.append(f"{percent} % asked, {100 * its / count:.0f} % given")
            if not _is_near(its, count, percent / 100):
                raise Short("; ".join(told))
    finally:
        new.stop()
        stage.mesh.instances.remove(new)
        stage.mesh.run("route", "redeem", "--clear")
    return "; ".join(told)


def _is_near(its: int, count: int, part: float) -> bool:
    """Whether that many of all calls may well be such a part of them."""
    return abs(its - count * part) <= _DEVIATIONS * math.sqrt(count * part * (1 - part))


def _calls_meanwhile(stage: Stage, new: Process) -> tuple[int, int]:
    """How many calls come to the instance, and to all of redeem, once what changed is known everywhere."""
    time.sleep(FOUND_SECONDS)
    those = stage.mesh.instances_of("redeem")
    before = {one.name: stage.calls_of(one) for one in those}
    count: dict[str, int] = {}

    def is_enough() -> bool:
        count.update({one.name: stage.calls_of(one) - before[one.name] for one in those})
        return sum(count.values()) >= _COUNTED

    time.sleep(stage.outage / 2)
    stage.wait(is_enough, _PATIENCE, "calls of redeem to count")
    return count[new.name], sum(count.values())


def newer_answers(seen: Seen, begin: float) -> str:
    """Raises Short unless there were answers with the new field, and nobody failed."""
    newer = sum(one.details == NEWER for one in seen.tries)
    if not newer:
        raise Short("no answer carried the new field")
    nobody_failed(seen, begin)
    return f"{newer} answers with the new field"


def kill_behind_gateway(stage: Stage) -> str:
    """Everybody comes in by the gateway; one instance of each service is killed."""
    stage.load.by_gateway(is_all=True)
    time.sleep(stage.outage / 4)
    try:
        return kill_one_of_each(stage)
    finally:
        stage.load.by_gateway(is_all=False)


def cost(stage: Stage) -> str:
    """The same calls through the gateway and without it, in turns, while the load stands still."""
    stage.load.pace(0)
    time.sleep(stage.settle)
    plan = {"bootstrap": stage.mesh.bootstrap, "gateway": stage.mesh.gateway_address, "seconds": stage.outage / 10}
    done = subprocess.run(
        [sys.executable, "-m", "chaos.cost"],
        cwd=ROOT,
        input=json.dumps(plan) + "\n",
        capture_output=True,
        text=True,
        timeout=4 * _PATIENCE,
    )
    stage.load.pace(stage.rate)
    if done.returncode:
        raise Short(f"it could not be measured: {done.stderr.strip()[-300:]}")
    ratios = json.loads(done.stdout)
    return ", ".join(
        f"x{statistics.median(each):.2f} at {callers} ({min(each):.2f} to {max(each):.2f})"
        for callers, each in ratios.items()
    )
