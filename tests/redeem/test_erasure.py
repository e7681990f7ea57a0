"""Erasure: nobody knows any more whose the coupons are, and nobody gets more for it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from services.chassis import database, errors
from services.chassis.database import Database
from services.ledger import claims, customers
from services.redeem import offers, wallet
from services.schema.tables import Activity, Coupon, Customer, CustomerCounter
from tests.ledger import books as ledger
from tests.ledger.offers import yuan
from tests.share.shop import COUPON_CODES, NOW, TAGS, Shop, call, claim, erase, page

LI = call("CUSTOMER", "li")
WELCOME = {"new_customer": {"off": yuan(10)}}


@pytest.fixture
def shop(db: Database) -> Iterator[Shop]:
    yield db.run_here(Shop.open)
    assert ledger.wrongs() == []


def offer(activity: str) -> dict[str, Any]:
    return offers.get_offer(LI, {"activity": activity}, NOW, TAGS)


def refused(activity: str, reason: str) -> None:
    """The offer and the claim say so, before the customer has come back and after."""
    assert offer(activity)["reason"] == reason
    with pytest.raises(errors.FailedPrecondition, match=reason):
        claim(call("CUSTOMER", "li"), activity=activity)
    assert offer(activity)["reason"] == reason


def test_the_limit_outlives_an_erasure_and_the_coupon_too(shop: Shop) -> None:
    activity = shop.publish()
    coupon = claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")
    assert offer(activity)["claimed_by_me"] == 1
    refused(activity, "CUSTOMER_LIMIT_REACHED")
    assert wallet.list_coupons(LI, page(state=None), NOW)["coupons"] == []
    assert shop.redeem(coupon["code"])["discount"] == yuan(20)


def test_what_is_left_of_the_limit_can_be_claimed_after_an_erasure(shop: Shop) -> None:
    activity = shop.publish(per_customer=3)
    for _ in range(2):
        claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")
    assert (offer(activity)["claimed_by_me"], offer(activity)["can_claim"]) == (2, True)
    last = claim(call("CUSTOMER", "li"), activity=activity)
    assert [row["name"] for row in wallet.list_coupons(LI, page(state=None), NOW)["coupons"]] == [last["name"]]
    refused(activity, "CUSTOMER_LIMIT_REACHED")


def test_who_has_redeemed_here_is_no_new_customer_after_any_number_of_erasures(shop: Shop) -> None:
    welcome, activity = shop.publish(benefit=WELCOME), shop.publish()
    shop.redeem(claim(call("CUSTOMER", "li"), activity=activity)["code"])
    for _ in range(3):
        erase("li")
        refused(welcome, "NEW_CUSTOMERS_ONLY")
        refused(activity, "CUSTOMER_LIMIT_REACHED")


def test_a_second_erasure_in_a_row_finds_nothing_and_changes_nothing(shop: Shop) -> None:
    activity = shop.publish()
    claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")
    kept = list(CustomerCounter.select().tuples())
    erase("li")
    assert list(CustomerCounter.select().tuples()) == kept
    refused(activity, "CUSTOMER_LIMIT_REACHED")


def test_who_only_came_to_look_is_still_new_after_an_erasure(shop: Shop) -> None:
    welcome = shop.publish(benefit=WELCOME)
    claim(call("CUSTOMER", "li"), activity=shop.publish())
    erase("li")
    assert offer(welcome)["can_claim"]
    shop.redeem(claim(call("CUSTOMER", "li"), activity=welcome)["code"])


def test_nothing_in_the_books_leads_from_a_subject_to_the_coupons_of_before(shop: Shop) -> None:
    activity = shop.publish(per_customer=2)
    claim(call("CUSTOMER", "li"), activity=activity)
    before = Customer.get().pseudonym
    erase("li")
    claim(call("CUSTOMER", "li"), activity=activity)
    assert Customer.get().pseudonym != before
    assert {row.customer for row in CustomerCounter.select()} == {Customer.get().pseudonym}


def test_the_tag_of_a_subject_is_another_at_each_merchant_and_no_pseudonym(shop: Shop) -> None:
    tags = {TAGS.of(1, "li"), TAGS.of(2, "li"), TAGS.of(1, "wang")}
    assert sorted(map(len, tags)) == [40, 40, 40]


def test_a_claim_that_was_under_way_when_its_customer_was_erased_gets_nothing(shop: Shop) -> None:
    """Else its counter would be one that nobody comes back to."""
    activity = shop.publish()
    claimed = Activity.get()
    customer = customers.pseudonym(shop.merchant.id, "li", TAGS, NOW)
    erase("li")
    late = claims.Claim(call("CUSTOMER", "li"), shop.merchant.uid, claimed.id, None, customer)
    (outcome,) = claims.claim([late], COUPON_CODES, NOW)
    assert isinstance(outcome, errors.Conflict)
    assert claim(call("CUSTOMER", "li"), activity=activity)["state"] == "CLAIMED"


def test_erasures_claims_and_first_meetings_at_once_never_pass_the_limit(db: Database, shop: Shop) -> None:
    activity = shop.publish(per_customer=3)

    def try_to_claim() -> None:
        # The limit is reached, or an erasure came in between.
        with suppress(errors.FailedPrecondition, errors.Conflict):
            claim(call("CUSTOMER", "li"), activity=activity)

    async def at_once() -> None:
        for _ in range(4):
            both = [db.run(erase, "li"), db.run(try_to_claim), db.run(try_to_claim), db.run(erase, "li")]
            await asyncio.gather(*both, db.run(customers.pseudonym, shop.merchant.id, "li", TAGS, NOW))
        # Whatever lost its race above, a quiet claim comes through until the limit is reached.
        for _ in range(3):
            await db.run(try_to_claim)

    asyncio.run(at_once())
    assert Coupon.select().where(Coupon.customer.is_null(False)).count() == 3
    assert offer(activity)["claimed_by_me"] == 3


def test_first_meetings_after_an_erasure_at_once_make_one_pseudonym_with_all_counters(db: Database, shop: Shop) -> None:
    activity = shop.publish(per_customer=2)
    claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")

    async def at_once() -> list[str]:
        meetings = (db.run(customers.pseudonym, shop.merchant.id, "li", TAGS, NOW) for _ in range(8))
        return await asyncio.gather(*meetings)

    assert set(asyncio.run(at_once())) == {Customer.get().pseudonym}
    assert [(row.customer, row.claims) for row in CustomerCounter.select()] == [(Customer.get().pseudonym, 1)]


def test_the_lock_of_who_is_erased_is_not_taken_for_a_visit(shop: Shop) -> None:
    """A counter of activity 0 that counts nothing is only a lock."""
    welcome = shop.publish(benefit=WELCOME, per_customer=2)
    claim(call("CUSTOMER", "li"), activity=welcome)
    with database.write():
        customers.erase("li", TAGS)
    assert offer(welcome)["can_claim"]
