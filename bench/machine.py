"""What this machine is, and what its processes use of it, read from /proc."""

import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_FSYNCS = 30


@dataclass(frozen=True)
class Usage:
    """What a process has used until now: seconds of CPU, and how often its threads were switched away from."""

    cpu: float
    switches: int


@dataclass(frozen=True)
class Totals:
    """What the whole machine has used until now, in seconds: of all programs, and stolen by its host."""

    busy: float
    stolen: float


def cores() -> int:
    """How many processors we may use."""
    return len(os.sched_getaffinity(0))


def usage(pid: int) -> Usage:
    """The usage of a process with all its threads."""
    # The name, in brackets, may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    switches = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
        except OSError:  # It has ended meanwhile.
            continue
        switches += sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, switches)


def totals() -> Totals:
    """The usage of all processors since the machine started."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, _, _, steal, *_ = (int(field) for field in file.readline().split()[1:])
    return Totals((user + nice + system) / _TICKS, steal / _TICKS)


def rss_mb(pid: int) -> float:
    """The resident memory of a process, in MB of 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024 / 1e6


def describe(folder: Path) -> dict[str, str]:
    """This machine in words; `folder` is on the disk whose fsync is timed."""
    models = {line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")}
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:"))
    return {
        "cores": str(cores()),
        "model": ", ".join(sorted(models)) or platform.machine(),
        "memory": f"{memory / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "fsync": f"{_fsync_ms(folder):.2f} ms",
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _fsync_ms(folder: Path) -> float:
    """The median time of an fsync of 4 KiB that were just written."""
    path, times = folder / "fsync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(_FSYNCS):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1000
