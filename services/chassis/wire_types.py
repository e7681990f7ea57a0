"""Google's common message types and their plain values; each converter's docstring names the pair."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay

from services.chassis.errors import Words, invalid_field

_NANOS = 1_000_000_000
_NANOS_PER_MINOR = _NANOS // 100
# So that the largest order, 200 lines of 10,000 units, still fits a BIGINT column.
_MINOR_LIMIT = 10**12
# Above it a double no longer tells neighbouring integers apart.
_EXACT_LIMIT = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = int((datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds())
_LAST_SECOND = int((datetime.max.replace(microsecond=0, tzinfo=UTC) - _EPOCH).total_seconds())


def money_to_plain(money: Money) -> dict[str, Any]:
    """Money to {"currency": "CNY", "minor": 1234}: hundredths, and nothing finer."""
    minor, finer = divmod(money.nanos, _NANOS_PER_MINOR)
    if finer:
        raise invalid_field("", Words("最多两位小数", "has more than two decimals"))
    if abs(money.nanos) >= _NANOS or money.units * money.nanos < 0:
        raise invalid_field(
            "nanos", Words("超出范围，或与整数部分正负不一致", "is out of range, or has another sign than units")
        )
    total = money.units * 100 + minor
    if not -_MINOR_LIMIT <= total <= _MINOR_LIMIT:
        raise invalid_field("units", Words("超出范围", "is out of range"))
    return {"currency": money.currency_code, "minor": total}


def money_to_wire(plain: dict[str, Any]) -> dict[str, Any]:
    """{"currency": "CNY", "minor": 1234} to Money's fields."""
    sign = -1 if plain["minor"] < 0 else 1
    units, minor = divmod(abs(plain["minor"]), 100)
    return {"currency_code": plain["currency"], "units": sign * units, "nanos": sign * minor * _NANOS_PER_MINOR}


def timestamp_to_plain(timestamp: Timestamp) -> datetime:
    """Timestamp to an aware UTC datetime, cut to microseconds."""
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if not (0 <= nanos < _NANOS and _FIRST_SECOND <= seconds <= _LAST_SECOND):
        raise invalid_field("", Words("不是有效的时间", "is not a time between the years 1 and 9999"))
    return _EPOCH + timedelta(0, seconds, nanos // 1000)


def timestamp_to_wire(instant: datetime) -> dict[str, int]:
    """An aware datetime to Timestamp's fields."""
    if instant.tzinfo is None:
        raise ValueError("a naive datetime is no instant")
    since = instant - _EPOCH
    return {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1000}


def duration_to_plain(duration: Duration) -> int:
    """Duration to whole seconds."""
    if duration.nanos:
        raise invalid_field("", Words("必须是整秒", "is not a whole number of seconds"))
    return duration.seconds


def duration_to_wire(seconds: int) -> dict[str, int]:
    """Whole seconds to Duration's field."""
    return {"seconds": seconds}


def date_to_plain(day: Date) -> str:
    """Date to "YYYY-MM-DD"."""
    try:
        return date(day.year, day.month, day.day).isoformat()
    except ValueError as error:
        raise invalid_field("", Words("没有这一天", "is not a day of the calendar")) from error


def date_to_wire(text: str) -> dict[str, int]:
    """ "YYYY-MM-DD" to Date's fields."""
    day = date.fromisoformat(text)
    return {"year": day.year, "month": day.month, "day": day.day}


def time_of_day_to_plain(time: TimeOfDay) -> str:
    """TimeOfDay to "HH:MM"; "24:00" is the end of a day."""
    is_within_day = 0 <= time.hours < 24 and 0 <= time.minutes < 60
    if not is_within_day and (time.hours, time.minutes) != (24, 0):
        raise invalid_field("", Words("不是有效的时刻", "is not a time of day"))
    if time.seconds or time.nanos:
        raise invalid_field("", Words("必须精确到整分钟", "is not a whole number of minutes"))
    return f"{time.hours:02}:{time.minutes:02}"


def time_of_day_to_wire(text: str) -> dict[str, int]:
    """ "HH:MM" to TimeOfDay's fields."""
    hours, minutes = text.split(":")
    return {"hours": int(hours), "minutes": int(minutes)}


def struct_to_plain(struct: Struct) -> dict[str, Any]:
    """Struct to a dict of JSON values; whole numbers are ints, as people mean them."""
    return {name: value_to_plain(value) for name, value in struct.fields.items()}


def struct_to_wire(plain: dict[str, Any]) -> Struct:
    """A dict of JSON values to Struct."""
    struct = Struct()
    struct.update(plain)
    return struct


def list_to_plain(values: ListValue) -> list[Any]:
    """ListValue to a list of JSON values."""
    return [value_to_plain(value) for value in values.values]


def value_to_plain(value: Value) -> Any:
    """Value to a JSON value."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return struct_to_plain(value.struct_value)
        case "list_value":
            return list_to_plain(value.list_value)
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise invalid_field("", Words("不是有效的数字", "is not a number that JSON knows"))
            return int(number) if number.is_integer() and abs(number) <= _EXACT_LIMIT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


class Pair(NamedTuple):
    """How a message type becomes a plain value, and how that becomes what a message's constructor takes for it."""

    to_plain: Callable[[Any], Any]
    to_wire: Callable[[Any], Any]


PAIRS = {
    "google.protobuf.Duration": Pair(duration_to_plain, duration_to_wire),
    "google.protobuf.Struct": Pair(struct_to_plain, struct_to_wire),
    "google.protobuf.Timestamp": Pair(timestamp_to_plain, timestamp_to_wire),
    "google.type.Date": Pair(date_to_plain, date_to_wire),
    "google.type.Money": Pair(money_to_plain, money_to_wire),
    "google.type.TimeOfDay": Pair(time_of_day_to_plain, time_of_day_to_wire),
}
