"""What the whole mesh is told by one sidecar: how many of each service there are, and how Consul does."""

import asyncio
import time
from collections import Counter

from monitoring.census import NAMES, Census
from monitoring.heartbeat import Heartbeat
from monitoring.readings import Readings, discovery, key
from registry.consul import Consul, RegistryAway
from registry.instance import PASSING

# Consul answers these from memory; who does not within the shortest beat is not to be waited for.
ASK_SECONDS = 0.8


class Catalogue:
    """Counts instances, and asks every address of Consul; without a Consul, `heartbeat` says who serves."""

    def __init__(self, census: Census, heartbeat: Heartbeat, consul: Consul | None = None) -> None:
        self._census = census
        self._heartbeat = heartbeat
        self._consul = consul

    async def read(self) -> Readings:
        """Instances by service; of Consul whether it is up and led, seconds of its answer, and its servers."""
        if self._consul is None:
            return self._counted(self._heartbeat.serving())
        addresses = self._consul.addresses
        begin = time.monotonic()
        answers = await asyncio.gather(*(self._ask(self._consul, address, begin) for address in addresses))
        up = {address: answer for address, answer in zip(addresses, answers, strict=True) if answer is not None}
        is_led = any(leader for leader, _, _ in up.values())
        readings: Readings = {
            key("consul.discovery"): discovery({"{#CONSUL}": address} for address in addresses),
            key("consul.up"): int(bool(up)),
            key("consul.leader"): int(is_led),
        }
        readings |= {key("consul.server.up", address): int(address in up) for address in addresses}
        if up:
            readings[key("consul.latency")] = min(seconds for _, _, seconds in up.values())
            readings[key("consul.servers")] = max(len(servers) for _, servers, _ in up.values())
        if is_led and self._census.is_known:
            # While nobody can be asked, what was told last says nothing of who is there now.
            readings |= self._counted(
                Counter(one.service for one in self._census.instances if one.state == PASSING),
            )
        return readings

    def _counted(self, serving: Counter[str]) -> Readings:
        registered = Counter(one.service for one in self._census.instances)
        # A list of addresses names no control plane, and maybe not every service.
        names = NAMES if self._consul else [name for name in NAMES if registered[name]]
        readings: Readings = {key("service.discovery"): discovery({"{#SERVICE}": name} for name in names)}
        for name in names:
            readings[key("service.instances", name)] = serving[name]
            readings[key("service.registered", name)] = registered[name]
        return readings

    async def _ask(self, consul: Consul, address: str, begin: float) -> tuple[str, list[str], float] | None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                leader = await consul.leader(address)
                seconds = time.monotonic() - begin
                return leader, await consul.servers(address), seconds
        except (RegistryAway, TimeoutError):
            return None
