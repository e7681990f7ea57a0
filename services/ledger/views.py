"""Coupons and redemptions in the shape of the contract's messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.chassis.names import name
from services.ledger.promises import promise
from services.schema.catalogue import uids
from services.schema.tables import Activity, Coupon, Merchant, RedeemedCoupon, Redemption, Share, Store

Plain = dict[str, Any]


def coupon_view(coupon: Coupon, now: datetime, *, with_code: bool) -> Plain:
    """A Coupon; its code is for the holder's eyes only."""
    return coupon_views([coupon], now, with_code=with_code)[0]


def coupon_views(coupons: Sequence[Coupon], now: datetime, *, with_code: bool) -> list[Plain]:
    """Coupons, with one look at each table whatever their number."""
    activities = _names("activities", Activity, {coupon.activity_id for coupon in coupons})
    merchants = _names("merchants", Merchant, {coupon.merchant_id for coupon in coupons})
    shares = _names("shares", Share, {coupon.share_id for coupon in coupons})
    uses = _uses(coupons)
    stores = _names("stores", Store, {use.store_id for use in uses.values()})
    views = []
    for coupon in coupons:
        view: Plain = {
            "name": name("coupons", coupon.uid),
            "activity": activities.get(coupon.activity_id),
            "merchant": merchants[coupon.merchant_id],
            "share": shares.get(coupon.share_id),
            "state": state_at(coupon, now),
            "claim_time": coupon.claim_time,
            "start_time": coupon.start_time,
            "expire_time": coupon.expire_time,
        }
        use = uses.get(coupon.redemption_id)
        if use is not None:
            view |= {
                "redemption": name("redemptions", use.uid),
                "redeem_time": use.use_time,
                "redeem_store": stores[use.store_id],
            }
        if coupon.publication_id is not None:
            promised = promise(coupon.publication_id)
            view |= {
                "publication": name("publications", promised.publication),
                "title": promised.title,
                "benefit": promised.benefit,
            }
        if coupon.hold_until is not None and now < coupon.hold_until:
            view["hold_expire_time"] = coupon.hold_until
        if with_code:
            view["code"] = coupon.code
        views.append(view)
    return views


def state_at(coupon: Coupon, now: datetime) -> str:
    """The coupon's state; a claimed one past its time is EXPIRED by the clock alone."""
    is_late = coupon.state == "CLAIMED" and coupon.expire_time <= now
    return "EXPIRED" if is_late else str(coupon.state)


def redemption_view(redemption: Redemption) -> Plain:
    """A Redemption with its coupons."""
    return redemption_views([redemption])[0]


def redemption_views(redemptions: Sequence[Redemption]) -> list[Plain]:
    """Redemptions, with one look at each table whatever their number."""
    ids = [redemption.id for redemption in redemptions]
    used = RedeemedCoupon.select().where(RedeemedCoupon.redemption_id.in_(ids)).order_by(RedeemedCoupon.id)
    parts: dict[int, list[RedeemedCoupon]] = {}
    for part in used:
        parts.setdefault(part.redemption_id, []).append(part)
    activities = _names("activities", Activity, {part.activity_id for part in used})
    coupons = _names("coupons", Coupon, {part.coupon_id for part in used})
    merchants = _names("merchants", Merchant, {redemption.merchant_id for redemption in redemptions})
    stores = _names("stores", Store, {redemption.store_id for redemption in redemptions})
    return [
        {
            "name": name("redemptions", redemption.uid),
            "merchant": merchants[redemption.merchant_id],
            "store": stores[redemption.store_id],
            "order_id": redemption.order_id,
            "terminal": redemption.terminal,
            "operator": redemption.operator,
            "use_time": redemption.use_time,
            "order_amount": _money(redemption, redemption.order_amount),
            "discount": _money(redemption, redemption.discount),
            "coupons": [
                {
                    "coupon": coupons[part.coupon_id],
                    "activity": activities.get(part.activity_id),
                    "discount": _money(redemption, part.discount),
                    "gifts": part.gifts,
                }
                for part in parts.get(redemption.id, [])
            ],
            "reverse_time": redemption.reverse_time,
            "reverse_reason": redemption.reverse_reason,
            "reverse_expire_time": _reverse_expire_time(redemption),
        }
        for redemption in redemptions
    ]


def _uses(coupons: Sequence[Coupon]) -> dict[int | None, Redemption]:
    """The redemptions that used these coupons, by their ids."""
    ids = {coupon.redemption_id for coupon in coupons} - {None}
    return {row.id: row for row in Redemption.select().where(Redemption.id.in_(ids))} if ids else {}


def _reverse_expire_time(redemption: Redemption) -> datetime | None:
    """Until when it can be taken back; None if its coupons never let it."""
    return redemption.reverse_until if redemption.reverse_until > redemption.use_time else None


def _money(redemption: Redemption, minor: int) -> Plain:
    return {"currency": redemption.currency, "minor": minor}


def _names(collection: str, table: Any, ids: set[int | None]) -> dict[int | None, str]:
    return {key: name(collection, uid) for key, uid in uids(table, ids - {0}).items()}
