"""Everything that can be wrong with a request whatever it asks for, found by walking its message."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import protovalidate
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.type.money_pb2 import Money

OVERSIZED = "口" * 100_000
UNKNOWN_ENUM = 9_999
# Whoever calls, these are only ever written by the server or compared with what it wrote; a server ignores or refuses
# them whatever their size. A template's words are an operator's own.
WITHOUT_LIMIT = ("etag", "zh_cn", "en", "owner")
LENGTH_DELIMITED = 2
# Its own stubs do not say what it extends.
BEHAVIOR: Any = field_behavior_pb2.field_behavior


class Damaged(NamedTuple):
    """A request's bytes, and what must come of them: a reason and, where one field is to blame, its path."""

    title: str
    raw: bytes
    reason: str = "INVALID_FIELD"
    field: str = ""


def damages(request: Any) -> Iterator[Damaged]:
    """Every damaged form of a good request."""
    yield Damaged("garbage", b"\xff\xff\xff\xff\xff")
    yield Damaged("half of it", b"\x0a\x7f" + request.SerializeToString()[:3])
    for field in request.DESCRIPTOR.fields:
        yield from _bytes(request, field)
        if not field.is_repeated and field.name == "page_size":
            yield _set(request, field.name, -1)
        if not field.is_repeated and field.name == "page_token":
            yield Damaged("a page token of nowhere", _copy(request, page_token="nowhere"), "INVALID_PAGE_TOKEN")
        yield from _missing(request, field)
    for path, holder, field in places(request):
        yield from _values(request, path, holder, field)


def places(message: Any) -> Iterator[tuple[str, Any, FieldDescriptor]]:
    """Every field of the message and of the messages that are set in it: its path, the message it is in, and itself."""
    yield from _places(message, "")


def _places(message: Any, above: str) -> Iterator[tuple[str, Any, FieldDescriptor]]:
    for field in message.DESCRIPTOR.fields:
        yield f"{above}{field.name}", message, field
        if not _is_ours(field):
            continue
        if field.is_repeated:
            for index, one in enumerate(getattr(message, field.name)):
                yield from _places(one, f"{above}{field.name}[{index}].")
        elif message.HasField(field.name):
            yield from _places(getattr(message, field.name), f"{above}{field.name}.")


def _is_ours(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.file.package == "sharemesh.v1"


def _bytes(request: Any, field: FieldDescriptor) -> Iterator[Damaged]:
    """What no client library would send: texts that are not UTF-8, messages that are not messages."""
    tag = bytes([field.number << 3 | LENGTH_DELIMITED]) if field.number < 16 else b""
    if tag and field.type == FieldDescriptor.TYPE_STRING:
        yield Damaged(f"{field.name} is not UTF-8", request.SerializeToString() + tag + b"\x02\xc3\x28")
    if tag and field.type == FieldDescriptor.TYPE_MESSAGE:
        yield Damaged(f"{field.name} is no message", request.SerializeToString() + tag + b"\x03\xff\xff\xff")


def _missing(request: Any, field: FieldDescriptor) -> Iterator[Damaged]:
    copy = _clone(request)
    copy.ClearField(field.name)
    if protovalidate.collect_violations(copy):
        # A rule of the whole message blames no field.
        yield Damaged(f"no {field.name}", copy.SerializeToString())


def _values(request: Any, path: str, holder: Any, field: FieldDescriptor) -> Iterator[Damaged]:
    """The request with one value, anywhere in it, out of its bounds."""

    def damaged(title: str, value: Any, reason: str = "INVALID_FIELD", blamed: str = path) -> Damaged:
        before = _clone(holder)
        _put(holder, field, value)
        raw = request.SerializeToString()
        holder.CopyFrom(before)
        return Damaged(f"{title} {path}", raw, reason, blamed)

    if field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[BEHAVIOR]:
        return  # Whatever a client sends in it is not looked at.
    if field.type == FieldDescriptor.TYPE_STRING and field.name not in WITHOUT_LIMIT:
        # Some are refused for their size, some for their form; a page token is no token of ours, whatever its size.
        yield damaged("oversized", OVERSIZED)
        if field.name in ("name", "merchant", "store", "activity", "template") and getattr(holder, field.name):
            yield damaged("a path in", "../../etc/passwd")
    elif field.type == FieldDescriptor.TYPE_ENUM:
        yield damaged("unknown value of", UNKNOWN_ENUM)
    elif _is_money(field) and not field.is_repeated and holder.HasField(field.name):
        money = getattr(holder, field.name)
        yield damaged("negative", Money(currency_code=money.currency_code, units=-1), blamed="")
        yield damaged("a fraction of a fen in", Money(currency_code=money.currency_code, nanos=1))
        yield damaged("more than there is in", Money(currency_code=money.currency_code, units=9 * 10**16), blamed="")


def _is_money(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.type.Money"


def _put(holder: Any, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        holder.ClearField(field.name)
        getattr(holder, field.name).append(value)
    elif isinstance(value, Message):
        getattr(holder, field.name).CopyFrom(value)
    else:
        setattr(holder, field.name, value)


def _set(request: Any, name: str, value: Any) -> Damaged:
    return Damaged(f"{name} {value}", _copy(request, **{name: value}), field=name)


def _copy(request: Any, **values: Any) -> bytes:
    copy = _clone(request)
    for name, value in values.items():
        setattr(copy, name, value)
    return bytes(copy.SerializeToString())


def _clone(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
