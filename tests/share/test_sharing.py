from datetime import timedelta

import pytest

from services.chassis import database, errors, parameters
from services.chassis.database import Database
from services.ledger import supply
from services.schema.tables import Activity, Coupon, Share
from tests.share.shop import CODES, NOW, Shop, call, claim, get, report, share, visit


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


def test_a_customers_share_mints_its_first_coupons_and_takes_no_stock(shop: Shop) -> None:
    activity = shop.publish()
    made = share(call("CUSTOMER", "wang"), activity, "WEIBO")
    block = parameters.current().share_block_size
    assert (made["channel"], made["state"], made["sharer_role"], made["available"]) == (
        "WEIBO",
        "CREATED",
        "CUSTOMER",
        block,
    )
    assert supply.of(Activity.get().id).taken == 0


def test_the_same_request_makes_one_share(shop: Shop) -> None:
    activity = shop.publish()
    asked = call("CUSTOMER", "wang")
    assert share(asked, activity) == share(asked, activity)
    assert Share.select().count() == 1
    assert Coupon.select().count() == parameters.current().share_block_size


def test_a_replayed_share_is_told_even_after_the_activity_was_withdrawn(shop: Shop) -> None:
    activity = shop.publish()
    asked = call("CUSTOMER", "wang")
    made = share(asked, activity)
    shop.move(activity, "WITHDRAWN")
    assert share(asked, activity)["name"] == made["name"]
    with pytest.raises(errors.FailedPrecondition, match="ACTIVITY_WITHDRAWN"):
        share(call("CUSTOMER", "wang"), activity)


def test_another_body_under_the_same_request_id_is_refused(shop: Shop) -> None:
    activity = shop.publish()
    share(call("CUSTOMER", "wang", request_id="the-same-1"), activity)
    with pytest.raises(errors.Invalid, match="REQUEST_ID_REUSED"):
        share(call("CUSTOMER", "wang", request_id="the-same-1", digest="other"), activity, "QQ")


def test_what_was_never_published_is_not_found_by_anybody(shop: Shop) -> None:
    draft = f"activities/{shop.draft().uid}"
    for asker in (call("CUSTOMER", "wang"), call("MERCHANT", shop.owner), call("STAFF", "li")):
        with pytest.raises(errors.NotFound):
            share(asker, draft)


def test_a_merchant_shares_its_own_activities_and_no_others(shop: Shop) -> None:
    activity = shop.publish()
    assert share(call("MERCHANT", shop.owner), activity)["sharer_role"] == "MERCHANT"
    with pytest.raises(errors.NotFound):
        share(call("MERCHANT", "somebody else"), activity)


def test_staff_share_with_the_right_in_a_store_that_shows_the_activity(shop: Shop) -> None:
    activity = shop.publish()
    elsewhere = shop.open_store("北京", "餐饮")
    shop.employ("li", "SHARE")
    shop.employ("zhao", "REDEEM", "REPORT")
    shop.employ("qian", "SHARE", store=elsewhere)
    assert share(call("STAFF", "li"), activity)["sharer_role"] == "STAFF"
    with pytest.raises(errors.Denied, match="RIGHT_MISSING"):
        share(call("STAFF", "zhao"), activity)
    with pytest.raises(errors.NotFound):
        share(call("STAFF", "qian"), activity)


@pytest.mark.parametrize("to, reason", [("SUSPENDED", "ACTIVITY_SUSPENDED"), ("WITHDRAWN", "ACTIVITY_WITHDRAWN")])
def test_a_closed_publication_is_not_shared(shop: Shop, to: str, reason: str) -> None:
    activity = shop.publish()
    shop.move(activity, to)
    with pytest.raises(errors.FailedPrecondition, match=reason):
        share(call("CUSTOMER", "wang"), activity)
    assert Share.select().count() == 0


def test_an_activity_that_has_ended_is_not_shared(shop: Shop) -> None:
    activity = shop.publish()
    with pytest.raises(errors.FailedPrecondition, match="ACTIVITY_ENDED"):
        share(call("CUSTOMER", "wang"), activity, now=NOW + timedelta(days=30))


def test_a_share_through_a_share_knows_its_parent(shop: Shop) -> None:
    activity = shop.publish()
    first = share(call("CUSTOMER", "wang"), activity)
    second = share(call("CUSTOMER", "li"), activity, parent_code=first["code"])
    assert (first["parent"], second["parent"]) == ("", first["name"])


def test_a_parent_of_another_activity_is_no_parent(shop: Shop) -> None:
    first = share(call("CUSTOMER", "wang"), shop.publish())
    with pytest.raises(errors.Invalid, match="SHARE_CODE_INVALID"):
        share(call("CUSTOMER", "li"), shop.publish(), parent_code=first["code"])


def test_a_parent_that_the_platform_refused_is_closed(shop: Shop) -> None:
    activity = shop.publish()
    first = share(call("CUSTOMER", "wang"), activity)
    report(call("CUSTOMER", "wang"), first["name"], "FAILED")
    with pytest.raises(errors.FailedPrecondition, match="SHARE_CLOSED"):
        share(call("CUSTOMER", "li"), activity, parent_code=first["code"])


def test_a_forged_code_is_refused_without_a_look_at_the_database() -> None:
    nowhere = database.bind("mysql://nobody:nothing@127.0.0.1:1/none")
    forged = CODES.signed("00000000")[:-1] + "!"
    with pytest.raises(errors.Invalid, match="SHARE_CODE_INVALID"):
        share(call("CUSTOMER", "li"), "activities/any", parent_code=forged)
    with pytest.raises(errors.Invalid, match="SHARE_CODE_INVALID"):
        claim(call("CUSTOMER", "li"), code=forged)
    with pytest.raises(errors.Invalid, match="SHARE_CODE_INVALID"):
        visit(call("ANONYMOUS"), forged, "device-1")
    nowhere.close()


def test_the_first_report_stands(shop: Shop) -> None:
    made = share(call("CUSTOMER", "wang"), shop.publish())
    assert report(call("CUSTOMER", "wang"), made["name"], "SHARED")["state"] == "SHARED"
    assert report(call("CUSTOMER", "wang"), made["name"], "SHARED")["report"] == "shared"
    with pytest.raises(errors.FailedPrecondition, match="SHARE_REPORTED"):
        report(call("CUSTOMER", "wang"), made["name"], "FAILED")
    assert (Share.get().state, Share.get().report_time) == ("SHARED", NOW)


def test_only_the_sharer_reports(shop: Shop) -> None:
    made = share(call("CUSTOMER", "wang"), shop.publish())
    for asker in (call("CUSTOMER", "li"), call("MERCHANT", shop.owner)):
        with pytest.raises(errors.NotFound):
            report(asker, made["name"], "FAILED")


def test_a_share_is_seen_by_its_sharer_its_merchant_and_operators(shop: Shop) -> None:
    made = share(call("CUSTOMER", "wang"), shop.publish())
    for asker in (call("CUSTOMER", "wang"), call("MERCHANT", shop.owner), call("OPERATOR", "ops")):
        assert get(asker, made["name"]) == made
    for asker in (call("CUSTOMER", "li"), call("MERCHANT", "somebody else"), call("STAFF", "zhao")):
        with pytest.raises(errors.NotFound):
            get(asker, made["name"])
