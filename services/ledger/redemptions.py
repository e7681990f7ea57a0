"""Redeeming: a list of orders in one transaction, each with all of its coupons or none; and taking one back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.chassis import errors
from services.chassis.call import Call
from services.chassis.names import name, new_uid
from services.ledger import rewards, rows, rules
from services.ledger.basket import Line
from services.ledger.discount import GiftLine, price
from services.ledger.promises import Promise, promise
from services.ledger.refusal import Refusal
from services.schema import replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Coupon, RedeemedCoupon, Redemption, Replay, Store, Supply


@dataclass(frozen=True)
class Order:
    """What lies on the counter: codes that are authentic, and a basket in minor units of `currency`.

    `tenant` is the merchant's uid, `hold` names the hold on the coupons, "" for none. An empty basket asks about the
    coupons alone.
    """

    call: Call
    tenant: str
    store: Store
    codes: tuple[str, ...]
    basket: tuple[Line, ...]
    currency: str
    hold: str = ""
    order_id: str = ""
    terminal: str = ""

    @property
    def key(self) -> str:
        """What its request_id is unique within."""
        return replay.key(self.call, self.tenant)

    @property
    def counter(self) -> tuple[int, str, str]:
        """The store as rules see it: (id, name, zone)."""
        return self.store.id, name("stores", self.store.uid), self.store.zone


@dataclass(frozen=True)
class Verdict:
    """What one code comes to: minor units off and gifts, or a refusal. `coupon` is None for a code that is refused as
    unknown."""

    coupon: Coupon | None
    refusal: Refusal | None = None
    discount: int = 0
    gifts: tuple[GiftLine, ...] = ()


# What a code comes to that names no coupon of the merchant's: the same for all such codes.
UNKNOWN = Verdict(None, Refusal("COUPON_REFUSED"))


@dataclass
class Counter:
    """The rows that orders are judged by."""

    coupons: dict[str, Coupon]
    promises: dict[int | None, Promise]
    old_customers: set[str | None]
    redeem_times: dict[int | None, datetime]
    supplies: dict[int, Supply] = field(default_factory=dict)
    replays: dict[str, Replay] = field(default_factory=dict)


Outcome = Redemption | errors.Error


def redeem(commands: Sequence[Order], now: datetime) -> list[Outcome]:
    """Decide orders in the order given, all in one transaction; returns each one's redemption or refusal.

    A refusal or a replay costs its own caller only. Raises Conflict(TRY_AGAIN) if the same requests keep being
    committed elsewhere.
    """

    def decide() -> list[Outcome]:
        counter = _locked(commands)
        return [_redeem(command, counter, now) for command in commands]

    return rows.settled(decide)


def judge(order: Order, now: datetime) -> list[Verdict]:
    """What each code of the order comes to, read without a lock: the redemption decides."""
    return _judge(order, _counter(_coupons([order])), now)


def hold(order: Order, until: datetime, now: datetime) -> tuple[list[Verdict], str]:
    """Judge the order's coupons and, if all are usable, hold them for its store; returns the hold's name or "".

    A replay finds its hold still on the coupons, or judges them anew once it has ended.
    """
    return rows.settled(lambda: _hold(order, until, now))


def _hold(order: Order, until: datetime, now: datetime) -> tuple[list[Verdict], str]:
    counter = _locked([order])
    known = counter.replays.get(order.key)
    if known is not None:
        held = replay.check(order.call, known)
        on = any(coupon.hold == held and now < coupon.hold_until for coupon in counter.coupons.values())
        return _judge(_with_hold(order, held if on else ""), counter, now), held if on else ""
    verdicts = _judge(order, counter, now)
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
        rows.move_coupon(coupon, "CLAIMED", why, **_NO_HOLD)


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
    rewards.revoke(redemption.id)


_NO_HOLD: dict[str, Any] = {"hold": None, "hold_store_id": None, "hold_until": None}


def _with_hold(order: Order, held: str) -> Order:
    return Order(order.call, order.tenant, order.store, order.codes, order.basket, order.currency, held)


def _coupons(commands: Sequence[Order]) -> list[Coupon]:
    codes = {code for command in commands for code in command.codes}
    return list(Coupon.select().where(Coupon.code.in_(sorted(codes)))) if codes else []


def _counter(coupons: Sequence[Coupon]) -> Counter:
    promises = _promises(coupons)
    used = [coupon.redemption_id for coupon in coupons if coupon.redemption_id is not None]
    standing = Redemption.select().where(Redemption.id.in_(used)) if used else ()
    times: dict[int | None, datetime] = {row.id: row.use_time for row in standing}
    new = {c.customer for c in coupons if c.customer and rules.is_for_new_customers(promises[c.publication_id].terms)}
    old: set[str | None] = {*rows.old_customers(new)} if new else set()
    return Counter({coupon.code: coupon for coupon in coupons}, promises, old, times)


def _promises(coupons: Sequence[Coupon]) -> dict[int | None, Promise]:
    return {key: promise(key) for key in {coupon.publication_id for coupon in coupons} if key is not None}


def _locked(commands: Sequence[Order]) -> Counter:
    """The counter with every row locked in the ledger's order; what a coupon shows was read under its lock."""
    found = _coupons(commands)
    supplies = rows.lock_supplies({coupon.activity_id for coupon in found})
    promises = _promises(found)
    new = {
        (0, c.customer) for c in found if c.customer and rules.is_for_new_customers(promises[c.publication_id].terms)
    }
    if new:
        rows.lock_counters(new)
    counter = _counter(list(rows.lock_coupons([coupon.id for coupon in found]).values()) if found else [])
    counter.supplies = supplies
    counter.replays = rows.replays({command.key for command in commands})
    return counter


def _judge(order: Order, counter: Counter, now: datetime) -> list[Verdict]:
    verdicts = _first_visits([_presented(code, order, counter, now) for code in order.codes], counter)
    usable = [place for place, verdict in enumerate(verdicts) if verdict.refusal is None]
    if not order.basket or not usable:
        return verdicts
    coupons = [counter.coupons[order.codes[place]] for place in usable]
    terms = [counter.promises[coupon.publication_id].terms for coupon in coupons]
    quote = price(order.basket, terms, [str(coupon.activity_id) for coupon in coupons])
    for place, outcome in zip(usable, quote.outcomes, strict=True):
        verdicts[place] = Verdict(verdicts[place].coupon, outcome.refusal, outcome.amount, outcome.gifts)
    return verdicts


def _first_visits(verdicts: list[Verdict], counter: Counter) -> list[Verdict]:
    """The verdicts, with one coupon for new customers an order: nobody's first visit comes twice."""
    seen: set[str | None] = set()
    judged = []
    for verdict in verdicts:
        coupon = verdict.coupon
        if coupon is not None and verdict.refusal is None:
            is_first_visit = rules.is_for_new_customers(counter.promises[coupon.publication_id].terms)
            if is_first_visit and coupon.customer in seen:
                verdict = Verdict(coupon, Refusal("NOT_STACKABLE"))
            elif is_first_visit:
                seen.add(coupon.customer)
        judged.append(verdict)
    return judged


def _presented(code: str, order: Order, counter: Counter, now: datetime) -> Verdict:
    """The coupon of a code and whether it is taken here and now; nobody's and others' coupons are refused alike."""
    coupon = counter.coupons.get(code)
    if coupon is None or coupon.merchant_id != order.store.merchant_id or coupon.customer is None:
        return UNKNOWN
    shown = rules.Presented(
        state=coupon.state,
        start_time=coupon.start_time,
        expire_time=coupon.expire_time,
        redeem_time=counter.redeem_times.get(coupon.redemption_id),
        hold=coupon.hold,
        hold_until=coupon.hold_until,
        hold_store_id=coupon.hold_store_id,
        is_new_customer=coupon.customer not in counter.old_customers,
    )
    terms = counter.promises[coupon.publication_id].terms
    return Verdict(coupon, rules.why_not_usable(shown, terms, order.counter, order.hold, now))


def _redeem(order: Order, counter: Counter, now: datetime) -> Outcome:
    known = counter.replays.get(order.key)
    if known is not None:
        try:
            return Redemption.get(Redemption.uid == replay.check(order.call, known))
        except errors.Invalid as reused:
            return reused
    verdicts = _judge(order, counter, now)
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
    for coupon, verdict in used:
        rows.move_coupon(coupon, "REDEEMED", why, redemption_id=redemption.id, **_NO_HOLD)
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
        counter.redeem_times[redemption.id] = now
        counter.old_customers.add(coupon.customer)
    return redemption
