"""One pass over the tables in slices by primary key, which counts what each activity gave on its way."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from monitoring.sql.connection import Connection
from monitoring.trade import rules
from monitoring.trade.rules import Table

Check = Callable[[Table, str, Iterable[object]], None]


class Walk:
    """Slices of each table in turn, and of the supplies once more at the end.

    What supplies say was taken is read before the first coupon and after the last. Coupons that are given stay given,
    so whoever had one at the beginning is counted, and nobody who has none at the end: the count lies between the two,
    however much is claimed meanwhile. That holds as long as one server answers: another one may be behind.
    """

    def __init__(self, connection: Connection, tables: Sequence[Table]) -> None:
        self._connection = connection
        self._supply = tables[0]
        self._tables = (*tables, self._supply)
        self._place = 0
        self._last = 0
        self._opened: int | None = None
        # By activity: what was taken at the beginning, and how many coupons are given.
        self._taken: dict[int, int] = {}
        self._given: Counter[int] = Counter()
        self._limits: dict[int, int] = {}
        self._wrong: dict[str, set[int]] = {rules.OVERSOLD: set(), rules.MISCOUNTED: set(), rules.OVERCLAIMED: set()}
        self.rows = 0

    @property
    def has_ended(self) -> bool:
        """Whether there is no slice left."""
        return self._place == len(self._tables)

    def slice(self, most: int, check: Check) -> int:
        """Check the next slice of a table, at most so many rows; returns how many. To be called within a snapshot.

        Raises Unreadable, and is then to be asked for the same slice again.
        """
        table = self._tables[self._place]
        ((end, rows),) = self._connection.rows(table.bound(), (self._last, most))
        if self._opened is None:
            self._opened = self._connection.opened
        if rows:
            span = self._last, end
            if self._place == len(self._tables) - 1:
                self._compare(span)
            else:
                check(table, table.slice, span)
                self._count(table, span)
            self._last = end
        if rows < most:
            self._place, self._last = self._place + 1, 0
        self.rows += rows
        return int(rows)

    def wrong(self) -> dict[str, set[int]]:
        """The activities that break a rule that only a pass can tell of, by rule; empty if it cannot be told."""
        return self._wrong if self._opened == self._connection.opened else {}

    def _count(self, table: Table, span: tuple[int, int]) -> None:
        if table is self._supply:
            self._taken.update((one, taken) for one, taken, _ in self._connection.rows(rules.TAKEN, span) if taken)
        elif table is rules.COUPON:
            self._look_at_limits(span)
            self._given.update(dict(self._connection.rows(rules.GIVEN, span)))

    def _look_at_limits(self, span: tuple[int, int]) -> None:
        for activity, claims in self._connection.rows(rules.CLAIMS, span):
            if claims <= self._limits.get(activity, 1):
                continue
            # Perhaps a later revision allows more than those that were known.
            ((allowed,),) = self._connection.rows(rules.LIMIT[self._connection.is_sqlite], (activity,))
            self._limits[activity] = int(allowed or 1)
            if claims > self._limits[activity]:
                self._wrong[rules.OVERCLAIMED].add(activity)

    def _compare(self, span: tuple[int, int]) -> None:
        for activity, taken, stock in self._connection.rows(rules.TAKEN, span):
            given = self._given[activity]
            if given > stock:
                self._wrong[rules.OVERSOLD].add(activity)
            if not self._taken.get(activity, 0) <= given <= taken:
                self._wrong[rules.MISCOUNTED].add(activity)
