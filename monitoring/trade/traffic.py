"""What happens to coupons a minute: their events counted once each, by a cursor that trails behind."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from monitoring.readings import Readings, key
from monitoring.sql.connection import Connection
from monitoring.sql.link import TookTooLong
from monitoring.trade import rules

# Numbers are given in the order of INSERTs, and seen in the order of COMMITs: below one that is seen others may come
# later. A transaction writes its events near its end, no statement of the services takes more than 10 s, nor does a
# whole batch; so after this no lower number comes any more. One that does, as after a server that hung, is not counted.
SETTLED_SECONDS = 20.0
# What a beat counts at most. Above this many a beat, as after an outage of ours, the figures wait until it is made up.
EVENTS = 50_000
_FEWEST_EVENTS = 1_000
# Beats remembered while we are behind; what lies between two that were forgotten becomes one stretch.
_BEATS = 1_000
MINUTE = 60.0
# A rate of less than this would leap with every event.
_LEAST_SECONDS = 10.0

_COUNT = (
    "SELECT e.from_state, e.to_state, COUNT(*) FROM coupon_event e WHERE e.id > ? AND e.id <= ? "
    "GROUP BY e.from_state, e.to_state"
)
_MOVES = {
    ("AVAILABLE", "CLAIMED"): "claims",
    ("CLAIMED", "REDEEMED"): "redemptions",
    ("REDEEMED", "CLAIMED"): "reversals",
    ("AVAILABLE", "VOID"): "voids",
    ("CLAIMED", "VOID"): "voids",
}
FIGURES = ("claims", "redemptions", "reversals", "voids")


class Mark(NamedTuple):
    """The highest number of an event that was seen at a time."""

    time: float
    event: int


class Stretch(NamedTuple):
    """How many of each move were seen between two times."""

    begin: float
    end: float
    moves: Counter[str]


class Traffic:
    """Counts from now on; `ticks` is a clock in seconds that never goes back.

    An event belongs to the beats between which it was first seen, whatever its own time says: no clock of another
    machine counts, and what happened while we could not look is spread over that while instead of leaping.
    """

    def __init__(self, connection: Connection, ticks: Callable[[], float] = time.monotonic) -> None:
        self._connection, self._ticks = connection, ticks
        self._most = EVENTS
        self._marks: deque[Mark] = deque(maxlen=_BEATS)
        # Where the last whole stretch ended, how far the present one is counted, and what it came to so far.
        self._begin: Mark | None = None
        self._event = 0
        self._moves: Counter[str] = Counter()
        self._stretches: deque[Stretch] = deque()

    def read(self) -> Readings:
        """The moves a minute, as of SETTLED_SECONDS ago; nothing before they are known. Raises Unreadable."""
        (last,) = self._connection.rows(rules.LAST_EVENT)[0]
        mark = Mark(self._ticks(), last or 0)
        if self._begin is None or mark.event < self._event:
            # Another database, or the same one emptied.
            self._marks.clear()
            self._begin, self._event = mark, mark.event
            self._moves = Counter()
        else:
            self._marks.append(mark)
        try:
            self._count(mark.time - SETTLED_SECONDS)
        except TookTooLong:
            self._most = max(_FEWEST_EVENTS, self._most // 2)
            raise
        self._most = min(EVENTS, self._most + self._most // 4)
        return self._figures(mark.time)

    def _count(self, horizon: float) -> None:
        left = self._most
        while self._marks and self._marks[0].time <= horizon:
            mark = self._marks[0]
            if mark.event > self._event:
                end = mark.event
                if end - self._event > left:
                    # Numbers may have gaps, so rows are what is bounded.
                    ((found, _),) = self._connection.rows(rules.EVENTS.bound(), (self._event, left))
                    end = min(end, found or end)
                rows = self._connection.rows(_COUNT, (self._event, end))
                for before, after, number in rows:
                    left -= number
                    self._moves[_MOVES.get((before, after), "")] += number
                self._event = end
            if self._event < mark.event or left <= 0:
                return
            self._end_stretch(self._marks.popleft())

    def _end_stretch(self, mark: Mark) -> None:
        assert self._begin is not None
        self._stretches.append(Stretch(self._begin.time, mark.time, self._moves))
        self._begin, self._moves = mark, Counter()
        while self._stretches[0].end <= mark.time - MINUTE:
            self._stretches.popleft()

    def _figures(self, now: float) -> Readings:
        span = sum(one.end - one.begin for one in self._stretches)
        if span < _LEAST_SECONDS or self._stretches[-1].end < now - SETTLED_SECONDS - MINUTE:
            return {}
        moves = sum((one.moves for one in self._stretches), Counter[str]())
        return {key(f"business.{figure}"): moves[figure] * MINUTE / span for figure in FIGURES}
