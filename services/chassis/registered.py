"""How other processes find the servers of this one: their entry in the registry, if there is one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from registry import config
from services.chassis.settings import Settings

if TYPE_CHECKING:
    from registry.registration import Registration


@asynccontextmanager
async def registration(
    ports: Mapping[str, int], metrics: str, settings: Settings
) -> AsyncIterator["Registration | None"]:
    """The entry in Consul of the services on these ports, to be started and left; None for a static registry."""
    if isinstance(settings.registry, config.Static):
        yield None
        return
    # Only here: a process that is not in a mesh starts faster and smaller without a client of Consul.
    from registry.consul import Consul
    from registry.instance import Instance, new_id
    from registry.registration import Registration

    host = (settings.advertise or settings.host).strip("[]")
    instances = [
        Instance(
            service=service,
            id=new_id(service),
            host=host,
            port=port,
            zone=settings.zone,
            version=settings.release,
            canary=settings.canary,
            metrics=metrics,
        )
        for service, port in ports.items()
    ]
    token = config.token_in(settings.registry_token) if settings.registry_token else None
    tls = settings.tls and settings.tls / next(iter(ports))
    async with Consul(settings.registry, token, tls) as consul:
        yield Registration(consul, instances, is_tls=tls is not None)
