"""Ends tasks whose time is up, by one timer for all of them: one each would be among the dearest parts of a call."""

import asyncio
import math
import time
from typing import Any, TypeAlias

Task: TypeAlias = "asyncio.Task[Any]"

# Deadlines that lie closer together share a ring of the timer, so that a crowd of them is looked through once.
_GRAIN_SECONDS = 0.002


class Deadlines:
    """The tasks under way on one event loop and when each must end; times are time.monotonic()'s."""

    def __init__(self) -> None:
        self._ends: dict[Task, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def set(self, task: Task, end: float) -> None:
        """Cancel the task at `end`, unless clear() comes first; the last word holds."""
        self._ends[task] = end
        # The timer is only ever moved forward: a deadline is usually later than those of the calls before it, and
        # hardly ever reached.
        if end < self._rings_at:
            self._ring_at(end)

    def clear(self, task: Task) -> bool:
        """Forget a task's deadline; whether there was one that had not yet passed."""
        return self._ends.pop(task, None) is not None

    def has_passed(self, task: Task) -> bool:
        """Whether a task that had a deadline, and was not cleared, was cancelled for it."""
        return task not in self._ends

    def _ring_at(self, end: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = end
        self._timer = asyncio.get_running_loop().call_later(end - time.monotonic(), self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        for task in [task for task, end in self._ends.items() if end <= now]:
            del self._ends[task]
            task.cancel()
        self._timer, self._rings_at = None, math.inf
        if self._ends:
            self._ring_at(max(min(self._ends.values()), now + _GRAIN_SECONDS))
