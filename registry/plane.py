"""The control plane's memory: what Consul says of the services over time becomes what their clients are shown."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from registry import policy, resources, routes
from registry.consul import Consul
from registry.instance import Instance
from registry.routes import Route
from registry.view import View, versions_of
from registry.xds import Discovery

_log = logging.getLogger("sharemesh.registry")
T = TypeVar("T")

# An empty answer is believed after this long. A Consul that was restarted empty, or one whose ACL shows us nothing for
# a while, answers [] too; services re-register within two seconds, people mend tokens in minutes. That instances
# which are really gone are still named so long harms nobody: calls to them fail as they would without any.
GRACE_SECONDS = 30.0
# Likewise for canary rules, if none is left at all: a restarted Consul shows no services either, a moment sooner or
# later (its watches come back within two seconds). Otherwise somebody has removed the last rule, and waits for it.
RULES_SECONDS = 3.0
# A cluster is made this long before calls are sent to it, and kept as long after: Envoy must have checked its hosts'
# health once, which takes up to a second, and fails calls to a cluster that it does not know.
SETTLE_SECONDS = 2.0


class Memory:
    """One service as it is shown; times are seconds of one monotonic clock, given to each call."""

    def __init__(self, service: str, grace: float = GRACE_SECONDS, settle: float = SETTLE_SECONDS) -> None:
        self._service = service
        self._grace = grace
        self._settle = settle
        self._instances: tuple[Instance, ...] | None = None
        self._left_out: frozenset[str] = frozenset()
        self._empty_since: float | None = None
        self.has_answer = False
        # When each version got its cluster, and when the last instance of it went, if it did.
        self._since: dict[str, float] = {}
        self._gone: dict[str, float] = {}

    def is_held(self, now: float) -> bool:
        """Whether a known set is shown although an empty answer came, which is not believed yet."""
        return self._empty_since is not None and now < self._empty_since + self._grace and bool(self._instances)

    def learn(self, answer: Sequence[Instance], now: float) -> None:
        """Take in what Consul answers; an empty answer counts after the grace time."""
        # Anybody may register anything: one such entry would keep all others from the clients.
        told = tuple(one for one in answer if one.is_tellable)
        left_out = [one for one in answer if not one.is_tellable]
        for one in left_out:
            if one.id not in self._left_out:
                _log.warning("instance_left_out", {"instance": one.id, "host": one.host, "port": one.port})
        self._left_out = frozenset(one.id for one in left_out)
        if told:
            self._instances, self._empty_since = told, None
        elif self._instances != () and self._empty_since is None:
            self._empty_since = now
            if self._instances:
                _log.warning("empty_set_held", {"service": self._service, "seconds": self._grace})
        # Who asks a plane that has just begun may know the clusters from another one.
        self._look_over(now, since=now if self.has_answer else now - self._settle)
        self.has_answer = True

    def view(self, now: float, route: Route | None) -> View:
        """What to show now."""
        if self._empty_since is not None and now >= self._empty_since + self._grace:
            self._instances, self._empty_since = (), None
        self._look_over(now, since=now)
        versions = self._versions()
        return View(
            self._service,
            self._instances,
            route,
            clusters=frozenset(self._since),
            routed=frozenset(version for version in versions if now >= self._since[version] + self._settle),
        )

    def next_change(self, now: float) -> float:
        """When the view will change although Consul says nothing; infinity if never."""
        times = [since + self._settle for since in self._since.values()]
        times += [gone + self._settle for gone in self._gone.values()]
        if self._empty_since is not None:
            times.append(self._empty_since + self._grace)
        return min((time for time in times if time > now), default=float("inf"))

    def _versions(self) -> frozenset[str]:
        """Those that need clusters of their own: of a single one, the service's cluster is all there is."""
        versions = versions_of(self._instances)
        return versions if len(versions) > 1 else frozenset()

    def _look_over(self, now: float, since: float) -> None:
        versions = self._versions()
        for version in versions:
            self._since.setdefault(version, since)
            self._gone.pop(version, None)
        for version in self._since.keys() - versions:
            if now >= self._gone.setdefault(version, now) + self._settle:
                del self._since[version], self._gone[version]


class Rules:
    """The canary rules as they are followed."""

    def __init__(self) -> None:
        self._rules: dict[str, Route] = {}
        self._none_since: float | None = None
        self.has_answer = False

    def learn(self, answer: Mapping[str, str], now: float) -> None:
        """Take in the registry's keys; for a rule that cannot be read the last that could goes on to count."""
        self.has_answer = True
        if not answer and self._rules:
            self._none_since = now
            return
        self._none_since = None
        known, self._rules = self._rules, {}
        for key, text in answer.items():
            service = key.removeprefix(routes.PREFIX)
            try:
                self._rules[service] = routes.parse(text)
            except ValueError as error:
                _log.warning("rule_broken", {"key": key, "error": str(error)})
                if service in known:
                    self._rules[service] = known[service]

    def current(self, now: float, is_held: bool) -> Mapping[str, Route]:
        """The rule by service; `is_held`: some service's known set is shown although it is gone."""
        if self._none_since is not None and now >= self._none_since + RULES_SECONDS and not is_held:
            self._rules, self._none_since = {}, None
        return self._rules

    def next_change(self, now: float) -> float:
        """When they may change although the registry says nothing; infinity if never."""
        then = float("inf") if self._none_since is None else self._none_since + RULES_SECONDS
        return then if then > now else float("inf")


class Plane:
    """Watches Consul and publishes what has changed, until it is cancelled."""

    def __init__(
        self, consul: Consul, discovery: Discovery, is_tls: bool = False, grace: float = GRACE_SECONDS
    ) -> None:
        self._consul = consul
        self._discovery = discovery
        self._is_tls = is_tls
        self._memories = {name: Memory(name, grace) for name in policy.SERVICES}
        self._rules = Rules()
        self._shown: list[View] = []
        self._told = asyncio.Event()
        # Set once there is something to say to clients.
        self.is_ready = asyncio.Event()

    async def run(self) -> None:
        """Go on for ever."""
        async with asyncio.TaskGroup() as tasks:
            for name, memory in self._memories.items():
                tasks.create_task(self._follow(self._consul.watch_instances(name), memory.learn))
            tasks.create_task(self._follow(self._consul.watch_values(routes.PREFIX), self._rules.learn))
            tasks.create_task(self._publish())

    async def _follow(self, answers: AsyncIterator[T], learn: Callable[[T, float], None]) -> None:
        async for answer in answers:
            learn(answer, time.monotonic())
            self._told.set()

    async def _publish(self) -> None:
        states: list[Memory | Rules] = [*self._memories.values(), self._rules]
        while True:
            now = time.monotonic()
            if all(state.has_answer for state in states):
                self._show(now)
            wait = min(state.next_change(now) for state in states) - now
            try:
                async with asyncio.timeout(wait if wait < float("inf") else None):
                    await self._told.wait()
            except TimeoutError:
                continue
            self._told.clear()

    def _show(self, now: float) -> None:
        rules = self._rules.current(now, any(memory.is_held(now) for memory in self._memories.values()))
        views = [memory.view(now, rules.get(name)) for name, memory in self._memories.items()]
        if views != self._shown:
            self._shown = views
            self._discovery.publish(partial(resources.build, views, is_tls=self._is_tls))
            self.is_ready.set()
