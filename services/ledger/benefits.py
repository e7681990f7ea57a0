"""What a coupon takes off: the seven kinds of benefit as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class Tier:
    """`off` comes off an eligible subtotal of at least `threshold`; both in minor units."""

    threshold: int
    off: int


@dataclass(frozen=True)
class AmountOff:
    """The highest tier that the eligible subtotal reaches counts; `tiers` ascend."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True)
class PercentOff:
    """`percent` (1-99) of the eligible subtotal comes off, at most `cap`."""

    percent: int
    cap: int | None
    threshold: int


@dataclass(frozen=True)
class FixedPrice:
    """Up to `quantity` eligible units cost `price` each; together they lose at most `cap`."""

    price: int
    quantity: int
    cap: int | None


@dataclass(frozen=True)
class Gift:
    """One unit of `item` becomes free up to `value`, when the rest of the eligible basket reaches `threshold`."""

    item: str
    value: int
    threshold: int


@dataclass(frozen=True)
class BuyGet:
    """Of each group of `buy + get` eligible units the `get` cheapest are free, in at most `max_sets` groups."""

    buy: int
    get: int
    max_sets: int
    cap: int | None


@dataclass(frozen=True)
class NewCustomer:
    """`off` comes off for a customer with no redemption at the merchant; that is for the ledger to judge."""

    off: int
    threshold: int


@dataclass(frozen=True)
class TrialPrice:
    """One unit of `item` costs `price`, and loses at most `cap`."""

    price: int
    item: str
    cap: int | None


Benefit = AmountOff | PercentOff | FixedPrice | Gift | BuyGet | NewCustomer | TrialPrice

KINDS = ("amount_off", "percent_off", "fixed_price", "gift", "buy_get", "new_customer", "trial_price")


def minor(money: Plain | None) -> int | None:
    """The minor units of a plain Money, None of an absent one."""
    return None if money is None else int(money["minor"])


def benefit_of(plain: Plain) -> Benefit:
    """The benefit in a plain `{kind: {...}}`. A zero quantity or max_sets is one, as the contract says.

    Raises ValueError unless exactly one known kind is set, KeyError when that kind lacks a required part.
    """
    kinds = [kind for kind in plain if kind in KINDS]
    if len(kinds) != 1:
        raise ValueError(f"a benefit has exactly one kind, not {sorted(plain)}")
    kind, part = kinds[0], plain[kinds[0]]
    cap, threshold = minor(part.get("cap")), minor(part.get("threshold")) or 0
    match kind:
        case "amount_off":
            return AmountOff(tuple(Tier(t["threshold"]["minor"], t["off"]["minor"]) for t in part["tiers"]))
        case "percent_off":
            return PercentOff(part["percent"], cap, threshold)
        case "fixed_price":
            return FixedPrice(part["price"]["minor"], part.get("quantity") or 1, cap)
        case "gift":
            return Gift(part["item"], part["value"]["minor"], threshold)
        case "buy_get":
            return BuyGet(part["buy"], part["get"], part.get("max_sets") or 1, cap)
        case "new_customer":
            return NewCustomer(part["off"]["minor"], threshold)
        case _:
            return TrialPrice(part["price"]["minor"], part["item"], cap)
