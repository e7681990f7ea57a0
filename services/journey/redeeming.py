"""The last chapters: the till, and the books."""

from services.journey import content, readings
from services.journey.scene import Scene
from services.journey.telling import new_request
from sharemesh.v1 import publish_pb2, redeem_pb2, share_pb2


def redeem(scene: Scene) -> None:
    """At the till: a forged code, a verified one, its one use, and a use that is taken back."""
    scene.telling.show.chapter("Redeeming: at the till")
    does, till = scene.telling.does, scene.jie.redeem
    order = content.basket(FISH_07=1, RICE_01=4, PLUM_02=2)
    does(
        "Jie",
        "is shown a forged code: one digit is wrong",
        till.VerifyCoupon,
        redeem_pb2.VerifyCouponRequest(store=scene.store, codes=[content.forged(scene.alices.code)], basket=order),
        readings.verdict,
        "COUPON_REFUSED",
    )
    verified = does(
        "Jie",
        "verifies Alice's code for an order of ¥128, and holds it",
        till.VerifyCoupon,
        redeem_pb2.VerifyCouponRequest(
            store=scene.store, codes=[scene.alices.code], basket=order, hold_coupons=True, request_id=new_request()
        ),
        readings.verdict,
        "¥20.00 off",
    )
    use = redeem_pb2.RedeemCouponRequest(
        store=scene.store,
        codes=[scene.alices.code],
        basket=order,
        hold=verified.hold,
        order_id="A-0001",
        terminal="till-1",
        request_id=new_request(),
    )
    redemption = does("Jie", "redeems it", till.RedeemCoupon, use, readings.taken_off, "¥20.00 off")
    does(
        "Jie",
        "sends the same request again: the line was bad",
        till.RedeemCoupon,
        use,
        lambda again: "same redemption" if again.name == redemption.name else again.name,
        "same redemption",
    )
    second = redeem_pb2.RedeemCouponRequest(
        store=scene.store, codes=[scene.alices.code], basket=order, order_id="A-0002", request_id=new_request()
    )
    scene.telling.is_refused("Jie", "tries Alice's code on another order", till.RedeemCoupon, second, "COUPON_REDEEMED")
    feast = content.basket(HOTPOT_01=1, FISH_07=2)
    bobs_use = redeem_pb2.RedeemCouponRequest(
        store=scene.store, codes=[scene.bobs.code], basket=feast, order_id="A-0003", request_id=new_request()
    )
    does("Jie", "redeems Bob's, whose feast costs ¥244", till.RedeemCoupon, bobs_use, readings.taken_off, "¥50.00 off")
    does(
        "Alice",
        "has brought a friend: her reward is held",
        scene.alice.share.GetShare,
        share_pb2.GetShareRequest(name=scene.alices_share.name),
        lambda share: f"{content.text_of(share.rewards_held)} held",
        "¥5.00 held",
    )
    does(
        "Jie",
        "takes Alice's redemption back: she forgot her wallet",
        till.ReverseRedemption,
        redeem_pb2.ReverseRedemptionRequest(name=redemption.name, reason="顾客取消订单", request_id=new_request()),
        lambda reversed_: "REVERSED" if reversed_.HasField("reverse_time") else "REDEEMED",
        "REVERSED",
    )
    does(
        "Alice",
        "finds her coupon in the wallet again",
        scene.alice.redeem.GetCoupon,
        redeem_pb2.GetCouponRequest(name=scene.alices.name),
        readings.coupon_state,
        "CLAIMED",
    )


def look_at_the_books(scene: Scene) -> None:
    """More stock without another audit, and what it all came to."""
    scene.telling.show.chapter("The books: what it came to")
    does, lin = scene.telling.does, scene.lin
    does(
        "Lin",
        f"raises the stock from {content.STOCK} to {content.RAISED_STOCK}: no new audit",
        lin.publish.AdjustSupply,
        publish_pb2.AdjustSupplyRequest(name=scene.activity, stock=content.RAISED_STOCK, request_id=new_request()),
        lambda supply: f"{supply.stock - supply.taken} left",
        "78 left",
    )
    report = does(
        "Lin",
        "reads what the offer gave away",
        lin.redeem.GetActivityReport,
        redeem_pb2.GetActivityReportRequest(activity=scene.activity),
        lambda report: f"{content.text_of(report.total.discount)} given away",
        "¥50.00 given away",
    )
    columns = ("", "shares", "visits", "claims", "redeemed", "given away")
    scene.telling.show.evidence(
        "By channel", [columns, *map(readings.row, report.channels), readings.row(report.total)]
    )
    history = does(
        "Lin",
        "reads how the offer got there",
        lin.publish.ListTransitions,
        publish_pb2.ListTransitionsRequest(activity=scene.activity),
        lambda page: f"{len(page.transitions)} transitions",
        "7 transitions",
    )
    scene.telling.show.evidence("The history", [("#", "what", "from", "to", "who"), *readings.moves(history)])
