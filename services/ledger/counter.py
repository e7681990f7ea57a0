"""What lies on the counter: orders, the coupons shown for them, and what each code comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

from services.chassis.call import Call
from services.chassis.names import name
from services.ledger import rows, rules
from services.ledger.basket import Line
from services.ledger.discount import GiftLine, price
from services.ledger.promises import Promise, promise
from services.ledger.refusal import Refusal
from services.ledger.sharers import Sharer
from services.schema import replay
from services.schema.tables import Coupon, Replay

# A row of the model or a CouponRow: the rules read the same names off both.
AnyCoupon: TypeAlias = Any


class Place(Protocol):
    """What counts of the store that an order is placed in."""

    @property
    def id(self) -> int: ...
    @property
    def uid(self) -> str: ...
    @property
    def merchant_id(self) -> int: ...
    @property
    def zone(self) -> str: ...


@dataclass(frozen=True)
class Order:
    """What lies on the counter: codes that are authentic, and a basket in minor units of `currency`.

    `tenant` is the merchant's uid, `hold` names the hold on the coupons, "" for none. An empty basket asks about the
    coupons alone.
    """

    call: Call
    tenant: str
    store: Place
    codes: tuple[str, ...]
    basket: tuple[Line, ...]
    currency: str
    hold: str = ""
    order_id: str = ""
    terminal: str = ""

    @cached_property
    def key(self) -> str:
        """What its request_id is unique within."""
        return replay.key(self.call, self.tenant)

    @property
    def counter(self) -> tuple[int, str, str]:
        """The store as rules see it: (id, name, zone)."""
        return self.store.id, name("stores", self.store.uid), self.store.zone


class Verdict(NamedTuple):
    """What one code comes to: minor units off and gifts, or a refusal. `coupon` is None for a code that is refused as
    unknown."""

    coupon: AnyCoupon | None
    refusal: Refusal | None = None
    discount: int = 0
    gifts: tuple[GiftLine, ...] = ()


# What a code comes to that names no coupon of the merchant's: the same for all such codes.
UNKNOWN = Verdict(None, Refusal("COUPON_REFUSED"))


@dataclass
class Counter:
    """The rows that orders are judged by."""

    coupons: dict[str, AnyCoupon]
    # By publication id; every claimed coupon has one.
    promises: Mapping[Any, Promise]
    old_customers: set[str | None]
    uses: dict[int | None, tuple[datetime, str]]
    sharers: dict[int, Sharer] = field(default_factory=dict)
    replays: dict[str, Replay] = field(default_factory=dict)


def judge(order: Order, now: datetime) -> list[Verdict]:
    """What each code of the order comes to, read without a lock: the redemption decides."""
    return judged(order, _counter(_coupons([order])), now)


def locked(commands: Sequence[Order]) -> Counter:
    """The counter with every row locked in the ledger's order; what a coupon shows was read under its lock."""
    found = _coupons(commands)
    rows.lock_supplies({coupon.activity_id for coupon in found})
    promises = _promises(found)
    new = {
        (0, c.customer) for c in found if c.customer and rules.is_for_new_customers(promises[c.publication_id].terms)
    }
    if new:
        rows.lock_counters(new)
    counter = _counter(list(rows.lock_coupons([coupon.id for coupon in found]).values()) if found else [])
    counter.replays = rows.replays({command.key for command in commands})
    return counter


def judged(order: Order, counter: Counter, now: datetime) -> list[Verdict]:
    """What each code of the order comes to, by the rows on the counter."""
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


def _coupons(commands: Sequence[Order]) -> list[Coupon]:
    """The coupons that are shown, and those that lie on the counter by a hold that is named."""
    codes = {code for command in commands for code in command.codes}
    shown = list(Coupon.select().where(Coupon.code.in_(sorted(codes)))) if codes else []
    named = {command.hold for command in commands if command.hold}
    held = Coupon.select().where(Coupon.hold.in_(sorted(named)), Coupon.code.not_in(sorted(codes))) if named else ()
    return [*shown, *held]


def _counter(coupons: Sequence[Coupon]) -> Counter:
    promises = _promises(coupons)
    uses = rows.uses(coupon.redemption_id for coupon in coupons)
    new = {c.customer for c in coupons if c.customer and rules.is_for_new_customers(promises[c.publication_id].terms)}
    old: set[str | None] = {*rows.old_customers(new)} if new else set()
    return Counter({coupon.code: coupon for coupon in coupons}, promises, old, uses)


def _promises(coupons: Sequence[Coupon]) -> dict[int | None, Promise]:
    return {key: promise(key) for key in {coupon.publication_id for coupon in coupons} if key is not None}


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
        use=counter.uses.get(coupon.redemption_id),
        hold=coupon.hold,
        hold_until=coupon.hold_until,
        hold_store_id=coupon.hold_store_id,
        is_new_customer=coupon.customer not in counter.old_customers,
    )
    terms = counter.promises[coupon.publication_id].terms
    return Verdict(coupon, rules.why_not_usable(shown, terms, order.counter, order.hold, now))
