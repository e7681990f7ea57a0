"""Coupons as such: minted in blocks, voided for good."""

from peewee import IntegrityError

from services.chassis import errors
from services.chassis.names import new_uid
from services.ledger import rows, rules
from services.ledger.codes import CouponCodes
from services.schema.lifecycle import Why
from services.schema.tables import Coupon

# A random code meets one in use once in millions of blocks; three times running it is no accident.
_TRIES = 3


def mint(activity_id: int, merchant_id: int, share_id: int, count: int, codes: CouponCodes, why: Why) -> list[Coupon]:
    """Make `count` AVAILABLE coupons for a share's pool, inside a write(); takes no stock. Returns them, oldest first.

    `share_id` 0 is the pool of those who come by no share.
    """
    minted = _insert(activity_id, merchant_id, share_id, count, codes)
    rows.remember(minted, "", why)
    return minted


def _insert(activity_id: int, merchant_id: int, share_id: int, count: int, codes: CouponCodes) -> list[Coupon]:
    shared = {"activity_id": activity_id, "merchant_id": merchant_id, "share_id": share_id, "state": "AVAILABLE"}
    for attempt in range(1, _TRIES + 1):
        block = [{"uid": new_uid(), "code": codes.new(), **shared} for _ in range(count)]
        try:
            Coupon.insert_many(block).execute()
        except IntegrityError:
            if attempt == _TRIES:
                raise
            continue
        return list(Coupon.select().where(Coupon.uid.in_([row["uid"] for row in block])).order_by(Coupon.id))
    raise AssertionError("the last attempt returns or raises")


def void(coupon_id: int, activity_id: int, why: Why) -> Coupon:
    """Take a coupon out for good, inside a write(). Raises FailedPrecondition: COUPON_REDEEMED, COUPON_VOID."""
    rows.lock_supplies([activity_id])
    coupon = rows.lock_coupons([coupon_id])[coupon_id]
    if coupon.state == "REDEEMED":
        raise rules.redeemed(*rows.uses([coupon.redemption_id])[coupon.redemption_id]).error()
    if coupon.state == "VOID":
        raise errors.FailedPrecondition("COUPON_VOID")
    rows.move_coupon(coupon, "VOID", why, hold=None, hold_store_id=None, hold_until=None)
    return coupon
