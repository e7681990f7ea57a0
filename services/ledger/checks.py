"""What is wrong with the terms of an activity, beyond what the contract's field rules can say."""

from __future__ import annotations

from datetime import date
from functools import cache
from zoneinfo import available_timezones

from services.chassis.errors import Words
from services.ledger.benefit_checks import REQUIRED, Found, between, check_benefit, needs
from services.ledger.benefits import Plain
from services.ledger.discount import worst_case
from services.ledger.terms import DEFAULT_ZONE, STACKING_MODES, WEEKDAYS, Terms, day_of, minute_of, moneys

# A billion yuan: far above any promotion, far below what a 64-bit column holds.
MOST_MINOR = 10**11
MOST_DAYS = 366
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
NO_ZONE = Words(
    "请选择有效的时区，例如 Asia/Shanghai", "must be a time zone of the IANA database, such as Asia/Shanghai"
)

_AMOUNT = Words(
    f"金额必须大于零，且不超过 {MOST_MINOR // 100}.00", f"must be above zero and at most {MOST_MINOR // 100}.00"
)
_AT_LEAST_ONE = Words("至少为 1", "must be at least 1")
_NEGATIVE = Words("不能为负数", "must not be negative")


def check(content: Plain) -> list[tuple[str, Words]]:
    """What keeps the plain form of the contract's Terms message from being offered, as (field path, what is wrong).

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
            yield path, _AMOUNT
    if len(currencies) > 1:
        yield (
            "benefit",
            Words(
                "活动的金额、预算和奖励必须使用同一币种",
                "all amounts of an activity, its budget and its reward must be in one currency",
            ),
        )


def _dates(content: Plain) -> Found:
    if (content.get("zone") or DEFAULT_ZONE) not in zones():
        yield "zone", NO_ZONE
    claim, validity = content.get("claim_period"), content.get("validity") or {}
    if claim is None:
        yield "claim_period", REQUIRED
    else:
        yield from _period("claim_period", claim)
    days, period = validity.get("days_after_claim"), validity.get("period")
    if (days is None) == (period is None):
        yield "validity", Words("请设置领取后可用天数或固定日期，两者选一", "state either days_after_claim or period")
    elif days is not None and not 0 <= days <= MOST_DAYS:
        yield "validity.days_after_claim", between(0, MOST_DAYS)
    elif period is not None:
        yield from _period("validity.period", period)
        # ISO dates compare as text.
        if claim and str(period.get("end_date")) < str(claim.get("end_date")):
            yield (
                "validity.period.end_date",
                Words("不能早于领取的最后一天", "must not be before the last day of claim_period"),
            )
    for position, day in enumerate(content.get("blackout_dates", ())):
        yield from _day(f"blackout_dates[{position}]", day)


def _period(path: str, period: Plain) -> Found:
    wrong = [found for key in ("start_date", "end_date") for found in _day(f"{path}.{key}", period.get(key, ""))]
    yield from wrong
    if not wrong and period["end_date"] < period["start_date"]:
        yield f"{path}.end_date", Words("结束日期不能早于开始日期", "must not be before start_date")


def _day(path: str, text: str) -> Found:
    try:
        day = day_of(text)
    except ValueError:
        yield path, Words("请填写有效的日期，格式为 YYYY-MM-DD", "must be a date that the calendar has, as YYYY-MM-DD")
        return
    if not FIRST_DAY <= day <= LAST_DAY:
        yield path, between(FIRST_DAY, LAST_DAY)


def _windows(content: Plain) -> Found:
    for position, window in enumerate(content.get("windows", ())):
        path = f"windows[{position}]"
        if not set(window.get("weekdays", ())) <= set(WEEKDAYS):
            yield f"{path}.weekdays", Words("请选择星期几", f"must be among {', '.join(WEEKDAYS)}")
        for key, default in (("start_time", "00:00"), ("end_time", "24:00")):
            try:
                minute_of(window.get(key, default))
            except ValueError:
                yield f"{path}.{key}", Words("请填写时间，格式为 HH:MM", "must be a time as HH:MM")
        if window.get("start_time") == "24:00":
            yield f"{path}.start_time", Words("必须早于 24:00", "must be before 24:00")


def _limits(content: Plain) -> Found:
    stock, day_stock = content.get("stock", 0), content.get("day_stock", 0)
    if stock < 1:
        yield "stock", _AT_LEAST_ONE
    if not 0 <= day_stock <= max(stock, 0):
        yield "day_stock", Words("每日限量不能超过总库存", "must not be above stock")
    if content.get("per_customer", 1) < 1:
        yield "per_customer", _AT_LEAST_ONE
    if content.get("reversal_window", 0) < 0:
        yield "reversal_window", _NEGATIVE
    stacking = content.get("stacking") or {}
    if (stacking.get("mode") or "NONE") not in STACKING_MODES:
        yield "stacking.mode", Words("请选择一种叠加方式", f"must be one of {', '.join(STACKING_MODES)}")
    if stacking.get("max_codes", 0) < 0:
        yield "stacking.max_codes", _NEGATIVE
    reward = content.get("reward")
    if reward is not None:
        yield from ((f"reward{key}", words) for key, words in needs(reward, "amount"))


def _budget(content: Plain) -> Found:
    terms = Terms.of(content)
    most = worst_case(terms)
    if terms.budget is not None and most is None:
        yield (
            f"benefit.{next(iter(content['benefit']))}.cap",
            Words(
                "设了预算就必须填写单张券的最高优惠金额", "is required under a budget: the most one coupon takes off"
            ),
        )
    if terms.budget is not None and most is not None and terms.budget < most:
        yield "budget", Words("预算不够支付一张券的优惠", "does not cover what a single coupon can take off")
    if terms.reward and terms.reward.budget is not None and terms.reward.budget < terms.reward.amount:
        yield "reward.budget", Words("奖励预算不够支付一次奖励", "does not cover a single reward")


@cache
def zones() -> frozenset[str]:
    """The names of the time zones that terms and stores may be in."""
    # These two are whatever the machine's owner made them.
    return frozenset(available_timezones() - {"localtime", "Factory"})
