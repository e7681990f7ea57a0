"""How the business goes, asked of the services' tables by SQL: what waits, sells and runs out, and what must be 0.

Each beat asks for a bounded number of rows, by index, without a lock. One sidecar of the mesh does it for all.
"""

import logging
import time
from collections.abc import Callable

from monitoring.readings import Readings, key
from monitoring.sql.connection import STATEMENT_SECONDS, Connection
from monitoring.sql.link import TookTooLong, Unreadable
from monitoring.trade.invariants import SLICE_ROWS, WAIT_SECONDS, Invariants
from monitoring.trade.stock import Stock
from monitoring.trade.traffic import Traffic

_log = logging.getLogger("sharemesh.monitoring")

# Who was not asked for so long was not the one to tell meanwhile: what it knew is old, so it begins anew.
ANEW_SECONDS = 120.0
# A flood of submissions is told up to this many.
MOST_WAITING = 10_000

_WAITING = (
    "SELECT COUNT(*), MIN(w.update_time) "
    f"FROM (SELECT update_time FROM activity WHERE state = ? LIMIT {MOST_WAITING}) w"
)
_STATES = {"business.audit": "PENDING_AUDIT", "business.review": "IN_REVIEW"}


class Business:
    """Reads by one kept connection of its own; raises ValueError for a URL that is none of a database.

    `clock` tells seconds since 1970 and `ticks` seconds that never go back; `rows` is what a beat checks of the pass,
    what it finds wrong must still be wrong `wait_seconds` later, and a statement may take `statement_seconds`.
    """

    def __init__(
        self,
        url: str,
        stock_low_percent: float = 10,
        *,
        rows: int = SLICE_ROWS,
        wait_seconds: float = WAIT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = Connection(url, statement_seconds)
        self._clock, self._ticks = clock, ticks
        self._low, self._rows, self._wait = stock_low_percent, rows, wait_seconds
        # What was complained of, until it is well again.
        self._complaints: set[str] = set()
        self._asked = ticks()
        self._begin()

    def _begin(self) -> None:
        self._stock = Stock(self._connection, self._low)
        self._traffic = Traffic(self._connection, self._ticks)
        self._invariants = Invariants(self._connection, self._rows, self._wait, self._ticks)

    def read(self) -> Readings:
        """What can be told now, and whether that is all of it; what is amiss is logged once, and is found again."""
        before, self._asked = self._asked, self._ticks()
        if self._asked - before > ANEW_SECONDS:
            self._begin()
        told: Readings = {key("business.readable"): 1}
        parts: dict[str, Callable[[], Readings]] = {
            "waiting": self._waiting,
            "stock": lambda: self._stock.read(self._microseconds()),
            "traffic": self._traffic.read,
            "changed": self._invariants.changed,
            "more": self._invariants.more,
            "again": self._invariants.again,
        }
        for name, part in parts.items():
            try:
                told |= part()
            except TookTooLong as error:
                self._complain(name, "business_slow", {"part": name, "error": str(error)})
                told[key("business.readable")] = 0
            except Unreadable as error:
                self._complain("", "business_unreadable", {"error": str(error)})
                return {key("business.readable"): 0}
            else:
                self._complaints.discard(name)
        if "" in self._complaints:
            self._complaints.discard("")
            _log.warning("business_readable")
        return told

    def close(self) -> None:
        """Close the connection; nothing is kept that a later one needs."""
        self._connection.close()

    def _waiting(self) -> Readings:
        """How many submissions wait for the machine's audit or a human's, and for how long the oldest has, in s."""
        told: Readings = {}
        for name, state in _STATES.items():
            ((number, oldest),) = self._connection.rows(_WAITING, (state,))
            told[key(f"{name}.pending")] = number
            # A submission's update_time is that of its last move: nothing else changes it while it waits.
            told[key(f"{name}.oldest")] = 0.0 if oldest is None else max(0.0, self._clock() - oldest / 1e6)
        return told

    def _complain(self, what: str, event: str, details: dict[str, str]) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            _log.warning(event, details)

    def _microseconds(self) -> int:
        return int(self._clock() * 1_000_000)
