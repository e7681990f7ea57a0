"""What a process of the mesh tells Consul of itself."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from local import consul as local
from registry import config
from registry.consul import Consul
from services.chassis.registered import Served, registration
from services.chassis.settings import BadSetting, Settings
from tests.registry.patients import until

SERVED = [Served("redeem", 50055, "sharemesh.v1.RedeemService")]


def test_a_name_is_told_as_the_address_that_xds_clients_need(tmp_path: Path) -> None:
    agent = local.start(tmp_path / "consul")
    place = config.Consul((agent.address,))

    async def story() -> None:
        settings = replace(Settings(), registry=place, advertise="localhost")
        async with registration(SERVED, "", settings) as entry, Consul(place) as consul:
            assert entry is not None
            await entry.start()

            async def is_known() -> bool:
                return bool(await consul.instances("redeem"))

            await until(is_known)
            (found,) = await consul.instances("redeem")
            assert found.is_tellable, found
            await entry.leave()

    try:
        asyncio.run(story())
    finally:
        agent.stop()


def test_a_name_that_nobody_knows_ends_the_start() -> None:
    async def story() -> None:
        settings = replace(Settings(), registry=config.Consul(("127.0.0.1:1",)), advertise="nobody.invalid")
        async with registration(SERVED, "", settings):
            pytest.fail("it began")

    with pytest.raises(BadSetting, match=r"^--advertise: nobody.invalid cannot be resolved"):
        asyncio.run(story())
