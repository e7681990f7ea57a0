import asyncio
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from google.type.money_pb2 import Money

from services.chassis.batching import Batcher
from services.chassis.call import entered
from services.chassis.database import Database
from services.chassis.drivers import driver_of
from services.chassis.status import message_of
from services.redeem.servicer import Servicer
from sharemesh.v1 import error_reason_pb2, redeem_pb2
from tests.mesh import started
from tests.share.shop import KEYS, NOW, Shop, call, claim
from tests.world import World

CONTEXT = object()


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


async def what_the_customer_sees(servicer: Servicer, activity: str, coupon: str) -> None:
    with entered(call("CUSTOMER", "li"), 10):
        told = await servicer.GetOffer(redeem_pb2.GetOfferRequest(activity=activity), CONTEXT)
        offer = redeem_pb2.Offer.FromString(told)
        assert (offer.can_claim, offer.reason) == (False, error_reason_pb2.ERROR_REASON_CUSTOMER_LIMIT_REACHED)
        assert offer.message == message_of("CUSTOMER_LIMIT_REACHED", {}, "zh-CN") != ""
        page = await servicer.ListOffers(redeem_pb2.ListOffersRequest(), CONTEXT)
        assert list(redeem_pb2.ListOffersResponse.FromString(page).offers) == [offer]
        mine = await servicer.GetCoupon(redeem_pb2.GetCouponRequest(name=coupon), CONTEXT)
        assert list((await servicer.ListCoupons(redeem_pb2.ListCouponsRequest(), CONTEXT)).coupons) == [mine]


async def what_the_till_does(servicer: Servicer, store: str, code: str) -> redeem_pb2.Redemption:
    line = redeem_pb2.BasketLine(item="noodles", quantity=2, unit_price=Money(currency_code="CNY", units=60))
    with entered(call("MERCHANT", "owner"), 10):
        bowl = redeem_pb2.BasketLine(item="noodles", quantity=1, unit_price=line.unit_price)
        ask = redeem_pb2.VerifyCouponRequest(store=store, codes=[code], basket=[bowl])
        assert "40.00" in (await servicer.VerifyCoupon(ask, CONTEXT)).verdicts[0].message
        ask = redeem_pb2.VerifyCouponRequest(
            store=store, codes=[code], basket=[line], hold_coupons=True, request_id="verify-01"
        )
        told = await servicer.VerifyCoupon(ask, CONTEXT)
        assert (told.verdicts[0].is_usable, told.discount.units) == (True, 20)
        assert told.hold
        assert told.verdicts[0].message == ""
    with entered(call("MERCHANT", "owner"), 10):
        let_go = redeem_pb2.ReleaseHoldRequest(store=store, hold=told.hold, request_id="release-1")
        assert await servicer.ReleaseHold(let_go, CONTEXT) == Empty()
    with entered(call("MERCHANT", "owner"), 10):
        order = redeem_pb2.RedeemCouponRequest(
            store=store, codes=[code], basket=[line], order_id="order-1", request_id="redeem-01"
        )
        return redeem_pb2.Redemption.FromString(await servicer.RedeemCoupon(order, CONTEXT))


async def what_the_books_say(servicer: Servicer, activity: str, used: redeem_pb2.Redemption) -> None:
    with entered(call("MERCHANT", "owner"), 10):
        assert await servicer.GetRedemption(redeem_pb2.GetRedemptionRequest(name=used.name), CONTEXT) == used
        listed = await servicer.ListRedemptions(redeem_pb2.ListRedemptionsRequest(), CONTEXT)
        assert list(listed.redemptions) == [used]
        report = await servicer.GetActivityReport(redeem_pb2.GetActivityReportRequest(activity=activity), CONTEXT)
        assert (report.total.redemptions, report.total.discount.units, report.channels[0].key) == (1, 20, "DIRECT")


async def what_can_be_undone(servicer: Servicer, used: redeem_pb2.Redemption) -> None:
    with entered(call("MERCHANT", "owner"), 10):
        back = redeem_pb2.ReverseRedemptionRequest(name=used.name, reason="退货", request_id="reverse-1")
        assert (await servicer.ReverseRedemption(back, CONTEXT)).reverse_reason == "退货"
    with entered(call("OPERATOR", "ops"), 10):
        void = redeem_pb2.VoidCouponRequest(name=used.coupons[0].coupon, reason="错发", request_id="void-0001")
        assert (await servicer.VoidCoupon(void, CONTEXT)).state == redeem_pb2.COUPON_STATE_VOID
    with entered(call("CUSTOMER", "li"), 10):
        assert await servicer.EraseCustomer(redeem_pb2.EraseCustomerRequest(request_id="erase-001"), CONTEXT) == Empty()


def test_a_coupon_goes_the_whole_way_through_the_servicer(db: Database, shop: Shop) -> None:
    activity = shop.publish()
    coupon = claim(call("CUSTOMER", "li"), activity=activity)

    async def go() -> None:
        batcher = Batcher(driver_of(db))
        servicer = Servicer(db, batcher, lambda: NOW, KEYS)
        try:
            await what_the_customer_sees(servicer, activity, coupon["name"])
            used = await what_the_till_does(servicer, shop.store_name, coupon["code"])
            await what_the_books_say(servicer, activity, used)
            await what_can_be_undone(servicer, used)
        finally:
            await batcher.close()

    asyncio.run(go())


def test_codes_of_three_generations_ago_are_good_and_older_ones_refused(db: Database, shop: Shop) -> None:
    made = [claim(call("CUSTOMER", "li"), activity=shop.publish())["code"] for _ in range(3)]

    async def told(generation: int) -> list[int]:
        servicer = Servicer(db, Batcher(driver_of(db)), lambda: NOW, KEYS, code_generation=generation)
        ask = redeem_pb2.VerifyCouponRequest(store=shop.store_name, codes=made, request_id=f"verify-{generation}")
        with entered(call("MERCHANT", "owner"), 10):
            return [one.reason for one in (await servicer.VerifyCoupon(ask, CONTEXT)).verdicts]

    good = [[error_reason_pb2.ERROR_REASON_UNSPECIFIED] * 3] * 4
    assert [asyncio.run(told(generation)) for generation in range(4)] == good
    # One of 10,000 codes is authentic by chance; not all of three.
    assert error_reason_pb2.ERROR_REASON_COUPON_REFUSED in asyncio.run(told(4))


def test_a_process_makes_and_takes_codes_of_the_generation_it_is_set_to(database_url: str, tmp_path: Path) -> None:
    with started(database_url, tmp_path / "var", code_generation=2) as mesh:
        world = World(mesh)
        code = world.coupon().code
        assert code[0] == "8"
        assert world.jie.redeem.RedeemCoupon(world.redeeming(code)).name
