from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from services.chassis import database, errors
from services.chassis.database import Database
from services.ledger import supply
from services.schema.tables import Activity
from tests.ledger.offers import yuan
from tests.redeem import showcase
from tests.share.shop import NOW, Shop, call, claim, share

LI = call("CUSTOMER", "li")
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


@pytest.fixture
def offer(db: Database) -> Ask:
    """An offer of an activity as a caller finds it, that many days from now."""
    return lambda by, activity, days=0: showcase.offer(db, by, activity, NOW + timedelta(days=days))


@pytest.fixture
def listed(db: Database) -> Ask:
    """A page of offers; takes what showcase.listed() takes."""
    return partial(showcase.listed, db)


def test_an_offer_tells_what_is_left_and_that_the_customer_may_claim(shop: Shop, offer: Ask) -> None:
    activity = shop.publish(stock=10, day_stock=3, per_customer=2)
    claim(call("CUSTOMER", "li"), activity=activity)
    found = offer(LI, activity)
    assert (found["remaining"], found["remaining_today"], found["claimed_by_me"]) == (9, 2, 1)
    assert (found["can_claim"], found["reason"]) == (True, None)
    assert found["snapshot"]["title"] == "满100减20"


def test_todays_stock_is_that_of_the_day_in_the_activitys_zone(shop: Shop, listed: Ask) -> None:
    shanghai = shop.publish(stock=10, day_stock=3)
    los_angeles = shop.publish(stock=10, day_stock=3, zone="America/Los_Angeles")
    for activity in (shanghai, los_angeles):
        claim(call("CUSTOMER", "li"), activity=activity, now=NOW + timedelta(hours=11))
    # An hour after midnight in Shanghai, still the 10th in London and Los Angeles.
    found = listed(LI, now=NOW + timedelta(hours=13))
    left = {row["activity"]: (row["remaining"], row["remaining_today"]) for row in found["offers"]}
    assert left == {shanghai: (9, 3), los_angeles: (9, 2)}


def test_without_a_day_stock_as_much_is_left_today_as_altogether(shop: Shop, offer: Ask) -> None:
    found = offer(LI, shop.publish(stock=10))
    assert (found["remaining"], found["remaining_today"]) == (10, 10)


def test_an_offer_says_to_each_role_why_it_cannot_claim(shop: Shop, offer: Ask) -> None:
    activity = shop.publish()
    told = {role: offer(call(role, "x"), activity) for role in ("ANONYMOUS", "STAFF", "MERCHANT", "OPERATOR")}
    assert {role: found["reason"] for role, found in told.items()} == {
        "ANONYMOUS": "TOKEN_MISSING",
        "STAFF": "ROLE_NOT_ALLOWED",
        "MERCHANT": "ROLE_NOT_ALLOWED",
        "OPERATOR": "ROLE_NOT_ALLOWED",
    }
    assert not any(found["can_claim"] for found in told.values())


@pytest.mark.parametrize(
    "terms, days, reason",
    [
        ({"per_customer": 1}, 0, "CUSTOMER_LIMIT_REACHED"),
        ({"stock": 1, "per_customer": 2}, 0, "STOCK_EXHAUSTED"),
        ({"day_stock": 1, "per_customer": 2}, 0, "DAY_STOCK_EXHAUSTED"),
        ({"budget": yuan(39), "per_customer": 2}, 0, "BUDGET_EXHAUSTED"),
        ({}, 30, "ACTIVITY_ENDED"),
        ({}, -15, "ACTIVITY_NOT_STARTED"),
    ],
)
def test_the_offer_and_the_claim_never_disagree(
    shop: Shop, terms: dict[str, Any], days: int, reason: str, offer: Ask
) -> None:
    activity = shop.publish(**terms)
    claim(call("CUSTOMER", "li"), activity=activity)
    assert offer(LI, activity, days)["reason"] == reason
    with pytest.raises(errors.FailedPrecondition, match=reason):
        claim(call("CUSTOMER", "li"), activity=activity, now=NOW + timedelta(days=days))


def test_an_offer_for_new_customers_is_none_for_who_has_redeemed_here(shop: Shop, offer: Ask) -> None:
    welcome = shop.publish(benefit={"new_customer": {"off": yuan(10)}})
    assert offer(LI, welcome)["can_claim"]
    shop.redeem(claim(call("CUSTOMER", "li"), activity=shop.publish())["code"])
    assert offer(LI, welcome)["reason"] == "NEW_CUSTOMERS_ONLY"
    assert offer(call("CUSTOMER", "wang"), welcome)["can_claim"]


def test_custom_at_one_merchant_is_unknown_to_another(shop: Shop, offer: Ask) -> None:
    other = Shop.open("other")
    welcome = other.publish(benefit={"new_customer": {"off": yuan(10)}})
    shop.redeem(claim(call("CUSTOMER", "li"), activity=shop.publish())["code"])
    assert offer(LI, welcome)["can_claim"]


def test_stopping_the_issue_shows_in_the_offer(shop: Shop, offer: Ask) -> None:
    activity = shop.publish()
    with database.write():
        supply.adjust(Activity.get().id, is_stopped=True)
    assert offer(LI, activity)["reason"] == "ISSUING_STOPPED"


def test_only_a_live_publication_is_an_offer(shop: Shop, offer: Ask, listed: Ask) -> None:
    activity = shop.publish()
    shop.move(activity, "SUSPENDED")
    for name in (activity, f"activities/{shop.draft().uid}", "activities/nothing"):
        with pytest.raises(errors.NotFound):
            offer(call("MERCHANT", shop.owner), name)
    assert listed(LI)["offers"] == []


def test_offers_are_listed_of_all_merchants_or_of_one(shop: Shop, listed: Ask) -> None:
    other = Shop.open("other", "北京", "美发")
    here, there = shop.publish(), other.publish()

    def found(**filters: Any) -> list[str]:
        return [row["activity"] for row in listed(LI, **filters)["offers"]]

    assert found() == [there, here]
    assert found(merchant=f"merchants/{shop.merchant.uid}") == found(store=shop.store_name) == [here]
    assert found(city="北京") == found(category="美发") == [there]
    assert found(merchant=f"merchants/{shop.merchant.uid}", city="北京") == found(merchant="merchants/none") == []


def test_a_page_of_offers_counts_each_customers_own_claims(shop: Shop, listed: Ask) -> None:
    first, second, third = (shop.publish(per_customer=5) for _ in range(3))
    for activity in (first, first, third):
        claim(call("CUSTOMER", "li"), activity=activity)
    claim(call("CUSTOMER", "wang"), activity=second)
    claimed = {row["activity"]: row["claimed_by_me"] for row in listed(LI)["offers"]}
    assert claimed == {first: 2, second: 0, third: 1}
    assert all(row["claimed_by_me"] == 0 for row in listed(call("ANONYMOUS"))["offers"])


def test_pages_of_offers_follow_each_other_and_are_bound_to_the_asker(shop: Shop, listed: Ask) -> None:
    activities = [shop.publish() for _ in range(3)]
    first = listed(LI, size=2)
    rest = listed(LI, size=2, token=first["next_page_token"])
    assert [row["activity"] for row in first["offers"] + rest["offers"]] == activities[::-1]
    assert rest["next_page_token"] == ""
    with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
        listed(call("CUSTOMER", "wang"), size=2, token=first["next_page_token"])
    with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
        listed(LI, size=2, token=first["next_page_token"], city="上海")


def test_a_share_takes_nothing_of_what_is_left(shop: Shop, offer: Ask) -> None:
    activity = shop.publish(stock=10)
    share(call("CUSTOMER", "wang"), activity)
    assert offer(LI, activity)["remaining"] == 10
