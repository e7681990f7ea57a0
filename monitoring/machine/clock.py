"""The machine's clock, as the kernel judges it: adjtimex(2)."""

import ctypes
import os
import time

from monitoring.readings import Readings, key

_UNSYNCHRONIZED = 0x0040
_NANOSECONDS = 0x2000
_LONG, _INT = ctypes.c_long, ctypes.c_int


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", _LONG),
        ("freq", _LONG),
        ("maxerror", _LONG),
        ("esterror", _LONG),
        ("status", _INT),
        ("constant", _LONG),
        ("precision", _LONG),
        ("tolerance", _LONG),
        ("seconds", _LONG),
        ("parts", _LONG),
        ("tick", _LONG),
        ("ppsfreq", _LONG),
        ("jitter", _LONG),
        ("shift", _INT),
        ("stabil", _LONG),
        ("jitcnt", _LONG),
        ("calcnt", _LONG),
        ("errcnt", _LONG),
        ("stbcnt", _LONG),
        ("tai", _INT),
        # What the kernel may add in later versions.
        ("spare", _INT * 27),
    )


def localtime(now: float) -> Readings:
    """Seconds since the epoch, for Zabbix to compare with its own."""
    return {key("host.localtime"): int(time.time())}


def uptime(now: float) -> Readings:
    """Seconds since the machine was started, sleep included."""
    return {key("host.uptime"): int(time.clock_gettime(time.CLOCK_BOOTTIME))}


def discipline(now: float) -> Readings:
    """Whether something keeps the clock in step, how far off it is and how far it may be, in seconds.

    A daemon that steers the clock by its frequency alone, as chrony does, leaves the offset 0. Raises OSError where the
    kernel must not be asked, as in some containers.
    """
    timex = _Timex(modes=0)
    library = ctypes.CDLL(None, use_errno=True)
    if library.adjtimex(ctypes.byref(timex)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return {
        key("host.clock.synchronized"): int(not timex.status & _UNSYNCHRONIZED),
        key("host.clock.offset"): timex.offset / (1e9 if timex.status & _NANOSECONDS else 1e6),
        key("host.clock.error"): timex.maxerror / 1e6,
    }
