"""What the redemptions of one transaction come to: entered one after the other, written together at its end."""

from collections import Counter as Count
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.chassis.names import new_id, new_uid
from services.chassis.script import Row, Statement
from services.ledger import statements
from services.ledger.counter import Counter, Order, Verdict
from services.ledger.records import Part, Receipt, microseconds
from services.ledger.rewards import Rewarding
from services.schema.lifecycle import Actor
from services.schema.tables import canonical

_COUPON_REDEEMED = (
    "UPDATE coupon SET state = 'REDEEMED', hold = NULL, hold_store_id = NULL, hold_until = NULL, "
    "redemption_id = CASE id ? END WHERE id IN ? AND state = 'CLAIMED'"
)
_HOLD_RELEASED = (
    "UPDATE coupon SET hold = NULL, hold_store_id = NULL, hold_until = NULL WHERE id IN ? AND state = 'CLAIMED'"
)
_SUPPLY_REDEEMED = "UPDATE supply SET redeemed = redeemed + CASE activity_id ? END WHERE activity_id IN ?"
_REDEMPTION = (
    "id, uid, merchant_id, store_id, order_id, terminal, operator, use_time, currency, order_amount, discount, "
    "reverse_until, reverse_reason"
)
_PART = "redemption_id, merchant_id, coupon_id, activity_id, share_id, customer, discount, gifts, standing"


@dataclass
class Till:
    """Enters redemptions of coupons that were judged usable, all at the instant `now`."""

    now: datetime
    counter: Counter
    rewarding: Rewarding
    # Digest and receipt by the orders' keys: a twin gets its winner's receipt, and the id of a refused order is free.
    receipts: dict[str, tuple[str, Receipt]] = field(default_factory=dict)
    _redeemed: dict[int, int] = field(default_factory=dict)
    _released: list[int] = field(default_factory=list)
    _counts: Count[int] = field(default_factory=Count)
    _redemptions: list[Row] = field(default_factory=list)
    _parts: list[Row] = field(default_factory=list)
    _events: list[Row] = field(default_factory=list)

    def enter(self, order: Order, verdicts: Sequence[Verdict]) -> Receipt:
        """The final use: the receipt of an order whose coupons are all usable."""
        at, store = microseconds(self.now), order.store
        amount = sum([line.quantity * line.unit_price for line in order.basket])
        discount = sum([verdict.discount for verdict in verdicts])
        receipt = Receipt(
            id=new_id(),
            uid=new_uid(),
            merchant=order.tenant,
            store=store.uid,
            order_id=order.order_id,
            terminal=order.terminal,
            operator=order.call.actor,
            use_time=self.now,
            currency=order.currency,
            order_amount=amount,
            discount=discount,
            reverse_until=self.now + timedelta(seconds=self._window(verdicts)),
        )
        until = microseconds(receipt.reverse_until)
        about = (store.merchant_id, store.id, order.order_id, order.terminal, order.call.actor, at, order.currency)
        self._redemptions.append((receipt.id, receipt.uid, *about, amount, discount, until, ""))
        if order.hold:
            self._release(order, at)
        for verdict in verdicts:
            self._use(order, verdict, receipt, at)
        self.counter.uses[receipt.id] = self.now, store.zone
        self.receipts[order.key] = order.call.digest, receipt
        return receipt

    def statements(self) -> list[Statement]:
        """All that was entered, in the order of the locks."""
        if not self._redemptions:
            return []
        at, ids = microseconds(self.now), tuple(self._redeemed)
        kept = [(key, digest, receipt.uid, at) for key, (digest, receipt) in self.receipts.items()]
        release = Statement(_HOLD_RELEASED, (tuple(self._released),), touches=len(self._released))
        return [
            *([release] if self._released else ()),
            Statement(_COUPON_REDEEMED, (self._redeemed, ids), touches=len(ids)),
            Statement(_SUPPLY_REDEEMED, (self._counts, tuple(self._counts))),
            *self.rewarding.statements(),
            statements.insert("redemption", _REDEMPTION, self._redemptions),
            statements.insert("redeemed_coupon", _PART, self._parts),
            statements.keep_events(self._events),
            statements.keep_replays(kept),
        ]

    def _window(self, verdicts: Sequence[Verdict]) -> int:
        """Seconds in which the redemption can be taken back: as long as each of its coupons lets it."""
        promises = self.counter.promises
        return min(
            [promises[one.coupon.publication_id].terms.reversal_window_seconds for one in verdicts if one.coupon]
        )

    def _use(self, order: Order, verdict: Verdict, receipt: Receipt, at: int) -> None:
        coupon = verdict.coupon
        assert coupon is not None
        promised, sharer = self.counter.promises[coupon.publication_id], self.counter.sharers.get(coupon.share_id)
        gifts = [gift.item for gift in verdict.gifts]
        receipt.parts.append(Part(coupon.uid, promised.activity, sharer.uid if sharer else "", verdict.discount, gifts))
        about = (coupon.merchant_id, coupon.id, coupon.activity_id, coupon.share_id, coupon.customer)
        self._parts.append((receipt.id, *about, verdict.discount, canonical(gifts) if gifts else "[]", 1))
        self._tell(order, coupon.id, "REDEEMED", "", at)
        self._redeemed[coupon.id] = receipt.id
        self._counts[coupon.activity_id] += 1
        self.rewarding.hold(coupon, promised.terms, receipt)
        coupon.state, coupon.redemption_id = "REDEEMED", receipt.id
        coupon.hold = coupon.hold_store_id = coupon.hold_until = None
        self.counter.old_customers.add(coupon.customer)

    def _release(self, order: Order, at: int) -> None:
        """Let go of what else the order's hold holds."""
        for coupon in self.counter.coupons.values():
            if coupon.hold == order.hold and coupon.code not in order.codes:
                self._tell(order, coupon.id, "CLAIMED", "release", at)
                self._released.append(coupon.id)
                coupon.hold = coupon.hold_store_id = coupon.hold_until = None

    def _tell(self, order: Order, coupon_id: int, to: str, reason: str, at: int) -> None:
        actor = Actor.of(order.call)
        merchant_id = order.store.merchant_id
        self._events.append((coupon_id, merchant_id, "CLAIMED", to, at, actor.role, actor.who, reason))
