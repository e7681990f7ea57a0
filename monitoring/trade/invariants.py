"""The numbers that must be 0: changed rows are checked at the next beat, all others in slices, pass by pass."""

import time
from collections.abc import Callable, Iterable

from monitoring.readings import Rates, Readings, key
from monitoring.sql.connection import Connection
from monitoring.sql.link import TookTooLong
from monitoring.trade import rules
from monitoring.trade.findings import Findings
from monitoring.trade.rules import Table
from monitoring.trade.walk import Walk

# What a beat looks at, at most: rows of the pass, events since the beat before, and rows that were found wrong.
SLICE_ROWS = 2_000
EVENTS = 2_000
AGAIN = 200
# What takes too long is halved, down to this.
_FEWEST_ROWS = 50
# No snapshot shows a change half-way, but a finding is believed only when it still stands after this.
WAIT_SECONDS = 5.0


class Invariants:
    """Looks a bounded number of rows over at each beat. What it has found and its place in the pass are kept in memory.

    So a new one begins anew, and tells no 0 before its first pass has ended. `ticks` is a clock in seconds that never
    goes back.
    """

    def __init__(
        self,
        connection: Connection,
        rows: int = SLICE_ROWS,
        wait_seconds: float = WAIT_SECONDS,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._ticks = connection, ticks
        self._rows = self._most_rows = rows
        self._tables = {table.name: table for table in rules.tables(connection.is_sqlite)}
        self._found = Findings(wait_seconds)
        # What only a whole pass tells: found at its end, and seen mended at the end of another.
        self._totals = Findings(0)
        self._event: int | None = None
        self._events = EVENTS
        self._walk = Walk(connection, tuple(self._tables.values()))
        self._ended = ticks()
        self._looked_at = self._passes = 0
        # Rows of the last whole pass; before its end what the database guesses, None where it does not.
        self._total: int | None = None
        self._rates = Rates()

    def changed(self) -> Readings:
        """Check the coupons that new events name, and their supplies. Raises Unreadable.

        An event that commits after one with a higher number was seen is left to the pass.
        """
        (last,) = self._connection.rows(rules.LAST_EVENT)[0]
        last = last or 0
        if self._event is None or last < self._event:
            self._event = last
        if last > self._event:
            try:
                # A server that is behind has none of them yet.
                self._event = self._follow(self._event) or self._event
            except TookTooLong:
                self._events = max(_FEWEST_ROWS, self._events // 2)
                raise
            self._events = min(EVENTS, self._events + self._events // 4)
        return {key("business.check.lag"): max(0, last - self._event)}

    def more(self) -> Readings:
        """Check the next rows of the pass. Raises Unreadable."""
        if self._total is None and not self._connection.is_sqlite:
            self._total = int(self._connection.rows(rules.COUPONS)[0][0] or 0)
        try:
            self._step()
        except TookTooLong:
            self._rows = max(_FEWEST_ROWS, self._rows // 2)
            raise
        self._rows = min(self._most_rows, self._rows + self._rows // 4)
        now = self._ticks()
        told: Readings = {key("business.check.age"): now - self._ended}
        if (rate := self._rates.of("rows", self._looked_at, now)) is not None:
            told[key("business.check.rows")] = rate
        if self._total is not None:
            # A new pass has no row yet: the one before has just ended.
            done = self._walk.rows or self._total
            told[key("business.check.progress")] = 100.0 * done / max(done, self._total, 1)
        return told

    def again(self) -> Readings:
        """Look again at rows that were found wrong, and tell of each rule how many break it. Raises Unreadable."""
        now = self._ticks()
        for (rule, name), ids in self._found.due(now, AGAIN).items():
            table = self._tables[name]
            wrong = {one for (one,) in self._connection.rows(table.broken(rule, table.these(len(ids))), ids)}
            self._found.looked(rule, name, ids, wrong, now)
        numbers = {rule: self._found.number(rule) + self._totals.number(rule) for rule in rules.NAMES}
        return {key("business.broken", rule): number for rule, number in numbers.items() if number or self._passes}

    def _follow(self, event: int) -> int | None:
        """Check what the next events after this one are of; returns the last of them."""
        with self._connection.snapshot():
            ((end, _),) = self._connection.rows(rules.EVENTS.bound(), (event, self._events))
            span = event, end
            self._check(self._tables["coupon"], rules.CHANGED, span)
            activities = [one for (one,) in self._connection.rows(rules.CHANGED_ACTIVITIES, span)]
            if activities:
                supply = self._tables["supply"]
                self._check(supply, supply.these(len(activities)), activities)
        return None if end is None else int(end)

    def _step(self) -> None:
        left = self._rows
        while left > 0:
            with self._connection.snapshot():
                rows = self._walk.slice(left, self._check)
            left -= max(1, rows)
            self._looked_at += rows
            if self._walk.has_ended:
                break
        if not self._walk.has_ended:
            return
        now = self._ticks()
        for rule, activities in self._walk.wrong().items():
            self._totals.replace(rule, "activity", activities, now)
        self._total, self._ended = self._walk.rows, now
        self._passes += 1
        self._walk = Walk(self._connection, tuple(self._tables.values()))

    def _check(self, table: Table, among: str, parameters: Iterable[object]) -> None:
        for rule in table.wrongs:
            ids = [one for (one,) in self._connection.rows(table.broken(rule, among), tuple(parameters))]
            self._found.add(rule, table.name, ids, self._ticks())
