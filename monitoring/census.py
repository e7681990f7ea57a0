"""Who is registered: instances of the five services, control planes, and which of them are on this machine."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping

import psutil

from monitoring.contracts import SERVICES
from registry import config
from registry.consul import Consul
from registry.instance import CONTROL_PLANE, Instance

NAMES = (*SERVICES, CONTROL_PLANE)
# A floating address comes and goes; to read them costs a fraction of a millisecond.
ADDRESSES_SECONDS = 10.0


class Census:
    """What Consul told last, or a static list of addresses; to be kept up by run().

    A watch for each name costs less than asking at each beat of a second, tells at once, and while Consul is away what
    it told last goes on to count.
    """

    def __init__(self, registry: config.Static | Consul) -> None:
        self._consul = registry if isinstance(registry, Consul) else None
        self._told: dict[str, list[Instance]] = {}
        if isinstance(registry, config.Static):
            self._told = {name: _listed(name, registry.targets) for name in NAMES}
        self._addresses: tuple[float, frozenset[str]] = (0.0, frozenset())

    @property
    def is_known(self) -> bool:
        """Whether there has been an answer for each name: before that, nobody can be said to be missing."""
        return len(self._told) == len(NAMES)

    @property
    def instances(self) -> list[Instance]:
        """All that are registered, on whatever machine and in whatever state."""
        return [instance for told in self._told.values() for instance in told]

    @property
    def own(self) -> list[Instance]:
        """Those on this machine; of a static list all, since nobody else may be there to look at them."""
        if self._consul is None:
            return self.instances
        return [instance for instance in self.instances if self._is_here(instance.host)]

    async def run(self) -> None:
        """Follow Consul until cancelled; of a static list there is nothing to follow."""
        if self._consul is None:
            return
        async with asyncio.TaskGroup() as tasks:
            for name in NAMES:
                tasks.create_task(self._follow(name, self._consul.watch_instances(name, is_any_state=True)))

    async def _follow(self, name: str, answers: AsyncIterator[list[Instance]]) -> None:
        async for answer in answers:
            self._told[name] = answer

    def _is_here(self, host: str) -> bool:
        told = _plain(host)
        if told in ("localhost", "::1") or told.startswith("127."):
            return True
        since, addresses = self._addresses
        now = time.monotonic()
        if not addresses or now > since + ADDRESSES_SECONDS:
            addresses = _addresses()
            self._addresses = now, addresses
        return told in addresses


def _addresses() -> frozenset[str]:
    """The IP addresses of this machine's interfaces.

    That a socket can be bound to one would be no proof: with net.ipv4.ip_nonlocal_bind it can be to any.
    """
    families = (socket.AF_INET, socket.AF_INET6)
    found: Iterable[str] = (
        one.address for ones in psutil.net_if_addrs().values() for one in ones if one.family in families
    )
    return frozenset(map(_plain, found))


def _plain(host: str) -> str:
    """One spelling of an address, without its scope; of a name, itself."""
    bare = host.partition("%")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def _listed(name: str, targets: Mapping[str, str]) -> list[Instance]:
    if name not in targets:
        return []
    host, port = config.split(targets[name])
    return [Instance(name, targets[name], host, port)]
