"""Keeps instances known to the registry for as long as their process serves, whatever becomes of the registry."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from registry.consul import CALL_SECONDS, Consul, RegistryAway, pause
from registry.instance import CRITICAL, PASSING, Instance

_log = logging.getLogger("sharemesh.registry")

# A Consul that was restarted empty knows its instances again after this, and the check costs it next to nothing.
LOOK_SECONDS = 1.0


class Registration:
    """The entries of some instances in Consul: made, looked after, and ended.

    They are made with the agent at every address: Consul takes all that an agent knows for lost when the agent dies,
    and what is first registered with another one then can stay unheard for 15 seconds while a new leader is found.
    """

    def __init__(self, consul: Consul, instances: Sequence[Instance], is_tls: bool) -> None:
        self._consul = consul
        self._instances = tuple(instances)
        self._is_tls = is_tls
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Register, and register again whenever Consul forgot, until leave(); does not wait for Consul."""
        self._tasks = [asyncio.create_task(self._stay(address)) for address in self._consul.addresses]

    async def leave(self) -> None:
        """Deregister; returns within 2 * CALL_SECONDS, and raises nothing when Consul is away: it forgets by itself."""
        self._leaving.set()
        if self._tasks:
            # A registration under way ends first, or it could arrive after its own end.
            await asyncio.wait(self._tasks, timeout=CALL_SECONDS)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await asyncio.gather(*(self._consul.deregister(instance.id) for instance in self._instances))
        except RegistryAway as error:
            _log.warning("not_deregistered", {"error": str(error)})

    async def _stay(self, address: str) -> None:
        failures = 0
        # What the agent said of each instance last, before it forgot it if it did.
        seen: dict[str, str] = {}
        while not self._leaving.is_set():
            try:
                for instance in self._instances:
                    await self._look(instance, address, seen)
            except RegistryAway as error:
                if not failures:
                    _log.warning("registry_away", {"error": str(error)})
                failures += 1
            else:
                if failures:
                    _log.warning("registry_back", {"registry": address})
                failures = 0
            wait = pause(failures - 1) if failures else LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), wait)

    async def _look(self, instance: Instance, address: str, seen: dict[str, str]) -> None:
        known = seen.get(instance.id)
        state = await self._consul.state_of(instance.id, at=address)
        told = {"instance": instance.id, "registry": address}
        if state is not None and state != known:
            seen[instance.id] = state
            _log.log(logging.INFO if state == PASSING else logging.WARNING, "health_seen", told | {"state": state})
        if state is None and not self._leaving.is_set():
            await self._consul.register(instance, self._is_tls, has_passed=known == PASSING, at=address)
            seen.setdefault(instance.id, CRITICAL)
            _log.info("registered_again" if known else "registered", told)
