"""The servers that one database URL names: which of them to use, which to pass over, and how each is greeted."""

import re
import threading
from collections.abc import Generator, Sequence
from typing import Any

# A host's name or IPv4 address, or an IPv6 address in brackets; and its port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?")

# Whether a server is a Galera node (others have no such variable), and whether that is part of a working cluster.
CLUSTERED = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'"
READY = "SHOW GLOBAL STATUS LIKE 'wsrep_ready'"
# What another node committed is seen: whoever looks up an unknown outcome after a failover must find it.
SYNC_WAIT = "SET SESSION wsrep_sync_wait = 1"

Address = tuple[str, int]


class Hosts:
    """Servers of one database in the order of their URL: all use the first that takes work, so that one is written to.

    Two that write the same row lose much of their work to each other (on Galera as error 1213). Whoever opens a
    connection tries order() from its start and tells failed() or answered(); whoever keeps one asks is_first() before
    its next transaction and moves if it is not. A server that failed is passed over until somebody tries it
    again, who should be nobody that a caller waits for.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = tuple(addresses)
        self._passed_over: tuple[Address, ...] = ()
        self._lock = threading.Lock()

    def order(self) -> list[Address]:
        """The servers in the order in which to try them: those passed over come last."""
        return sorted(self.addresses, key=self._passed_over.__contains__)

    def is_first(self, address: Address) -> bool:
        """Whether no server is to be preferred to this one."""
        if not self._passed_over:
            return address == self.addresses[0]
        return address == self.order()[0]

    def failed(self, address: Address) -> None:
        """The server does not take work; an only server is tried all the same."""
        with self._lock:
            self._passed_over = (*(one for one in self._passed_over if one != address), address)

    def answered(self, address: Address) -> None:
        """The server takes work."""
        if address in self._passed_over:
            with self._lock:
                self._passed_over = tuple(one for one in self._passed_over if one != address)

    def to_try_again(self) -> Address | None:
        """The server that was passed over for the longest, if others are used instead."""
        passed_over = self._passed_over
        return passed_over[0] if passed_over and len(self.addresses) > 1 else None


def parse(text: str, port: int) -> tuple[Address, ...]:
    """The addresses in "host,host:port,[::1]:port"; `port` is for those that name none.

    Raises ValueError, in words that repeat no part of the text.
    """
    addresses: list[Address] = []
    for place, one in enumerate(text.split(","), 1):
        found = _HOST.fullmatch(one)
        if not one or found is None or not 0 < int(found[3] or port) < 65536:
            raise ValueError(f"names no host:port at place {place} of its list of hosts")
        addresses.append((found[1] or found[2], int(found[3] or port)))
    if len(set(addresses)) < len(addresses):
        raise ValueError("names the same host twice")
    return tuple(addresses)


def opening(*session: str) -> Generator[str, Any, bool]:
    """What is said on a new connection, those of `session` last: yields statements, is sent the first row or None.

    Returns whether the server takes work: a Galera node that lost its cluster answers SELECT 1 all the same.
    """
    if is_on((yield CLUSTERED)):
        if not is_on((yield READY)):
            return False
        yield SYNC_WAIT
    yield from session
    return True


def is_on(row: Any) -> bool:
    """Whether the row of a variable or a status, (name, value), says ON."""
    return bool(row) and str(row[1]) == "ON"
