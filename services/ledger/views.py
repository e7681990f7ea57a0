"""Coupons and redemptions in the shape of the contract's messages."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from services.chassis.names import name
from services.ledger.promises import Promise, promise
from services.ledger.records import CouponRow, Part, Receipt, Use
from services.schema.catalogue import uids
from services.schema.tables import Activity, Coupon, Merchant, RedeemedCoupon, Redemption, Share, Store

Plain = dict[str, Any]

# What a row of redemptions and a receipt both tell.
_SHARED = tuple(one.name for one in fields(Receipt) if one.name in Redemption._meta.fields)


def coupon_view(coupon: Coupon, now: datetime, *, with_code: bool) -> Plain:
    """A Coupon; its code is for the holder's eyes only."""
    return coupon_views([coupon], now, with_code=with_code)[0]


def coupon_views(coupons: Sequence[Coupon | CouponRow], now: datetime, *, with_code: bool) -> list[Plain]:
    """Coupons, with one look at each table whatever their number."""
    activities = _names("activities", Activity, {coupon.activity_id for coupon in coupons})
    merchants = _names("merchants", Merchant, {coupon.merchant_id for coupon in coupons})
    shares = _names("shares", Share, {coupon.share_id for coupon in coupons})
    uses = _uses(coupons)
    return [
        _coupon_view(
            coupon,
            None if coupon.publication_id is None else promise(coupon.publication_id),
            {
                "activity": activities.get(coupon.activity_id),
                "merchant": merchants[coupon.merchant_id],
                "share": shares.get(coupon.share_id),
            },
            uses.get(coupon.redemption_id),
            now,
            with_code=with_code,
        )
        for coupon in coupons
    ]


def claimed_view(coupon: CouponRow, merchant: str, share: str, now: datetime) -> Plain:
    """The Coupon that a claim of its holder's came to; `merchant` and `share` are uids, "" for no share."""
    promised = coupon.promised
    assert promised is not None
    chain = {
        "activity": name("activities", promised.activity),
        "merchant": name("merchants", merchant),
        "share": name("shares", share) if share else None,
    }
    return _coupon_view(coupon, promised, chain, coupon.use, now, with_code=bool(coupon.code))


def _coupon_view(
    coupon: Coupon | CouponRow,
    promised: Promise | None,
    chain: Plain,
    use: Use | None,
    now: datetime,
    *,
    with_code: bool,
) -> Plain:
    view: Plain = {
        "name": name("coupons", coupon.uid),
        **chain,
        "state": state_at(coupon, now),
        "claim_time": coupon.claim_time,
        "start_time": coupon.start_time,
        "expire_time": coupon.expire_time,
    }
    if use is not None:
        view |= {
            "redemption": name("redemptions", use.redemption),
            "redeem_time": use.time,
            "redeem_store": name("stores", use.store),
        }
    if promised is not None:
        view |= {
            "publication": name("publications", promised.publication),
            "title": promised.title,
            "benefit": promised.benefit,
        }
    if coupon.hold_until is not None and now < coupon.hold_until:
        view["hold_expire_time"] = coupon.hold_until
    if with_code:
        view["code"] = coupon.code
    return view


def state_at(coupon: Coupon | CouponRow, now: datetime) -> str:
    """The coupon's state; a claimed one past its time is EXPIRED by the clock alone."""
    is_late = coupon.state == "CLAIMED" and coupon.expire_time is not None and coupon.expire_time <= now
    return "EXPIRED" if is_late else str(coupon.state)


def redemption_view(redemption: Redemption) -> Plain:
    """A Redemption with its coupons."""
    return redemption_views([redemption])[0]


def redemption_views(redemptions: Sequence[Redemption]) -> list[Plain]:
    """Redemptions, with one look at each table whatever their number."""
    return [receipt_view(receipt) for receipt in receipts_of(redemptions)]


def receipts_of(redemptions: Sequence[Redemption]) -> list[Receipt]:
    """The receipts of redemptions, with one look at each table whatever their number."""
    ids = [redemption.id for redemption in redemptions]
    used = RedeemedCoupon.select().where(RedeemedCoupon.redemption_id.in_(ids)).order_by(RedeemedCoupon.id)
    activities, coupons = uids(Activity, {part.activity_id for part in used}), uids(Coupon, {p.coupon_id for p in used})
    shares = uids(Share, {part.share_id for part in used} - {0})
    parts: dict[int, list[Part]] = {}
    for part in used:
        chain = coupons[part.coupon_id], activities[part.activity_id], shares.get(part.share_id, "")
        parts.setdefault(part.redemption_id, []).append(Part(*chain, part.discount, part.gifts))
    merchants = uids(Merchant, {redemption.merchant_id for redemption in redemptions})
    stores = uids(Store, {redemption.store_id for redemption in redemptions})
    return [
        Receipt(
            **{column: getattr(row, column) for column in _SHARED},
            merchant=merchants[row.merchant_id],
            store=stores[row.store_id],
            parts=parts.get(row.id, []),
        )
        for row in redemptions
    ]


def receipt_view(receipt: Receipt) -> Plain:
    """A Redemption."""

    def money(minor: int) -> Plain:
        return {"currency": receipt.currency, "minor": minor}

    return {
        "name": name("redemptions", receipt.uid),
        "merchant": name("merchants", receipt.merchant),
        "store": name("stores", receipt.store),
        "order_id": receipt.order_id,
        "terminal": receipt.terminal,
        "operator": receipt.operator,
        "use_time": receipt.use_time,
        "order_amount": money(receipt.order_amount),
        "discount": money(receipt.discount),
        "coupons": [
            {
                "coupon": name("coupons", part.coupon),
                "activity": name("activities", part.activity),
                "discount": money(part.discount),
                "gifts": part.gifts,
            }
            for part in receipt.parts
        ],
        "reverse_time": receipt.reverse_time,
        "reverse_reason": receipt.reverse_reason,
        # Until when it can be taken back; None if its coupons never let it.
        "reverse_expire_time": receipt.reverse_until if receipt.reverse_until > receipt.use_time else None,
    }


def _uses(coupons: Sequence[Coupon | CouponRow]) -> dict[int | None, Use]:
    """What used these coupons, by the redemptions' ids."""
    ids = {coupon.redemption_id for coupon in coupons} - {None}
    made = list(Redemption.select().where(Redemption.id.in_(ids))) if ids else []
    stores = uids(Store, {row.store_id for row in made})
    return {row.id: Use(row.uid, row.use_time, stores[row.store_id]) for row in made}


def _names(collection: str, table: Any, ids: set[int | None]) -> dict[int | None, str]:
    return {key: name(collection, uid) for key, uid in uids(table, ids - {0}).items()}
