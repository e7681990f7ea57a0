import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.chassis.wire import packed, to_message, to_plain
from tests.chassis.probe import message

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=20)
KINDS = st.sampled_from([None, "HOT_DISH"])
ITEMS = st.fixed_dictionaries({"price": INT64, "kind": KINDS})
AMOUNTS = st.integers(-(10**12), 10**12)
MONEY = st.fixed_dictionaries({"currency": st.sampled_from(["CNY", "USD", ""]), "minor": AMOUNTS})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
ALWAYS: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "raw": st.binary(max_size=20),
    "number": INT64,
    "flag": st.booleans(),
    "ratio": st.floats(allow_nan=False),
    "kind": KINDS,
    "kinds": st.lists(KINDS, max_size=3),
    "items": st.lists(ITEMS, max_size=3),
    "by_name": st.dictionaries(TEXT, ITEMS, max_size=3),
    "by_number": st.dictionaries(st.integers(-(2**31), 2**31 - 1).map(str), TEXT, max_size=3),
    "by_flag": st.dictionaries(st.sampled_from(["true", "false"]), INT64),
    "prices": st.lists(MONEY, max_size=3),
}
SOMETIMES: dict[str, st.SearchStrategy[Any]] = {
    "maybe": TEXT,
    "price": MONEY,
    "at": st.datetimes(timezones=st.just(UTC)),
    "span": st.integers(-315_576_000_000, 315_576_000_000),
    "day": st.dates().map(lambda day: day.isoformat()),
    "time": st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59)) | st.just("24:00"),
    "fields": st.dictionaries(TEXT, JSON, max_size=3),
    "item": ITEMS,
    "word": TEXT,
}
PLAIN = st.fixed_dictionaries(ALWAYS, optional=SOMETIMES)


@given(PLAIN, st.none() | PLAIN)
def test_plain_values_come_back_from_a_message_as_they_were(
    plain: dict[str, Any], below: dict[str, Any] | None
) -> None:
    if below is not None:
        plain = {**plain, "below": below}
    assert to_plain(to_message(message("Everything"), plain)) == plain


@given(PLAIN)
def test_a_message_comes_back_through_its_bytes(plain: dict[str, Any]) -> None:
    made = to_message(message("Everything"), plain)
    assert to_plain(message("Everything").FromString(made.SerializeToString())) == plain


def test_an_empty_message_has_its_plain_fields_and_no_others() -> None:
    assert set(to_plain(message("Everything")())) == set(ALWAYS)


def test_the_oneof_member_that_was_set_is_there_even_when_empty() -> None:
    assert to_plain(message("Everything")(word=""))["word"] == ""
    assert "thing" not in to_plain(message("Everything")(word=""))


def test_unknown_keys_and_none_are_left_out() -> None:
    made = to_message(message("Item"), {"price": 3, "kind": None, "nonsense": object()})
    assert made == message("Item")(price=3)


def test_money_is_whole_minor_units() -> None:
    assert to_plain(message("Everything")(price=Money(currency_code="CNY", units=-1, nanos=-50_000_000)))["price"] == {
        "currency": "CNY",
        "minor": -105,
    }


def test_a_struct_is_json_with_whole_numbers_as_ints() -> None:
    struct = Struct()
    struct.update({"n": 3, "list": [1.5, None, True, {"deep": "x"}]})
    plain = to_plain(message("Everything")(fields=struct))["fields"]
    assert json.dumps(plain, sort_keys=True) == '{"list": [1.5, null, true, {"deep": "x"}], "n": 3}'


def test_an_instant_of_any_zone_is_the_same_instant() -> None:
    shanghai = datetime(2026, 5, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert to_plain(to_message(message("Everything"), {"at": shanghai}))["at"] == datetime(2026, 5, 1, tzinfo=UTC)


def test_a_naive_time_is_refused_as_our_mistake() -> None:
    with pytest.raises(ValueError, match="naive"):
        to_message(message("Everything"), {"at": datetime(2026, 5, 1)})  # noqa: DTZ001 - that is the point.


def infinite() -> Struct:
    struct = Struct()
    struct["x"] = float("inf")
    return struct


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"price": Money(units=1, nanos=1_000_000)}, "price"),
        ({"price": Money(units=1, nanos=-10_000_000)}, "price.nanos"),
        ({"price": Money(nanos=2_000_000_000)}, "price.nanos"),
        ({"price": Money(units=2**62)}, "price.units"),
        ({"prices": [Money(), Money(nanos=5)]}, "prices[1]"),
        ({"at": Timestamp(seconds=2**60)}, "at"),
        ({"at": Timestamp(nanos=-1)}, "at"),
        ({"span": Duration(seconds=1, nanos=1)}, "span"),
        ({"day": Date(year=2026, month=2, day=30)}, "day"),
        ({"day": Date(year=2026)}, "day"),
        ({"time": TimeOfDay(hours=24, minutes=1)}, "time"),
        ({"time": TimeOfDay(hours=1, seconds=1)}, "time"),
        ({"time": TimeOfDay(hours=-1)}, "time"),
        ({"fields": infinite()}, "fields"),
        ({"kind": 99}, "kind"),
        ({"items": [{}, {"kind": 99}]}, "items[1].kind"),
        ({"by_name": {"a": {"kind": 99}}}, "by_name[a].kind"),
        ({"below": {"below": {"item": {"kind": 99}}}}, "below.below.item.kind"),
    ],
)
def test_a_value_without_a_plain_form_is_an_invalid_field_with_its_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        to_plain(message("Everything")(**fields))
    assert refusal.value.reason == "INVALID_FIELD"
    assert [violation.field for violation in refusal.value.violations] == [path]


def test_what_is_packed_is_packed_where_it_is_called() -> None:
    def answer(text: str, *, price: int) -> dict[str, Any]:
        return {"text": text, "item": {"price": price}}

    everything = message("Everything")
    assert packed(everything, answer)("a", price=3) == everything(text="a", item=message("Item")(price=3))
