"""Redeeming as the service does it: the shop is found, the order takes its turn, and a batch is decided as one."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from services.chassis import errors
from services.chassis.batching import Batcher, Lane
from services.chassis.call import Call
from services.chassis.script import Script
from services.ledger import redemptions
from services.ledger.codes import CouponCodes
from services.ledger.counter import Order
from services.ledger.records import Receipt
from services.ledger.views import receipt_view
from services.redeem import domain
from services.redeem.shops import Shop, Shops
from services.redeem.tries import Tries

Plain = dict[str, Any]
Q = TypeVar("Q")
A = TypeVar("A")


class _Asked(NamedTuple, Generic[Q]):
    call: Call
    shop: Shop
    request: Q


class _Redeemed(NamedTuple, Generic[A]):
    receipt: Receipt
    answer: A


class Redeeming(Generic[Q, A]):
    """The way of a RedeemCouponRequest to its Redemption; the batch's instant is when it is decided.

    `unpack` makes plain values of a request and `pack` an answer of a plain Redemption. Both are called within the
    batch: the same work for many in a row costs less than in each call for itself.
    """

    def __init__(
        self,
        shops: Shops,
        batcher: Batcher,
        clock: Callable[[], datetime],
        codes: CouponCodes,
        tries: Tries,
        unpack: Callable[[Q], Plain],
        pack: Callable[[Plain], A],
    ) -> None:
        self._shops, self._clock, self._codes, self._tries = shops, clock, codes, tries
        self._unpack, self._pack = unpack, pack
        self._lane: Lane[_Asked[Q], _Redeemed[A]] = batcher.lane(self._decide)

    async def redeem(self, call: Call, store: str, request: Q, deadline: float) -> A:
        """The answer; raises what the contract says of RedeemCoupon, and what Lane.submit() raises."""
        shop = await self._shops.find(call, store, "REDEEM")
        self._tries.check(call.actor, shop.uid)
        try:
            redeemed = await self._lane.submit(_Asked(call, shop, request), shop.merchant, deadline)
        except errors.FailedPrecondition as refusal:
            if refusal.reason == domain.STRANGE:
                strange = domain.forged(self._unpack(request)["codes"], self._codes)
                self._tries.count(call.actor, shop.uid, len(strange) or 1)
            raise
        domain.note_chain(redeemed.receipt)
        return redeemed.answer

    def _decide(self, asked: Sequence[_Asked[Q]]) -> Script[list[_Redeemed[A] | errors.Error]]:
        orders = [self._order(one) for one in asked]
        placed = [order for order in orders if isinstance(order, Order)]
        statements, outcomes = yield from redemptions.redeeming(placed, self._clock())
        decided = iter(outcomes)
        return statements, [self._answer(next(decided)) if isinstance(one, Order) else one for one in orders]

    def _order(self, asked: _Asked[Q]) -> Order | errors.Error:
        try:
            return domain.order_to_redeem(asked.call, self._unpack(asked.request), asked.shop, self._codes)
        except errors.Error as refusal:
            return refusal

    def _answer(self, outcome: Receipt | errors.Error) -> _Redeemed[A] | errors.Error:
        return outcome if isinstance(outcome, errors.Error) else _Redeemed(outcome, self._pack(receipt_view(outcome)))
