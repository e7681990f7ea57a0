"""The arithmetic of coupons: what comes off an order, and why nothing does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from services.ledger import stacking
from services.ledger.basket import Basket, Remainder
from services.ledger.benefits import AmountOff, BuyGet, FixedPrice, Gift, NewCustomer, PercentOff, TrialPrice
from services.ledger.refusal import Refusal
from services.ledger.terms import Terms
from services.ledger.unit_prices import free_cheapest, reprice


@dataclass(frozen=True)
class GiftLine:
    """One unit of `item` to hand over; `in_basket` says that it stood in the order and was made free there."""

    item: str
    in_basket: bool


class Outcome(NamedTuple):
    """What one coupon does: minor units off and gifts, or a refusal with which it does nothing."""

    amount: int = 0
    gifts: tuple[GiftLine, ...] = ()
    refusal: Refusal | None = None


class Quote(NamedTuple):
    """An order with its coupons, in minor units; `outcomes` stand in the order the coupons were given."""

    subtotal: int
    outcomes: tuple[Outcome, ...]

    @property
    def off(self) -> int:
        """All that comes off; never more than the subtotal."""
        return sum(outcome.amount for outcome in self.outcomes)

    @property
    def total(self) -> int:
        """What is left to pay; never below zero."""
        return self.subtotal - self.off


def price(basket: Basket, coupons: Sequence[Terms], activities: Sequence[str]) -> Quote:
    """Prices an order with coupons; `activities[i]` names the activity of `coupons[i]`, for the stacking rules.

    The basket and all terms are in one currency, which the caller has checked. Store, time, state and customer are
    not judged here. A refused coupon takes nothing and the others are priced as if it were not there.

    1. Stacking: codes are admitted in the order given; one that may not join those before it, or that they do not
       let join, is NOT_STACKABLE.
    2. Admitted coupons apply in this order, ties in the order given: those that price units (fixed price, trial
       price, buy-get, gift), then amounts off (tiers, new customer), then percentages. Unit prices come first
       because a unit is priced by at most one coupon, at its own price. Percentages come last so that they never
       give away a part of money that an amount has already taken off.
    3. Each works on what is left of its eligible items, and its threshold is judged on that too: a threshold is what
       the customer really pays for, so one yuan of goods never earns two offers that each ask for it.
    4. Among units a coupon takes the dearest first, as a customer who split the order would; buy-get forms its groups
       so, and the units bought in a group count as priced.
    5. A percentage is rounded half up to the minor unit, which favours neither side. Caps bound every amount.
    6. A coupon that would take nothing off is refused rather than used up, except a gift that is handed over.

    Returns a Quote. Refusals are NOT_STACKABLE, NO_ELIGIBLE_ITEM, BELOW_THRESHOLD, whose metadata `missing` reads
    "¥12.00" (with `missing_minor` and `currency`), and UNITS_MISSING, whose `missing` counts units.
    Raises ValueError unless there is one activity for each coupon.
    """
    if len(coupons) != len(activities):
        raise ValueError("each coupon needs its activity")
    admitted = stacking.admit(coupons, activities)
    outcomes = [Outcome(refusal=Refusal("NOT_STACKABLE"))] * len(coupons)
    rest = Remainder(basket)
    for position in sorted(admitted, key=lambda position: (_turn(coupons[position]), position)):
        outcomes[position] = _apply(coupons[position], rest)
    return Quote(sum([line.quantity * line.unit_price for line in basket]), tuple(outcomes))


def worst_case(terms: Terms) -> int | None:
    """The most that one coupon can ever take off, in minor units; None when nothing bounds it, which no budget can
    bear (BUDGET_NEEDS_CAP)."""
    match terms.benefit:
        case AmountOff(tiers):
            return max(tier.off for tier in tiers)
        case NewCustomer(off):
            return off
        case Gift(value=value):
            return value
        case PercentOff() | FixedPrice() | BuyGet() | TrialPrice():
            return terms.benefit.cap
        case _:
            assert_never(terms.benefit)


def _turn(terms: Terms) -> int:
    match terms.benefit:
        case PercentOff():
            return 2
        case AmountOff() | NewCustomer():
            return 1
        case _:
            return 0


def _apply(terms: Terms, rest: Remainder) -> Outcome:
    match terms.benefit:
        case Gift():
            return _give(terms, terms.benefit, rest)
        case BuyGet():
            result = _group(terms, terms.benefit, rest)
        case FixedPrice(unit_price, quantity, cap):
            result = reprice(rest.runs(terms.covers), unit_price, quantity, cap, rest)
        case TrialPrice(unit_price, item, cap):
            trial = [run for run in rest.runs(terms.covers) if run.item == item]
            result = reprice(trial, unit_price, 1, cap, rest)
        case AmountOff() | NewCustomer() | PercentOff():
            result = _deduct(terms, terms.benefit, rest)
        case _:
            assert_never(terms.benefit)
    if isinstance(result, Refusal):
        return Outcome(refusal=result)
    return Outcome(result) if result else Outcome(refusal=Refusal("NO_ELIGIBLE_ITEM"))


def _group(terms: Terms, benefit: BuyGet, rest: Remainder) -> int | Refusal:
    runs, size = rest.runs(terms.covers), benefit.buy + benefit.get
    units = sum(run.count for run in runs)
    if 0 < units < size:
        return Refusal("UNITS_MISSING", {"missing": str(size - units)})
    return free_cheapest(runs, benefit, rest)


def _give(terms: Terms, gift: Gift, rest: Remainder) -> Outcome:
    """Frees one unit of the gift; it need not be in the scope, and does not count towards its own threshold."""
    if not rest.has(terms.covers):
        return Outcome(refusal=Refusal("NO_ELIGIBLE_ITEM"))
    unit = next(iter(rest.runs(lambda item: item == gift.item)), None)
    bought = rest.left(terms.covers) - (unit.price if unit and terms.covers(gift.item) else 0)
    if bought < gift.threshold:
        return Outcome(refusal=_below(terms, gift.threshold - bought))
    off = min(unit.price, gift.value) if unit else 0
    if unit:
        rest.settle(unit, 1, off)
    return Outcome(off, (GiftLine(gift.item, in_basket=unit is not None),))


def _deduct(terms: Terms, benefit: AmountOff | NewCustomer | PercentOff, rest: Remainder) -> int | Refusal:
    left = rest.left(terms.covers)
    if not rest.has(terms.covers):
        return Refusal("NO_ELIGIBLE_ITEM")
    threshold = min([tier.threshold for tier in benefit.tiers]) if isinstance(benefit, AmountOff) else benefit.threshold
    if left < threshold:
        return _below(terms, threshold - left)
    match benefit:
        case AmountOff(tiers):
            off = max((tier for tier in tiers if tier.threshold <= left), key=lambda tier: tier.threshold).off
        case NewCustomer(off):
            pass
        case PercentOff(percent, cap):
            rounded = (left * percent + 50) // 100
            off = rounded if cap is None else min(rounded, cap)
    off = min(off, left)
    if off:
        rest.take(terms.covers, off)
    return off


def _below(terms: Terms, missing: int) -> Refusal:
    sign = "¥" if terms.currency == "CNY" else f"{terms.currency} "
    money = f"{sign}{missing // 100}.{missing % 100:02d}"
    return Refusal("BELOW_THRESHOLD", {"missing": money, "missing_minor": str(missing), "currency": terms.currency})
