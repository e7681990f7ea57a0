"""What keeps terms from being offered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from services.ledger.checks import check
from services.ledger.terms import Period, Reward, Stacking, Terms, Window
from tests.ledger.offers import BENEFITS, content, yuan

DOLLARS = {"currency": "USD", "minor": 1000}
PERCENT = {"percent_off": {"percent": 10}}
REWARD = {"amount": yuan(2), "cap_per_sharer": 10, "hold_days": 7, "budget": yuan(100)}


def tiers(*pairs: tuple[float, float]) -> dict[str, Any]:
    return {"amount_off": {"tiers": [{"threshold": yuan(a), "off": yuan(b)} for a, b in pairs]}}


def period(start: str, end: str) -> dict[str, str]:
    return {"start_date": start, "end_date": end}


def fields(**changes: Any) -> list[str]:
    return [field for field, _ in check(content(**changes))]


def test_sound_terms_have_nothing_to_object_to() -> None:
    assert check(content(budget=yuan(2000), reward=REWARD, day_stock=10)) == []


@given(BENEFITS)
def test_whatever_is_not_objected_to_can_be_read(benefit: dict[str, Any]) -> None:
    assert check(content(benefit)) == []
    Terms.of(content(benefit))


def test_empty_terms_are_told_all_that_they_lack() -> None:
    assert [field for field, _ in check({})] == ["benefit", "claim_period", "validity", "stock"]


@pytest.mark.parametrize(
    ("benefit", "field"),
    [
        ({"mystery": {}}, "benefit"),
        ({"mystery": {}} | PERCENT, "benefit"),
        (tiers((100, 10)) | PERCENT, "benefit"),
        ({"amount_off": {"tiers": []}}, "benefit.amount_off.tiers"),
        ({"amount_off": {"tiers": [{"off": yuan(1)}]}}, "benefit.amount_off.tiers[0].threshold"),
        (tiers((10, 11)), "benefit.amount_off.tiers[0].off"),
        (tiers((100, 10), (100, 20)), "benefit.amount_off.tiers[1].threshold"),
        (tiers((100, 10), (200, 10)), "benefit.amount_off.tiers[1].off"),
        (tiers((100, 0)), "benefit.amount_off.tiers[0].off"),
        (tiers((100, -5)), "benefit.amount_off.tiers[0].off"),
        (tiers((10**10, 5)), "benefit.amount_off.tiers[0].threshold"),
        ({"percent_off": {"percent": 0}}, "benefit.percent_off.percent"),
        ({"percent_off": {"percent": 100}}, "benefit.percent_off.percent"),
        ({"percent_off": {"percent": 5, "cap": yuan(0)}}, "benefit.percent_off.cap"),
        ({"fixed_price": {}}, "benefit.fixed_price.price"),
        ({"fixed_price": {"price": yuan(5), "quantity": -1}}, "benefit.fixed_price.quantity"),
        ({"gift": {"item": "", "value": yuan(5)}}, "benefit.gift.item"),
        ({"buy_get": {"buy": 0, "get": 1}}, "benefit.buy_get.buy"),
        ({"buy_get": {"buy": 1, "get": 1, "max_sets": 10_001}}, "benefit.buy_get.max_sets"),
        ({"new_customer": {}}, "benefit.new_customer.off"),
        ({"trial_price": {"price": yuan(1)}}, "benefit.trial_price.item"),
    ],
)
def test_a_benefit_that_makes_no_sense_is_told_at_its_field(benefit: dict[str, Any], field: str) -> None:
    assert fields(benefit=benefit) == [field]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"budget": DOLLARS}, ["benefit"]),
        ({"reward": REWARD | {"amount": DOLLARS}}, ["benefit"]),
        ({"reward": {"cap_per_sharer": 1}}, ["reward.amount"]),
        ({"reward": REWARD | {"budget": yuan(1)}}, ["reward.budget"]),
        ({"benefit": PERCENT, "budget": yuan(100)}, ["benefit.percent_off.cap"]),
        ({"benefit": {"buy_get": {"buy": 1, "get": 1}}, "budget": yuan(100)}, ["benefit.buy_get.cap"]),
        ({"budget": yuan(19.99)}, ["budget"]),
        ({"zone": "Asia/Atlantis"}, ["zone"]),
        ({"zone": "localtime"}, ["zone"]),
        ({"claim_period": period("2026-03-02", "2026-03-01")}, ["claim_period.end_date"]),
        ({"claim_period": period("2026-02-29", "2026-03-01")}, ["claim_period.start_date"]),
        ({"claim_period": period("20260301", "2026-03-31")}, ["claim_period.start_date"]),
        ({"claim_period": period("1999-12-31", "2026-03-01")}, ["claim_period.start_date"]),
        ({"validity": {}}, ["validity"]),
        ({"validity": {"days_after_claim": 1, "period": period("2026-03-01", "2026-03-31")}}, ["validity"]),
        ({"validity": {"days_after_claim": -1}}, ["validity.days_after_claim"]),
        ({"validity": {"days_after_claim": 367}}, ["validity.days_after_claim"]),
        ({"validity": {"period": period("2026-03-01", "2026-03-30")}}, ["validity.period.end_date"]),
        ({"validity": {"period": period("2026-05-02", "2026-05-01")}}, ["validity.period.end_date"]),
        ({"blackout_dates": ["2026-03-01", "2026-13-01"]}, ["blackout_dates[1]"]),
        ({"windows": [{"start_time": "24:00", "end_time": "02:00"}]}, ["windows[0].start_time"]),
        ({"windows": [{"start_time": "9:00", "end_time": "24:30"}]}, ["windows[0].start_time", "windows[0].end_time"]),
        ({"windows": [{"weekdays": ["SOMEDAY"]}]}, ["windows[0].weekdays"]),
        ({"stock": 0}, ["stock"]),
        ({"day_stock": 101}, ["day_stock"]),
        ({"per_customer": 0}, ["per_customer"]),
        ({"reversal_window": -1}, ["reversal_window"]),
        ({"stacking": {"mode": "SOMETIMES"}}, ["stacking.mode"]),
        ({"stacking": {"mode": None, "max_codes": -1}}, ["stacking.max_codes"]),
    ],
)
def test_terms_that_make_no_sense_are_told_at_their_field(changes: dict[str, Any], found: list[str]) -> None:
    assert fields(**changes) == found


def test_a_trial_item_outside_the_scope_is_told() -> None:
    trial = {"trial_price": {"price": yuan(1), "item": "tea"}}
    assert fields(benefit=trial, scope={"items": ["cake"]}) == ["benefit.trial_price.item"]
    assert fields(benefit=trial, scope={"items": ["cake", "tea"]}) == []


def test_terms_are_read_with_the_contracts_defaults() -> None:
    read = Terms.of({"benefit": {"fixed_price": {"price": yuan(5), "quantity": 0}}, "stacking": {"mode": None}})
    assert (read.currency, read.zone, read.day_stock, read.budget) == ("CNY", "Asia/Shanghai", None, None)
    assert read.stacking == Stacking("NONE", 10)
    assert getattr(read.benefit, "quantity", None) == 1


def test_terms_are_read_whole() -> None:
    window = {"weekdays": ["MONDAY", "SUNDAY"], "start_time": "21:30", "end_time": "24:00"}
    read = Terms.of(content(windows=[window], reward=REWARD, validity={"period": period("2026-04-01", "2026-04-30")}))
    assert read.windows == (Window(frozenset({0, 6}), 1290, 1440),)
    assert read.reward == Reward(200, 10, 7, 10_000)
    assert isinstance(read.validity, Period)
    assert read.validity.end.isoformat() == "2026-04-30"
    assert (read.reversal_window_seconds, read.stores) == (3600, frozenset({"stores/abc"}))


def test_a_benefit_has_exactly_one_kind() -> None:
    for benefit in ({}, PERCENT | tiers((100, 10))):
        with pytest.raises(ValueError, match="exactly one"):
            Terms.of({"benefit": benefit})
