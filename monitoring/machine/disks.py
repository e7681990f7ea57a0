"""The machine's disks: how much they do, how long it takes and how busy they are."""

import os
import re
from pathlib import Path

from monitoring.figures import named, rates_of
from monitoring.readings import Rates, Readings, discovery, key

# https://www.kernel.org/doc/html/latest/admin-guide/iostats.html
_STATISTICS = Path("/proc/diskstats")
_WHOLE = Path("/sys/block")
# A sector of the kernel's statistics, whatever the disk's are.
_SECTOR = 512
# The filter of Zabbix's "Linux by Zabbix agent" ({$VFS.DEV.DEVNAME.NOT_MATCHES}): no partitions, which are none of
# /sys/block, no memory, and nothing that is made of other disks, which would be counted twice.
HIDDEN = re.compile(r"(loop|nbd|sr|fd|dm-|ram|ploop|md|hcp|zram)[0-9a-z_]*")


class Disks:
    """All whole disks."""

    def __init__(self) -> None:
        self._rates = Rates()

    def disks(self, now: float) -> Readings:
        """Rates since the last look; waits are the average of what ended since then, 0 if nothing did."""
        whole = {name for name in os.listdir(_WHOLE) if not HIDDEN.fullmatch(name)}
        told: Readings = {}
        rows = []
        for line in _STATISTICS.read_text().splitlines():
            _, _, name, *numbers = line.split()
            if name in whole:
                rows.append({"{#DEVICE}": name})
                told |= self._figures(name, [int(number) for number in numbers], now)
        told[key("host.disk.discovery")] = discovery(rows)
        return told

    def _figures(self, name: str, numbers: list[int], now: float) -> Readings:
        reads, _, read, reading, writes, _, written, writing, _, busy, waiting, *_ = numbers
        counted = {
            key("host.disk.reads", name): reads,
            key("host.disk.writes", name): writes,
            key("host.disk.read", name): read * _SECTOR,
            key("host.disk.written", name): written * _SECTOR,
        }
        told = rates_of(self._rates, counted, now)
        # Milliseconds a second.
        times = {"reading": reading, "writing": writing, "busy": busy, "waiting": waiting}
        spent = {kind: self._rates.of(f"{name} {kind}", time, now) for kind, time in times.items()}
        await_of = {
            "read.await": average(spent["reading"], told.get(key("host.disk.reads", name))),
            "write.await": average(spent["writing"], told.get(key("host.disk.writes", name))),
            "utilization": None if spent["busy"] is None else min(100.0, spent["busy"] / 10),
            "queue": None if spent["waiting"] is None else spent["waiting"] / 1000,
        }
        return told | named("host.disk", await_of, name)


def average(spent: float | None, ended: float | int | str | None) -> float | None:
    """Seconds for each of those that ended, of milliseconds that were spent."""
    if spent is None or not isinstance(ended, float):
        return None
    return spent / ended / 1000 if ended else 0.0
