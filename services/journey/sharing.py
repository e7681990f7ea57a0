"""The third chapter: the offer goes from hand to hand."""

from services.journey import readings
from services.journey.people import Person
from services.journey.scene import Scene
from services.journey.telling import new_request
from sharemesh.v1 import redeem_pb2, share_pb2


def share_and_claim(scene: Scene) -> None:
    """The offer goes from hand to hand; everybody gets one coupon, and nobody is his own friend."""
    scene.telling.show.chapter("Sharing: from Lin to Alice to Bob")
    does, is_refused = scene.telling.does, scene.telling.is_refused
    first = does(
        "Lin",
        "shares it on WeChat, which mints the first coupons",
        scene.lin.share.CreateShare,
        share_pb2.CreateShareRequest(
            activity=scene.activity, channel=share_pb2.CHANNEL_WECHAT, request_id=new_request()
        ),
        lambda share: f"{share.available} coupons",
        "20 coupons",
    )
    does(
        "Lin",
        "reports that WeChat took it",
        scene.lin.share.ReportShare,
        share_pb2.ReportShareRequest(name=first.name, state=share_pb2.SHARE_STATE_SHARED, request_id=new_request()),
        lambda share: share_pb2.ShareState.Name(share.state).removeprefix("SHARE_STATE_"),
        "SHARED",
    )
    visit = share_pb2.RecordVisitRequest(share_code=first.code, visitor_id=new_request(), request_id=new_request())
    does("anybody", "opens the link", scene.anybody.share.RecordVisit, visit, readings.visited, "first visit")
    scene.alices = _claim(scene, scene.alice, "claims a coupon through Lin's share", first.code)
    is_refused(
        "Alice",
        "would like a second one",
        scene.alice.share.ClaimCoupon,
        share_pb2.ClaimCouponRequest(share_code=first.code, request_id=new_request()),
        "CUSTOMER_LIMIT_REACHED",
    )
    scene.alices_share = _share_on(scene, scene.alice, "shares on, in her Moments", first.code)
    bobs_share = _share_on(scene, scene.bob, "shares on too, from Alice's", scene.alices_share.code)
    is_refused(
        "Bob",
        "claims through his own share, to earn the reward",
        scene.bob.share.ClaimCoupon,
        share_pb2.ClaimCouponRequest(share_code=bobs_share.code, request_id=new_request()),
        "SELF_REFERRAL",
    )
    scene.bobs = _claim(scene, scene.bob, "claims a coupon through Alice's share", scene.alices_share.code)


def _claim(scene: Scene, customer: Person, what: str, code: str) -> redeem_pb2.Coupon:
    request = share_pb2.ClaimCouponRequest(share_code=code, request_id=new_request())
    return scene.telling.does(
        customer.name, what, customer.share.ClaimCoupon, request, readings.coupon_state, "CLAIMED"
    )


def _share_on(scene: Scene, customer: Person, what: str, code: str) -> share_pb2.Share:
    request = share_pb2.CreateShareRequest(
        activity=scene.activity,
        channel=share_pb2.CHANNEL_WECHAT_MOMENTS,
        parent_code=code,
        request_id=new_request(),
    )
    return scene.telling.does(
        customer.name, what, customer.share.CreateShare, request, readings.channel, "WECHAT_MOMENTS"
    )
