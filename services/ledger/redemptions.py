"""Redeeming: a list of orders in one transaction, each with all of its coupons or none; and taking one back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis import errors
from services.chassis.names import new_uid
from services.ledger import rewards, rows
from services.ledger.counter import Counter, Order, Verdict, judged, locked
from services.ledger.holds import NO_HOLD
from services.schema import replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import RedeemedCoupon, Redemption, Replay, Supply

Outcome = Redemption | errors.Error


def redeem(commands: Sequence[Order], now: datetime) -> list[Outcome]:
    """Decide orders in the order given, all in one transaction; returns each one's redemption or refusal.

    A refusal or a replay costs its own caller only. Raises Conflict(TRY_AGAIN) if the same requests keep being
    committed elsewhere.
    """

    def decide() -> list[Outcome]:
        counter = locked(commands)
        return [_redeem(command, counter, now) for command in commands]

    return rows.settled(decide)


def reverse(redemption: Redemption, why: Why) -> None:
    """Take a redemption back, inside a write(): its coupons are CLAIMED again and its rewards revoked.

    Raises FailedPrecondition: ALREADY_REVERSED, REVERSAL_CLOSED.
    """
    parts = list(RedeemedCoupon.select().where(RedeemedCoupon.redemption_id == redemption.id))
    rows.lock_supplies({part.activity_id for part in parts})
    coupons = rows.lock_coupons([part.coupon_id for part in parts])
    changed = (
        Redemption.update(reverse_time=why.now, reverse_reason=why.reason)
        .where(Redemption.id == redemption.id, Redemption.reverse_time.is_null(), Redemption.reverse_until > why.now)
        .execute()
    )
    if changed != 1:
        present = Redemption.get_by_id(redemption.id)
        raise errors.FailedPrecondition("REVERSAL_CLOSED" if present.reverse_time is None else "ALREADY_REVERSED")
    for part in parts:
        rows.move_coupon(coupons[part.coupon_id], "CLAIMED", why, redemption_id=None)
        Supply.update(redeemed=Supply.redeemed - 1).where(Supply.activity_id == part.activity_id).execute()
    RedeemedCoupon.update(standing=None).where(RedeemedCoupon.redemption_id == redemption.id).execute()
    rewards.revoke(redemption.id, why.now)


def _redeem(order: Order, counter: Counter, now: datetime) -> Outcome:
    known = counter.replays.get(order.key)
    if known is not None:
        try:
            return Redemption.get(Redemption.uid == replay.check(order.call, known))
        except errors.Invalid as reused:
            return reused
    verdicts = judged(order, counter, now)
    for place, verdict in enumerate(verdicts):
        if verdict.refusal is not None:
            return verdict.refusal.error(index=str(place))
    redemption = _enter(order, verdicts, counter, now)
    counter.replays[order.key] = Replay(key=order.key, digest=order.call.digest, outcome=redemption.uid)
    rows.keep_replays([(order.key, order.call.digest, redemption.uid)], now)
    return redemption


def _enter(order: Order, verdicts: Sequence[Verdict], counter: Counter, now: datetime) -> Redemption:
    """Write a redemption of coupons that are all usable: the final use, with its history, counters and rewards."""
    used = [(verdict.coupon, verdict) for verdict in verdicts if verdict.coupon is not None]
    window = min(counter.promises[coupon.publication_id].terms.reversal_window_seconds for coupon, _ in used)
    redemption = Redemption.create(
        uid=new_uid(),
        merchant_id=order.store.merchant_id,
        store_id=order.store.id,
        order_id=order.order_id,
        terminal=order.terminal,
        operator=order.call.actor,
        use_time=now,
        currency=order.currency,
        order_amount=sum(line.quantity * line.unit_price for line in order.basket),
        discount=sum(verdict.discount for _, verdict in used),
        reverse_until=now + timedelta(seconds=window),
    )
    why = Why(Actor.of(order.call), now)
    for coupon in counter.coupons.values():
        if order.hold and coupon.hold == order.hold and coupon.code not in order.codes:
            rows.move_coupon(coupon, "CLAIMED", replace(why, reason="release"), **NO_HOLD)
    for coupon, verdict in used:
        rows.move_coupon(coupon, "REDEEMED", why, redemption_id=redemption.id, **NO_HOLD)
        RedeemedCoupon.create(
            redemption_id=redemption.id,
            merchant_id=coupon.merchant_id,
            coupon_id=coupon.id,
            activity_id=coupon.activity_id,
            share_id=coupon.share_id,
            customer=coupon.customer,
            discount=verdict.discount,
            gifts=[gift.item for gift in verdict.gifts],
        )
        Supply.update(redeemed=Supply.redeemed + 1).where(Supply.activity_id == coupon.activity_id).execute()
        supply, promised = counter.supplies[coupon.activity_id], counter.promises[coupon.publication_id]
        rewards.hold(coupon, promised.terms, supply, redemption.id, now)
        counter.uses[redemption.id] = (now, order.store.zone)
        counter.old_customers.add(coupon.customer)
    return redemption
