"""How the counters of several processes have grown, summed up over those that could be read."""

import math
from collections import defaultdict
from collections.abc import Iterable

from monitoring.exposition import Counted, Series, series_of


class Growth:
    """What was counted in this beat; each process by itself, since one may have been silent for some beats."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Counted]] = {}
        self._texts: set[str] = set()
        # All series that were ever seen, by their family and first label.
        self.known: dict[str, dict[str, set[Series]]] = defaultdict(lambda: defaultdict(set))
        # By how much each series has grown in all, and how much a second; what has not is left out.
        self.counts: dict[Series, float] = {}
        self.rates: dict[Series, float] = {}
        # How many processes have been compared with an earlier reading of theirs.
        self.compared = 0

    @property
    def size(self) -> int:
        """How many series are known: they never become fewer."""
        return len(self._texts)

    def begin(self, processes: Iterable[str]) -> None:
        """Begin a beat, in which these processes may be read; all others are forgotten."""
        wanted = set(processes)
        self._last = {process: last for process, last in self._last.items() if process in wanted}
        self.counts, self.rates, self.compared = defaultdict(float), defaultdict(float), 0

    def take(self, process: str, counted: Counted, now: float) -> None:
        """Add what a process tells at `now` seconds of a monotonic clock; ValueError for series that are not known."""
        for text in counted.counters.keys() - self._texts:
            series = series_of(text)
            self.known[series.family][series.first].add(series)
            self._texts.add(text)
        before, self._last[process] = self._last.get(process), (now, counted)
        if before is None:
            return
        then, last = before
        # A process that was restarted has counted from 0, even if it has come further than the one before by now.
        earlier = last.counters if last.start == counted.start else {}
        seconds = max(now - then, 0.001)
        self.compared += 1
        for text, count in counted.counters.items():
            grown = count - earlier.get(text, 0.0)
            if grown and math.isfinite(count):
                grown = grown if grown > 0 else count
                series = series_of(text)
                self.counts[series] += grown
                self.rates[series] += grown / seconds
