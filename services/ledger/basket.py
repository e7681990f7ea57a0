"""What is left to pay of an order while coupons take their turns on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Covers = Callable[[str], bool]


@dataclass(frozen=True)
class Line:
    """`quantity` (at least 1) units of the merchant's item code, at `unit_price` (at least 0) minor units each."""

    item: str
    quantity: int
    unit_price: int

    def __post_init__(self) -> None:
        if self.quantity < 1 or self.unit_price < 0:
            raise ValueError(f"a line has a positive quantity and no negative price: {self}")


Basket = Sequence[Line]


@dataclass(frozen=True)
class Run:
    """`count` alike units that no item-level coupon has priced yet."""

    item: str
    price: int
    count: int


class Remainder:
    """An order's units and what has come off each item so far.

    Lines of the same item and price are one run, so neither the order of lines nor how they are split matters, and
    no work grows with a quantity.
    """

    def __init__(self, basket: Basket) -> None:
        self._open: dict[tuple[str, int], int] = {}
        self._left: dict[str, int] = {}
        # What was taken off and not yet spread: after the last coupon nobody asks.
        self._owed: tuple[Covers, int] | None = None
        for line in basket:
            item, price, count = line.item, line.unit_price, line.quantity
            self._open[item, price] = self._open.get((item, price), 0) + count
            self._left[item] = self._left.get(item, 0) + count * price

    def has(self, covers: Covers) -> bool:
        """Whether the order holds a covered item at all, paid for or not."""
        return any(covers(item) for item in self._left)

    def left(self, covers: Covers) -> int:
        """Minor units still to pay for the covered items."""
        self._spread()
        return sum([left for item, left in self._left.items() if covers(item)])

    def runs(self, covers: Covers) -> list[Run]:
        """The covered units that still have their own price, the dearest first, then by item code."""
        runs = [Run(item, price, count) for (item, price), count in self._open.items() if count and covers(item)]
        return sorted(runs, key=lambda run: (-run.price, run.item))

    def settle(self, run: Run, count: int, off: int) -> None:
        """Prices `count` units of the run for good, `off` minor units below what they cost together."""
        self._spread()
        self._open[run.item, run.price] -= count
        self._left[run.item] -= off

    def take(self, covers: Covers, off: int) -> None:
        """Spreads `off`, at most `left(covers)`, over the covered items in proportion to what is left of each.

        The odd minor units go to the largest remainders, then by item code, so that a later coupon with a narrower
        scope finds the same amounts whatever the order of lines.
        """
        self._spread()
        self._owed = covers, off

    def _spread(self) -> None:
        if self._owed is None:
            return
        (covers, off), self._owed = self._owed, None
        total = self.left(covers)
        shares = {item: divmod(off * left, total) for item, left in self._left.items() if left and covers(item)}
        odd = off - sum(share for share, _ in shares.values())
        for position, item in enumerate(sorted(shares, key=lambda item: (-shares[item][1], item))):
            self._left[item] -= shares[item][0] + (position < odd)
