"""Real sockets that are no good Zabbix, or stand before one and harm what passes."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

# What a server does with a connection; it is closed afterwards.
Manner = Callable[[socket.socket], None]

INFO = "processed: {0}; failed: 0; total: {0}; seconds spent: 0.000100"


@contextlib.contextmanager
def listening(manner: Manner, host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a server that treats each connection so, until the end of the `with`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        ended = threading.Event()

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    if ended.is_set():
                        return
                    # Above what any test waits for.
                    connection.settimeout(30)
                    manner(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            ended.set()
            # Wakes it.
            socket.create_connection((host, port)).close()
            thread.join()


def packet(body: bytes) -> bytes:
    """A packet of Zabbix's protocol."""
    return b"ZBXD\x01" + struct.pack("<Q", len(body)) + body


def received(connection: socket.socket) -> bytes:
    """The whole packet that comes in."""
    head = _exactly(connection, 13)
    return head + _exactly(connection, struct.unpack("<Q", head[5:])[0])


def answering(answer: bytes) -> Manner:
    """Takes a packet and answers so."""

    def manner(connection: socket.socket) -> None:
        received(connection)
        connection.sendall(answer)

    return manner


def saying(**answer: object) -> Manner:
    """Takes a packet and answers with such a JSON object."""
    return answering(packet(json.dumps(answer).encode()))


def mute(connection: socket.socket) -> None:
    """Takes everything and says nothing, until the caller has gone."""
    while connection.recv(65536):
        pass


def closing(connection: socket.socket) -> None:
    """Takes the packet and closes before any answer."""
    received(connection)


def trickling(connection: socket.socket) -> None:
    """Answers by a byte every tenth of a second, and never to the end."""
    received(connection)
    for byte in packet(b"x" * 1000):
        connection.sendall(bytes([byte]))
        threading.Event().wait(0.1)


def in_pieces(connection: socket.socket) -> None:
    """Answers well, a few bytes at a time."""
    count = len(json.loads(received(connection)[13:])["data"])
    answer = packet(json.dumps({"response": "success", "info": INFO.format(count)}).encode())
    for at in range(0, len(answer), 20):
        connection.sendall(answer[at : at + 20])
        threading.Event().wait(0.01)


def before(port: int, is_answer_lost: Callable[[], bool] = lambda: False) -> Manner:
    """Passes packets to the real server, and its answer back, unless that is to be lost: it has been given then."""

    def manner(connection: socket.socket) -> None:
        taken = received(connection)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as server:
            server.sendall(taken)
            answer = received(server)
        if not is_answer_lost():
            connection.sendall(answer)

    return manner


def taking(samples: list[dict[str, Any]], refused: Collection[str] = ()) -> Manner:
    """Answers as Zabbix does, and keeps what it took; keys that are refused it only counts."""

    def manner(connection: socket.socket) -> None:
        data = json.loads(received(connection)[13:])["data"]
        taken = [sample for sample in data if sample["key"] not in refused]
        samples.extend(taken)
        info = f"processed: {len(taken)}; failed: {len(data) - len(taken)}; total: {len(data)}; seconds spent: 0.000055"
        connection.sendall(packet(json.dumps({"response": "success", "info": info}).encode()))

    return manner


def by_certificate(context: ssl.SSLContext) -> Manner:
    """A server of TLS that takes everything and then closes."""

    def manner(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            received(encrypted)

    return manner


def _exactly(connection: socket.socket, size: int) -> bytes:
    whole = b""
    while len(whole) < size:
        part = connection.recv(size - len(whole))
        if not part:
            raise ConnectionAbortedError
        whole += part
    return whole
