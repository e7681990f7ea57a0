"""What holds for every order and every set of coupons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.ledger.basket import Basket, Line
from services.ledger.benefits import AmountOff, BuyGet, FixedPrice, Tier, TrialPrice
from services.ledger.discount import Quote, price, worst_case
from services.ledger.terms import Terms
from tests.ledger.offers import BASKETS, BENEFITS, COUPONS, LINES, content, offers

Coupons = list[tuple[Terms, str]]


def quote_of(basket: Basket, coupons: Coupons) -> Quote:
    return price(basket, [terms for terms, _ in coupons], [activity for _, activity in coupons])


@given(BASKETS, COUPONS)
def test_nothing_goes_below_zero_and_no_more_than_the_basket_comes_off(basket: list[Line], coupons: Coupons) -> None:
    quote = quote_of(basket, coupons)
    assert quote.subtotal == sum(line.quantity * line.unit_price for line in basket)
    assert all(outcome.amount >= 0 for outcome in quote.outcomes)
    assert quote.off <= quote.subtotal
    assert quote.total >= 0


@given(BASKETS, COUPONS)
def test_each_coupon_has_one_outcome_and_a_refused_one_does_nothing(basket: list[Line], coupons: Coupons) -> None:
    quote = quote_of(basket, coupons)
    assert len(quote.outcomes) == len(coupons)
    for outcome in quote.outcomes:
        assert outcome.refusal is None or (outcome.amount == 0 and not outcome.gifts)
        assert outcome.refusal is not None or outcome.amount > 0 or outcome.gifts


@given(BASKETS, COUPONS)
def test_no_coupon_takes_more_than_its_worst_case(basket: list[Line], coupons: Coupons) -> None:
    for (terms, _), outcome in zip(coupons, quote_of(basket, coupons).outcomes, strict=True):
        most = worst_case(terms)
        assert most is None or outcome.amount <= most


@given(BASKETS, COUPONS)
def test_a_refused_coupon_leaves_the_others_as_they_would_be_without_it(basket: list[Line], coupons: Coupons) -> None:
    quote = quote_of(basket, coupons)
    refused = {i for i, outcome in enumerate(quote.outcomes) if outcome.refusal}
    # A coupon refused for its basket may have kept others out by the stacking rules, which are judged first.
    if any(o.refusal and o.refusal.reason == "NOT_STACKABLE" for o in quote.outcomes):
        return
    alone = quote_of(basket, [coupon for i, coupon in enumerate(coupons) if i not in refused])
    assert alone.outcomes == tuple(o for o in quote.outcomes if not o.refusal)


@given(st.data(), BASKETS, COUPONS)
def test_the_order_of_lines_does_not_matter(data: st.DataObject, basket: list[Line], coupons: Coupons) -> None:
    assert quote_of(data.draw(st.permutations(basket)), coupons) == quote_of(basket, coupons)


@given(BASKETS, COUPONS)
def test_pricing_twice_gives_the_same(basket: list[Line], coupons: Coupons) -> None:
    assert quote_of(basket, coupons) == quote_of(list(basket), list(coupons))


@given(st.data(), BASKETS.filter(lambda basket: any(line.quantity > 1 for line in basket)), COUPONS)
def test_splitting_a_line_changes_nothing(data: st.DataObject, basket: list[Line], coupons: Coupons) -> None:
    line = data.draw(st.sampled_from([line for line in basket if line.quantity > 1]))
    part = data.draw(st.integers(1, line.quantity - 1))
    rest = list(basket)
    rest.remove(line)
    split = [*rest, replace(line, quantity=part), replace(line, quantity=line.quantity - part)]
    assert quote_of(split, coupons) == quote_of(basket, coupons)


@given(BASKETS, LINES, offers())
def test_buying_more_never_loses_a_discount_nor_pays_below_zero(basket: list[Line], more: Line, terms: Terms) -> None:
    before, after = price(basket, [terms], ["A"]), price([*basket, more], [terms], ["A"])
    assert after.off >= before.off
    assert after.total >= 0
    assert before.outcomes[0].refusal is not None or after.outcomes[0].refusal is None


@given(BASKETS, offers(), st.integers(1, 10_000))
def test_a_higher_threshold_never_takes_more_off(basket: list[Line], terms: Terms, higher: int) -> None:
    match terms.benefit:
        case AmountOff(tiers):
            raised = replace(terms, benefit=AmountOff(tuple(Tier(t.threshold + higher, t.off) for t in tiers)))
        case BuyGet() | FixedPrice() | TrialPrice():
            return
        case benefit:
            raised = replace(terms, benefit=replace(benefit, threshold=benefit.threshold + higher))
    assert price(basket, [raised], ["A"]).off <= price(basket, [terms], ["A"]).off


def unit_by_unit(basket: list[Line], benefit: BuyGet) -> int:
    """The plainest reading of buy-get, to hold the closed form against."""
    units = sorted((line.unit_price for line in basket for _ in range(line.quantity)), reverse=True)
    size = benefit.buy + benefit.get
    groups = [units[i : i + size] for i in range(0, len(units) - size + 1, size)][: benefit.max_sets]
    return sum(sum(group[benefit.buy :]) for group in groups)


SMALL = st.lists(st.builds(Line, st.sampled_from("ab"), st.integers(1, 9), st.integers(0, 50)), max_size=5)


@given(SMALL, st.integers(1, 4), st.integers(1, 3), st.integers(1, 6))
def test_buy_get_agrees_with_counting_unit_by_unit(basket: list[Line], buy: int, get: int, sets: int) -> None:
    terms = Terms.of(content({"buy_get": {"buy": buy, "get": get, "max_sets": sets}}))
    assert price(basket, [terms], ["A"]).off == unit_by_unit(basket, BuyGet(buy, get, sets, None))


@given(SMALL, st.integers(1, 40), st.integers(1, 12), st.integers(1, 200))
def test_a_fixed_price_agrees_with_counting_unit_by_unit(basket: list[Line], cents: int, units: int, cap: int) -> None:
    money = {"currency": "CNY", "minor": cents}
    benefit: dict[str, Any] = {"price": money, "quantity": units, "cap": {"currency": "CNY", "minor": cap}}
    gains = sorted((line.unit_price - cents for line in basket for _ in range(line.quantity)), reverse=True)
    expected = min(cap, sum(gain for gain in gains[:units] if gain > 0))
    assert price(basket, [Terms.of(content({"fixed_price": benefit}))], ["A"]).off == expected


@given(BENEFITS)
def test_every_kind_of_benefit_is_read_from_its_plain_form(benefit: dict[str, Any]) -> None:
    assert type(Terms.of(content(benefit)).benefit).__name__.lower() == next(iter(benefit)).replace("_", "")
