"""The same request_id committed by another process between the ledger's look and its write."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis import database, errors
from services.ledger import claims, holds, redemptions, rows
from services.schema.tables import Coupon
from tests.ledger.world import CODES, NOW, TAGS, World, fresh, told

# Less than the ledger waits for a lock.
WAIT_SECONDS = 1.5


def is_somebody_waiting() -> bool:
    """Whether a transaction waits for a lock; on SQLite it could not even begin."""
    if database.dialect() == "sqlite":
        return True
    query = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return bool(database.proxy.execute_sql(query).fetchone()[0])


def meanwhile(key: str, decide: Callable[[], str]) -> str:
    """What `decide` returns when the request `key` is committed with another body after `decide` looked for it."""
    with ThreadPoolExecutor(1) as thread:
        with database.write():
            rows.keep_replays([(key, "another body", "elsewhere")], NOW)
            decided = thread.submit(decide)
            end = time.monotonic() + WAIT_SECONDS
            while not is_somebody_waiting():
                assert time.monotonic() < end
                # InnoDB shows an older picture to whoever looks again within 0.1 s.
                time.sleep(0.15)
        return decided.result()


def test_a_claim_finds_it(world: World) -> None:
    activity = world.publish()
    wish = world.wish(activity, "ann")
    assert meanwhile(wish.key, lambda: told(claims.claim([wish], CODES, TAGS, NOW)[0])) == "REQUEST_ID_REUSED"
    assert world.supply(activity).taken == Coupon.select().where(Coupon.state == "CLAIMED").count() == 0


def test_a_redemption_finds_it(world: World) -> None:
    coupon = world.claim(world.publish(), "ann")
    order = world.order(coupon)
    assert meanwhile(order.key, lambda: told(redemptions.redeem([order], NOW)[0])) == "REQUEST_ID_REUSED"
    assert fresh(coupon).state == "CLAIMED"


def test_a_hold_finds_it(world: World) -> None:
    coupon = world.claim(world.publish(), "ann")
    order = world.order(coupon, rpc="RedeemService.VerifyCoupon")

    def hold() -> str:
        with pytest.raises(errors.Invalid) as refusal:
            holds.hold(order, NOW, NOW)
        return refusal.value.reason

    assert meanwhile(order.key, hold) == "REQUEST_ID_REUSED"
    assert fresh(coupon).hold is None
