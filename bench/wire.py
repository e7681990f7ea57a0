"""HTTP/2 and HTTP/1.1 as a load generator needs them: bytes out are prebuilt, bytes in become a status."""

import struct
from collections.abc import Callable
from typing import Protocol

from hpack import Decoder

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
_NOT_UNDERSTOOD = 0x8 | 0x20  # PADDED, PRIORITY: gRPC servers send neither.
_FRAME_HEAD = 9
_MOST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_MOST_FRAME = 16_384
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 0x1, 0x2, 0x4
_HEADER_TABLE = 4096
_FIRST_DYNAMIC_INDEX = 62
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Blocks that come often are short; each refusal's details are long, and its own.
_OFTEN = 64
# What stands for a status where there is none: a stream that was reset.
RESET = -1


class WireError(Exception):
    """The server did what the generator does not understand or could not go on after; the message says what."""


class Client(Protocol):
    """One connection with one call outstanding; bytes in, bytes out, no socket."""

    # Bytes of the last answer's body.
    answer_bytes: int

    def opening(self) -> bytes:
        """What is sent before the first call."""
        ...

    def call(self, message: bytes) -> bytes:
        """The next call, as bytes to send."""
        ...

    def feed(self, data: bytes) -> int | None:
        """The status of the call that `data` completes, None while it is under way."""
        ...

    def control(self) -> bytes:
        """What the protocol wants answered, to be sent at once; mostly nothing."""
        ...


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class Grpc:
    """Unary calls of one gRPC method over one HTTP/2 connection.

    Headers are literals in the first call, which puts them into the server's table, and one byte each afterwards, as
    every gRPC client sends them.
    """

    def __init__(self, authority: str, path: str, token: str = "") -> None:
        fields = [(":path", path), (":authority", authority), ("content-type", "application/grpc"), ("te", "trailers")]
        fields += [("user-agent", "sharemesh-bench")]
        fields += [("authorization", f"Bearer {token}")] if token else []
        literals = b"".join(b"\x40" + _text(name) + _text(value) for name, value in fields)
        last = _FIRST_DYNAMIC_INDEX + len(fields) - 1
        # :method POST and :scheme http stand in the static table.
        self._first = b"\x83\x86" + literals
        block = b"\x83\x86" + bytes(0x80 | (last - place) for place in range(len(fields)))
        self._head = struct.pack(">I", len(block))[1:] + bytes((HEADERS, END_HEADERS))
        self._block = block
        self._stream = -1
        self._window = _FIRST_WINDOW
        self._rest = b""
        self._control = b""
        self._decoder = Decoder()
        # Statuses by header block. A block that was read without a change to the table that blocks are read by means
        # the same, and changes as little, until another block changes the table.
        self._known: dict[bytes, int | None] = {}
        self.answer_bytes = 0

    def opening(self) -> bytes:
        settings = struct.pack(">HIHI", _ENABLE_PUSH, 0, _INITIAL_WINDOW_SIZE, _MOST_WINDOW)
        wide = struct.pack(">I", _MOST_WINDOW - _FIRST_WINDOW)
        return _PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, wide)

    def call(self, message: bytes) -> bytes:
        self._stream += 2
        length = len(message) + 5
        self._window -= length
        if self._window < 0 or length > _MOST_FRAME:
            raise WireError("the server's window is too small for the next request")
        stream = struct.pack(">I", self._stream)
        data = struct.pack(">IB4sBI", length << 8 | DATA, END_STREAM, stream, 0, length - 5)
        if self._stream == 1:
            return frame(HEADERS, END_HEADERS, 1, self._first) + data + message
        return b"".join((self._head, stream, self._block, data, message))

    def feed(self, data: bytes) -> int | None:
        buffer = self._rest + data if self._rest else data
        at, end, status = 0, len(buffer), None
        while end - at >= _FRAME_HEAD:
            stop = at + _FRAME_HEAD + (buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2])
            if stop > end:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            if kind == HEADERS:
                block = buffer[at + _FRAME_HEAD : stop]
                found = self._known[block] if block in self._known else self._read(block, flags)
                if flags & END_STREAM:
                    status = RESET if found is None else found
            elif kind == DATA:
                self.answer_bytes = stop - at - _FRAME_HEAD - 5
            elif kind == RST_STREAM:
                status = RESET
            else:
                self._answer(kind, flags, buffer[at + _FRAME_HEAD : stop], int.from_bytes(buffer[at + 5 : at + 9]))
            at = stop
        self._rest = buffer[at:]
        return status

    def control(self) -> bytes:
        if not self._control:
            return b""
        waiting, self._control = self._control, b""
        return waiting

    def _read(self, block: bytes, flags: int) -> int | None:
        """The grpc-status in a header block, None if there is none."""
        if not flags & END_HEADERS or flags & _NOT_UNDERSTOOD:
            raise WireError("headers in more than one frame, or padded")
        table = self._decoder.header_table.dynamic_entries
        size, newest = len(table), table[0] if table else None
        text = dict(self._decoder.decode(block, raw=True)).get(b"grpc-status")
        status = None if text is None else int(text)
        if len(table) != size or (table and table[0] is not newest):
            self._known.clear()
        elif len(block) < _OFTEN:
            self._known[block] = status
        return status

    def _answer(self, kind: int, flags: int, payload: bytes, stream: int) -> None:
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == _HEADER_TABLE_SIZE and value < _HEADER_TABLE:
                    raise WireError("the server's table is too small for headers that are sent once")
            self._control += frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self._control += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload)
        elif kind == GOAWAY:
            raise WireError(f"the server goes away: {payload[8:].decode(errors='replace')}")


class Http1:
    """POSTs of JSON to one path over one kept-alive HTTP/1.1 connection."""

    def __init__(self, authority: str, path: str, token: str = "") -> None:
        bearer = f"authorization: Bearer {token}\r\n" if token else ""
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {authority}\r\n{bearer}content-type: application/json\r\ncontent-length: "
        ).encode()
        self._rest = b""
        self.answer_bytes = 0

    def opening(self) -> bytes:
        return b""

    def call(self, message: bytes) -> bytes:
        return b"%b%d\r\n\r\n%b" % (self._head, len(message), message)

    def feed(self, data: bytes) -> int | None:
        """The status as gRPC's: OK for 2xx, FAILED_PRECONDITION for 409, else UNKNOWN."""
        self._rest += data
        head, found, body = self._rest.partition(b"\r\n\r\n")
        if not found:
            return None
        _, _, length = head.lower().partition(b"content-length:")
        self.answer_bytes = int(length.split(b"\r\n", 1)[0])
        if len(body) < self.answer_bytes:
            return None
        self._rest = body[self.answer_bytes :]
        code = head[9:12]
        return 0 if code.startswith(b"2") else 9 if code == b"409" else 2

    def control(self) -> bytes:
        return b""


CLIENTS: dict[str, Callable[[str, str, str], Client]] = {"grpc": Grpc, "http": Http1}


def _text(text: str) -> bytes:
    """A string literal of HPACK without Huffman's code."""
    data = text.encode()
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    """An integer of HPACK with a prefix of seven bits."""
    if value < 0x7F:
        return bytes((value,))
    digits, value = [0x7F], value - 0x7F
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))
