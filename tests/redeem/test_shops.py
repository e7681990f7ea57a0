"""Where a till may work: by memory for a moment, and never other than the database says."""

import asyncio
import time
from contextlib import suppress

import pytest

from services.chassis import errors, parameters
from services.chassis.database import Database
from services.chassis.names import name
from services.redeem.shops import Shops
from services.schema.tables import StaffBinding
from tests.ledger.world import World, call

# More than a busy machine adds to the bound.
PATIENCE_SECONDS = 20.0


def test_a_shop_is_found_for_those_whom_its_store_admits(db: Database, world: World) -> None:
    here, there, foreign = world.store, world.open_store(), World("another").store
    world.bind("till", "REDEEM")
    world.bind("till", "VERIFY", store=there)
    world.bind("idle")
    stores = {"here": here.uid, "there": there.uid, "foreign": foreign.uid, "nowhere": "nowhere"}

    async def found(role: str, subject: str, right: str) -> set[str]:
        shops = Shops(db)
        places = set()
        for _ in range(2):  # From the database, then from memory.
            for place, uid in stores.items():
                with suppress(errors.NotFound, errors.Denied):
                    shop = await shops.find(call(role, subject, "Test.Rpc"), name("stores", uid), right)
                    assert shop.uid == uid
                    places.add(place)
        return places

    assert asyncio.run(found("STAFF", "till", "REDEEM")) == {"here"}
    assert asyncio.run(found("STAFF", "till", "VERIFY")) == {"there"}
    assert asyncio.run(found("STAFF", "till", "")) == {"here", "there"}
    assert asyncio.run(found("STAFF", "idle", "REDEEM")) == set()
    assert asyncio.run(found("STAFF", "stranger", "")) == set()
    assert asyncio.run(found("MERCHANT", "owner", "REDEEM")) == {"here", "there"}
    assert asyncio.run(found("MERCHANT", "another", "REDEEM")) == {"foreign"}
    assert asyncio.run(found("CUSTOMER", "till", "REDEEM")) == set()
    assert asyncio.run(found("OPERATOR", "root", "REDEEM")) == {"here", "there", "foreign"}


def test_a_right_that_was_taken_away_is_gone_within_the_bound(db: Database, world: World) -> None:
    world.bind("till", "REDEEM")
    till, store = call("STAFF", "till", "RedeemService.RedeemCoupon"), name("stores", world.store.uid)

    def unbind() -> None:
        StaffBinding.delete().execute()

    async def work() -> float:
        shops = Shops(db)
        assert (await shops.find(till, store, "REDEEM")).uid == world.store.uid
        await db.run(unbind)
        begin = time.monotonic()
        # Asked for all the time, as at a busy till: memory that is refreshed must not outlive its bound.
        while time.monotonic() < begin + PATIENCE_SECONDS:
            try:
                await shops.find(till, store, "REDEEM")
            except errors.NotFound:
                return time.monotonic() - begin
            await asyncio.sleep(0.01)
        raise AssertionError("the right was never taken away")

    # What a read takes comes on top, and what a busy machine adds to it.
    assert asyncio.run(work()) < parameters.current().cache_seconds + 1.0


def test_a_right_that_was_given_counts_at_once(db: Database, world: World) -> None:
    till, store = call("STAFF", "till", "RedeemService.RedeemCoupon"), name("stores", world.store.uid)

    async def work() -> None:
        shops = Shops(db)
        with pytest.raises(errors.NotFound):
            await shops.find(till, store, "REDEEM")
        await db.run(world.bind, "till", "REDEEM")
        assert (await shops.find(till, store, "REDEEM")).uid == world.store.uid

    asyncio.run(work())
