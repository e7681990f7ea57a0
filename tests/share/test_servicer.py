import asyncio

import pytest

from services.chassis.batching import Batcher
from services.chassis.call import entered
from services.chassis.database import Database
from services.chassis.drivers import driver_of
from services.schema.tables import Coupon, Share, Visit
from services.share.servicer import Servicer
from sharemesh.v1 import options_pb2, redeem_pb2, share_pb2
from tests.share.shop import CODES, KEYS, NOW, Shop, call, claim, share, visit

CONTEXT = object()


@pytest.fixture
def shop(db: Database) -> Shop:
    return db.run_here(Shop.open)


async def the_whole_way_of_a_share(servicer: Servicer, activity: str) -> None:
    with entered(call("CUSTOMER", "wang"), 10):
        asked = share_pb2.CreateShareRequest(activity=activity, channel=share_pb2.CHANNEL_QQ, request_id="create-001")
        made = await servicer.CreateShare(asked, CONTEXT)
    assert (made.channel, made.sharer_role) == (share_pb2.CHANNEL_QQ, options_pb2.ROLE_CUSTOMER)
    with entered(call("CUSTOMER", "wang"), 10):
        told = share_pb2.ReportShareRequest(name=made.name, state=share_pb2.SHARE_STATE_SHARED, request_id="report-001")
        assert (await servicer.ReportShare(told, CONTEXT)).state == share_pb2.SHARE_STATE_SHARED
    with entered(call("ANONYMOUS"), 10):
        seen = share_pb2.RecordVisitRequest(share_code=made.code, visitor_id="device-1", request_id="visit-0001")
        assert (await servicer.RecordVisit(seen, CONTEXT)).is_first
        page = await servicer.ListShareable(share_pb2.ListShareableRequest(), CONTEXT)
        (shareable,) = share_pb2.ListShareableResponse.FromString(page).shareables
        assert (shareable.activity, shareable.snapshot.terms.stock) == (activity, 100)
    with entered(call("CUSTOMER", "li"), 10) as notes:
        wish = share_pb2.ClaimCouponRequest(share_code=made.code, request_id="claim-0001")
        coupon = redeem_pb2.Coupon.FromString(await servicer.ClaimCoupon(wish, CONTEXT))
    assert (coupon.state, coupon.share, coupon.title) == (redeem_pb2.COUPON_STATE_CLAIMED, made.name, "满100减20")
    # The share's code names them neither in the request nor, when it is refused, in an answer.
    assert notes == {"activity": activity, "share": made.name, "coupon": coupon.name}
    with entered(call("CUSTOMER", "wang"), 10):
        now = await servicer.GetShare(share_pb2.GetShareRequest(name=made.name), CONTEXT)
        assert (now.visits, now.claims, now.redemptions, now.rewards_held.currency_code) == (1, 1, 0, "CNY")
        assert list((await servicer.ListShares(share_pb2.ListSharesRequest(), CONTEXT)).shares) == [now]


def test_a_share_goes_the_whole_way_through_the_servicer(db: Database, shop: Shop) -> None:
    activity = shop.publish()

    async def go() -> None:
        batcher = Batcher(driver_of(db))
        try:
            await the_whole_way_of_a_share(Servicer(db, batcher, lambda: NOW, KEYS), activity)
        finally:
            await batcher.close()

    asyncio.run(go())


def test_one_request_sent_many_times_at_once_is_one_share_one_visit_and_one_claim(db: Database, shop: Shop) -> None:
    activity = shop.publish()
    parent = share(call("CUSTOMER", "zhao"), activity)
    sharing, claiming = call("CUSTOMER", "wang"), call("CUSTOMER", "li")

    async def at_once() -> tuple[set[str], list[bool], set[str]]:
        shares = await asyncio.gather(*(db.run(share, sharing, activity) for _ in range(8)))
        visits = await asyncio.gather(*(db.run(visit, call("ANONYMOUS"), parent["code"], "device-1") for _ in range(8)))
        claims = await asyncio.gather(*(db.run(claim, claiming, code=parent["code"]) for _ in range(8)))
        return (
            {row["name"] for row in shares},
            [row["is_first"] for row in visits],
            {row["code"] for row in claims},
        )

    shares, firsts, codes = asyncio.run(at_once())
    assert (len(shares), sum(firsts), len(codes)) == (1, 1, 1)
    assert (Share.select().count(), Visit.select().count()) == (2, 1)
    assert Coupon.select().where(Coupon.customer.is_null(False)).count() == 1


def test_first_meetings_at_once_make_one_pseudonym(db: Database, shop: Shop) -> None:
    activity = shop.publish()

    async def at_once() -> list[str]:
        shares = await asyncio.gather(*(db.run(share, call("CUSTOMER", "wang"), activity) for _ in range(8)))
        return [CODES.read(row["code"]) for row in shares]

    assert len(set(asyncio.run(at_once()))) == 8
    assert len({row.sharer for row in Share.select()}) == 1
