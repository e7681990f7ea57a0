"""The machine as a whole: processors, memory, disks, interfaces, limits and its clock, by psutil and the kernel."""

import hashlib
import os
import platform
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from monitoring.figures import Parts, named, rates_of
from monitoring.machine import clock, filesystems
from monitoring.machine.disks import Disks
from monitoring.machine.interfaces import Interfaces
from monitoring.machine.processes import Processes
from monitoring.readings import Rates, Readings, key

# What hardly changes is looked at so often, and told then.
SLOW_SECONDS = 60.0
_PASSWD = Path("/etc/passwd")
_STAT = Path("/proc/stat")
_FILES = Path("/proc/sys/fs/file-nr")
_PROCESSES_MAX = Path("/proc/sys/kernel/pid_max")


class Host:
    """The machine that this process runs on.

    One that is read for the first time tells no rates. `pids` are the processes among which the mesh's own are, `ticks`
    is a clock in seconds that never goes back.
    """

    def __init__(
        self, pids: Callable[[], Iterable[int]] = psutil.pids, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._ticks = ticks
        self._rates = Rates()
        self._spent: dict[str, float] = {}
        self._parts = Parts(
            (
                self._cpu,
                self._switches,
                self._swapping,
                load,
                memory,
                swap,
                processes,
                processes_limit,
                running,
                descriptors,
                boot,
                clock.localtime,
                clock.uptime,
                clock.discipline,
                Disks().disks,
                Interfaces().interfaces,
                Processes(pids).processes,
            )
        )
        self._seldom = Parts((self._filesystems, names, users, passwd))
        self._slow: Readings = {}
        self._slow_at = 0.0
        self._begun: float | None = None
        self._mounted: Readings = {}

    def read(self) -> Readings:
        """Every figure that can be had, in a millisecond or two; nothing here waits for a network."""
        now = self._ticks()
        if self._begun is None:
            self._begun = now
        is_due = self._slow_at <= now
        if is_due:
            self._slow_at = now + SLOW_SECONDS
            self._slow = self._seldom.read(now)
        told = self._parts.read(now) | self._mounted
        # What was discovered just now has no item yet to take the first value: in the beginning it is told again.
        if is_due or now < self._begun + SLOW_SECONDS:
            told |= self._slow
        return told

    def _filesystems(self, now: float) -> Readings:
        figures, rows = filesystems.read()
        self._mounted = {key("host.fs.discovery"): rows}
        return figures

    def _cpu(self, now: float) -> Readings:
        """Shares of all processors' time since the last look."""
        spent = psutil.cpu_times()._asdict()
        # The kernel counts the time of guests twice. https://man7.org/linux/man-pages/man5/proc_stat.5.html
        guest, guest_nice = spent.pop("guest", 0.0), spent.pop("guest_nice", 0.0)
        spent |= {"user": spent["user"] - guest, "nice": spent["nice"] - guest_nice, "guest": guest + guest_nice}
        before, self._spent = self._spent, spent
        told: Readings = {key("host.cpu.count"): psutil.cpu_count() or 1}
        # Waiting and idling may count back a little.
        passed = {name: max(0.0, time - before[name]) for name, time in spent.items()} if before else {}
        whole = sum(passed.values())
        if whole:
            told |= {key("host.cpu", name): 100 * time / whole for name, time in passed.items()}
            told[key("host.cpu.used")] = 100 - 100 * passed["idle"] / whole
        return told

    def _switches(self, now: float) -> Readings:
        counted = psutil.cpu_stats()
        counts = {key("host.switches"): counted.ctx_switches, key("host.interrupts"): counted.interrupts}
        return rates_of(self._rates, counts, now)

    def _swapping(self, now: float) -> Readings:
        size = psutil.swap_memory()
        counts = {key("host.swap.in"): size.sin, key("host.swap.out"): size.sout} if size.total else {}
        return rates_of(self._rates, counts, now)


def load(now: float) -> Readings:
    """Processes that ran or waited for a processor or a disk, on average of 1, 5 and 15 minutes, per processor."""
    cores = psutil.cpu_count() or 1
    averages = zip(("1", "5", "15"), os.getloadavg(), strict=True)
    return {key("host.load", minutes): average / cores for minutes, average in averages}


def memory(now: float) -> Readings:
    """What there is, and what could be had without swapping."""
    size = psutil.virtual_memory()
    share = 100 * size.available / size.total
    return named("host.memory", {"total": size.total, "available": size.available, "available.share": share})


def swap(now: float) -> Readings:
    """Where there is none, it has no share that could be free."""
    size = psutil.swap_memory()
    share = 100 * size.free / size.total if size.total else None
    return named("host.swap", {"total": size.total, "free": size.free, "free.share": share})


def processes(now: float) -> Readings:
    """How many there are."""
    return {key("host.processes"): len(psutil.pids())}


def processes_limit(now: float) -> Readings:
    """How many there may be, and how near to it they are."""
    most = int(_PROCESSES_MAX.read_text())
    return named("host.processes", {"max": most, "share": 100 * len(psutil.pids()) / most})


def running(now: float) -> Readings:
    """Threads that run or wait for a processor."""
    line = next(one for one in _STAT.read_text().splitlines() if one.startswith("procs_running"))
    return {key("host.processes.running"): int(line.split()[1])}


def descriptors(now: float) -> Readings:
    """Files that are open in the whole machine, and how many may be."""
    opened, _, most = map(int, _FILES.read_text().split())
    return {key("host.fds"): opened} | named("host.fds", {"max": most, "share": 100 * opened / most})


def boot(now: float) -> Readings:
    """Seconds since the epoch."""
    return {key("host.boot"): int(psutil.boot_time())}


def names(now: float) -> Readings:
    """What the machine is called, and what runs on it."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, LookupError):
        system = platform.system()
    kernel = platform.uname()
    return {
        key("host.name"): socket.gethostname(),
        key("host.os"): f"{system}, {kernel.system} {kernel.release} {kernel.machine}",
    }


def users(now: float) -> Readings:
    """How many are logged in."""
    return {key("host.users"): len(psutil.users())}


def passwd(now: float) -> Readings:
    """A fingerprint of the list of users: it changes when somebody is added."""
    return {key("host.passwd"): hashlib.sha256(_PASSWD.read_bytes()).hexdigest()}
