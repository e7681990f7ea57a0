"""A wire to a gRPC server on which the answer to a call can be lost after the server has given it."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

# RFC 9113, 4.1 and 6: a frame's header, and what is looked for in it.
_HEADER = 9
_DATA, _HEADERS = 0, 1
_END_STREAM = 0x1
# RFC of gRPC over HTTP/2: a byte and a length before each message.
_PREFIX = 5
# A call takes milliseconds; a busy machine takes many times that.
LIMIT_SECONDS = 20.0


@dataclass
class Loss:
    """An answer that does not arrive: `message` is what the server answered, once `given` is set."""

    given: threading.Event = field(default_factory=threading.Event)
    cut: threading.Event = field(default_factory=threading.Event)
    message: bytes = b""


class Wire:
    """Forwards connections to an address of this machine; made by laid()."""

    def __init__(self, to: str) -> None:
        host, _, port = to.rpartition(":")
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._loss: Loss | None = None
        # Connections that were made, and answers that went through.
        self.connections = 0
        self.answers = 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def losing(self) -> Iterator[Loss]:
        """The next answer is kept back until `cut` is set, or the body ends; then its connection breaks."""
        loss = self._loss = Loss()
        try:
            yield loss
        finally:
            loss.cut.set()

    def remove(self) -> None:
        """End all of it."""
        for one in self._sockets:
            _end(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                server = socket.create_connection(self._to, LIMIT_SECONDS)
                server.settimeout(None)
                self.connections += 1
                self._sockets += [caller, server]
                for pump in (self._ask, self._answer):
                    threading.Thread(target=pump, args=(caller, server), daemon=True).start()

    def _ask(self, caller: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := caller.recv(65536):
                server.sendall(chunk)
        _end(server)

    def _answer(self, caller: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), server.makefile("rb") as frames:
            while len(header := frames.read(_HEADER)) == _HEADER:
                size, kind, flags, _ = _read(header)
                payload = frames.read(size)
                if kind == _HEADERS and (loss := self._loss):
                    self._loss = None
                    loss.message = _rest(frames, flags)
                    loss.given.set()
                    loss.cut.wait(LIMIT_SECONDS)
                    break
                # Its last frame is the trailers.
                self.answers += kind == _HEADERS and bool(flags & _END_STREAM)
                caller.sendall(header + payload)
        _end(caller)
        _end(server)


def _read(header: bytes) -> tuple[int, int, int, int]:
    """A frame's length, type, flags and stream."""
    high, low, kind, flags, stream = struct.unpack(">BHBBI", header)
    return high << 16 | low, kind, flags, stream


def _rest(frames: BinaryIO, flags: int) -> bytes:
    """The message of an answer whose first frame had these flags; b"" for a refusal."""
    message = b""
    is_over = bool(flags & _END_STREAM)
    while not is_over:
        size, kind, flags, _ = _read(frames.read(_HEADER))
        payload = frames.read(size)
        message += payload if kind == _DATA else b""
        is_over = kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM)
    return message[_PREFIX:]


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def laid(*to: str) -> Iterator[list[Wire]]:
    """A wire to each address."""
    with ExitStack() as removed:
        wires = []
        for address in to:
            wires.append(wire := Wire(address))
            removed.callback(wire.remove)
        yield wires
