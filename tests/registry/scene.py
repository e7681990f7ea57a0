"""A small mesh for tests of the control plane: a real Consul, real planes, instances and callers, a process each."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.consul import Agent
from local.process import Process
from registry import channel, config
from registry.consul import Consul
from registry.instance import Instance, new_id
from registry.registration import Registration

ROOT = Path(__file__).resolve().parent.parent.parent
# Everything waited for takes a second or two; a busy machine takes many times that.
PATIENCE = 20.0


@dataclass(frozen=True)
class Report:
    """What a caller saw since its last report."""

    answers: Mapping[str, int]
    failures: Mapping[str, int]
    # When each instance answered for the first time, as time.time().
    firsts: Mapping[str, float]

    def share(self, *names: str) -> float:
        """The part of the answers that these instances gave."""
        return sum(self.answers.get(name, 0) for name in names) / max(1, sum(self.answers.values()))


class Caller:
    """tests.registry.load as a process, which calls from its start on."""

    def __init__(self, services: str, planes: str, zone: str = "", tls: Path | None = None) -> None:
        environment = os.environ | {channel.BOOTSTRAP: channel.bootstrap(planes, zone, tls)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.registry.load", services],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def report(self, version: str = "") -> Report:
        """What was since the last report; from now on this version is asked for, if one is given."""
        return await asyncio.to_thread(self._report, version)

    def _report(self, version: str) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{version}\n".encode())
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the caller has ended"
        return Report(**json.loads(line))

    async def until(self, is_so: Callable[[Report], bool], version: str = "") -> Report:
        """The first report that is so of all later ones; one that comes with a failed call fails the test."""
        end = time.monotonic() + PATIENCE
        while True:
            report = await self.report(version)
            assert not report.failures, report
            if is_so(report):
                return report
            assert time.monotonic() < end, f"it did not come: {report}"
            await asyncio.sleep(0.1)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Scene:
    """Starts what a test asks for, and ends all of it."""

    def __init__(self, agent: Agent, directory: Path) -> None:
        """`directory` is for logs; with ACLs, instances are registered with the token that may do everything."""
        place = config.parse(agent.url)
        assert isinstance(place, config.Consul)
        self.agent = agent
        self.consul = Consul(place, (lambda: agent.token) if agent.token else None, agent.tls)
        self._directory = directory
        self._at_end = contextlib.AsyncExitStack()
        self._count = 0

    async def __aenter__(self) -> Self:
        await self._at_end.enter_async_context(self.consul)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._at_end.aclose()

    async def plane(self, *flags: str, port: int = 0) -> Process:
        """A control plane that listens."""
        command = [sys.executable, "-m", "registry", "--registry", self.agent.url, "--listen", f"127.0.0.1:{port}"]
        return await self._started("control-plane", [*command, *flags])

    async def instance(
        self, service: str = "redeem", is_registered: bool = True, tls: Path | None = None, **more: Any
    ) -> tuple[Process, Instance, Registration]:
        """An instance that serves, and passes as soon as Consul knows it; `more` are fields of Instance."""
        id = new_id(service)
        command = [sys.executable, "-m", "tests.registry.echo", service, id]
        process = await self._started(service, command if tls is None else [*command, str(tls)])
        host, port = config.split(process.address)
        instance = Instance(service, id, host, port, **more)
        registration = Registration(self.consul, [instance], is_tls=tls is not None)
        if is_registered:
            await self.consul.register(instance, is_tls=tls is not None, has_passed=True)
            await registration.start()
        self._at_end.push_async_callback(registration.leave)
        return process, instance, registration

    async def caller(self, services: str, *planes: Process, zone: str = "", tls: Path | None = None) -> Caller:
        """One that has been answered."""
        return await self.caller_of(services, ",".join(plane.address for plane in planes), zone, tls)

    async def caller_of(self, services: str, planes: str, zone: str = "", tls: Path | None = None) -> Caller:
        """Likewise, by the planes' addresses."""
        caller = Caller(services, planes, zone, tls)
        self._at_end.callback(caller.end)
        await caller.until(lambda report: bool(report.answers))
        return caller

    async def _started(self, name: str, command: Sequence[str]) -> Process:
        self._count += 1
        log = self._directory / f"{name}-{self._count}.log"
        process = Process(f"{name}-{self._count}", name, command, ROOT, log)
        self._at_end.push_async_callback(asyncio.to_thread, process.kill)
        process.launch()
        await asyncio.to_thread(process.await_address)
        return process
