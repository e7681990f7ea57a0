"""Holding coupons for an order that is being rung up: for a while, by time alone."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from services.chassis import errors
from services.chassis.names import new_uid
from services.ledger import rows
from services.ledger.counter import Order, Verdict, judged, locked
from services.schema import replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Coupon, Store

# What a coupon without a hold has in its columns.
NO_HOLD: dict[str, Any] = {"hold": None, "hold_store_id": None, "hold_until": None}


def hold(order: Order, until: datetime, now: datetime) -> tuple[list[Verdict], str]:
    """Judge the order's coupons and, if all are usable, hold them for its store; returns the hold's name or "".

    A replay finds its hold still on the coupons, or judges them anew once it has ended.
    """
    return rows.written(lambda: _hold(order, until, now))


def _hold(order: Order, until: datetime, now: datetime) -> tuple[list[Verdict], str]:
    counter = locked([order])
    known = counter.replays.get(order.key)
    if known is not None:
        held = replay.check(order.call, known)
        on = any(coupon.hold == held and now < coupon.hold_until for coupon in counter.coupons.values())
        return judged(replace(order, hold=held if on else ""), counter, now), held if on else ""
    verdicts = judged(order, counter, now)
    if any(verdict.refusal for verdict in verdicts):
        return verdicts, ""
    held = new_uid()
    why = Why(Actor.of(order.call), now, "hold")
    for coupon in counter.coupons.values():
        rows.move_coupon(coupon, "CLAIMED", why, hold=held, hold_store_id=order.store.id, hold_until=until)
    rows.keep_replays([(order.key, order.call.digest, held)], now)
    return verdicts, held


def release(held: str, store: Store, why: Why) -> None:
    """Let go of a hold, inside a write(). Raises FailedPrecondition(HOLD_NOT_FOUND) if the store has no such hold."""
    found = {row.id: row for row in Coupon.select().where(Coupon.hold == held, Coupon.hold_store_id == store.id)}
    rows.lock_supplies({coupon.activity_id for coupon in found.values()})
    coupons = [
        coupon
        for coupon in rows.lock_coupons(found).values()
        if coupon.hold == held and coupon.state == "CLAIMED" and why.now < coupon.hold_until
    ]
    if not coupons:
        raise errors.FailedPrecondition("HOLD_NOT_FOUND")
    for coupon in coupons:
        rows.move_coupon(coupon, "CLAIMED", why, **NO_HOLD)
