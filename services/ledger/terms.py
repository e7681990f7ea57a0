"""The terms of an activity as values: what a coupon gives, when, where and how often."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.ledger.benefits import Benefit, Plain, benefit_of, minor

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
STACKING_MODES = ("NONE", "OTHER_ACTIVITIES", "ANY")
DEFAULT_ZONE = "Asia/Shanghai"
MOST_CODES = 10


@dataclass(frozen=True)
class Period:
    """Whole days, both inclusive."""

    start: date
    end: date


@dataclass(frozen=True)
class Window:
    """Hours of the week. `weekdays` holds 0 (Monday) to 6; `start` and `end` are minutes of the day, 0-1440, end
    exclusive. An end at or before the start lies on the next day and belongs to the weekday it started on."""

    weekdays: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True)
class Stacking:
    """With which other coupons a coupon shares an order; `max_codes` counts all the codes on that order."""

    mode: str
    max_codes: int


@dataclass(frozen=True)
class Reward:
    """What a direct sharer earns for one redemption; money in minor units, `cap_per_sharer` counts rewards."""

    amount: int
    cap_per_sharer: int
    hold_days: int
    budget: int | None


@dataclass(frozen=True)
class Terms:
    """An activity's terms. Money is minor units of `currency`; None means no such limit, and for the two periods that
    they are not stated yet. `validity` is a number of days after the claim or a Period."""

    benefit: Benefit
    currency: str
    zone: str
    claim_period: Period | None
    validity: int | Period | None
    windows: tuple[Window, ...]
    blackout_dates: frozenset[str]
    stock: int
    day_stock: int | None
    per_customer: int
    budget: int | None
    stores: frozenset[str]
    items: frozenset[str]
    stacking: Stacking
    reversal_window_seconds: int
    reward: Reward | None

    @staticmethod
    def of(content: Plain) -> Terms:
        """Terms from the plain form of the contract's Terms message; other keys are ignored.

        Raises ValueError or KeyError for content that `checks.check` would have objected to.
        """
        scope = content.get("scope") or {}
        return Terms(
            benefit=benefit_of(content.get("benefit") or {}),
            currency=next((money["currency"] for _, money in moneys(content)), ""),
            zone=content.get("zone") or DEFAULT_ZONE,
            claim_period=_period(content.get("claim_period")),
            validity=_validity(content.get("validity") or {}),
            windows=tuple(_window(window) for window in content.get("windows", ())),
            blackout_dates=frozenset(day_of(day).isoformat() for day in content.get("blackout_dates", ())),
            stock=content.get("stock", 0),
            day_stock=content.get("day_stock") or None,
            per_customer=content.get("per_customer", 1),
            budget=minor(content.get("budget")),
            stores=frozenset(scope.get("stores", ())),
            items=frozenset(scope.get("items", ())),
            stacking=_stacking(content.get("stacking") or {}),
            reversal_window_seconds=content.get("reversal_window", 0),
            reward=_reward(content.get("reward")),
        )

    def covers(self, item: str) -> bool:
        """Whether the benefit is reckoned on this item; no items in the scope means every item."""
        return not self.items or item in self.items


def moneys(content: Plain) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every plain Money of the terms with its field path, such as `benefit.amount_off.tiers[0].off`."""
    for key in ("benefit", "budget", "reward"):
        yield from _moneys(key, content.get(key))


def _moneys(path: str, plain: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(plain, dict) and "minor" in plain:
        yield path, plain
    elif isinstance(plain, dict):
        for key, part in plain.items():
            yield from _moneys(f"{path}.{key}", part)
    elif isinstance(plain, list | tuple):
        for position, part in enumerate(plain):
            yield from _moneys(f"{path}[{position}]", part)


def day_of(text: str) -> date:
    """The date that `YYYY-MM-DD` writes; ValueError for anything else, other ISO forms too."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError(f"{text!r} is not YYYY-MM-DD")
    return date.fromisoformat(text)


def minute_of(text: str) -> int:
    """The minute of the day, 0-1440, that `HH:MM` from 00:00 to 24:00 writes; ValueError for anything else."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d|24:00", text, re.ASCII):
        raise ValueError(f"{text!r} is not HH:MM")
    return int(text[:2]) * 60 + int(text[3:])


def _period(plain: Plain | None) -> Period | None:
    return None if plain is None else Period(day_of(plain["start_date"]), day_of(plain["end_date"]))


def _validity(plain: Plain) -> int | Period | None:
    days: int | None = plain.get("days_after_claim")
    return _period(plain.get("period")) if days is None else days


def _window(plain: Plain) -> Window:
    days = plain.get("weekdays") or WEEKDAYS
    start, end = minute_of(plain.get("start_time", "00:00")), minute_of(plain.get("end_time", "24:00"))
    return Window(frozenset(WEEKDAYS.index(day) for day in days), start, end)


def _stacking(plain: Plain) -> Stacking:
    return Stacking(plain.get("mode") or "NONE", plain.get("max_codes") or MOST_CODES)


def _reward(plain: Plain | None) -> Reward | None:
    if plain is None:
        return None
    cap_per_sharer, hold_days = plain.get("cap_per_sharer", 0), plain.get("hold_days", 0)
    return Reward(plain["amount"]["minor"], cap_per_sharer, hold_days, minor(plain.get("budget")))
