"""When coupons can be claimed and used, around midnights, windows and clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger import schedule
from services.ledger.refusal import Refusal
from services.ledger.terms import Terms
from tests.ledger.offers import content

SHANGHAI = "Asia/Shanghai"
MARCH = {"start_date": "2026-03-01", "end_date": "2026-03-31"}


def terms(**changes: Any) -> Terms:
    return Terms.of(content(**changes))


def at(text: str, zone: str = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def usable(now: str, *windows: dict[str, Any], zone: str = SHANGHAI, blackout: tuple[str, ...] = ()) -> str:
    refusal = schedule.usable_at(terms(windows=list(windows), blackout_dates=list(blackout)), at(now, zone), zone)
    return refusal.reason if refusal else "usable"


def window(start: str, end: str, *weekdays: str) -> dict[str, Any]:
    return {"weekdays": list(weekdays), "start_time": start, "end_time": end}


def test_coupons_are_claimed_from_the_first_midnight_to_the_one_after_the_last_day() -> None:
    assert schedule.claim_window(terms()) == (at("2026-03-01"), at("2026-04-01"))


def test_the_days_of_an_activity_are_those_of_its_zone_through_clock_changes() -> None:
    start, end = schedule.claim_window(
        terms(zone="America/New_York", claim_period={"start_date": "2026-03-08", "end_date": "2026-03-08"})
    )
    assert (start, end - start) == (datetime(2026, 3, 8, 5, tzinfo=UTC), timedelta(hours=23))


def test_a_day_whose_midnight_is_skipped_starts_when_the_clocks_jump() -> None:
    day = {"start_date": "2024-04-26", "end_date": "2024-04-26"}
    start, end = schedule.claim_window(terms(zone="Africa/Cairo", claim_period=day))
    assert start.astimezone(ZoneInfo("Africa/Cairo")).isoformat() == "2024-04-26T01:00:00+03:00"
    assert end - start == timedelta(hours=23)


def test_an_activity_is_scheduled_then_running_then_ended() -> None:
    instants = ("2026-02-28T23:59:59", "2026-03-01T00:00:00", "2026-03-31T23:59:59", "2026-04-01T00:00:00")
    assert [schedule.phase(terms(), at(now)) for now in instants] == ["SCHEDULED", "RUNNING", "RUNNING", "ENDED"]


@pytest.mark.parametrize(("days", "end"), [(0, "2026-03-05"), (1, "2026-03-06"), (7, "2026-03-12")])
def test_days_after_the_claim_are_whole_days_of_the_activitys_zone(days: int, end: str) -> None:
    claimed_at = at("2026-03-04T23:59:59")
    assert schedule.validity(terms(validity={"days_after_claim": days}), claimed_at) == (at("2026-03-04"), at(end))


def test_absolute_validity_is_the_same_for_every_claim() -> None:
    stated = terms(validity={"period": {"start_date": "2026-04-01", "end_date": "2026-04-02"}})
    assert schedule.validity(stated, at("2026-03-04")) == (at("2026-04-01"), at("2026-04-03"))


def test_terms_without_a_period_have_no_phase_and_no_validity() -> None:
    unstated = Terms.of({"benefit": content()["benefit"]})
    with pytest.raises(ValueError, match="claim_period"):
        schedule.phase(unstated, at("2026-03-04"))
    with pytest.raises(ValueError, match="validity"):
        schedule.validity(unstated, at("2026-03-04"))


def test_an_instant_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        schedule.local_date(datetime(2026, 3, 4), SHANGHAI)  # noqa: DTZ001 - the point of the test


def test_without_windows_a_coupon_is_usable_at_any_hour() -> None:
    assert usable("2026-03-04T03:00") == "usable"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-04T10:59:59", "OUTSIDE_WINDOW"),
        ("2026-03-04T11:00", "usable"),
        ("2026-03-04T13:59:59", "usable"),
        ("2026-03-04T14:00", "OUTSIDE_WINDOW"),
        ("2026-03-05T12:00", "OUTSIDE_WINDOW"),
    ],
)
def test_a_window_opens_inclusively_and_closes_exclusively_on_its_weekdays(now: str, expected: str) -> None:
    assert usable(now, window("11:00", "14:00", "WEDNESDAY")) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-06T21:59", "OUTSIDE_WINDOW"),
        ("2026-03-06T22:00", "usable"),
        ("2026-03-07T01:59", "usable"),
        ("2026-03-07T02:00", "OUTSIDE_WINDOW"),
        ("2026-03-06T01:00", "OUTSIDE_WINDOW"),
        ("2026-03-07T22:30", "OUTSIDE_WINDOW"),
    ],
)
def test_a_window_past_midnight_belongs_to_the_weekday_it_started_on(now: str, expected: str) -> None:
    assert usable(now, window("22:00", "02:00", "FRIDAY")) == expected


def test_a_window_may_end_at_midnight_either_way_of_writing_it() -> None:
    for end in ("24:00", "00:00"):
        assert usable("2026-03-06T23:59:59", window("18:00", end, "FRIDAY")) == "usable"
        assert usable("2026-03-07T00:00", window("18:00", end, "FRIDAY")) == "OUTSIDE_WINDOW"


def test_a_window_that_ends_when_it_starts_is_a_whole_day() -> None:
    assert usable("2026-03-07T09:59", window("10:00", "10:00", "FRIDAY")) == "usable"
    assert usable("2026-03-07T10:00", window("10:00", "10:00", "FRIDAY")) == "OUTSIDE_WINDOW"


def test_windows_are_read_on_the_clock_of_the_redeeming_store() -> None:
    lunch, now = terms(windows=[window("11:00", "14:00")]), at("2026-03-04T12:00")
    assert schedule.usable_at(lunch, now, SHANGHAI) is None
    assert schedule.usable_at(lunch, now, "Asia/Tokyo") is None
    refusal = schedule.usable_at(lunch, now, "Europe/Berlin")
    assert refusal == Refusal("OUTSIDE_WINDOW", {"local_time": "2026-03-04T05:00", "next": "2026-03-04 11:00"})


@pytest.mark.parametrize(
    ("until", "opening"),
    [(None, "2026-03-14 18:00"), ("2026-03-14T18:01", "2026-03-14 18:00"), ("2026-03-14T18:00", "-")],
)
def test_whoever_comes_too_late_is_told_the_next_opening_before_the_coupon_expires(
    until: str | None, opening: str
) -> None:
    weekend = terms(windows=[window("18:00", "20:00", "SATURDAY")], blackout_dates=["2026-03-07"])
    ending = None if until is None else at(until)
    refusal = schedule.usable_at(weekend, at("2026-03-03T12:00"), SHANGHAI, ending)
    assert refusal is not None
    assert refusal.metadata["next"] == opening


def test_the_hour_that_comes_twice_is_in_the_window_twice() -> None:
    night, zone = terms(windows=[window("01:00", "02:00")]), "America/New_York"
    twice = [datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (4, 5, 6, 7)]
    assert [schedule.usable_at(night, now, zone) is None for now in twice] == [False, True, True, False]


def test_a_blackout_date_is_the_stores_own_date_even_in_the_tail_of_a_window() -> None:
    evening = window("22:00", "02:00", "FRIDAY")
    assert usable("2026-03-07T01:00", evening, blackout=("2026-03-07",)) == "BLACKOUT_DATE"
    assert usable("2026-03-07T01:00", evening, blackout=("2026-03-06",)) == "usable"
    assert usable("2026-03-07T12:00", blackout=("2026-03-07",)) == "BLACKOUT_DATE"


INSTANTS = st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.sampled_from((SHANGHAI, "America/New_York", "Africa/Cairo", "Pacific/Apia", "Australia/Lord_Howe", "UTC"))


@given(INSTANTS, ZONES, st.integers(0, 60))
def test_a_coupon_is_valid_from_the_day_of_its_claim_through_its_last_local_day(
    now: datetime, zone: str, days: int
) -> None:
    start, end = schedule.validity(terms(zone=zone, validity={"days_after_claim": days}), now)
    last = date.fromisoformat(schedule.local_date(now, zone)) + timedelta(days=days)
    assert start <= now < end
    assert schedule.local_date(start, zone) == schedule.local_date(now, zone)
    assert schedule.local_date(start - timedelta(microseconds=1), zone) < schedule.local_date(now, zone)
    assert schedule.local_date(end, zone) > last.isoformat()
    assert schedule.local_date(end - timedelta(microseconds=1), zone) <= last.isoformat()


@given(INSTANTS, ZONES)
def test_an_activity_of_one_day_runs_while_its_calendar_shows_that_day(now: datetime, zone: str) -> None:
    today = schedule.local_date(now, zone)
    assert schedule.phase(terms(zone=zone, claim_period={"start_date": today, "end_date": today}), now) == "RUNNING"
