from datetime import timedelta
from typing import Any

import pytest

from services.chassis import errors
from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.wire import to_message
from services.redeem import books
from sharemesh.v1 import redeem_pb2
from tests.ledger.offers import yuan
from tests.share.shop import NOW, Shop, call, claim, page, share, visit


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


@pytest.fixture
def used(shop: Shop) -> str:
    """A redemption's name."""
    return str(shop.redeem(claim(call("CUSTOMER", "li"), activity=shop.publish())["code"])["name"])


def listed(by: Call, size: int = 0, token: str = "", **filters: Any) -> list[str]:
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


def test_redemptions_are_listed_by_their_time_of_use_the_latest_first(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    codes = [claim(call("CUSTOMER", "li"), activity=activity)["code"] for _ in range(4)]
    # Written in another order than used: two processes may be.
    late, early, *same = (
        shop.redeem(code, now=NOW + timedelta(hours=hours))["name"]
        for code, hours in zip(codes, (3, 1, 2, 2), strict=True)
    )
    order = [late, *same[::-1], early]
    for asker, store in (("OPERATOR", ""), ("MERCHANT", ""), ("MERCHANT", shop.store_name)):
        names: list[str] = []
        token = ""
        while token or not names:
            found = books.list_redemptions(call(asker, shop.owner), page(1, token, store=store, order_id=""))
            names += [row["name"] for row in found["redemptions"]]
            token = found["next_page_token"]
        assert names == order


def test_redemptions_are_found_from_an_instant_on_and_before_another(shop: Shop) -> None:
    activity = shop.publish(per_customer=5)
    made = [
        shop.redeem(claim(call("CUSTOMER", "li"), activity=activity)["code"], now=NOW + timedelta(hours=hours))["name"]
        for hours in range(3)
    ]
    owner, first, last = call("MERCHANT", shop.owner), NOW, NOW + timedelta(hours=2)
    assert listed(owner, start_time=first, end_time=last) == [made[1], made[0]]
    assert listed(owner, start_time=last, store=shop.store_name) == [made[2]]
    assert listed(owner, end_time=first) == []
    token = books.list_redemptions(owner, page(1, store="", order_id="", start_time=first))["next_page_token"]
    with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
        listed(owner, 1, token, start_time=last)


def test_a_redemption_tells_until_when_it_can_be_taken_back_unless_it_never_could(shop: Shop) -> None:
    def until(**terms: Any) -> Any:
        return shop.redeem(claim(call("CUSTOMER", "li"), activity=shop.publish(**terms))["code"])["reverse_expire_time"]

    assert until(reversal_window=600) == NOW + timedelta(minutes=10)
    assert until(reversal_window=0) is None


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
