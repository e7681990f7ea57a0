from datetime import timedelta
from typing import Any

import pytest

from services.chassis import errors
from services.chassis.call import Call
from services.chassis.database import Database
from services.redeem import books, domain, wallet
from services.schema.tables import Coupon
from tests.share.shop import NOW, TAGS, Shop, call, claim, page, share

LI = call("CUSTOMER", "li")


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


def coupons(by: Call, state: str | None = None, days: int = 0) -> list[str]:
    found = wallet.list_coupons(by, page(state=state), NOW + timedelta(days=days))
    return [row["name"] for row in found["coupons"]]


def get(by: Call, coupon: str) -> dict[str, Any]:
    return wallet.get_coupon(by, {"name": coupon}, NOW)


def test_a_wallet_holds_the_coupons_of_all_merchants_the_latest_claim_first(shop: Shop) -> None:
    other = Shop.open("other")
    made = share(call("CUSTOMER", "wang"), shop.publish())  # Mints first, is claimed last.
    first = claim(call("CUSTOMER", "li"), activity=other.publish(), now=NOW - timedelta(hours=2))["name"]
    second = claim(call("CUSTOMER", "li"), activity=shop.publish(), now=NOW - timedelta(hours=1))["name"]
    third = claim(call("CUSTOMER", "li"), code=made["code"])["name"]
    assert coupons(LI) == [third, second, first]
    assert coupons(call("CUSTOMER", "wang")) == []


def test_a_wallet_is_read_page_by_page_even_when_claims_fall_together(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    claimed = [claim(call("CUSTOMER", "li"), activity=activity)["name"] for _ in range(5)]
    names, token = [], ""
    for _ in range(3):
        found = wallet.list_coupons(LI, page(2, token, state=None), NOW)
        names += [row["name"] for row in found["coupons"]]
        token = found["next_page_token"]
    assert names == claimed[::-1]
    assert token == ""


def test_a_wallets_page_token_opens_no_other_wallet(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    for _ in range(2):
        claim(call("CUSTOMER", "li"), activity=activity)
    token = wallet.list_coupons(LI, page(1, state=None), NOW)["next_page_token"]
    with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
        wallet.list_coupons(call("CUSTOMER", "wang"), page(1, token, state=None), NOW)


def test_the_clock_alone_moves_a_coupon_from_claimed_to_expired(shop: Shop) -> None:
    name = claim(call("CUSTOMER", "li"), activity=shop.publish())["name"]
    assert (coupons(LI, "CLAIMED"), coupons(LI, "EXPIRED")) == ([name], [])
    assert (coupons(LI, "CLAIMED", days=9), coupons(LI, "EXPIRED", days=9)) == ([], [name])


def test_redeemed_and_void_coupons_are_found_by_their_states(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    used, voided = (claim(call("CUSTOMER", "li"), activity=activity) for _ in range(2))
    shop.redeem(used["code"])
    domain.void_coupon(call("OPERATOR", "ops"), {"name": voided["name"], "reason": "test"}, NOW)
    assert (coupons(LI, "REDEEMED"), coupons(LI, "VOID")) == ([used["name"]], [voided["name"]])
    assert (coupons(LI, "CLAIMED"), coupons(LI, "AVAILABLE")) == ([], [])


def test_the_holder_sees_the_code_and_the_merchant_and_operators_do_not(shop: Shop) -> None:
    coupon = claim(call("CUSTOMER", "li"), activity=shop.publish())
    assert get(LI, coupon["name"]) == coupon
    for asker in (call("MERCHANT", shop.owner), call("OPERATOR", "ops")):
        assert "code" not in get(asker, coupon["name"])


def test_a_used_coupon_tells_its_holder_when_and_where_until_it_is_taken_back(shop: Shop) -> None:
    coupon = claim(call("CUSTOMER", "li"), activity=shop.publish(per_customer=2))
    second = shop.open_store("北京", "餐饮")
    assert not {"redemption", "redeem_time", "redeem_store"} & set(get(LI, coupon["name"]))
    redemption = shop.redeem(coupon["code"], now=NOW + timedelta(hours=1))["name"]
    used = get(LI, coupon["name"])
    assert (used["redemption"], used["redeem_time"]) == (redemption, NOW + timedelta(hours=1))
    assert used["redeem_store"] == shop.store_name != f"stores/{second.uid}"
    shop.reverse(redemption)
    assert "redeem_store" not in get(LI, coupon["name"])


def test_strangers_find_no_coupon(shop: Shop) -> None:
    coupon = claim(call("CUSTOMER", "li"), activity=shop.publish())
    share(call("CUSTOMER", "wang"), shop.publish())
    waiting = f"coupons/{Coupon.select().where(Coupon.state == 'AVAILABLE').first().uid}"
    for asker in (call("CUSTOMER", "wang"), call("MERCHANT", "other"), call("CUSTOMER", shop.owner)):
        for name in (coupon["name"], waiting, "coupons/none"):
            with pytest.raises(errors.NotFound):
                get(asker, name)


def test_an_erased_customers_coupons_are_listed_by_nobody_and_the_books_stay_whole(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    used, kept = (claim(call("CUSTOMER", "li"), activity=activity) for _ in range(2))
    redemption = shop.redeem(used["code"])["name"]
    books.erase_customer(call("CUSTOMER", "li"), {"subject": ""}, NOW, TAGS)
    assert coupons(LI) == []
    with pytest.raises(errors.NotFound):
        get(LI, kept["name"])
    report = books.get_activity_report(call("MERCHANT", shop.owner), {"activity": activity})
    assert (report["total"]["claims"], report["total"]["redemptions"]) == (2, 1)
    assert books.get_redemption(call("MERCHANT", shop.owner), {"name": redemption})["coupons"]


def test_a_customer_erases_himself_and_an_operator_names_the_subject(shop: Shop) -> None:
    claim(call("CUSTOMER", "li"), activity=shop.publish())
    for asker, subject in ((call("CUSTOMER", "wang"), "li"), (call("OPERATOR", "ops"), "")):
        with pytest.raises(errors.Invalid, match="INVALID_FIELD"):
            books.erase_customer(asker, {"subject": subject}, NOW, TAGS)
    assert len(coupons(LI)) == 1
    books.erase_customer(call("OPERATOR", "ops"), {"subject": "li"}, NOW, TAGS)
    assert coupons(LI) == []


def test_a_replayed_erasure_leaves_what_came_after_it(shop: Shop) -> None:
    activity = shop.publish(per_customer=2)
    claim(call("CUSTOMER", "li"), activity=activity)
    asked = call("CUSTOMER", "li")
    books.erase_customer(asked, {"subject": ""}, NOW, TAGS)
    later = claim(call("CUSTOMER", "li"), activity=activity)["name"]
    books.erase_customer(asked, {"subject": ""}, NOW, TAGS)
    assert coupons(LI) == [later]
