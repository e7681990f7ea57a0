"""What a new lexicon release costs the process that serves meanwhile: time, pauses and memory, as JSON.

A process of its own, that has read nothing but the release and the texts: `python -m bench.reload RELEASE TEXTS TIMES`.
"""

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

from bench import machine
from services.audit import lexicon, patterns, releases
from services.audit.lexicon import Term
from services.audit.matcher import Matcher
from services.audit.yielding import lasting, yielding


class Searches:
    """A thread that searches without a break, and how long its longest search took."""

    def __init__(self, matcher: Matcher, texts: Sequence[str]) -> None:
        self._matcher, self._texts = matcher, texts
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._search, daemon=True)
        self._longest, self._searches = 0.0, 0
        self._thread.start()

    def longest_ms_during(self, work: Callable[[], object]) -> float:
        """The longest search that went on while the work was done, in milliseconds."""
        self._longest = 0.0
        work()
        # The search that goes on just now may be the longest.
        last = self._searches + 1
        while self._searches <= last:
            if not self._thread.is_alive():
                raise RuntimeError("the searches ended by themselves")
            time.sleep(0.001)
        return self._longest * 1000

    def stop(self) -> None:
        """End the thread and wait until it has."""
        self._is_over.set()
        self._thread.join()

    def _search(self) -> None:
        for text in cycle(self._texts):
            if self._is_over.is_set():
                return
            began = time.perf_counter()
            self._matcher.find(text)
            self._longest = max(self._longest, time.perf_counter() - began)
            self._searches += 1


def main() -> int:
    """Measure and print."""
    release = Path(sys.argv[1])
    honest: list[str] = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    times = range(int(sys.argv[3]))
    before = machine.rss_mb(os.getpid())
    matcher = _reloaded(release)
    for text in honest:
        matcher.find(text)
    found = {"before_mb": before, "memory_mb": machine.rss_mb(os.getpid())}
    found["seconds"] = statistics.median(_timed(lambda: _reloaded(release)) for _ in times)
    searches = Searches(matcher, honest)
    try:
        # Nothing happens as long as a reload takes: what else the machine does is in the pauses, too.
        found["idle_ms"] = max(searches.longest_ms_during(lambda: time.sleep(found["seconds"])) for _ in times)
        found["pause_ms"] = max(searches.longest_ms_during(lambda: _reloaded(release)) for _ in times)
        terms = _read(release)
        parts: dict[str, Callable[[], object]] = {
            "read_ms": lambda: _read(release),
            "make_ms": lambda: Matcher(lexicon.Lexicon(terms)),
        }
        for name, part in parts.items():
            with yielding(), lasting():
                found[name] = max(searches.longest_ms_during(part) for _ in times)
    finally:
        searches.stop()
    found["reloaded_mb"] = machine.rss_mb(os.getpid())
    sys.stdout.write(json.dumps(found))
    return 0


def _read(release: Path) -> tuple[Term, ...]:
    """The terms of a release, whose JSON nobody keeps, as after a query."""
    return releases.parsed(release.read_text(encoding="utf-8"))


def _reloaded(release: Path) -> Matcher:
    """What the service does with a release that it finds in the database: read it, and make it ready."""
    # A new release may have other expressions throughout.
    patterns.facts.cache_clear()
    with yielding(), lasting():
        return Matcher(lexicon.Lexicon(_read(release)))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
