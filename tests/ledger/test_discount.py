"""Examples of what coupons take off an order."""

from __future__ import annotations

import time

import pytest

from services.ledger.basket import Line
from services.ledger.discount import GiftLine, Outcome, price, worst_case
from services.ledger.refusal import Refusal
from services.ledger.terms import Terms
from tests.ledger.offers import content, terms, yuan

TIERS = [{"threshold": yuan(100), "off": yuan(20)}, {"threshold": yuan(200), "off": yuan(50)}]


def noodles(quantity: int = 1, cents: int = 3000) -> Line:
    return Line("noodles", quantity, cents)


def outcomes(basket: list[Line], *coupons: Terms) -> tuple[Outcome, ...]:
    return price(basket, coupons, [f"activity {i}" for i in range(len(coupons))]).outcomes


def only(basket: list[Line], coupon: Terms) -> Outcome:
    return outcomes(basket, coupon)[0]


def refused(reason: str, **metadata: str) -> Outcome:
    return Outcome(refusal=Refusal(reason, metadata))


def test_the_highest_tier_that_the_order_reaches_counts() -> None:
    coupon = terms("amount_off", tiers=TIERS)
    assert only([noodles(4)], coupon).amount == 2000
    assert only([noodles(1, 19999)], coupon).amount == 2000
    assert only([noodles(1, 20000)], coupon).amount == 5000


def test_an_order_below_the_lowest_tier_is_told_what_is_missing() -> None:
    expected = refused("BELOW_THRESHOLD", missing="¥0.01", missing_minor="1", currency="CNY")
    assert only([noodles(1, 9999)], terms("amount_off", tiers=TIERS)) == expected


def test_only_items_of_the_scope_count_towards_a_threshold() -> None:
    coupon = terms("amount_off", items=("tea",), tiers=TIERS)
    assert only([noodles(9)], coupon) == refused("NO_ELIGIBLE_ITEM")
    outcome = only([noodles(9), Line("tea", 1, 9900)], coupon)
    assert outcome.refusal is not None
    assert outcome.refusal.metadata["missing_minor"] == "100"


@pytest.mark.parametrize(("cents", "off"), [(150, 15), (154, 15), (155, 16), (5, 1)])
def test_a_percentage_is_rounded_half_up(cents: int, off: int) -> None:
    assert only([noodles(1, cents)], terms("percent_off", percent=10)).amount == off


def test_a_percentage_stops_at_its_cap() -> None:
    assert only([noodles(100)], terms("percent_off", percent=50, cap=yuan(30))).amount == 3000


def test_a_percentage_that_rounds_to_nothing_does_not_use_the_coupon_up() -> None:
    assert only([noodles(1, 4)], terms("percent_off", percent=10)) == refused("NO_ELIGIBLE_ITEM")


def test_a_fixed_price_takes_the_dearest_units_and_raises_none() -> None:
    basket = [Line("tea", 2, 800), Line("cake", 1, 2000), Line("soup", 5, 500)]
    assert only(basket, terms("fixed_price", price=yuan(6), quantity=9)).amount == 1400 + 2 * 200
    assert only(basket, terms("fixed_price", price=yuan(6))).amount == 1400
    assert only(basket, terms("fixed_price", price=yuan(20))) == refused("NO_ELIGIBLE_ITEM")


def test_a_fixed_price_stops_at_its_cap() -> None:
    assert only([noodles(9)], terms("fixed_price", price=yuan(10), quantity=9, cap=yuan(50))).amount == 5000


def test_a_gift_in_the_basket_becomes_free_up_to_its_value() -> None:
    basket = [noodles(4), Line("cake", 2, 2500)]
    coupon = terms("gift", item="cake", value=yuan(18), threshold=yuan(100))
    assert only(basket, coupon) == Outcome(1800, (GiftLine("cake", in_basket=True),))


def test_a_gift_that_is_not_in_the_basket_is_handed_over_and_nothing_comes_off() -> None:
    coupon = terms("gift", items=("noodles",), item="cake", value=yuan(18))
    assert only([noodles()], coupon) == Outcome(0, (GiftLine("cake", in_basket=False),))
    assert only([Line("cake", 1, 900)], coupon) == refused("NO_ELIGIBLE_ITEM")


def test_a_gift_does_not_count_towards_its_own_threshold() -> None:
    coupon = terms("gift", item="cake", value=yuan(18), threshold=yuan(100))
    outcome = only([noodles(3), Line("cake", 1, 1800)], coupon)
    assert outcome.refusal is not None
    assert outcome.refusal.metadata["missing"] == "¥10.00"


def test_the_cheapest_of_each_group_is_free() -> None:
    basket = [Line("cake", 1, 2000), Line("tea", 2, 1000), Line("soup", 3, 500)]
    assert only(basket, terms("buy_get", buy=2, get=1)).amount == 1000
    assert only(basket, terms("buy_get", buy=2, get=1, max_sets=9)).amount == 1000 + 500
    assert only(basket, terms("buy_get", buy=2, get=1, max_sets=9, cap=yuan(12))).amount == 1200


def test_a_group_that_is_not_full_is_told_how_many_units_are_missing() -> None:
    expected = refused("UNITS_MISSING", missing="2")
    assert only([noodles(2)], terms("buy_get", buy=3, get=1)) == expected
    assert only([noodles(2)], terms("buy_get", items=("tea",), buy=3, get=1)) == refused("NO_ELIGIBLE_ITEM")


def test_a_new_customer_offer_never_takes_more_than_the_order() -> None:
    quote = price([noodles(1, 500)], [terms("new_customer", off=yuan(20))], ["A"])
    assert (quote.subtotal, quote.off, quote.total) == (500, 500, 0)


def test_a_trial_price_is_for_one_unit_of_its_item() -> None:
    coupon = terms("trial_price", item="cake", price=yuan(1), cap=yuan(15))
    assert only([Line("cake", 3, 1200), noodles()], coupon).amount == 1100
    assert only([Line("cake", 1, 9900)], coupon).amount == 1500
    assert only([noodles()], coupon) == refused("NO_ELIGIBLE_ITEM")


def test_an_empty_basket_has_no_eligible_item() -> None:
    gift, group = terms("gift", item="tea", value=yuan(1)), terms("buy_get", buy=1, get=1)
    for coupon in (terms("percent_off", percent=10), gift, group):
        assert only([], coupon) == refused("NO_ELIGIBLE_ITEM")


def test_units_are_priced_first_then_amounts_come_off_then_percentages() -> None:
    percent = terms("percent_off", percent=10)
    amount = terms("new_customer", off=yuan(10))
    trial = terms("trial_price", item="noodles", price=yuan(20))
    assert [outcome.amount for outcome in outcomes([noodles(3)], percent, amount, trial)] == [700, 1000, 1000]


def test_a_threshold_is_judged_on_what_the_coupons_before_left() -> None:
    coupon = terms("amount_off", tiers=TIERS[:1])
    first, second = outcomes([noodles(1, 11000)], coupon, coupon)
    assert first.amount == 2000
    assert second.refusal is not None
    assert second.refusal.metadata["missing"] == "¥10.00"


def test_a_unit_that_one_coupon_priced_is_not_priced_again() -> None:
    trial = terms("trial_price", item="cake", price=yuan(1))
    assert [outcome.amount for outcome in outcomes([Line("cake", 2, 1000)], trial, trial)] == [900, 900]
    assert outcomes([Line("cake", 1, 1000)], trial, trial)[1] == refused("NO_ELIGIBLE_ITEM")
    group = terms("buy_get", buy=1, get=1)
    assert outcomes([Line("cake", 2, 1000)], group, trial)[1] == refused("NO_ELIGIBLE_ITEM")


def test_a_group_of_free_samples_does_not_use_its_units_up() -> None:
    samples = terms("buy_get", items=("tea", "cake"), buy=1, get=1)
    trial = terms("trial_price", item="cake", price=yuan(1))
    first, second = outcomes([Line("tea", 1, 0), Line("cake", 1, 1000)], samples, trial)
    assert (first, second.amount) == (refused("NO_ELIGIBLE_ITEM"), 900)


def test_an_amount_off_is_spread_in_proportion_so_that_a_narrower_coupon_finds_its_share() -> None:
    wide = terms("new_customer", off=yuan(10))
    narrow = terms("percent_off", items=("tea",), percent=50)
    first, second = outcomes([noodles(1, 3000), Line("tea", 1, 1000)], wide, narrow)
    assert (first.amount, second.amount) == (1000, 375)


def test_a_coupon_that_stands_alone_keeps_the_others_out() -> None:
    alone, sociable = terms("percent_off", percent=10, mode="NONE"), terms("percent_off", percent=20)
    assert outcomes([noodles()], alone, sociable) == (Outcome(300), refused("NOT_STACKABLE"))
    assert outcomes([noodles()], sociable, alone) == (Outcome(600), refused("NOT_STACKABLE"))


def test_coupons_of_other_activities_stack_but_not_two_of_one() -> None:
    coupon = terms("new_customer", off=yuan(1), mode="OTHER_ACTIVITIES")
    quote = price([noodles()], [coupon] * 3, ["A", "A", "B"])
    assert quote.outcomes == (Outcome(100), refused("NOT_STACKABLE"), Outcome(100))


def test_no_more_codes_than_a_coupon_allows_share_its_order() -> None:
    coupon = Terms.of(content({"new_customer": {"off": yuan(1)}}, stacking={"mode": "ANY", "max_codes": 2}))
    quote = price([noodles()], [coupon] * 3, ["A"] * 3)
    assert quote.outcomes == (Outcome(100), Outcome(100), refused("NOT_STACKABLE"))


def test_each_coupon_needs_its_activity() -> None:
    with pytest.raises(ValueError, match="activity"):
        price([noodles()], [terms("percent_off", percent=10)], [])


@pytest.mark.parametrize(("quantity", "unit_price"), [(0, 100), (-1, 100), (1, -1)])
def test_a_line_without_units_or_with_a_negative_price_is_refused(quantity: int, unit_price: int) -> None:
    with pytest.raises(ValueError, match="line"):
        Line("tea", quantity, unit_price)


@pytest.mark.parametrize(
    ("coupon", "most"),
    [
        (terms("amount_off", tiers=TIERS), 5000),
        (terms("percent_off", percent=10), None),
        (terms("percent_off", percent=10, cap=yuan(8)), 800),
        (terms("fixed_price", price=yuan(1)), None),
        (terms("fixed_price", price=yuan(1), cap=yuan(8)), 800),
        (terms("gift", item="tea", value=yuan(8)), 800),
        (terms("buy_get", buy=1, get=1), None),
        (terms("buy_get", buy=1, get=1, cap=yuan(8)), 800),
        (terms("new_customer", off=yuan(8)), 800),
        (terms("trial_price", item="tea", price=yuan(1)), None),
        (terms("trial_price", item="tea", price=yuan(1), cap=yuan(8)), 800),
    ],
)
def test_the_worst_case_of_a_coupon_is_known_when_something_bounds_it(coupon: Terms, most: int | None) -> None:
    assert worst_case(coupon) == most


def test_huge_orders_stay_exact_and_cost_no_more_than_small_ones() -> None:
    basket = [Line(f"item {i}", 10_000, 10**11 - i) for i in range(200)]
    coupons = [terms("buy_get", buy=1, get=1, max_sets=100)] * 9 + [terms("percent_off", percent=33)]
    began = time.perf_counter()
    quote = price(basket, coupons, ["A"] * 10)
    assert time.perf_counter() - began < 1
    free = 9 * 100 * 10**11
    left = sum(line.quantity * line.unit_price for line in basket) - free
    assert quote.off == free + (left * 33 + 50) // 100
