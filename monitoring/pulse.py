"""How somebody who is asked at each beat has answered so far."""

import logging
from dataclasses import dataclass

# Values of the items *.state.
SILENT, SERVING, NOT_SERVING, LEFT = 0, 1, 2, 3

_log = logging.getLogger("sharemesh.monitoring")


@dataclass
class Pulse:
    """Counts the misses of one, by its name in logs; says once that it is silent and why, and once that it is not."""

    name: str
    state: int = SERVING
    # Beats without an answer since the last one.
    misses: int = 0
    _reason: str = ""

    def answered(self, state: int) -> None:
        """It did, within its time: it is SERVING or NOT_SERVING."""
        if self.misses:
            _log.warning("answers_again", {"who": self.name, "misses": self.misses})
        self.state, self.misses, self._reason = state, 0, ""

    def missed(self, reason: str, detail: str) -> None:
        """It did not; `reason` is a word, and is said again only if it becomes another."""
        self.state, self.misses = SILENT, self.misses + 1
        if reason != self._reason:
            self._reason = reason
            _log.warning("silent", {"who": self.name, "reason": reason, "error": " ".join(detail.split())[:300]})
