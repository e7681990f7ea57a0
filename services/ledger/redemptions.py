"""Redeeming: a list of orders in one transaction, each with all of its coupons or none; and taking one back."""

from collections.abc import Generator, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

from services.chassis import errors
from services.chassis.script import Row, Script, Statement
from services.ledger import receipts, rewards, rows, rules, statements
from services.ledger.counter import Counter, Order, judged
from services.ledger.promises import promises
from services.ledger.receipts import Receipts
from services.ledger.records import CouponRow, Receipt, SupplyRow, instant
from services.ledger.rewards import Rewarding
from services.ledger.sharers import sharers
from services.ledger.till import Till
from services.schema.lifecycle import Why
from services.schema.tables import RedeemedCoupon, Redemption, Supply

Outcome: TypeAlias = Receipt | errors.Error

_USES = "SELECT r.id, r.use_time, s.zone FROM redemption r JOIN store s ON s.id = r.store_id WHERE r.id IN ?"


def redeem(orders: Sequence[Order], now: datetime) -> list[Outcome]:
    """redeeming() in this thread and in a transaction of its own.

    Raises Conflict(TRY_AGAIN) if the same requests keep being committed elsewhere.
    """
    return rows.settled(lambda: redeeming(orders, now))


def redeeming(orders: Sequence[Order], now: datetime) -> Script[list[Outcome]]:
    """The script that decides orders in the order given; its result is each one's receipt or refusal.

    A refusal or a replay costs its own caller only: what is not redeemed writes nothing.
    """
    if not orders:
        return [], []
    till, replayed = yield from _locked(orders, now)
    outcomes = [_outcome(order, till, replayed) for order in orders]
    return till.statements(), outcomes


def reverse(redemption_id: int, why: Why) -> None:
    """Take a redemption back, inside a write(): its coupons are CLAIMED again and its rewards revoked.

    Raises FailedPrecondition: ALREADY_REVERSED, REVERSAL_CLOSED.
    """
    parts = list(RedeemedCoupon.select().where(RedeemedCoupon.redemption_id == redemption_id))
    rows.lock_supplies({part.activity_id for part in parts})
    coupons = rows.lock_coupons([part.coupon_id for part in parts])
    changed = (
        Redemption.update(reverse_time=why.now, reverse_reason=why.reason)
        .where(Redemption.id == redemption_id, Redemption.reverse_time.is_null(), Redemption.reverse_until > why.now)
        .execute()
    )
    if changed != 1:
        present = Redemption.get_by_id(redemption_id)
        raise errors.FailedPrecondition("REVERSAL_CLOSED" if present.reverse_time is None else "ALREADY_REVERSED")
    for part in parts:
        rows.move_coupon(coupons[part.coupon_id], "CLAIMED", why, redemption_id=None)
        Supply.update(redeemed=Supply.redeemed - 1).where(Supply.activity_id == part.activity_id).execute()
    RedeemedCoupon.update(standing=None).where(RedeemedCoupon.redemption_id == redemption_id).execute()
    rewards.revoke(redemption_id, why.now)


def _outcome(order: Order, till: Till, replayed: Receipts) -> Outcome:
    known = till.receipts.get(order.key) or replayed.get(order.key)
    if known is not None:
        digest, receipt = known
        return errors.Invalid("REQUEST_ID_REUSED") if receipt is None or digest != order.call.digest else receipt
    verdicts = judged(order, till.counter, till.now)
    for place, verdict in enumerate(verdicts):
        if verdict.refusal is not None:
            return verdict.refusal.error(index=str(place))
    return till.enter(order, verdicts)


def _locked(
    orders: Sequence[Order], now: datetime
) -> Generator[Sequence[Statement], Sequence[Sequence[Row]], tuple[Till, Receipts]]:
    """The till with every row on its counter locked, and the receipts of orders that were committed before."""
    codes = tuple(sorted({code for order in orders for code in order.codes}))
    holds = tuple(sorted({order.hold for order in orders if order.hold}))
    shown = [statements.lock_shown(codes), *([statements.lock_held(holds)] if holds else ())]
    supplied, *found, replays = yield [
        statements.lock_supplies_of(codes, holds),
        *shown,
        statements.replays(order.key for order in orders),
    ]
    supplies = {row[0]: SupplyRow(*row) for row in supplied}
    coupons = {row[2]: CouponRow.of(row) for some in found for row in some}
    promised = yield from promises({one.publication_id for one in coupons.values() if one.publication_id is not None})
    shared = yield from sharers({one.share_id for one in coupons.values()})
    new = {
        one.customer
        for one in coupons.values()
        if one.customer and one.publication_id and rules.is_for_new_customers(promised[one.publication_id].terms)
    }
    rewarding = Rewarding(supplies, shared, now)
    more = [
        statements.lock_first_visits(new) if new else [],
        _uses_of(coupons.values()),
        receipts.asked([uid for _, _, uid in replays]),
        rewarding.asked(coupons.values(), promised),
    ]
    # One round trip for whatever else there is to know; mostly there is nothing, and then there is none.
    got = iter((yield [one for some in more for one in some]) if any(more) else ())
    visits, uses, first, earned = [[next(got) for _ in some] for some in more]
    rewarding.learn(earned)
    counter = Counter(
        {**coupons},
        promised,
        {row[0] for row in visits[-1]} if visits else set(),
        {row[0]: (instant(row[1]), row[2]) for some in uses for row in some},
        shared,
    )
    return Till(now, counter, rewarding), receipts.by_key(replays, first)


def _uses_of(coupons: Iterable[CouponRow]) -> list[Statement]:
    """When the coupons that are used were, to tell whoever shows them again."""
    ids = tuple(sorted({one.redemption_id for one in coupons if one.redemption_id is not None}))
    return [Statement(_USES, (ids,))] if ids else []
