from typing import Any

import pytest

from services.chassis import errors
from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.wire import to_message
from services.redeem import books
from sharemesh.v1 import redeem_pb2
from tests.ledger.offers import yuan
from tests.share.shop import Shop, call, claim, page, share, visit


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


@pytest.fixture
def used(shop: Shop) -> str:
    """A redemption's name."""
    return str(shop.redeem(claim(call("CUSTOMER", "li"), activity=shop.publish())["code"])["name"])


def listed(by: Call, size: int = 0, token: str = "", **filters: str) -> list[str]:
    found = books.list_redemptions(by, page(size, token, store="", order_id="") | filters)
    return [row["name"] for row in found["redemptions"]]


def reported(shop: Shop, activity: str) -> dict[str, Any]:
    return books.get_activity_report(call("MERCHANT", shop.owner), {"activity": activity})


def figures(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = tuple(row[column] for column in ("key", "shares", "visits", "claims", "redemptions"))
    return (*counts, row["discount"]["minor"] // 100)


def test_a_redemption_is_seen_by_its_merchant_operators_and_staff_who_report(shop: Shop, used: str) -> None:
    shop.employ("zhao", "REPORT")
    shop.employ("qian", "REDEEM")
    shop.employ("sun", "REPORT", store=shop.open_store("北京", "餐饮"))
    for asker in (call("MERCHANT", shop.owner), call("OPERATOR", "ops"), call("STAFF", "zhao")):
        assert books.get_redemption(asker, {"name": used})["name"] == used
    with pytest.raises(errors.Denied, match="RIGHT_MISSING"):
        books.get_redemption(call("STAFF", "qian"), {"name": used})
    for asker in (call("MERCHANT", "other"), call("STAFF", "sun"), call("STAFF", shop.owner)):
        with pytest.raises(errors.NotFound):
            books.get_redemption(asker, {"name": used})


def test_a_merchant_lists_its_own_redemptions_only(shop: Shop, used: str) -> None:
    Shop.open("other")
    assert listed(call("MERCHANT", shop.owner)) == [used]
    assert listed(call("OPERATOR", "ops")) == [used]
    assert listed(call("MERCHANT", "other")) == []
    with pytest.raises(errors.NotFound):
        listed(call("MERCHANT", "other"), store=shop.store_name)


def test_staff_list_the_store_that_they_name_and_report_for(shop: Shop, used: str) -> None:
    shop.employ("zhao", "REPORT")
    shop.employ("qian", "REDEEM")
    assert listed(call("STAFF", "zhao"), store=shop.store_name) == [used]
    with pytest.raises(errors.Invalid, match="INVALID_FIELD"):
        listed(call("STAFF", "zhao"))
    with pytest.raises(errors.Denied, match="RIGHT_MISSING"):
        listed(call("STAFF", "qian"), store=shop.store_name)
    with pytest.raises(errors.NotFound):
        listed(call("STAFF", "sun"), store=shop.store_name)


def test_redemptions_are_found_by_order_and_by_page(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    made = [shop.redeem(claim(call("CUSTOMER", "li"), activity=activity)["code"]) for _ in range(3)]
    owner = call("MERCHANT", shop.owner)
    assert listed(owner, order_id=made[1]["order_id"]) == [made[1]["name"]]
    token = books.list_redemptions(owner, page(2, store="", order_id=""))["next_page_token"]
    assert listed(owner, 2, token) == [made[0]["name"]]
    with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
        listed(call("MERCHANT", "other"), 2, token)


def test_a_report_adds_up_by_channel_and_by_store(shop: Shop) -> None:
    second = shop.open_store("北京", "餐饮")
    reward = {"amount": yuan(3), "cap_per_sharer": 5, "hold_days": 7, "budget": yuan(30)}
    activity = shop.publish(shop.store, second, per_customer=5, reward=reward)
    weibo, wechat, _ = (share(call("CUSTOMER", "wang"), activity, channel) for channel in ("WEIBO", "WECHAT", "WECHAT"))
    for device in ("device-1", "device-2", "device-1"):
        visit(call("ANONYMOUS"), weibo["code"], device)
    through = [claim(call("CUSTOMER", who), code=weibo["code"])["code"] for who in ("li", "zhao", "qian")]
    other = claim(call("CUSTOMER", "sun"), code=wechat["code"])["code"]
    direct = claim(call("CUSTOMER", "li"), activity=activity)["code"]
    shop.redeem(through[0])
    shop.reverse(shop.redeem(through[1])["name"])
    shop.redeem(other, store=f"stores/{second.uid}")
    shop.redeem(direct)
    report = reported(shop, activity)
    assert figures(report["total"]) == ("", 3, 2, 5, 3, 60)
    assert [figures(row) for row in report["channels"]] == [
        ("DIRECT", 0, 0, 1, 1, 20),
        ("WECHAT", 2, 0, 1, 1, 20),
        ("WEIBO", 1, 2, 3, 1, 20),
    ]
    stores = sorted([(shop.store_name, 0, 0, 0, 2, 40), (f"stores/{second.uid}", 0, 0, 0, 1, 20)])
    assert [figures(row) for row in report["stores"]] == stores
    assert report["rewards"] == yuan(6)


def test_a_report_of_nothing_is_all_zeros(shop: Shop) -> None:
    report = reported(shop, shop.publish())
    assert figures(report["total"]) == ("", 0, 0, 0, 0, 0)
    assert (report["channels"], report["stores"], report["rewards"]) == ([], [], yuan(0))
    assert to_message(redeem_pb2.ActivityReport, report).total.discount.currency_code == "CNY"


def test_another_activitys_figures_stay_out_of_a_report(shop: Shop) -> None:
    quiet, busy = shop.publish(), shop.publish()
    made = share(call("CUSTOMER", "wang"), busy)
    visit(call("ANONYMOUS"), made["code"], "device-1")
    shop.redeem(claim(call("CUSTOMER", "li"), code=made["code"])["code"])
    assert figures(reported(shop, quiet)["total"]) == ("", 0, 0, 0, 0, 0)
    assert figures(reported(shop, busy)["total"]) == ("", 1, 1, 1, 1, 20)


def test_another_merchants_report_is_not_found(shop: Shop) -> None:
    activity = shop.publish()
    with pytest.raises(errors.NotFound):
        books.get_activity_report(call("MERCHANT", "other"), {"activity": activity})
    assert books.get_activity_report(call("OPERATOR", "ops"), {"activity": activity})["activity"] == activity
