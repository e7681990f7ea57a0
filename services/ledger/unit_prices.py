"""Coupons that price units: new prices for some, others free."""

from __future__ import annotations

from services.ledger.basket import Remainder, Run
from services.ledger.benefits import BuyGet


def reprice(runs: list[Run], price: int, quantity: int, cap: int | None, rest: Remainder) -> int:
    """Lowers up to `quantity` units of the runs, dearest first, to `price` until `cap` has come off.

    Never raises a price. Units beyond the one that uses the cap up stay as they are, free for another coupon.
    Settles them in `rest` and returns the minor units that came off.
    """
    taken = 0
    for run in runs:
        gain = run.price - price
        count = min(run.count, quantity)
        if cap is not None and gain > 0:
            count = min(count, -((taken - cap) // gain))
        if gain <= 0 or count <= 0:
            break
        off = count * gain if cap is None else min(count * gain, cap - taken)
        rest.settle(run, count, off)
        taken += off
        quantity -= count
    return taken


def free_cheapest(runs: list[Run], benefit: BuyGet, rest: Remainder) -> int:
    """Frees the last `get` of every `buy + get` units, dearest first: run by run, never unit by unit.

    Settles all units of the groups in `rest`, unless nothing came off, and returns the minor units that did.
    """
    size = benefit.buy + benefit.get
    end = min(benefit.max_sets, sum(run.count for run in runs) // size) * size
    start = taken = 0
    priced: list[tuple[Run, int, int]] = []
    for run in runs:
        count = min(run.count, end - start)
        free = _free_before(start + count, benefit) - _free_before(start, benefit)
        off = free * run.price if benefit.cap is None else min(free * run.price, benefit.cap - taken)
        priced.append((run, count, off))
        start, taken = start + count, taken + off
    # Units are used up only when something comes off, as a refused coupon leaves no trace.
    for run, count, off in priced if taken else ():
        rest.settle(run, count, off)
    return taken


def _free_before(units: int, benefit: BuyGet) -> int:
    groups, odd = divmod(units, benefit.buy + benefit.get)
    return groups * benefit.get + max(0, odd - benefit.buy)
