"""What is wrong with the terms of an activity, beyond what the contract's field rules can say."""

from __future__ import annotations

from datetime import date
from functools import cache
from zoneinfo import available_timezones

from services.ledger.benefit_checks import Found, check_benefit, needs
from services.ledger.benefits import Plain
from services.ledger.discount import worst_case
from services.ledger.terms import DEFAULT_ZONE, STACKING_MODES, WEEKDAYS, Terms, day_of, minute_of, moneys

# A billion yuan: far above any promotion, far below what a 64-bit column holds.
MOST_MINOR = 10**11
MOST_DAYS = 366
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)


def check(content: Plain) -> list[tuple[str, str]]:
    """What keeps the plain form of the contract's Terms message from being offered, as (field path, description).

    Paths are relative to the terms, such as `benefit.percent_off.cap`; an empty list means that `Terms.of` succeeds.
    A budget without a bound on one coupon is told at the absent cap (BUDGET_NEEDS_CAP).
    """
    found = [*_amounts(content), *check_benefit(content), *_dates(content), *_windows(content), *_limits(content)]
    return found or list(_budget(content))


def _amounts(content: Plain) -> Found:
    currencies = set()
    for path, money in moneys(content):
        currencies.add(money.get("currency"))
        if not 0 < money["minor"] <= MOST_MINOR:
            yield path, f"must be above zero and at most {MOST_MINOR // 100}.00"
    if len(currencies) > 1:
        yield "benefit", "all amounts of an activity, its budget and its reward must be in one currency"


def _dates(content: Plain) -> Found:
    if (content.get("zone") or DEFAULT_ZONE) not in zones():
        yield "zone", "must be a time zone of the IANA database, such as Asia/Shanghai"
    claim, validity = content.get("claim_period"), content.get("validity") or {}
    if claim is None:
        yield "claim_period", "is required"
    else:
        yield from _period("claim_period", claim)
    days, period = validity.get("days_after_claim"), validity.get("period")
    if (days is None) == (period is None):
        yield "validity", "state either days_after_claim or period"
    elif days is not None and not 0 <= days <= MOST_DAYS:
        yield "validity.days_after_claim", f"must be from 0 to {MOST_DAYS}"
    elif period is not None:
        yield from _period("validity.period", period)
        # ISO dates compare as text.
        if claim and str(period.get("end_date")) < str(claim.get("end_date")):
            yield "validity.period.end_date", "must not be before the last day of claim_period"
    for position, day in enumerate(content.get("blackout_dates", ())):
        yield from _day(f"blackout_dates[{position}]", day)


def _period(path: str, period: Plain) -> Found:
    wrong = [found for key in ("start_date", "end_date") for found in _day(f"{path}.{key}", period.get(key, ""))]
    yield from wrong
    if not wrong and period["end_date"] < period["start_date"]:
        yield f"{path}.end_date", "must not be before start_date"


def _day(path: str, text: str) -> Found:
    try:
        day = day_of(text)
    except ValueError:
        yield path, "must be a date that the calendar has, as YYYY-MM-DD"
        return
    if not FIRST_DAY <= day <= LAST_DAY:
        yield path, f"must be from {FIRST_DAY} to {LAST_DAY}"


def _windows(content: Plain) -> Found:
    for position, window in enumerate(content.get("windows", ())):
        path = f"windows[{position}]"
        if not set(window.get("weekdays", ())) <= set(WEEKDAYS):
            yield f"{path}.weekdays", f"must be among {', '.join(WEEKDAYS)}"
        for key, default in (("start_time", "00:00"), ("end_time", "24:00")):
            try:
                minute_of(window.get(key, default))
            except ValueError:
                yield f"{path}.{key}", "must be a time as HH:MM"
        if window.get("start_time") == "24:00":
            yield f"{path}.start_time", "must be before 24:00"


def _limits(content: Plain) -> Found:
    stock, day_stock = content.get("stock", 0), content.get("day_stock", 0)
    if stock < 1:
        yield "stock", "must be at least 1"
    if not 0 <= day_stock <= max(stock, 0):
        yield "day_stock", "must not be above stock"
    if content.get("per_customer", 1) < 1:
        yield "per_customer", "must be at least 1"
    if content.get("reversal_window", 0) < 0:
        yield "reversal_window", "must not be negative"
    stacking = content.get("stacking") or {}
    if (stacking.get("mode") or "NONE") not in STACKING_MODES:
        yield "stacking.mode", f"must be one of {', '.join(STACKING_MODES)}"
    if stacking.get("max_codes", 0) < 0:
        yield "stacking.max_codes", "must not be negative"
    reward = content.get("reward")
    if reward is not None:
        yield from ((f"reward{key}", description) for key, description in needs(reward, "amount"))


def _budget(content: Plain) -> Found:
    terms = Terms.of(content)
    most = worst_case(terms)
    if terms.budget is not None and most is None:
        yield (
            f"benefit.{next(iter(content['benefit']))}.cap",
            "is required under a budget: the most one coupon takes off",
        )
    if terms.budget is not None and most is not None and terms.budget < most:
        yield "budget", "does not cover what a single coupon can take off"
    if terms.reward and terms.reward.budget is not None and terms.reward.budget < terms.reward.amount:
        yield "reward.budget", "does not cover a single reward"


@cache
def zones() -> frozenset[str]:
    """The names of the time zones that terms and stores may be in."""
    # These two are whatever the machine's owner made them.
    return frozenset(available_timezones() - {"localtime", "Factory"})
