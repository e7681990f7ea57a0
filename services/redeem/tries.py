"""How many refused codes a person and a store may try: typing errors pass, guessing does not."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.chassis import errors, parameters


class Tries:
    """Counts refused codes by member of staff and by store, in this process.

    Each instance of the service counts for itself, so n instances let n times as many through; the MAC in the code
    keeps even that many guesses worthless.
    """

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._window = MovingWindowRateLimiter(self._storage)

    def check(self, staff: str, store: str) -> None:
        """Raise Exhausted(RATE_LIMITED) while either has tried too many."""
        if not self._storage.events:
            return  # Nobody mistypes: hardly ever is there anything to look up.
        for limit, who in self._limits(staff, store):
            if not self._window.test(limit, who):
                reset = self._window.get_window_stats(limit, who).reset_time
                raise errors.Exhausted("RATE_LIMITED", retry_after=max(1.0, reset - time.time()))

    def count(self, staff: str, store: str, refused: int) -> None:
        """Count codes that were refused."""
        for limit, who in self._limits(staff, store):
            for _ in range(refused):
                self._window.hit(limit, who)

    def _limits(self, staff: str, store: str) -> list[tuple[RateLimitItemPerMinute, str]]:
        now = parameters.current()
        return [
            (RateLimitItemPerMinute(now.code_tries_per_staff_minute, namespace="staff"), staff),
            (RateLimitItemPerMinute(now.code_tries_per_store_minute, namespace="store"), store),
        ]
