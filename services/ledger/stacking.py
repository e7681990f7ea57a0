"""Which coupons may share an order."""

from __future__ import annotations

from collections.abc import Sequence

from services.ledger.terms import Terms


def admit(coupons: Sequence[Terms], activities: Sequence[str]) -> list[int]:
    """The positions of the coupons that may be used together, judged one after the other in the order given.

    `activities[i]` names the activity of `coupons[i]`. One joins if it and all those before it that joined tolerate
    the enlarged order: what the cashier scanned first stays.
    """
    if len(coupons) == 1:
        return [0]
    admitted: list[int] = []
    for candidate in range(len(coupons)):
        together = [*admitted, candidate]
        order = [activities[position] for position in together]
        if all(_tolerates(coupons[position], activities[position], order) for position in together):
            admitted.append(candidate)
    return admitted


def _tolerates(terms: Terms, activity: str, order: list[str]) -> bool:
    if len(order) == 1:
        return True
    match terms.stacking.mode:
        case "ANY":
            alike = True
        case "OTHER_ACTIVITIES":
            alike = order.count(activity) == 1
        case _:
            alike = False
    return alike and len(order) <= terms.stacking.max_codes
