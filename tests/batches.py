"""Claims and redemptions as the services make them, through a real batch of one, for tests without a server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from services.chassis import database
from services.chassis.batching import Batcher
from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.drivers import driver_of
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.redeem.redeeming import Redeeming
from services.redeem.shops import Shops
from services.redeem.tries import Tries
from services.share.claiming import Claiming
from services.share.codes import ShareCodes

T = TypeVar("T")
Plain = dict[str, Any]

PATIENCE_SECONDS = 30.0


def as_it_is(plain: Plain) -> Plain:
    """Neither unpacks nor packs: what is asked and told here is plain."""
    return plain


def redeemed(call: Call, plain: Plain, now: datetime, codes: CouponCodes, tries: Tries) -> Plain:
    """The Redemption; raises the refusal."""

    async def redeem(db: Database, batcher: Batcher) -> Plain:
        redeeming = Redeeming(Shops(db), batcher, lambda: now, codes, tries, as_it_is, as_it_is)
        return await redeeming.redeem(call, plain["store"], plain, time.monotonic() + PATIENCE_SECONDS)

    return _settled(redeem)


def claimed(call: Call, plain: Plain, now: datetime, codes: ShareCodes, coupon_codes: CouponCodes, tags: Tags) -> Plain:
    """The Coupon; raises the refusal."""

    async def claim(db: Database, batcher: Batcher) -> Plain:
        claiming = Claiming(db, batcher, lambda: now, codes, coupon_codes, tags, as_it_is)
        return await claiming.claim(call, plain, time.monotonic() + PATIENCE_SECONDS)

    return _settled(claim)


def _settled(ask: Callable[[Database, Batcher], Awaitable[T]]) -> T:
    async def settle() -> T:
        # The models stay bound to the test's own store; only its pool is not ours.
        db = Database(database.proxy.obj, 1)
        batcher = Batcher(driver_of(db))
        try:
            return await ask(db, batcher)
        finally:
            await batcher.close()

    return asyncio.run(settle())
