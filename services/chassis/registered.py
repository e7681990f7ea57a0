"""How other processes find the servers of this one: their entry in the registry, if there is one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from registry import config
from services.chassis.settings import BadSetting, Settings

if TYPE_CHECKING:
    from registry.registration import Registration


class Served(NamedTuple):
    """One server: its service ("redeem"), its port, and the contract whose health it reports."""

    service: str
    port: int
    contract: str


@asynccontextmanager
async def registration(
    all_served: Sequence[Served], metrics: str, settings: Settings
) -> AsyncIterator["Registration | None"]:
    """The entry in Consul of what is served, to be started and left; None for a static registry."""
    if isinstance(settings.registry, config.Static):
        yield None
        return
    # Only here: a process that is not in a mesh starts faster and smaller without a client of Consul.
    from registry.consul import Consul
    from registry.instance import Instance, new_id
    from registry.registration import Registration

    host = await _address((settings.advertise or settings.host).strip("[]"))
    instances = [
        Instance(
            service=served.service,
            id=new_id(served.service),
            host=host,
            port=served.port,
            zone=settings.zone,
            version=settings.release,
            canary=settings.canary,
            metrics=metrics,
            health=served.contract,
        )
        for served in all_served
    ]
    token = config.token_in(settings.registry_token) if settings.registry_token else None
    tls = settings.tls and settings.tls / all_served[0].service
    async with Consul(settings.registry, token, tls) as consul:
        yield Registration(consul, instances, is_tls=tls is not None)


async def _address(host: str) -> str:
    """The host's IP address, of IPv4 if it has one: xDS clients take no names. Raises BadSetting."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadSetting(f"--advertise: {host} cannot be resolved: give this machine's address") from error
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])
