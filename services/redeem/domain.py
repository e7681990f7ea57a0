"""The till: coupons verified, held, redeemed, taken back and voided."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from services.chassis import database, errors, parameters
from services.chassis.call import Call, note
from services.chassis.errors import Violation, Words
from services.chassis.names import name, uid_of
from services.ledger import counter, coupons, holds, redemptions
from services.ledger.basket import Line
from services.ledger.checks import MOST_MINOR
from services.ledger.codes import CouponCodes
from services.ledger.counter import Order, Verdict
from services.ledger.records import Receipt
from services.ledger.views import coupon_view, coupon_views, receipt_view, receipts_of
from services.redeem.shops import Shop, shop_of
from services.redeem.tries import Tries
from services.schema import access, replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Coupon, Merchant, Redemption, Store

Plain = dict[str, Any]

# What a code is refused with that names no coupon of this merchant's.
STRANGE = "COUPON_REFUSED"


def verify_coupons(call: Call, plain: Plain, now: datetime, codes: CouponCodes, tries: Tries) -> Plain:
    """A VerifyCouponResponse: a verdict for each code and, if asked and all are usable, a hold on them."""
    store = shop_of(call, plain["store"], "VERIFY")
    tries.check(call.actor, store.uid)
    order = _order(call, plain, store, codes, hold="")
    is_authentic = len(order.codes) == len(plain["codes"])
    until, held = now + timedelta(seconds=parameters.current().hold_seconds), ""
    if plain["hold_coupons"] and is_authentic:
        judged, held = holds.hold(order, until, now)
        until = _held_until(held, until)
    else:
        judged = counter.judge(order, now)
    by_code = dict(zip(order.codes, judged, strict=True))
    verdicts = [by_code.get(code, counter.UNKNOWN) for code in plain["codes"]]
    _count_strange(tries, call, store, verdicts)
    response: Plain = {
        "verdicts": [_verdict_view(verdict, order.currency, now) for verdict in verdicts],
        "discount": _money(order.currency, sum(verdict.discount for verdict in verdicts)),
    }
    return response | ({"hold": held, "hold_expire_time": until} if held else {})


def release_hold(call: Call, plain: Plain, now: datetime) -> Plain:
    """Let go of a hold of the store's; an Empty."""
    store = access.store(call, plain["store"], "VERIFY")

    def release() -> str:
        holds.release(plain["hold"], store, Why(Actor.of(call), now, "release"))
        return ""

    with database.write():
        replay.once(call, _merchant(store.merchant_id).uid, release, now)
    return {}


def order_to_redeem(call: Call, plain: Plain, shop: Shop, codes: CouponCodes) -> Order:
    """The order that a RedeemCouponRequest asks to redeem; raises FailedPrecondition(COUPON_REFUSED) for a forged code,
    and Invalid: CURRENCY_MISMATCH, INVALID_FIELD."""
    order = _order(call, plain, shop, codes, hold=plain["hold"])
    if len(order.codes) < len(plain["codes"]):
        raise errors.FailedPrecondition(STRANGE, index=str(forged(plain["codes"], codes)[0]))
    return order


def forged(presented: Sequence[str], codes: CouponCodes) -> list[int]:
    """The places of the codes that we never made."""
    return [place for place, code in enumerate(presented) if not codes.is_authentic(code)]


def note_chain(receipt: Receipt) -> None:
    """Let the call's event tell the chain to a redemption's first coupon."""
    first = receipt.parts[0]
    share = name("shares", first.share) if first.share else ""
    note(activity=name("activities", first.activity), share=share, coupon=name("coupons", first.coupon))


def reverse_redemption(call: Call, plain: Plain, now: datetime) -> Plain:
    """Take a redemption back; the Redemption as it is now."""
    uid = uid_of("redemptions", plain["name"])
    redemption = Redemption.get_or_none(Redemption.uid == uid)
    if redemption is None:
        raise access.not_found("redemptions", uid)
    try:
        access.store(call, name("stores", Store.get_by_id(redemption.store_id).uid), "REVERSE")
    except errors.NotFound:
        raise access.not_found("redemptions", uid) from None

    def reverse() -> str:
        redemptions.reverse(redemption.id, Why(Actor.of(call), now, plain["reason"]))
        return uid

    with database.write():
        replay.once(call, _merchant(redemption.merchant_id).uid, reverse, now)
    (receipt,) = receipts_of([Redemption.get_by_id(redemption.id)])
    note_chain(receipt)
    return receipt_view(receipt)


def void_coupon(call: Call, plain: Plain, now: datetime) -> Plain:
    """Take a coupon out for good; the Coupon as it is now, without its code."""
    uid = uid_of("coupons", plain["name"])
    coupon = Coupon.get_or_none(Coupon.uid == uid)
    if coupon is None:
        raise access.not_found("coupons", uid)

    def void() -> str:
        coupons.void(coupon.id, coupon.activity_id, Why(Actor.of(call), now, plain["reason"]))
        return uid

    with database.write():
        replay.once(call, _merchant(coupon.merchant_id).uid, void, now)
    return coupon_view(Coupon.get_by_id(coupon.id), now, with_code=False)


def _order(call: Call, plain: Plain, shop: Shop, codes: CouponCodes, hold: str) -> Order:
    """The order with those of its codes that are authentic; raises Invalid: CURRENCY_MISMATCH, INVALID_FIELD."""
    lines, total = [], 0
    for place, line in enumerate(plain["basket"]):
        price = line["unit_price"]
        currency = price["currency"]
        if currency != shop.currency:
            field = f"basket[{place}].unit_price.currency_code"
            wrong = Words(f"必须使用 {shop.currency}", f"is not {shop.currency}, the merchant's currency")
            raise errors.Invalid("CURRENCY_MISMATCH", violations=[Violation(field, wrong)], currency=currency)
        if price["minor"] < 0:
            raise errors.invalid_field(f"basket[{place}].unit_price", Words("不能为负数", "must not be negative"))
        lines.append(Line(line["item"], line["quantity"], price["minor"]))
        total += line["quantity"] * price["minor"]
    if total > MOST_MINOR:
        most = f"{MOST_MINOR // 100}.00"
        raise errors.invalid_field("basket", Words(f"合计不能超过 {most}", f"must not come to more than {most}"))
    return Order(
        call=call,
        tenant=shop.merchant,
        store=shop,
        codes=tuple([code for code in plain["codes"] if codes.is_authentic(code)]),
        basket=tuple(lines),
        currency=shop.currency,
        hold=hold,
        order_id=plain.get("order_id", ""),
        terminal=plain.get("terminal", ""),
    )


def _held_until(held: str, until: datetime) -> datetime:
    """Until when a hold lasts: a replay has the first one's end."""
    coupon = Coupon.get_or_none(Coupon.hold == held) if held else None
    return until if coupon is None else coupon.hold_until


def _count_strange(tries: Tries, call: Call, store: Shop, verdicts: Sequence[Verdict]) -> None:
    strange = sum(1 for verdict in verdicts if verdict.refusal is not None and verdict.refusal.reason == STRANGE)
    tries.count(call.actor, store.uid, strange)


def _verdict_view(verdict: Verdict, currency: str, now: datetime) -> Plain:
    view: Plain = {"is_usable": verdict.refusal is None, "discount": _money(currency, verdict.discount)}
    if verdict.refusal is not None:
        view |= {"reason": verdict.refusal.reason, "details": dict(verdict.refusal.metadata)}
    if verdict.coupon is not None:
        view |= {
            "coupon": coupon_views([verdict.coupon], now, with_code=False)[0],
            "holder": verdict.coupon.customer,
            "gifts": [gift.item for gift in verdict.gifts],
        }
    return view


def _merchant(merchant_id: int) -> Merchant:
    return Merchant.get_by_id(merchant_id)


def _money(currency: str, minor: int) -> Plain:
    return {"currency": currency, "minor": minor}
