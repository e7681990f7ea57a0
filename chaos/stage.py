"""What the rows act on: a running mesh, the load on it, and how long what is done to it lasts."""

import time
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chaos.counting import Counting
from chaos.load import Plan
from local.mesh import Mesh
from local.process import Process
from registry.plane import GRACE_SECONDS
from services.chassis.settings import SERVICES

T = TypeVar("T")

# A page of /metrics takes milliseconds.
_METRICS_SECONDS = 2.0
# How often is looked whether something has happened: what is measured is to be within a second.
POLL_SECONDS = 0.02
_RPCS = "sharemesh_rpcs_total{"


class Short(Exception):
    """What was seen falls short of what is wanted; the message says by what."""


@dataclass
class Stage:
    """A mesh under load; in seconds: `outage`, how long something is away, `settle`, until all is over then, and
    `grace`, for how long control planes do not believe that there is nobody.

    `slack`: how many times longer than promised a new instance may wait for its first call, where others use the
    machine as well and nothing is measured.
    """

    folder: Path
    mesh: Mesh
    load: Counting
    rate: float = 100.0
    outage: float = 8.0
    settle: float = 2.0
    grace: float = GRACE_SECONDS
    slack: float = 1.0

    def one_of_each(self) -> list[Process]:
        """An instance of each service."""
        return [self.mesh.instances_of(service)[0] for service in SERVICES]

    def start_again(self, instances: Iterable[Process]) -> None:
        """Instances that ended, all at once, until Consul finds them healthy."""
        instances = list(instances)
        for instance in instances:
            instance.launch()
        for instance in instances:
            instance.await_ready()
        self.mesh.await_passing(instances)

    def calls_of(self, instance: Process, rpc: str = "") -> int:
        """How many calls, or calls of that method, the instance has answered since it began, by its own /metrics."""
        where = self.metrics_of(instance)
        try:
            with urllib.request.urlopen(f"http://{where}/metrics", timeout=_METRICS_SECONDS) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        counted = [line for line in lines if line.startswith(_RPCS) and (not rpc or f'.{rpc}"' in line)]
        return sum(int(float(line.rpartition(" ")[2])) for line in counted)

    def metrics_of(self, instance: Process) -> str:
        """host:port of its /metrics, as Consul knows it."""
        for found in self.mesh.consuls[0].ask(f"/v1/health/service/{instance.service}?consistent"):
            service = found["Service"]
            if f"{service['Address']}:{service['Port']}" == instance.address:
                return str(service["Meta"]["metrics"])
        raise Short(f"Consul does not know {instance.name} at {instance.address}")

    def wait(self, is_so: Callable[[], bool], seconds: float, what: str) -> float:
        """Returns after how many seconds it is so; raises Short if it takes longer than it may."""
        begin = time.monotonic()
        while not is_so() and time.monotonic() < begin + seconds:
            time.sleep(POLL_SECONDS)
        # To look takes time, too: what was seen too late may have been so in time, but nobody knows.
        took = time.monotonic() - begin
        if took >= seconds:
            raise Short(f"{what}: not within {seconds:.2f} s, {took:.2f} s were waited")
        return took


def started(folder: Path, mesh: Mesh, rate: float, **times: float) -> Stage:
    """The mesh with its load, which has begun."""
    plan = Plan(
        record=str(folder / "record.jsonl"),
        var=mesh.environment["SHAREMESH_VAR"],
        targets={service: f"xds:///{service}" for service in SERVICES},
        bootstrap=mesh.bootstrap,
        gateway=mesh.gateway_address if mesh.gateway else "",
        rate=rate,
    )
    load = Counting(plan, folder)
    try:
        load.await_ready()
    except BaseException:
        load.kill()
        raise
    return Stage(folder, mesh, load, rate, **times)


def together(act: Callable[[T], object], what: Iterable[T]) -> None:
    """Does it to all of them at the same time; raises what the first failure raised."""
    each = list(what)
    with ThreadPoolExecutor(max(1, len(each))) as threads:
        list(threads.map(act, each))
