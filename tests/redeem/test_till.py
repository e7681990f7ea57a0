"""The till: what staff are told of codes, whom it serves, how it holds, redeems, takes back and voids."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis import errors, parameters
from services.chassis.call import Call, entered
from services.chassis.names import name
from services.redeem import domain
from services.redeem.tries import Tries
from services.schema.tables import Coupon, Redemption, Replay, Store
from tests.batches import redeemed
from tests.ledger.offers import yuan
from tests.ledger.world import CODES, NOW, World, call, fresh

Plain = dict[str, Any]

BASKET = [{"item": "noodles", "quantity": 2, "unit_price": yuan(60)}]
FEAST = [{"item": "noodles", "quantity": 100, "unit_price": yuan(60)}]
RIGHTS = ("VERIFY", "REDEEM", "REVERSE")


class Till:
    """A till of one store, served by one member of staff unless `who` says otherwise."""

    def __init__(self, world: World, store: Store | None = None, subject: str = "cashier") -> None:
        self.world, self.store, self.subject, self.tries = world, store or world.store, subject, Tries()

    def call(self, rpc: str, plain: Plain, role: str = "STAFF") -> Call:
        return call(role, self.subject, f"RedeemService.{rpc}", plain.get("request_id", ""), str(sorted(plain.items())))

    def verify(self, *codes: str, hold: bool = False, now: Any = NOW, **more: Any) -> Plain:
        plain = {
            "store": name("stores", self.store.uid),
            "codes": [*codes],
            "basket": BASKET,
            "hold_coupons": hold,
            **more,
        }
        return domain.verify_coupons(self.call("VerifyCoupon", plain), plain, now, CODES, self.tries)

    def redeem(self, *codes: str, now: Any = NOW, role: str = "STAFF", **more: Any) -> Plain:
        plain = {
            "store": name("stores", self.store.uid),
            "codes": [*codes],
            "basket": BASKET,
            "hold": "",
            "order_id": "order-7",
            "terminal": "till-1",
            **more,
        }
        return redeemed(self.call("RedeemCoupon", plain, role), plain, now, CODES, self.tries)

    def release(self, hold: str, now: Any = NOW, **more: Any) -> Plain:
        plain = {"store": name("stores", self.store.uid), "hold": hold, **more}
        return domain.release_hold(self.call("ReleaseHold", plain), plain, now)

    def reverse(self, redemption: str, now: Any = NOW, role: str = "STAFF", **more: Any) -> Plain:
        plain = {"name": redemption, "reason": "brought back", **more}
        return domain.reverse_redemption(self.call("ReverseRedemption", plain, role), plain, now)


@pytest.fixture
def till(world: World) -> Till:
    """The till of the world's store with a cashier who may do everything."""
    world.bind("cashier", *RIGHTS)
    return Till(world)


def told(refused: pytest.ExceptionInfo[errors.Error]) -> tuple[str, dict[str, str]]:
    return refused.value.reason, refused.value.metadata


def forged(code: str) -> str:
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def test_a_good_code_is_usable_and_says_what_comes_off_and_whose_it_is(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    response = till.verify(coupon.code)
    (verdict,) = response["verdicts"]
    assert (verdict["is_usable"], verdict["discount"], response["discount"]) == (True, yuan(20), yuan(20))
    assert verdict["holder"] == till.world.customer("ann")
    assert verdict["coupon"]["name"] == name("coupons", coupon.uid)
    assert verdict["coupon"]["state"] == "CLAIMED"
    assert "code" not in verdict["coupon"]
    assert "hold" not in response


def test_each_code_has_its_own_verdict_in_the_order_asked(till: Till) -> None:
    activity = till.world.publish()
    good, void = till.world.claim(activity, "ann"), till.world.claim(activity, "bob")
    till.world.void(void)
    response = till.verify(forged(good.code), void.code, good.code)
    assert [(one["is_usable"], one.get("reason")) for one in response["verdicts"]] == [
        (False, "COUPON_REFUSED"),
        (False, "COUPON_VOID"),
        (True, None),
    ]
    assert response["discount"] == yuan(20)


def test_forged_unknown_unclaimed_and_other_merchants_codes_are_refused_alike(till: Till) -> None:
    theirs = World("another")
    foreign = theirs.claim(theirs.publish(), "ann")
    till.world.share(till.world.publish(), "sam")
    unclaimed = Coupon.get(Coupon.merchant_id == till.world.merchant.id)
    strangers = [forged(foreign.code), CODES.new(), unclaimed.code, foreign.code]
    verdicts = till.verify(*strangers)["verdicts"]
    assert all(verdict == verdicts[0] for verdict in verdicts)
    assert verdicts[0] == {"is_usable": False, "discount": yuan(0), "reason": "COUPON_REFUSED", "details": {}}
    for code in strangers:
        with pytest.raises(errors.FailedPrecondition) as refused:
            till.redeem(code)
        assert told(refused) == ("COUPON_REFUSED", {"index": "0"})


def test_redeeming_gives_the_final_use_and_redeeming_twice_the_first_result(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    view = till.redeem(coupon.code, request_id="the-same-request")
    assert view["store"] == name("stores", till.store.uid)
    assert (view["order_id"], view["terminal"], view["operator"]) == ("order-7", "till-1", "actor-cashier")
    assert (view["order_amount"], view["discount"], view["use_time"]) == (yuan(120), yuan(20), NOW)
    (used,) = view["coupons"]
    assert (used["coupon"], used["discount"], used["gifts"]) == (name("coupons", coupon.uid), yuan(20), [])
    assert till.redeem(coupon.code, request_id="the-same-request", now=NOW + timedelta(days=20)) == view
    with pytest.raises(errors.FailedPrecondition, match="COUPON_REDEEMED"):
        till.redeem(coupon.code)


def test_a_gift_is_handed_over_with_the_redemption(till: Till) -> None:
    gift = {"gift": {"item": "tea", "value": yuan(8), "threshold": yuan(50)}}
    coupon = till.world.claim(till.world.publish(gift), "ann")
    assert till.verify(coupon.code)["verdicts"][0]["gifts"] == ["tea"]
    view = till.redeem(coupon.code)
    assert (view["discount"], view["coupons"][0]["gifts"]) == (yuan(0), ["tea"])


def test_a_held_coupon_waits_for_its_order(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    response = till.verify(coupon.code, hold=True)
    assert response["hold_expire_time"] == NOW + timedelta(minutes=15)
    assert response["verdicts"][0]["coupon"]["hold_expire_time"] == NOW + timedelta(minutes=15)
    assert till.verify(coupon.code)["verdicts"][0]["reason"] == "COUPON_HELD"
    assert till.redeem(coupon.code, hold=response["hold"])["discount"] == yuan(20)


def test_a_hold_asked_for_again_is_the_first_with_its_end(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    first = till.verify(coupon.code, hold=True, request_id="the-same-request")
    again = till.verify(coupon.code, hold=True, request_id="the-same-request", now=NOW + timedelta(minutes=10))
    assert again == first


def test_a_forged_code_among_good_ones_holds_nothing(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    response = till.verify(coupon.code, forged(coupon.code), hold=True)
    assert [verdict["is_usable"] for verdict in response["verdicts"]] == [True, False]
    assert ("hold" in response, fresh(coupon).hold) == (False, None)


def test_a_hold_is_released_once_and_a_replayed_release_succeeds(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    held = till.verify(coupon.code, hold=True)["hold"]
    assert till.release(held, request_id="the-same-request") == till.release(held, request_id="the-same-request") == {}
    with pytest.raises(errors.FailedPrecondition, match="HOLD_NOT_FOUND"):
        till.release(held)
    assert till.redeem(coupon.code)["discount"] == yuan(20)


def test_a_reversal_shows_on_the_redemption_and_is_replayed(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    redemption = till.redeem(coupon.code)["name"]
    view = till.reverse(redemption, request_id="the-same-request")
    assert (view["reverse_time"], view["reverse_reason"]) == (NOW, "brought back")
    assert till.reverse(redemption, request_id="the-same-request", now=NOW + timedelta(hours=5)) == view
    with pytest.raises(errors.FailedPrecondition, match="ALREADY_REVERSED"):
        till.reverse(redemption)
    with pytest.raises(errors.FailedPrecondition, match="REVERSAL_CLOSED"):
        till.reverse(till.redeem(coupon.code)["name"], now=NOW + timedelta(hours=1))


def test_staff_touch_only_what_their_rights_and_stores_let_them(till: Till) -> None:
    world = till.world
    other = world.open_store()
    world.bind("trainee", "VERIFY")
    world.bind("neighbour", *RIGHTS, store=other)
    coupon = world.claim(world.publish(stores=[world.store, other]), "ann")
    trainee, neighbour = Till(world, subject="trainee"), Till(world, subject="neighbour")
    assert trainee.verify(coupon.code)["verdicts"][0]["is_usable"]
    with pytest.raises(errors.Denied) as refused:
        trainee.redeem(coupon.code)
    assert told(refused) == ("RIGHT_MISSING", {"right": "REDEEM"})
    redemption = till.redeem(coupon.code)["name"]
    with pytest.raises(errors.Denied) as refused:
        trainee.reverse(redemption)
    assert told(refused) == ("RIGHT_MISSING", {"right": "REVERSE"})
    for ask in (neighbour.redeem, neighbour.verify):
        with pytest.raises(errors.NotFound):
            ask(coupon.code)
    with pytest.raises(errors.NotFound) as unseen:
        neighbour.reverse(redemption)
    assert told(unseen) == ("RESOURCE_NOT_FOUND", {"resource": redemption})
    assert Redemption.get().reverse_time is None


def test_the_owner_needs_no_binding_and_another_merchant_sees_nothing(till: Till) -> None:
    world = till.world
    coupon = world.claim(world.publish(), "ann")
    owner, stranger = Till(world, subject="owner"), Till(world, subject="another")
    World("another")
    with pytest.raises(errors.NotFound):
        stranger.redeem(coupon.code, role="MERCHANT")
    redemption = owner.redeem(coupon.code, role="MERCHANT")["name"]
    with pytest.raises(errors.NotFound):
        stranger.reverse(redemption, role="MERCHANT")
    assert owner.reverse(redemption, role="MERCHANT")["reverse_time"] == NOW


@pytest.mark.parametrize("unknown", ["redemptions/nosuch", "redemptions/"])
def test_a_redemption_that_is_not_there_is_not_reversed(till: Till, unknown: str) -> None:
    with pytest.raises((errors.NotFound, errors.Invalid)):
        till.reverse(unknown)


def test_a_basket_in_another_currency_is_refused_by_its_field(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    dollars = {"item": "tea", "quantity": 1, "unit_price": {"currency": "USD", "minor": 5}}
    with pytest.raises(errors.Invalid) as refused:
        till.redeem(coupon.code, basket=[*BASKET, dollars])
    assert told(refused) == ("CURRENCY_MISMATCH", {"currency": "USD"})
    assert refused.value.violations[0].field == "basket[1].unit_price.currency_code"


def test_an_order_that_nobody_places_is_refused_before_it_overflows_the_books(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    dear = {"item": "tea", "quantity": 10_000, "unit_price": {"currency": "CNY", "minor": 10**7}}
    for basket in ([*BASKET, dear], [dear, dear]):
        with pytest.raises(errors.Invalid) as refused:
            till.redeem(coupon.code, basket=basket)
        assert refused.value.violations[0].field == "basket"
    assert till.redeem(coupon.code, basket=[dear])["order_amount"] == {"currency": "CNY", "minor": 10**11}


def test_ten_codes_are_redeemed_together_or_not_at_all(till: Till) -> None:
    activity = till.world.publish()
    coupons = [till.world.claim(activity, f"customer-{number}") for number in range(10)]
    codes = [coupon.code for coupon in coupons]
    with pytest.raises(errors.FailedPrecondition) as refused:
        till.redeem(*codes[:9], forged(codes[9]), basket=FEAST)
    assert told(refused) == ("COUPON_REFUSED", {"index": "9"})
    assert {fresh(coupon).state for coupon in coupons} == {"CLAIMED"}
    assert till.redeem(*codes, basket=FEAST)["discount"] == yuan(200)


def test_too_many_refused_codes_stop_the_person_and_then_the_store(till: Till) -> None:
    old = parameters.swap(replace(parameters.current(), code_tries_per_staff_minute=3, code_tries_per_store_minute=5))
    try:
        world = till.world
        coupon = world.claim(world.publish(), "ann")
        till.verify(forged(coupon.code), CODES.new())
        assert till.verify(coupon.code)["verdicts"][0]["is_usable"]
        with pytest.raises(errors.FailedPrecondition, match="COUPON_REFUSED"):
            till.redeem(CODES.new())
        for ask in (till.verify, till.redeem):
            with pytest.raises(errors.Exhausted) as refused:
                ask(coupon.code)
            assert refused.value.reason == "RATE_LIMITED"
            assert refused.value.retry_after is not None
            assert 0 < refused.value.retry_after <= 61
        world.bind("colleague", *RIGHTS)
        colleague = Till(world, subject="colleague")
        colleague.tries = till.tries
        colleague.verify(CODES.new(), CODES.new())
        with pytest.raises(errors.Exhausted, match="RATE_LIMITED"):
            colleague.redeem(coupon.code)
        elsewhere = Till(world, world.open_store(), "colleague")
        world.bind("colleague", *RIGHTS, store=elsewhere.store)
        elsewhere.tries = till.tries
        assert elsewhere.verify(coupon.code)["verdicts"][0]["reason"] == "STORE_NOT_IN_SCOPE"
    finally:
        parameters.swap(old)


def test_an_honest_refusal_is_no_guess(till: Till) -> None:
    old = parameters.swap(replace(parameters.current(), code_tries_per_staff_minute=2))
    try:
        coupon = till.world.claim(till.world.publish(), "ann")
        till.redeem(coupon.code)
        for _ in range(3):
            assert till.verify(coupon.code)["verdicts"][0]["reason"] == "COUPON_REDEEMED"
    finally:
        parameters.swap(old)


def test_an_operator_voids_a_coupon_for_good(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    plain = {"name": name("coupons", coupon.uid), "reason": "printed by mistake"}
    asked = call("OPERATOR", "op", "RedeemService.VoidCoupon", "the-same-request")
    view = domain.void_coupon(asked, plain, NOW)
    assert (view["name"], view["state"], "code" in view) == (plain["name"], "VOID", False)
    assert domain.void_coupon(asked, plain, NOW) == view
    with pytest.raises(errors.FailedPrecondition, match="COUPON_VOID"):
        domain.void_coupon(call("OPERATOR", "op", "RedeemService.VoidCoupon"), plain, NOW)
    with pytest.raises(errors.NotFound):
        domain.void_coupon(asked, {**plain, "name": "coupons/nosuch"}, NOW)


def test_a_refusal_is_not_remembered(till: Till) -> None:
    coupon = till.world.claim(till.world.publish(), "ann")
    before = Replay.select().count()
    with pytest.raises(errors.FailedPrecondition, match="BELOW_THRESHOLD"):
        till.redeem(coupon.code, basket=[{**BASKET[0], "quantity": 1}], request_id="the-same-request")
    assert Replay.select().count() == before
    assert till.redeem(coupon.code, request_id="the-same-request")["discount"] == yuan(20)


def test_the_events_of_a_redemption_and_its_reversal_tell_the_chain_from_activity_over_share_to_coupon(
    till: Till,
) -> None:
    activity = till.world.publish()
    share = till.world.share(activity, "ann")
    coupon = till.world.claim(activity, "bob", share)
    chain = {
        "activity": name("activities", activity.uid),
        "share": name("shares", share.uid),
        "coupon": name("coupons", coupon.uid),
    }
    with entered(till.call("RedeemCoupon", {}), 10) as notes:
        redemption = till.redeem(coupon.code)
    assert notes == chain
    plain = {"name": redemption["name"], "reason": "wrong"}
    with entered(till.call("ReverseRedemption", plain), 10) as notes:
        domain.reverse_redemption(till.call("ReverseRedemption", plain), plain, NOW)
    assert notes == chain
