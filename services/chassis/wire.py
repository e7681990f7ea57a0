"""Messages to plain values and back, by descriptor alone, so that no rule ever sees a message."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from services.chassis.errors import Invalid, Violation, Words, invalid_field
from services.chassis.wire_types import PAIRS, Pair

M = TypeVar("M", bound=Message)
P = ParamSpec("P")


class _Field(NamedTuple):
    name: str
    has_presence: bool
    # None where both sides are the same: most fields are such, and this is done for every answer.
    to_plain: Callable[[Any], Any] | None
    to_wire: Callable[[Any], Any] | None


def to_plain(message: Message) -> dict[str, Any]:
    """The message as a dict by proto field names; everything in it is JSON-ready except bytes and datetimes.

    Enums are value names without their prefix (UNSPECIFIED: None), the types of wire_types.py their plain values. A
    field with presence (message, optional, oneof member) is there only if it is set, any other always. Raises
    Invalid(INVALID_FIELD) with the field's path for a value that has no plain form.
    """
    plain: dict[str, Any] = {}
    for name, has_presence, convert, _ in _fields(message.DESCRIPTOR):
        if has_presence and not message.HasField(name):
            continue
        value = getattr(message, name)
        plain[name] = value if convert is None else _within(name, convert, value)
    return plain


def to_message(message_class: type[M], plain: Mapping[str, Any]) -> M:
    """The message with these plain values; keys that it lacks and values that are None are left out.

    A value of the wrong type or range raises what protobuf raises (TypeError, ValueError): the mistake is ours.
    """
    descriptor: Any = message_class.DESCRIPTOR
    return message_class(**_content(descriptor, plain))


def packed(message_class: type[M], f: Callable[P, Mapping[str, Any]]) -> Callable[P, M]:
    """What calls `f` and packs its plain values: for a pool job, since packing a page of snapshots takes long."""

    def call_and_pack(*args: P.args, **kwargs: P.kwargs) -> M:
        return to_message(message_class, f(*args, **kwargs))

    return call_and_pack


def _content(message: Descriptor, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What a message's constructor takes: for messages in it too, which protobuf makes quicker by itself."""
    content: dict[str, Any] = {}
    for name, _, _, convert in _fields(message):
        value = plain.get(name)
        if value is not None:
            content[name] = value if convert is None else convert(value)
    return content


@cache
def _fields(message: Descriptor) -> tuple[_Field, ...]:
    return tuple(_field(field) for field in message.fields)


def _field(field: FieldDescriptor) -> _Field:
    if not field.is_repeated and not field.message_type and not field.enum_type:
        return _Field(field.name, field.has_presence, None, None)
    return _Field(field.name, field.has_presence, *_pair(field))


def _pair(field: FieldDescriptor) -> Pair:
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[part] for part in ("key", "value"))
        return Pair(partial(_map_to_plain, _single(value)), partial(_map_to_wire, key, _single(value)))
    one = _single(field)
    if field.is_repeated:
        return Pair(partial(_list_to_plain, one), partial(_list_to_wire, one))
    return one


def _single(field: FieldDescriptor) -> Pair:
    if field.enum_type:
        return Pair(partial(_enum_to_plain, *_enum_names(field.enum_type)), _enum_names(field.enum_type)[1].__getitem__)
    if not field.message_type:
        return Pair(_unchanged, _unchanged)
    return PAIRS.get(field.message_type.full_name) or Pair(to_plain, partial(_content, field.message_type))


def _unchanged(value: Any) -> Any:
    return value


@cache
def _enum_names(enum: EnumDescriptor) -> tuple[dict[int, str | None], dict[str | None, int]]:
    """Plain names by number and numbers by plain name."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
    names = {value.number: value.name.removeprefix(prefix) for value in enum.values}
    by_number = {number: None if name == "UNSPECIFIED" else name for number, name in names.items()}
    return by_number, {name: number for number, name in by_number.items()}


def _enum_to_plain(by_number: dict[int, str | None], _: object, number: int) -> str | None:
    if number not in by_number:  # An open enum's value from a newer client.
        raise invalid_field("", Words(f"{number} 不是可选的值", f"{number} is not a value known here"))
    return by_number[number]


def _list_to_plain(one: Pair, values: Iterable[Any]) -> list[Any]:
    return [_within(f"[{index}]", one.to_plain, value) for index, value in enumerate(values)]


def _list_to_wire(one: Pair, plain: Iterable[Any]) -> list[Any]:
    return [one.to_wire(value) for value in plain]


def _map_to_plain(one: Pair, entries: Mapping[Any, Any]) -> dict[str, Any]:
    return {_key_name(key): _within(f"[{_key_name(key)}]", one.to_plain, entries[key]) for key in entries}


def _key_name(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _map_to_wire(key: FieldDescriptor, one: Pair, plain: Mapping[str, Any]) -> dict[Any, Any]:
    match key.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return {name: one.to_wire(value) for name, value in plain.items()}
        case FieldDescriptor.CPPTYPE_BOOL:
            return {name == "true": one.to_wire(value) for name, value in plain.items()}
        case _:
            return {int(name): one.to_wire(value) for name, value in plain.items()}


def _within(step: str, convert: Callable[[Any], Any], value: Any) -> Any:
    """Convert a part of a message; a violation found in it is told with the part's own path."""
    try:
        return convert(value)
    except Invalid as refusal:
        raise Invalid(
            refusal.reason, violations=[_below(step, violation) for violation in refusal.violations]
        ) from None


def _below(step: str, violation: Violation) -> Violation:
    dot = "." if violation.field and not violation.field.startswith("[") else ""
    return Violation(f"{step}{dot}{violation.field}", violation.description)
