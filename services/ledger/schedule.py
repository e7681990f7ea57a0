"""When coupons can be claimed and used: dates in the activity's zone, hours in the redeeming store's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from services.ledger.refusal import Refusal
from services.ledger.terms import Period, Terms

Phase = Literal["SCHEDULED", "RUNNING", "ENDED"]


def claim_window(terms: Terms) -> tuple[datetime, datetime]:
    """The UTC instants from which and before which coupons are claimed; ValueError if the terms state no period."""
    if terms.claim_period is None:
        raise ValueError("the terms state no claim_period")
    return _instants(terms.claim_period, terms.zone)


def validity(terms: Terms, claimed_at: datetime) -> tuple[datetime, datetime]:
    """The UTC instants from which and before which a coupon claimed at that instant is used.

    Days after the claim run from the beginning of the claim's day to the end of the n-th following day, in the
    activity's zone, so that 0 is the day of the claim; a till whose clock is a little behind takes it at once. Raises
    ValueError if the terms state no validity.
    """
    match terms.validity:
        case int(days):
            day = _local(claimed_at, terms.zone).date()
            return _day_start(day, terms.zone), _day_start(day + timedelta(days=days + 1), terms.zone)
        case Period() as period:
            return _instants(period, terms.zone)
        case _:
            raise ValueError("the terms state no validity")


def phase(terms: Terms, now: datetime) -> Phase:
    """Where `now` lies in the claim window."""
    start, end = claim_window(terms)
    if now < start:
        return "SCHEDULED"
    return "RUNNING" if now < end else "ENDED"


def turning(terms: Terms, now: datetime) -> datetime:
    """The next instant at which the clock alone may turn a claim down or admit it: the claim window's or the
    validity's begin or end, or the midnight in the activity's zone with which another day's stock begins."""
    tomorrow = _day_start(_local(now, terms.zone).date() + timedelta(days=1), terms.zone)
    return min(instant for instant in (*claim_window(terms), *validity(terms, now), tomorrow) if instant > now)


def usable_at(terms: Terms, now: datetime, store_zone: str, until: datetime | None = None) -> Refusal | None:
    """Why a coupon is not taken at this hour in a store of this zone: BLACKOUT_DATE (`date`) or OUTSIDE_WINDOW
    (`local_time`, and as `next` when a window opens next before `until`, "-" for never); None when it is taken. The
    tail of a window after midnight belongs to the weekday it started on, but to the blackout date that the store's
    calendar shows.
    """
    local = _local(now, store_zone)
    today = local.date().isoformat()
    if today in terms.blackout_dates:
        return Refusal("BLACKOUT_DATE", {"date": today})
    minute, weekday, yesterday = local.hour * 60 + local.minute, local.weekday(), (local.weekday() - 1) % 7
    for window in terms.windows:
        overnight = window.end <= window.start
        if weekday in window.weekdays and window.start <= minute and (overnight or minute < window.end):
            return None
        if overnight and yesterday in window.weekdays and minute < window.end:
            return None
    if not terms.windows:
        return None
    opening = next((opens for opens in _openings(terms, local) if until is None or opens < until), None)
    told = "-" if opening is None else shown(opening, store_zone)
    return Refusal("OUTSIDE_WINDOW", {"local_time": local.strftime("%Y-%m-%dT%H:%M"), "next": told})


def local_date(now: datetime, zone: str) -> str:
    """The date, YYYY-MM-DD, that a calendar in the zone shows at this instant."""
    return _local(now, zone).date().isoformat()


def shown(instant: datetime, zone: str) -> str:
    """The instant as a clock on the wall of the zone shows it: YYYY-MM-DD HH:MM."""
    return _local(instant, zone).strftime("%Y-%m-%d %H:%M")


def _openings(terms: Terms, local: datetime) -> Iterator[datetime]:
    """When windows begin after this local time, the soonest first; on blackout dates none does."""
    # Each window opens within a week, unless all of its days are blacked out.
    for days in range(8 + 7 * len(terms.blackout_dates)):
        day = local.date() + timedelta(days=days)
        if day.isoformat() in terms.blackout_dates:
            continue
        for start in sorted(window.start for window in terms.windows if day.weekday() in window.weekdays):
            opens = datetime.combine(day, time(start // 60, start % 60), local.tzinfo)
            if opens > local:
                yield opens


def _local(now: datetime, zone: str) -> datetime:
    if now.tzinfo is None:
        raise ValueError("an instant needs its offset")
    return now.astimezone(ZoneInfo(zone))


def _instants(period: Period, zone: str) -> tuple[datetime, datetime]:
    return _day_start(period.start, zone), _day_start(period.end + timedelta(days=1), zone)


def _day_start(day: date, zone: str) -> datetime:
    # Of a midnight that comes twice fold=0 is the first, and one that clocks skip is the instant they skip it at.
    return datetime.combine(day, time(fold=0), ZoneInfo(zone)).astimezone(UTC)
