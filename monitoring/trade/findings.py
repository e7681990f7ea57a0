"""Rows that break a rule, remembered from when they are seen again until they are seen mended."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_log = logging.getLogger("sharemesh.monitoring")

# More tell no more, and cost memory.
MOST = 10_000
# Of each rule so many are logged, until none is left.
LOGGED = 5


@dataclass(slots=True)
class Finding:
    """When a row was first found and last looked at, in seconds, and whether it was wrong again at a later look."""

    found: float
    looked: float
    is_sure: bool = False


class Findings:
    """By rule and table, the rows that break it. A row counts only once a later look has found it wrong still."""

    def __init__(self, wait_seconds: float) -> None:
        self._wait = wait_seconds
        self._of: dict[tuple[str, str], dict[int, Finding]] = {}
        self._logged: Counter[str] = Counter()

    def add(self, rule: str, table: str, ids: Iterable[int], now: float) -> None:
        """What was found; known ones stay as they are."""
        mine = self._of.setdefault((rule, table), {})
        for key in ids:
            if sum(map(len, self._of.values())) >= MOST:
                return
            mine.setdefault(key, Finding(now, now))

    def due(self, now: float, most: int) -> dict[tuple[str, str], list[int]]:
        """Those to look at again, by rule and table, the longest not looked at first."""
        waiting = [
            (one.looked, place, key)
            for place, mine in self._of.items()
            for key, one in mine.items()
            if now - one.found >= self._wait and one.looked < now
        ]
        chosen: dict[tuple[str, str], list[int]] = {}
        for _, place, key in sorted(waiting)[:most]:
            chosen.setdefault(place, []).append(key)
        return chosen

    def looked(self, rule: str, table: str, ids: Collection[int], wrong: Collection[int], now: float) -> None:
        """Of these rows those are wrong still; the others are mended."""
        mine = self._of[rule, table]
        for key in ids:
            if key not in wrong:
                del mine[key]
                continue
            mine[key].looked = now
            if not mine[key].is_sure:
                mine[key].is_sure = True
                self._tell(rule, table, key)
        if not self.number(rule):
            self._logged.pop(rule, None)

    def replace(self, rule: str, table: str, ids: Collection[int], now: float) -> None:
        """All rows of the table that break the rule, known for sure."""
        mine = self._of.setdefault((rule, table), {})
        for key in sorted(set(ids) - mine.keys())[:MOST]:
            mine[key] = Finding(now, now, is_sure=True)
            self._tell(rule, table, key)
        for key in mine.keys() - set(ids):
            del mine[key]

    def number(self, rule: str) -> int:
        """How many rows break the rule for sure."""
        return sum(one.is_sure for (name, _), mine in self._of.items() if name == rule for one in mine.values())

    def _tell(self, rule: str, table: str, key: int) -> None:
        self._logged[rule] += 1
        if self._logged[rule] <= LOGGED:
            _log.error("invariant_broken", {"rule": rule, "table": table, "id": key})
