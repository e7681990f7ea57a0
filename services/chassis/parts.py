"""Messages put together from parts that are serialized already: of one message in any order, or one after another."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from services.chassis.wire import to_message

# A tag's wire type of strings, bytes and messages (protobuf.dev/programming-guides/encoding).
_LENGTH_DELIMITED = 2


def serialized(message_class: type[Message], plain: Mapping[str, Any]) -> bytes:
    """The bytes of the message with these plain values; two such parts with different fields joined are one message."""
    return to_message(message_class, plain).SerializeToString()


def repeated(number: int, elements: Iterable[Sequence[bytes]]) -> bytes:
    """The bytes of a repeated field of messages, each given as its parts."""
    tag = _varint(number << 3 | _LENGTH_DELIMITED)
    pieces: list[bytes] = []
    for parts in elements:
        pieces += (tag, _varint(sum(map(len, parts))), *parts)
    return b"".join(pieces)


def text(number: int, value: str) -> bytes:
    """The bytes of a string field; none for "", as protobuf has it."""
    encoded = value.encode()
    return repeated(number, [(encoded,)]) if encoded else b""


def _varint(number: int) -> bytes:
    low: list[int] = []
    while number > 0x7F:
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*low, number))
