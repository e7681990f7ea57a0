"""Keeps values until Zabbix has them: through outages and restarts, in order, none twice."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from monitoring.delivery.refusals import PATIENCE_SECONDS, Refusals
from monitoring.delivery.spool import Row, Spool, Stamp
from monitoring.readings import DISCOVERY, Readings, Value
from monitoring.zabbix import PACKET, Sample, Sender, ZabbixAway

_log = logging.getLogger("sharemesh.monitoring")

# Some hours of an ordinary machine's values.
MOST_BYTES = 256 << 20
# A discovery that says nothing new is told again after this: Zabbix may have lost what came of the last one.
TELL_AGAIN_SECONDS = 300.0
# As long as a text may be in Zabbix's history, in characters.
TEXT = 65535
# Values that are kept together: packets fill up well.
ROW_VALUES = 50
# Pauses while Zabbix is away double from the first to the longest; the jitter keeps a fleet from coming at once.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
CLOSE_SECONDS = 2.0


@dataclass
class Stats:
    """How many values wait, and how old the oldest is; how many were lost here, refused and taken since the start."""

    waiting: int
    oldest_age_seconds: float
    dropped: int
    refused: int
    sent: int


class Outbox:
    """What is to go to Zabbix, in a file; a thread of its own sends it, until close().

    Zabbix keeps one value of an item for each second and nanosecond. The second is the beat's. The nanoseconds count
    how often this machine's clock has been put back, so that no second comes twice. So whatever is not known to have
    arrived can be sent again: it is stored once.
    """

    def __init__(
        self,
        file: Path,
        sender: Sender,
        most_bytes: int = MOST_BYTES,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens the file, with all that an earlier process left; raises spool.Taken."""
        self._lock = threading.Lock()
        self._spool = Spool(file, most_bytes)
        self._refusals = Refusals(sender, patience)
        self._clock = clock
        # Of each host, the keys that were put for its last second.
        self._keys: dict[str, set[str]] = {}
        # Of each host's discovery, what was told last, and when.
        self._told: dict[tuple[str, str], tuple[str, float]] = {}
        # What the spool had dropped at the last put.
        self._lost = 0
        self._dropped = 0
        self._refused = 0
        self._sent = 0
        self._has_more = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="outbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sending, within CLOSE_SECONDS; the rest stays in the file."""
        self._is_closing.set()
        self._has_more.set()
        self._thread.join(CLOSE_SECONDS)
        with self._lock:
            self._spool.close()

    def put(self, host: str, readings: Readings, clock: int) -> None:
        """Keep the values of a beat at `clock` seconds; never raises.

        Dropped and counted is what is no number, or comes a second time in the same second. A discovery that was told
        less than TELL_AGAIN_SECONDS ago is left out.
        """
        with self._lock:
            if self._spool.dropped != self._lost:
                # Discoveries may have been among them.
                self._lost = self._spool.dropped
                self._told.clear()
            stamp = self._stamped(host, clock)
            known = self._keys[host]
            texts = {}
            for name, value in readings.items():
                key = _clean(name)
                text = _text(key, value)
                if text is None or key in known:
                    self._dropped += 1
                    continue
                known.add(key)
                texts[key] = text
            told = {key for key in texts if key.endswith(DISCOVERY)}
            # Discoveries first: what they tell of is among the values.
            self._add(host, stamp, {key: texts[key] for key in told if self._is_news(host, key, texts[key])})
            self._add(host, stamp, {key: text for key, text in texts.items() if key not in told})
        self._has_more.set()

    def stats(self) -> Stats:
        """How it stands."""
        with self._lock:
            oldest = self._spool.oldest()
            age = 0.0 if oldest is None else max(0.0, self._clock() - oldest)
            dropped = self._dropped + self._spool.dropped
            return Stats(self._spool.waiting, age, dropped, self._refused, self._sent)

    def _stamped(self, host: str, clock: int) -> Stamp:
        """The stamp of values at this second, with an empty set of its keys unless there were values of it before."""
        last = self._spool.stamp(host)
        if last and clock == last.clock and host in self._keys:
            return last
        self._keys[host] = set()
        if not last:
            return Stamp(clock, 0)
        # A process that begins does not know which keys the last one had put for the same second.
        return Stamp(clock, last.ns + (clock <= last.clock))

    def _is_news(self, host: str, key: str, text: str) -> bool:
        now = time.monotonic()
        told, when = self._told.get((host, key), ("", -TELL_AGAIN_SECONDS))
        if text == told and now - when < TELL_AGAIN_SECONDS:
            return False
        self._told[host, key] = text, now
        return True

    def _add(self, host: str, stamp: Stamp, texts: Mapping[str, str]) -> None:
        pairs = list(texts.items())
        parts = [pairs[at : at + ROW_VALUES] for at in range(0, len(pairs), ROW_VALUES)]
        if parts:
            self._spool.add(host, stamp, [(len(part), orjson.dumps(part)) for part in parts])

    def _drain(self) -> None:
        failures = 0
        while not self._is_closing.is_set():
            self._has_more.clear()
            with self._lock:
                rows = self._spool.first(PACKET)
            if not rows:
                self._has_more.wait()
                continue
            try:
                self._send(rows)
            except ZabbixAway as error:
                # Not the first time: a packet that was cut off arrives a moment later.
                if failures == 1:
                    _log.warning("zabbix_away", {"error": str(error)})
                self._is_closing.wait(pause(failures))
                failures += 1
            except Exception:  # noqa: BLE001 - this thread must not end; it is logged, and may work later.
                _log.exception("outbox_failed")
                self._is_closing.wait(LONGEST_PAUSE)
            else:
                if failures > 1:
                    _log.warning("zabbix_back", {"waiting": self._spool.waiting})
                failures = 0

    def _send(self, rows: list[Row]) -> None:
        samples = [sample for row in rows for sample in _samples(row)]
        broken = sum(row.values for row in rows) - len(samples)
        refused = self._refusals.send(samples)
        with self._lock:
            if self._is_closing.is_set():
                # The file may be closed; they are sent again by the next process, which does no harm.
                return
            for sample in refused:
                self._told.pop((sample.host, sample.key), None)
            self._refused += len(refused)
            self._dropped += broken
            self._sent += self._spool.done(rows) - len(refused) - broken


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row before the last: doubling up to a limit, and jittered."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


def _samples(row: Row) -> list[Sample]:
    """None, if a power cut has left something else in its place."""
    try:
        return [Sample(row.host, key, text, row.clock, row.ns) for key, text in orjson.loads(row.body)]
    except ValueError:
        return []


def _text(key: str, value: Value) -> str | None:
    """The value as Zabbix reads it; None if it is no number that it could keep."""
    if isinstance(value, str):
        text = _clean(value)
        # A piece of a discovery would be no JSON.
        return text if key.endswith(DISCOVERY) else text[:TEXT]
    if isinstance(value, int):
        return str(int(value)) if abs(value) < 1 << 64 else None
    return repr(value) if math.isfinite(value) else None


def _clean(text: str) -> str:
    """Without what no packet can carry: half a character (of a file's name that is not UTF-8), and zeros."""
    return text if text.isascii() and "\0" not in text else text.replace("\0", "").encode(errors="replace").decode()
