"""Sends values to Zabbix; the one module that knows py-zabbix."""

import os
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

from pyzabbix import ZabbixMetric, ZabbixSender

from monitoring.delivery.tls import BadHandshake, Stream, Tls, complaint

# As many as py-zabbix and Zabbix's own sender put into one packet.
PACKET = 250
# From the look-up of the address to the answer. A server takes a packet in milliseconds; one that is short of room in
# its caches lets us wait.
SEND_SECONDS = 5.0
# An answer has a hundred bytes.
_LONGEST_ANSWER = 1 << 16


class ZabbixAway(Exception):
    """No server has taken the values, as far as we know; the message says at which address, why, and what to do."""


class Sample(NamedTuple):
    """One value of an item. Zabbix keeps one for each `clock` (seconds) and `ns`, however often it comes."""

    host: str
    key: str
    value: str
    clock: int
    ns: int


class Outcome(NamedTuple):
    """How many values Zabbix took, and how many it refused: it has no such item, or not for us."""

    accepted: int
    refused: int


class Sender:
    """One Zabbix by any of its servers' host and port, tried in turn from the one that answered last.

    Of a cluster's nodes, only the active one takes connections.
    """

    def __init__(
        self, servers: Sequence[tuple[str, int]], tls: Tls | None = None, timeout: float = SEND_SECONDS
    ) -> None:
        self._servers = tuple(servers)
        self._tls = tls
        self._timeout = timeout
        self._at = 0

    def send(self, samples: Sequence[Sample]) -> Outcome:
        """Send them in packets of PACKET; raises ZabbixAway, after which some may have been taken all the same."""
        complaints = []
        for _ in self._servers:
            try:
                return self._send_to(*self._servers[self._at], samples)
            except ZabbixAway as error:
                complaints.append(str(error))
                self._at = (self._at + 1) % len(self._servers)
        raise ZabbixAway("; ".join(complaints))

    def _send_to(self, host: str, port: int, samples: Sequence[Sample]) -> Outcome:
        line = _Line(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", self._tls, self._timeout)
        sender = _Packets(host, port, chunk_size=PACKET, socket_wrapper=line.instead_of)
        try:
            answer = sender.send([_metric(sample) for sample in samples])
        except ZabbixAway:
            raise
        except Exception as error:
            # py-zabbix has no exception of its own: it stumbles over what it did not expect.
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ZabbixAway(
                f"{line.address} does not answer as a Zabbix server does ({said}): check the port"
            ) from error
        finally:
            line.close()
        return Outcome(answer.processed, answer.failed)


class _Packets(ZabbixSender):  # type: ignore[misc]
    """py-zabbix's own spends most of its time on a dump in hexadecimal for its debugging log, which nobody reads."""

    def _create_packet(self, request: bytes) -> bytes:
        return b"ZBXD\x01" + struct.pack("<Q", len(request)) + request


class _Line:
    """A connection for each packet in turn, which py-zabbix takes for a socket.

    It knows IPv4 only, hears an answer's end only if that comes at once, gives every operation the whole time, and
    logs errors of sockets: so none gets to it.
    """

    def __init__(self, address: str, tls: Tls | None, timeout: float) -> None:
        self.address = address
        self._tls = tls
        self._timeout = timeout
        self._end = 0.0
        self._stream: Stream | None = None

    def instead_of(self, unconnected: socket.socket) -> "_Line":
        unconnected.close()
        self.close()
        return self

    def settimeout(self, seconds: float) -> None:
        """Ours is for all that is done for a packet together."""

    def connect(self, place: tuple[str, int]) -> None:
        self._end = time.monotonic() + self._timeout
        try:
            plain = socket.create_connection(place, self._left())
            self._stream = plain
            plain.settimeout(self._left())
            # A handshake is made of small parts, each of which would wait for the other side's word.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                self._stream = self._tls.wrap(plain)
        except (OSError, BadHandshake) as error:
            raise self._away(error) from error

    def sendall(self, data: bytes) -> None:
        try:
            self._open().sendall(data)
        except OSError as error:
            raise self._away(error) from error

    def recv(self, size: int) -> bytes:
        """Exactly so many bytes."""
        if size > _LONGEST_ANSWER:
            raise ValueError(f"an answer of {size} bytes")
        received = b""
        try:
            while len(received) < size:
                part = self._open().recv(size - len(received))
                if not part:
                    raise ConnectionAbortedError
                received += part
        except OSError as error:
            raise self._away(error) from error
        return received

    def close(self) -> None:
        if self._stream:
            self._stream.close()

    def _open(self) -> Stream:
        assert self._stream, "py-zabbix connects first"
        self._stream.settimeout(self._left())
        return self._stream

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _away(self, error: OSError | BadHandshake) -> ZabbixAway:
        if isinstance(error, BadHandshake):
            said = str(error)
        elif isinstance(error, ssl.SSLError):
            said = complaint(error)
        elif isinstance(error, TimeoutError):
            said = f"gave no answer within {self._timeout:g} s: look whether Zabbix is busy or a firewall is in between"
        elif isinstance(error, ConnectionRefusedError):
            said = "takes no connections: start Zabbix there, unless it is a cluster's standby, or check the port"
        elif isinstance(error, socket.gaierror):
            said = f"is not known ({error.strerror}): check the name"
        elif isinstance(error, ConnectionError):
            doubt = "our certificate or key may not be its" if self._tls else "it may want encryption"
            said = f"closed the connection without an answer: look at its log; {doubt}"
        else:
            said = f"cannot be reached ({os.strerror(error.errno) if error.errno else error}): check the network"
        return ZabbixAway(f"{self.address} {said}")


def _metric(sample: Sample) -> ZabbixMetric:
    metric = ZabbixMetric(sample.host, sample.key, sample.value, sample.clock)
    # What a metric has goes into the packet. Without it the server counts on from 0 in each packet, and would keep a
    # value that was sent twice twice.
    metric.ns = sample.ns
    return metric
