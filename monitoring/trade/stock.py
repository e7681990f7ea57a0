"""What is live and how much of it is left, gone through by the index of live publications."""

from monitoring.readings import Readings, key
from monitoring.sql.connection import Connection

# What a beat looks at; where more are live, each beat takes the next, and the figures are those of the last round.
PUBLICATIONS = 2_000
_BEYOND = 2**63 - 1

_LIVE = (
    "SELECT {columns} FROM publication WHERE state = 'LIVE' AND claim_end >= ? AND (claim_end > ? OR id > ?) "
    "ORDER BY claim_end, id LIMIT {rows}"
)
_COUNT = (
    "SELECT COUNT(*), SUM(s.taken >= s.stock), SUM(s.taken < s.stock AND (s.stock - s.taken) * 100.0 < s.stock * ?), "
    "MIN((s.stock - s.taken) * 100.0 / NULLIF(s.stock, 0)) "
    f"FROM ({_LIVE.format(columns='id, activity_id', rows=PUBLICATIONS)}) p "
    "LEFT JOIN supply s ON s.activity_id = p.activity_id AND s.publication_id = p.id"
)
_NEXT = _LIVE.format(columns="claim_end, id", rows=f"1 OFFSET {PUBLICATIONS - 1}")


class Stock:
    """Less than `low_percent` of its stock is little."""

    def __init__(self, connection: Connection, low_percent: float) -> None:
        self._connection, self._low = connection, low_percent
        # Where the next beat goes on: (claim_end, id), None for the beginning.
        self._after: tuple[int, int] | None = None
        self._round = self._empty = (0, 0, 0, 100.0)
        self._told: tuple[int, int, int, float] | None = None

    def read(self, now: int) -> Readings:
        """The figures of the last whole round; `now` is microseconds since 1970. Raises Unreadable."""
        end, last = self._after or (now, _BEYOND)
        ((live, out, low, least),) = self._connection.rows(_COUNT, (self._low, end, end, last))
        following = self._connection.rows(_NEXT, (end, end, last)) if live == PUBLICATIONS else []
        lives, outs, lows, leasts = self._round
        least = leasts if least is None else min(leasts, float(least))
        self._round = lives + live, outs + int(out or 0), lows + int(low or 0), least
        self._after = following[0] if following else None
        if not following:
            self._told, self._round = self._round, self._empty
        if self._told is None:
            return {}
        names = ("business.live", "business.stock.out", "business.stock.low", "business.stock.least")
        return {key(name): value for name, value in zip(names, self._told, strict=True)}
