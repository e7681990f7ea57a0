"""Finds out which values Zabbix refuses: it tells only how many of a packet."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from monitoring.zabbix import Sample, Sender

_log = logging.getLogger("sharemesh.monitoring")

# What a discovery has just told of is refused at first: Zabbix makes the items, and then reads its configuration anew
# every ten seconds, or once a minute if it is older than 6.4.
PATIENCE_SECONDS = 60.0
# What has not been sent for so long is no more.
FORGET_SECONDS = 600.0
# Of a host that is not there at all, every item is refused.
MOST_NAMES = 20
_ADVICE = "provision the host again, or look at its items: are they there, trappers, enabled, open to this sender?"

# Host and key.
Item = tuple[str, str]


@dataclass
class _Trouble:
    since: float
    last: float
    is_told: bool = False


class Refusals:
    """Sends values, and knows which items are refused: logged once, by name, when that has gone on for a while."""

    def __init__(
        self, sender: Sender, patience: float = PATIENCE_SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._sender = sender
        self._patience = patience
        self._now = now
        self._troubles: dict[Item, _Trouble] = {}

    def send(self, samples: Sequence[Sample]) -> list[Sample]:
        """Send them all; returns those that were refused, or raises ZabbixAway: then all are to be sent again.

        What was refused before goes in packets of its own, so that it does not hide others.
        """
        good = [sample for sample in samples if _item(sample) not in self._troubles]
        known = [sample for sample in samples if _item(sample) in self._troubles]
        refused = self._refused(good) + self._refused(known)
        self._learn(dict.fromkeys(map(_item, samples)), set(map(_item, refused)))
        return refused

    def _refused(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those that are refused, by halves; what was taken is sent again with them, which Zabbix does not mind."""
        if not samples:
            return []
        refused = self._sender.send(samples).refused
        if not refused:
            return []
        if refused >= len(samples):
            return list(samples)
        middle = len(samples) // 2
        return self._refused(samples[:middle]) + self._refused(samples[middle:])

    def _learn(self, sent: Iterable[Item], refused: set[Item]) -> None:
        now = self._now()
        back = []
        for item in sent:
            if item in refused:
                self._troubles.setdefault(item, _Trouble(now, now)).last = now
            elif (trouble := self._troubles.pop(item, None)) and trouble.is_told:
                back.append(item)
        late = [
            (item, trouble)
            for item, trouble in self._troubles.items()
            if item in refused and not trouble.is_told and now - trouble.since >= self._patience
        ]
        for _, trouble in late:
            trouble.is_told = True
        if late:
            _log.warning("values_refused", _told(item for item, _ in late) | {"advice": _ADVICE})
        if back:
            _log.warning("values_taken_again", _told(back))
        self._troubles = {
            item: trouble for item, trouble in self._troubles.items() if now - trouble.last < FORGET_SECONDS
        }


def _item(sample: Sample) -> Item:
    return sample.host, sample.key


def _told(items: Iterable[Item]) -> dict[str, object]:
    names = [f"{host}: {key}" for host, key in items]
    return {"count": len(names), "items": names[:MOST_NAMES]}
