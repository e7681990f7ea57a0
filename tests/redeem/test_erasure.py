"""Erasure: nobody knows any more whose the coupons are, and nobody gets more for it."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from services.chassis import database, errors
from services.chassis.database import Database
from services.chassis.drivers import played
from services.chassis.script import Script
from services.ledger import claims, customers
from services.ledger.records import CouponRow
from services.redeem import wallet
from services.schema.tables import Activity, Coupon, Customer, CustomerCounter
from tests.ledger import books as ledger
from tests.ledger.offers import yuan
from tests.ledger.test_meanwhile import WAIT_SECONDS, is_somebody_waiting
from tests.redeem import showcase
from tests.share.shop import COUPON_CODES, NOW, TAGS, Shop, call, claim, erase, page

LI = call("CUSTOMER", "li")
WELCOME = {"new_customer": {"off": yuan(10)}}


@pytest.fixture
def shop(db: Database) -> Iterator[Shop]:
    yield db.run_here(Shop.open)
    assert ledger.wrongs() == []


def offer(db: Database, activity: str) -> dict[str, Any]:
    return showcase.offer(db, LI, activity)


def refused(db: Database, activity: str, reason: str) -> None:
    """The offer and the claim say so, before the customer has come back and after."""
    assert offer(db, activity)["reason"] == reason
    with pytest.raises(errors.FailedPrecondition, match=reason):
        claim(call("CUSTOMER", "li"), activity=activity)
    assert offer(db, activity)["reason"] == reason


def test_the_limit_outlives_an_erasure_and_the_coupon_too(db: Database, shop: Shop) -> None:
    activity = shop.publish()
    coupon = claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")
    assert offer(db, activity)["claimed_by_me"] == 1
    refused(db, activity, "CUSTOMER_LIMIT_REACHED")
    assert wallet.list_coupons(LI, page(state=None), NOW)["coupons"] == []
    assert shop.redeem(coupon["code"])["discount"] == yuan(20)


def test_what_is_left_of_the_limit_can_be_claimed_after_an_erasure(db: Database, shop: Shop) -> None:
    activity = shop.publish(per_customer=3)
    for _ in range(2):
        claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")
    assert (offer(db, activity)["claimed_by_me"], offer(db, activity)["can_claim"]) == (2, True)
    last = claim(call("CUSTOMER", "li"), activity=activity)
    assert [row["name"] for row in wallet.list_coupons(LI, page(state=None), NOW)["coupons"]] == [last["name"]]
    refused(db, activity, "CUSTOMER_LIMIT_REACHED")


def test_who_has_redeemed_here_is_no_new_customer_after_any_number_of_erasures(db: Database, shop: Shop) -> None:
    welcome, activity = shop.publish(benefit=WELCOME), shop.publish()
    shop.redeem(claim(call("CUSTOMER", "li"), activity=activity)["code"])
    for _ in range(3):
        erase("li")
        refused(db, welcome, "NEW_CUSTOMERS_ONLY")
        refused(db, activity, "CUSTOMER_LIMIT_REACHED")


def test_a_second_erasure_in_a_row_finds_nothing_and_changes_nothing(db: Database, shop: Shop) -> None:
    activity = shop.publish()
    claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")
    kept = list(CustomerCounter.select().tuples())
    erase("li")
    assert list(CustomerCounter.select().tuples()) == kept
    refused(db, activity, "CUSTOMER_LIMIT_REACHED")


def test_who_only_came_to_look_is_still_new_after_an_erasure(db: Database, shop: Shop) -> None:
    welcome = shop.publish(benefit=WELCOME)
    claim(call("CUSTOMER", "li"), activity=shop.publish())
    erase("li")
    assert offer(db, welcome)["can_claim"]
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


def wish(shop: Shop) -> claims.Claim:
    return claims.Claim(call("CUSTOMER", "li"), shop.merchant.uid, shop.merchant.id, Activity.get().id, None)


def await_somebody_waiting() -> None:
    """Less long than anybody waits for a lock."""
    end = time.monotonic() + WAIT_SECONDS
    while not is_somebody_waiting():
        assert time.monotonic() < end
        # InnoDB shows an older picture to whoever looks again within 0.1 s.
        time.sleep(0.15)


@pytest.mark.parametrize(("limit", "told"), [(1, "CUSTOMER_LIMIT_REACHED"), (2, "CLAIMED")])
def test_a_claim_that_waits_for_an_erasure_is_a_newcomers_with_all_counters(
    db: Database, shop: Shop, limit: int, told: str
) -> None:
    activity = shop.publish(per_customer=limit)
    claim(call("CUSTOMER", "li"), activity=activity)
    before = Customer.get().pseudonym
    with ThreadPoolExecutor(1) as thread:
        with database.write():
            customers.erase("li", TAGS)
            claiming = thread.submit(claims.claim, [wish(shop)], COUPON_CODES, TAGS, NOW)
            await_somebody_waiting()
        (outcome,) = claiming.result()
    assert (outcome.reason if isinstance(outcome, errors.Error) else outcome.state) == told
    assert offer(db, activity)["claimed_by_me"] == limit
    assert before not in {row.pseudonym for row in Customer.select()}
    refused(db, activity, "CUSTOMER_LIMIT_REACHED")


def test_an_erasure_that_waits_for_a_claim_keeps_what_it_took(db: Database, shop: Shop) -> None:
    activity = shop.publish(per_customer=2)
    claim(call("CUSTOMER", "li"), activity=activity)
    erased: list[Future[None]] = []

    def overtaken() -> Script[list[claims.Outcome]]:
        ending = yield from claims.claiming([wish(shop)], COUPON_CODES, TAGS, NOW)
        erased.append(thread.submit(erase, "li"))
        await_somebody_waiting()
        return ending

    with ThreadPoolExecutor(1) as thread:
        (outcome,) = played(overtaken())
        erased[0].result()
    assert isinstance(outcome, CouponRow)
    assert Customer.select().count() == 0
    assert offer(db, activity)["claimed_by_me"] == 2
    refused(db, activity, "CUSTOMER_LIMIT_REACHED")


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
    assert offer(db, activity)["claimed_by_me"] == 3


def test_first_meetings_after_an_erasure_at_once_make_one_pseudonym_with_all_counters(db: Database, shop: Shop) -> None:
    activity = shop.publish(per_customer=2)
    claim(call("CUSTOMER", "li"), activity=activity)
    erase("li")

    async def at_once() -> list[str]:
        meetings = (db.run(customers.pseudonym, shop.merchant.id, "li", TAGS, NOW) for _ in range(8))
        return await asyncio.gather(*meetings)

    assert set(asyncio.run(at_once())) == {Customer.get().pseudonym}
    assert [(row.customer, row.claims) for row in CustomerCounter.select()] == [(Customer.get().pseudonym, 1)]


def test_the_lock_of_who_is_erased_is_not_taken_for_a_visit(db: Database, shop: Shop) -> None:
    """A counter of activity 0 that counts nothing is only a lock."""
    welcome = shop.publish(benefit=WELCOME, per_customer=2)
    claim(call("CUSTOMER", "li"), activity=welcome)
    with database.write():
        customers.erase("li", TAGS)
    assert offer(db, welcome)["can_claim"]
