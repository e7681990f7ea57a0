"""The mesh's own processes on this machine, found by their command lines: memory, processor and file descriptors."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from monitoring.figures import named
from monitoring.readings import Rates, Readings, discovery, key

# To look at the command lines of all processes costs more than all other figures together: so seldom it is done, and
# at each look for a while after one has gone, since whoever runs it starts it again.
_FIND_SECONDS = 60.0
_RETURN_SECONDS = 30.0

_SERVICES = ("entry", "publish", "audit", "share", "redeem")
# Several services in one process.
ALL = "all"
# What `python -m` runs, and the commands of `sharemesh` (which `python -m services` is) that stay.
_MODULES = {"registry": "control-plane", "monitoring": "sidecar"}
_COMMANDS = {"run": ALL, "gateway": "gateway"}
_ENVOY = ("envoy", "gateway")
# Of Python's own options those that take a value.
_WITH_VALUE = ("-X", "-W")


def role_of(command: Sequence[str]) -> str:
    """The role of the process with this command line, such as "redeem" or "control-plane"; "": none of ours."""
    name, rest = _program(list(command))
    if name == _ENVOY[0]:
        return _ENVOY[1]
    if name.startswith("-m "):
        name = "sharemesh" if name == "-m services" else _MODULES.get(name.removeprefix("-m "), "")
        if name != "sharemesh":
            return name
    if name != "sharemesh" or not rest:
        return ""
    if rest[0] == "serve" and len(rest) > 1:
        # Flags may stand before the service's name.
        return next((word for word in rest[1:] if word in (*_SERVICES, ALL)), "")
    return _COMMANDS.get(rest[0], "")


def _program(command: list[str]) -> tuple[str, list[str]]:
    """What is run, "-m module" for a module of Python's, and its arguments."""
    if not command:
        return "", []
    name = os.path.basename(command[0])
    if not name.startswith("python"):
        return name, command[1:]
    rest = command[1:]
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest = rest[2:] if rest[0] in _WITH_VALUE else rest[1:]
    if rest[:1] == ["-m"]:
        return f"-m {rest[1]}" if len(rest) > 1 else "", rest[2:]
    return (os.path.basename(rest[0]), rest[1:]) if rest else ("", [])


@dataclass
class _Sum:
    """What the processes of one role have together; None: not to be had of one of them."""

    count: int = 0
    memory: int = 0
    fds: int | None = 0
    shares: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class Processes:
    """All processes of the mesh on this machine; `pids` are those among which to look."""

    def __init__(self, pids: Callable[[], Iterable[int]] = psutil.pids) -> None:
        self._pids = pids
        self._known: dict[psutil.Process, str] = {}
        # A role that was here once is told of for as long as we live: 0 is a figure too.
        self._roles: set[str] = set()
        self._rates = Rates()
        self._find_at = self._return_until = 0.0

    def processes(self, now: float) -> Readings:
        """Figures by role; the share of descriptors is that of the process which is nearest to its limit."""
        if self._find_at <= now or now < self._return_until:
            self._find(now)
        sums, is_gone = self._sums(now)
        if is_gone:
            self._return_until = now + _RETURN_SECONDS
            self._find(now)
            sums, _ = self._sums(now)
        self._rates.keep(map(_identity, self._known))
        told: Readings = {key("host.process.discovery"): discovery({"{#ROLE}": role} for role in self._roles)}
        for role in self._roles:
            told |= _told(role, sums.get(role, _Sum()))
        return told

    def _find(self, now: float) -> None:
        self._find_at = now + _FIND_SECONDS
        found = {}
        for pid in self._pids():
            try:
                # psutil would look at more than its command line.
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                role = role_of(command.rstrip("\0").split("\0"))
                if role:
                    found[psutil.Process(pid)] = role
            except (OSError, psutil.Error):
                continue
        self._known = found
        self._roles |= set(found.values())

    def _sums(self, now: float) -> tuple[dict[str, _Sum], bool]:
        """What they have, by role, and whether one of them is no more."""
        sums: dict[str, _Sum] = {}
        is_gone = False
        for process, role in list(self._known.items()):
            try:
                if not self._add(sums.setdefault(role, _Sum()), process, now):
                    raise psutil.NoSuchProcess(process.pid)
            except psutil.NoSuchProcess:
                is_gone = True
                del self._known[process]
        return sums, is_gone

    def _add(self, total: _Sum, process: psutil.Process, now: float) -> bool:
        """Whether the process is still there."""
        with process.oneshot():
            memory, cpu = process.memory_info().rss, process.cpu_times()
            # One that ended and was not yet asked for its exit code has no memory; another's number is not its own.
            if not memory or not process.is_running():
                return False
            total.count += 1
            total.memory += memory
            rate = self._rates.of(_identity(process), cpu.user + cpu.system, now)
            if rate is not None:
                total.cpu.append(100 * rate)
            try:
                fds, (limit, _) = process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)
            except psutil.AccessDenied:
                # Another user's: only root may look.
                total.fds = None
            else:
                total.fds = None if total.fds is None else total.fds + fds
                total.shares.append(100 * fds / limit if limit > 0 else 0.0)
        return True


def _identity(process: psutil.Process) -> str:
    return f"{process.pid} {process.create_time()}"


def _told(role: str, total: _Sum) -> Readings:
    cpu = sum(total.cpu) if total.cpu or not total.count else None
    share = max(total.shares, default=None if total.count else 0.0)
    values = {"count": total.count, "memory": total.memory, "fds": total.fds, "fds.share": share, "cpu": cpu}
    return named("host.process", values, role)
