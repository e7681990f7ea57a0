import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest

from services.chassis import errors, parameters
from services.chassis.database import Database
from services.chassis.parts import repeated, serialized
from services.schema.tables import Coupon, Share, Visit
from services.share import domain
from services.share.shareables import Shareables
from sharemesh.v1 import share_pb2
from tests.ledger.offers import yuan
from tests.share.shop import CODES, NOW, Shop, call, claim, erase, get, page, report, share, visit


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


def test_a_visitor_counts_once_a_share(shop: Shop) -> None:
    activity = shop.publish()
    one, two = (share(call("CUSTOMER", "wang"), activity) for _ in range(2))
    seen = [visit(call("ANONYMOUS"), one["code"], "device-1") for _ in range(3)]
    seen.append(visit(call("ANONYMOUS"), two["code"], "device-1"))
    assert [here["is_first"] for here in seen] == [True, False, False, True]
    assert {here["activity"] for here in seen} == {activity}
    assert get(call("CUSTOMER", "wang"), one["name"])["visits"] == 1


def test_a_retried_visit_has_the_first_answer_even_after_signing_in(shop: Shop) -> None:
    code = share(call("CUSTOMER", "wang"), shop.publish())["code"]
    assert visit(call("ANONYMOUS", request_id="visit-0001"), code, "device-1")["is_first"]
    assert visit(call("CUSTOMER", "li", request_id="visit-0001"), code, "device-1")["is_first"]
    assert not visit(call("ANONYMOUS", request_id="visit-0002"), code, "device-1")["is_first"]


def test_nothing_stored_of_a_visit_tells_the_device(shop: Shop) -> None:
    visit(call("ANONYMOUS"), share(call("CUSTOMER", "wang"), shop.publish())["code"], "device-1")
    assert "device" not in Visit.get().visitor


def test_an_authentic_code_that_names_no_share_is_answered_like_a_forged_one(shop: Shop) -> None:
    for code in (CODES.signed("00000000"), "000000000000"):
        with pytest.raises(errors.Invalid, match="SHARE_CODE_INVALID"):
            visit(call("ANONYMOUS"), code, "device-1")
        with pytest.raises(errors.Invalid, match="SHARE_CODE_INVALID"):
            claim(call("CUSTOMER", "li"), code=code)


def test_a_claim_takes_a_coupon_of_its_share(shop: Shop) -> None:
    activity = shop.publish()
    made = share(call("CUSTOMER", "wang"), activity)
    coupon = claim(call("CUSTOMER", "li"), code=made["code"].lower())
    assert (coupon["state"], coupon["share"], coupon["activity"]) == ("CLAIMED", made["name"], activity)
    assert len(coupon["code"]) == 16
    seen = get(call("CUSTOMER", "wang"), made["name"])
    assert (seen["claims"], seen["available"]) == (1, parameters.current().share_block_size - 1)


def test_a_claim_straight_from_an_offer_has_no_share(shop: Shop) -> None:
    assert claim(call("CUSTOMER", "li"), activity=shop.publish())["share"] is None


def test_an_activity_that_was_never_published_is_not_claimed(shop: Shop) -> None:
    with pytest.raises(errors.NotFound):
        claim(call("CUSTOMER", "li"), activity=f"activities/{shop.draft().uid}")


def test_nobody_claims_through_his_own_share(shop: Shop) -> None:
    made = share(call("CUSTOMER", "wang"), shop.publish())
    with pytest.raises(errors.FailedPrecondition, match="SELF_REFERRAL"):
        claim(call("CUSTOMER", "wang"), code=made["code"])


def test_a_failed_share_is_closed_but_its_earlier_claims_are_told_again(shop: Shop) -> None:
    made = share(call("CUSTOMER", "wang"), shop.publish())
    first = call("CUSTOMER", "li")
    coupon = claim(first, code=made["code"])
    report(call("CUSTOMER", "wang"), made["name"], "FAILED")
    assert claim(first, code=made["code"]) == coupon
    with pytest.raises(errors.FailedPrecondition, match="SHARE_CLOSED"):
        claim(call("CUSTOMER", "zhao"), code=made["code"])


def test_a_claim_over_the_limit_is_refused(shop: Shop) -> None:
    activity = shop.publish()
    claim(call("CUSTOMER", "li"), activity=activity)
    with pytest.raises(errors.FailedPrecondition, match="CUSTOMER_LIMIT_REACHED"):
        claim(call("CUSTOMER", "li"), activity=activity)


def test_a_replayed_claim_of_an_erased_customer_tells_no_code(shop: Shop) -> None:
    activity = shop.publish()
    first = call("CUSTOMER", "li")
    claim(first, activity=activity)
    erase("li")
    assert "code" not in claim(first, activity=activity)
    assert Coupon.select().where(Coupon.state == "CLAIMED").count() == 1


def test_rewards_are_held_first_then_granted_and_forgotten_when_taken_back(shop: Shop) -> None:
    reward = {"amount": yuan(3), "cap_per_sharer": 5, "hold_days": 7, "budget": yuan(30)}
    activity = shop.publish(reward=reward)
    made = share(call("CUSTOMER", "wang"), activity)
    used = [shop.redeem(claim(call("CUSTOMER", who), code=made["code"])["code"]) for who in ("li", "zhao")]
    shop.reverse(used[1]["name"])
    early = get(call("CUSTOMER", "wang"), made["name"], NOW + timedelta(days=6))
    late = get(call("CUSTOMER", "wang"), made["name"], NOW + timedelta(days=8))
    assert (early["rewards_held"], early["rewards_granted"]) == (yuan(3), yuan(0))
    assert (late["rewards_held"], late["rewards_granted"]) == (yuan(0), yuan(3))
    assert (late["claims"], late["redemptions"]) == (2, 1)


def test_shares_are_listed_page_by_page_newest_first(shop: Shop) -> None:
    activity = shop.publish()
    made = [share(call("CUSTOMER", "wang"), activity)["name"] for _ in range(3)]
    share(call("CUSTOMER", "li"), activity)
    wang = call("CUSTOMER", "wang")
    first = domain.list_shares(wang, page(2, activity=""), NOW, CODES)
    rest = domain.list_shares(wang, page(2, first["next_page_token"], activity=""), NOW, CODES)
    assert [row["name"] for row in first["shares"] + rest["shares"]] == made[::-1]
    assert rest["next_page_token"] == ""


def test_a_page_token_is_good_only_for_who_got_it(shop: Shop) -> None:
    activity = shop.publish()
    for _ in range(2):
        share(call("CUSTOMER", "wang"), activity)
    token = domain.list_shares(call("CUSTOMER", "wang"), page(1, activity=""), NOW, CODES)["next_page_token"]
    for asker, filtered in ((call("CUSTOMER", "li"), ""), (call("CUSTOMER", "wang"), activity)):
        with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
            domain.list_shares(asker, page(1, token, activity=filtered), NOW, CODES)


def test_a_merchant_lists_everybodys_shares_of_its_activity_and_no_other_merchants(shop: Shop) -> None:
    activity = shop.publish()
    made = share(call("CUSTOMER", "wang"), activity)["name"]
    share(call("CUSTOMER", "wang"), shop.publish())
    found = domain.list_shares(call("MERCHANT", shop.owner), page(activity=activity), NOW, CODES)["shares"]
    assert [row["name"] for row in found] == [made]
    assert domain.list_shares(call("MERCHANT", shop.owner), page(activity=""), NOW, CODES)["shares"] == []
    assert len(domain.list_shares(call("OPERATOR", "ops"), page(activity=""), NOW, CODES)["shares"]) == 2
    with pytest.raises(errors.NotFound):
        domain.list_shares(call("MERCHANT", "somebody else"), page(activity=activity), NOW, CODES)


def test_a_customer_lists_only_his_own_shares_of_an_activity(shop: Shop) -> None:
    activity = shop.publish()
    mine = share(call("CUSTOMER", "wang"), activity)["name"]
    share(call("CUSTOMER", "li"), activity)
    found = domain.list_shares(call("CUSTOMER", "wang"), page(activity=activity), NOW, CODES)["shares"]
    assert [row["name"] for row in found] == [mine]
    assert Share.select().count() == 2


def listed(db: Database, days: int = 0, **filters: str) -> list[str]:
    """The activities that a process that has just started lists for sharing, that many days from now."""

    def joined(page: Sequence[bytes]) -> bytes:
        return repeated(1, ((one,) for one in page))

    shareables = Shareables(db, lambda: NOW + timedelta(days=days), partial(serialized, share_pb2.Shareable), joined)
    body, _ = asyncio.run(shareables.page(call("ANONYMOUS"), page(store="", city="", category="") | filters))
    return [one.activity for one in share_pb2.ListShareableResponse.FromString(body).shareables]


def test_only_what_is_live_and_not_over_can_be_shared(db: Database, shop: Shop) -> None:
    live, suspended = shop.publish(), shop.publish()
    shop.draft()
    shop.move(suspended, "SUSPENDED")
    assert listed(db) == [live]
    assert listed(db, days=30) == []
    shop.move(suspended, "LIVE")
    assert listed(db) == [suspended, live]
    assert listed(db, store=shop.store_name, city="上海", category="餐饮") == [suspended, live]
    assert listed(db, city="北京") == listed(db, category="美发") == listed(db, store="stores/nowhere") == []


def test_the_filters_ask_one_store_for_everything(db: Database, shop: Shop) -> None:
    shop.publish(shop.store, shop.open_store("北京", "美发"))
    assert listed(db, city="北京", category="餐饮") == []
