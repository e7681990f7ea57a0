"""Free loopback ports for programs that must be told theirs before they start."""

import contextlib
import random
import socket

# What the system gives to nobody by itself, on Linux and elsewhere.
LOWEST, HIGHEST = 10_000, 32_767


def free(count: int = 1, host: str = "127.0.0.1") -> list[int]:
    """So many different free TCP ports, free for UDP too (Consul's gossip wants both under one number).

    Held until all are found, so that no two are the same; whoever is quick enough could take one before it is used.
    """
    with contextlib.ExitStack() as probes:
        found: list[int] = []
        while len(found) < count:
            stream = probes.enter_context(socket.socket())
            stream.bind((host, 0))
            port = int(stream.getsockname()[1])
            packets = probes.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                packets.bind((host, port))
                found.append(port)
        return found


def free_one(host: str = "127.0.0.1") -> int:
    """One free port."""
    return free(1, host)[0]


def free_low(host: str = "127.0.0.1") -> int:
    """A free TCP port of at most 32767: Zabbix's server takes no others."""
    while True:
        port = random.randint(LOWEST, HIGHEST)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((host, port))
            return port
