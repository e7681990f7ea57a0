"""Redemptions: all of an order's coupons or none, holds, reversals, voids, and the rewards that hang on them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from services.chassis import errors
from services.ledger import counter, redemptions
from services.ledger.basket import Line
from services.ledger.counter import Order
from services.ledger.records import CouponRow, Receipt
from services.schema.tables import Coupon, CouponEvent, RedeemedCoupon, Redemption, Reward, Supply
from tests.ledger.offers import yuan
from tests.ledger.world import CODES, DAY, NOW, SECOND, World, fresh, told

NEW_CUSTOMER = {"new_customer": {"off": yuan(5), "threshold": yuan(10)}}
BANQUET = (Line("noodles", 100, 6_000),)
REWARD = {"amount": yuan(3), "cap_per_sharer": 2, "hold_days": 7}


def redeem_all(*orders: Order, now: Any = NOW) -> list[str]:
    return [told(outcome) for outcome in redemptions.redeem(orders, now)]


def refused(world: World, *presented: Coupon | CouponRow | str, **more: Any) -> str:
    """Why an order is refused, with the place of the code that it is refused for."""
    with pytest.raises(errors.FailedPrecondition) as refusal:
        world.redeem(*presented, **more)
    return f"{refusal.value.reason} {refusal.value.metadata['index']}"


def history(coupon: Coupon | CouponRow) -> list[str]:
    rows = CouponEvent.select().where(CouponEvent.coupon_id == coupon.id).order_by(CouponEvent.id)
    return [f"{row.to_state} {row.reason}".strip() for row in rows]


def claimed(world: World, *subjects: str, **terms: Any) -> list[CouponRow]:
    activity = world.publish(**terms)
    return [world.claim(activity, subject) for subject in subjects]


def test_a_redemption_keeps_order_terminal_operator_time_and_what_came_off(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    redemption = world.redeem(coupon)
    row = Redemption.get_by_id(redemption.id)
    assert (row.order_id, row.terminal, row.operator, row.use_time) == ("order-1", "till-1", "actor-cashier", NOW)
    assert (row.currency, row.order_amount, row.discount, row.store_id) == ("CNY", 12_000, 2_000, world.store.id)
    assert row.reverse_until == NOW + timedelta(hours=1)
    assert (fresh(coupon).state, fresh(coupon).redemption_id) == ("REDEEMED", row.id)
    assert Supply.get_by_id(coupon.activity_id).redeemed == 1
    assert history(coupon) == ["AVAILABLE", "CLAIMED", "REDEEMED"]


def test_an_order_of_ten_codes_is_redeemed_as_one(world: World) -> None:
    coupons = claimed(world, *(f"customer-{number}" for number in range(10)))
    redemption = world.redeem(*coupons, basket=BANQUET)
    assert redemption.discount == 20_000
    parts = RedeemedCoupon.select().where(RedeemedCoupon.redemption_id == redemption.id).order_by(RedeemedCoupon.id)
    assert [part.coupon_id for part in parts] == [coupon.id for coupon in coupons]


def test_one_bad_code_among_ten_leaves_all_unused(world: World) -> None:
    coupons = claimed(world, *(f"customer-{number}" for number in range(10)))
    world.void(coupons[7])
    assert refused(world, *coupons, basket=BANQUET) == "COUPON_VOID 7"
    assert {fresh(coupon).state for coupon in coupons} == {"CLAIMED", "VOID"}
    assert Redemption.select().count() == RedeemedCoupon.select().count() == 0


def test_a_redeemed_coupon_is_refused_with_the_time_it_was_used(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    world.redeem(coupon)
    (outcome,) = redemptions.redeem([world.order(coupon)], NOW + SECOND)
    assert isinstance(outcome, errors.FailedPrecondition)
    assert (outcome.reason, outcome.metadata) == (
        "COUPON_REDEEMED",
        {"time": "2026-03-10 12:00", "redeem_time": "2026-03-10T04:00:00+00:00", "index": "0"},
    )


def test_the_time_of_use_is_that_of_the_store_that_redeemed(world: World) -> None:
    here, there = world.store, world.open_store("Asia/Tokyo")
    activity = world.publish(scope={"stores": [f"stores/{store.uid}" for store in (here, there)]})
    coupon = world.claim(activity, "ann")
    world.redeem(coupon, store=there)
    (outcome,) = redemptions.redeem([world.order(coupon, store=here)], NOW + SECOND)
    assert isinstance(outcome, errors.FailedPrecondition)
    assert outcome.metadata["time"] == "2026-03-10 13:00"


def test_two_orders_of_one_list_cannot_use_one_coupon(world: World) -> None:
    one, two = claimed(world, "ann", "bob")
    orders = [world.order(one, two, basket=BANQUET), world.order(two), world.order(one)]
    assert redeem_all(*orders) == ["REDEEMED", "COUPON_REDEEMED", "COUPON_REDEEMED"]


def test_a_voided_coupon_is_refused(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    world.void(coupon)
    assert refused(world, coupon) == "COUPON_VOID 0"


def test_a_coupon_counts_from_its_start_to_its_end(world: World) -> None:
    period = {"start_date": "2026-03-11", "end_date": "2026-04-05"}
    activity = world.publish(validity={"period": period}, reversal_window=0)
    ann, bob = world.claim(activity, "ann"), world.claim(activity, "bob")
    assert ann.start_time is not None
    assert ann.expire_time is not None
    assert bob.expire_time is not None
    assert refused(world, ann, now=ann.start_time - SECOND) == "COUPON_NOT_YET_VALID 0"
    assert refused(world, ann, now=ann.expire_time) == "COUPON_EXPIRED 0"
    assert world.redeem(ann, now=ann.start_time).discount == 2_000
    assert world.redeem(bob, now=bob.expire_time - SECOND).discount == 2_000


def test_a_coupon_is_taken_in_its_stores_only(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    assert refused(world, coupon, store=world.open_store()) == "STORE_NOT_IN_SCOPE 0"


def test_windows_and_blackout_dates_are_the_redeeming_stores(world: World) -> None:
    """NOW is noon of a Tuesday in Shanghai and the evening of the Monday before in San Francisco."""
    far = world.open_store("America/Los_Angeles")
    window = {"weekdays": ["TUESDAY"], "start_time": "11:00", "end_time": "14:00"}
    (lunch,) = claimed(world, "ann", stores=[world.store, far], windows=[window])
    (dark,) = claimed(world, "ann", stores=[world.store, far], blackout_dates=["2026-03-10"])
    assert refused(world, lunch, store=far) == "OUTSIDE_WINDOW 0"
    assert refused(world, dark) == "BLACKOUT_DATE 0"
    assert world.redeem(lunch).discount == world.redeem(dark, store=far).discount == 2_000


def test_the_basket_decides_last(world: World) -> None:
    (coupon,) = claimed(world, "ann", items=["noodles"])
    assert refused(world, coupon, basket=(Line("noodles", 1, 9_999),)) == "BELOW_THRESHOLD 0"
    assert refused(world, coupon, basket=(Line("tea", 50, 9_999),)) == "NO_ELIGIBLE_ITEM 0"
    assert world.redeem(coupon, basket=(Line("noodles", 1, 10_000),)).discount == 2_000


def test_coupons_that_do_not_stack_are_refused_by_the_later_code(world: World) -> None:
    one, two = claimed(world, "ann", "bob", stacking={"mode": "OTHER_ACTIVITIES", "max_codes": 2})
    (other,) = claimed(world, "ann")
    assert refused(world, one, other, two, basket=BANQUET) == "NOT_STACKABLE 2"
    assert world.redeem(one, other, basket=BANQUET).discount == 4_000


def test_codes_of_nobody_of_another_merchant_and_of_the_pool_are_refused_alike(world: World) -> None:
    (ours,) = claimed(world, "ann")
    (theirs,) = claimed(World("another"), "ann")
    world.share(world.publish(), "lin", "STAFF")
    unclaimed = Coupon.get(Coupon.state == "AVAILABLE", Coupon.merchant_id == world.merchant.id)
    for stranger in (theirs, unclaimed, CODES.new()):
        (outcome,) = redemptions.redeem([world.order(ours, stranger, basket=BANQUET)], NOW)
        assert isinstance(outcome, errors.FailedPrecondition)
        assert (outcome.reason, outcome.metadata) == ("COUPON_REFUSED", {"index": "1"})
        (verdict,) = counter.judge(world.order(stranger), NOW)
        assert verdict == counter.UNKNOWN


def test_a_coupon_for_new_customers_is_refused_after_another_first_visit(world: World) -> None:
    (welcome,), (usual,) = claimed(world, "ann", benefit=NEW_CUSTOMER), claimed(world, "ann")
    redemption = world.redeem(usual)
    assert refused(world, welcome) == "NEW_CUSTOMERS_ONLY 0"
    world.reverse(redemption)
    assert world.redeem(welcome).discount == 500


def test_two_coupons_for_new_customers_are_not_one_persons_first_visit_twice(world: World) -> None:
    activity = world.publish(NEW_CUSTOMER, per_customer=2)
    one, two, bobs = world.claim(activity, "ann"), world.claim(activity, "ann"), world.claim(activity, "bob")
    assert refused(world, one, two, basket=BANQUET) == "NOT_STACKABLE 1"
    assert redeem_all(world.order(one), world.order(two)) == ["REDEEMED", "NEW_CUSTOMERS_ONLY"]
    assert redeem_all(world.order(bobs)) == ["REDEEMED"]


def test_a_first_visit_may_use_a_usual_coupon_too(world: World) -> None:
    (welcome,), (usual,) = claimed(world, "ann", benefit=NEW_CUSTOMER), claimed(world, "ann")
    assert world.redeem(usual, welcome, basket=BANQUET).discount == 2_500


def test_an_order_of_the_same_list_with_a_usual_coupon_was_the_first_visit(world: World) -> None:
    (welcome,), (usual,) = claimed(world, "ann", benefit=NEW_CUSTOMER), claimed(world, "ann")
    assert redeem_all(world.order(usual), world.order(welcome)) == ["REDEEMED", "NEW_CUSTOMERS_ONLY"]


def test_two_tills_cannot_both_take_a_first_visit(world: World) -> None:
    pairs = []
    for number in range(6):
        welcome = [world.claim(world.publish(NEW_CUSTOMER), f"customer-{number}") for _ in range(2)]
        pairs.append([world.order(coupon) for coupon in welcome])
    with ThreadPoolExecutor(2) as threads:
        for pair in pairs:
            told_two = list(threads.map(lambda order: redeem_all(order)[0], pair))
            assert sorted(told_two) == ["NEW_CUSTOMERS_ONLY", "REDEEMED"]


def test_a_replay_gets_the_first_redemption_as_it_is_now(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    order = world.order(coupon)
    (first,), (again,) = redemptions.redeem([order], NOW), redemptions.redeem([order], NOW + 40 * DAY)
    assert isinstance(first, Receipt)
    assert first == again
    world.reverse(first)
    (reversed_,) = redemptions.redeem([order], NOW + SECOND)
    assert isinstance(reversed_, Receipt)
    assert (reversed_.id, reversed_.reverse_time) == (first.id, NOW)
    assert fresh(coupon).state == "CLAIMED"


def test_twins_in_one_list_are_one_redemption_and_another_body_is_refused(world: World) -> None:
    one, two = claimed(world, "ann", "bob")
    order = world.order(one, request_id="the-same-request")
    got = redemptions.redeem([order, order, world.order(two, request_id="the-same-request")], NOW)
    assert [told(outcome) for outcome in got] == ["REDEEMED", "REDEEMED", "REQUEST_ID_REUSED"]
    assert got[0] == got[1]
    assert redeem_all(world.order(two, request_id="the-same-request")) == ["REQUEST_ID_REUSED"]
    assert (fresh(two).state, Redemption.select().count()) == ("CLAIMED", 1)


def test_a_refused_order_is_judged_anew_with_the_same_id(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    _, held = world.hold(coupon)
    order = world.order(coupon, request_id="the-same-request")
    assert redeem_all(order) == ["COUPON_HELD"]
    world.release(held)
    assert redeem_all(order, order) == ["REDEEMED", "REDEEMED"]


def test_one_list_of_winner_refusal_and_replay_gives_each_its_own(world: World) -> None:
    one, two, three = claimed(world, "ann", "bob", "cat")
    known = world.order(one)
    assert redeem_all(known) == ["REDEEMED"]
    orders = [world.order(two, CODES.new()), known, world.order(two), world.order(three), world.order(two, three)]
    assert redeem_all(*orders) == ["COUPON_REFUSED", "REDEEMED", "REDEEMED", "REDEEMED", "COUPON_REDEEMED"]


def test_a_held_coupon_is_the_holding_tills_for_15_minutes(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    told_, held = world.hold(coupon)
    assert (told_, bool(held)) == ([""], True)
    assert refused(world, coupon) == "COUPON_HELD 0"
    assert world.hold(coupon) == (["COUPON_HELD"], "")
    almost, over = NOW + timedelta(minutes=15) - SECOND, NOW + timedelta(minutes=15)
    assert refused(world, coupon, now=almost) == "COUPON_HELD 0"
    assert refused(world, coupon, now=over, hold=held) == "HOLD_NOT_FOUND 0"
    assert world.redeem(coupon, now=over).discount == 2_000


def test_a_redemption_consumes_its_hold(world: World) -> None:
    coupons = claimed(world, "ann", "bob")
    _, held = world.hold(*coupons, basket=BANQUET)
    assert world.redeem(*coupons, hold=held, basket=BANQUET).discount == 4_000
    assert {fresh(coupon).hold for coupon in coupons} == {None}
    assert history(coupons[0]) == ["AVAILABLE", "CLAIMED", "CLAIMED hold", "REDEEMED"]
    with pytest.raises(errors.FailedPrecondition, match="HOLD_NOT_FOUND"):
        world.release(held)


def test_what_a_hold_holds_besides_is_released_by_the_redemption(world: World) -> None:
    ann, bob = claimed(world, "ann", "bob")
    _, held = world.hold(ann, bob, basket=BANQUET)
    world.redeem(ann, hold=held, basket=BANQUET)
    assert (fresh(bob).state, fresh(bob).hold) == ("CLAIMED", None)
    assert history(bob) == ["AVAILABLE", "CLAIMED", "CLAIMED hold", "CLAIMED release"]
    assert world.redeem(bob, basket=BANQUET).discount == 2_000


def test_a_hold_of_another_store_or_of_nobody_opens_nothing(world: World) -> None:
    other = world.open_store()
    (coupon,) = claimed(world, "ann", stores=[world.store, other])
    _, held = world.hold(coupon)
    assert refused(world, coupon, hold=held, store=other) == "HOLD_NOT_FOUND 0"
    assert refused(world, coupon, hold="nobodyshold") == "HOLD_NOT_FOUND 0"
    with pytest.raises(errors.FailedPrecondition, match="HOLD_NOT_FOUND"):
        world.release(held, other)
    assert world.redeem(coupon, hold=held).discount == 2_000


def test_a_hold_is_on_all_of_the_coupons_or_on_none(world: World) -> None:
    coupons = claimed(world, "ann", "bob")
    world.void(coupons[1])
    assert world.hold(*coupons, basket=BANQUET) == (["", "COUPON_VOID"], "")
    assert fresh(coupons[0]).hold is None
    assert world.hold(coupons[0], CODES.new()) == (["", "COUPON_REFUSED"], "")


def test_a_released_coupon_is_anybodys_and_a_hold_is_released_once(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    _, held = world.hold(coupon)
    world.release(held)
    with pytest.raises(errors.FailedPrecondition, match="HOLD_NOT_FOUND"):
        world.release(held)
    assert history(coupon) == ["AVAILABLE", "CLAIMED", "CLAIMED hold", "CLAIMED release"]
    assert world.redeem(coupon).discount == 2_000


def test_a_hold_that_ended_is_not_released(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    _, held = world.hold(coupon)
    with pytest.raises(errors.FailedPrecondition, match="HOLD_NOT_FOUND"):
        world.release(held, now=NOW + timedelta(minutes=15))


def test_a_hold_replayed_is_the_same_hold_and_ends_when_it_ends(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    first = world.hold(coupon, request_id="the-same-request")
    assert world.hold(coupon, request_id="the-same-request", now=NOW + timedelta(minutes=5)) == first
    assert fresh(coupon).hold_until == NOW + timedelta(minutes=15)
    assert world.hold(coupon, request_id="the-same-request", now=NOW + timedelta(minutes=15)) == ([""], "")
    world.redeem(coupon, hold=first[1])
    assert world.hold(coupon, request_id="the-same-request") == (["COUPON_REDEEMED"], "")


def test_a_hold_with_a_reused_id_is_refused(world: World) -> None:
    one, two = claimed(world, "ann", "bob")
    world.hold(one, request_id="the-same-request")
    with pytest.raises(errors.Invalid, match="REQUEST_ID_REUSED"):
        world.hold(two, request_id="the-same-request")


def test_a_hold_without_a_basket_judges_the_coupon_alone(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    told_, held = world.hold(coupon, basket=())
    assert (told_, bool(held)) == ([""], True)


def test_a_reversed_coupon_is_usable_again_and_its_counts_are_taken_back(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    first = world.redeem(coupon)
    world.reverse(first, now=NOW + SECOND)
    assert (fresh(coupon).state, fresh(coupon).redemption_id) == ("CLAIMED", None)
    assert history(coupon) == ["AVAILABLE", "CLAIMED", "REDEEMED", "CLAIMED brought back"]
    assert world.redeem(coupon, now=NOW + 2 * SECOND).id != first.id


def test_a_redemption_is_reversed_once(world: World) -> None:
    (coupon,) = claimed(world, "ann")
    first = world.redeem(coupon)
    world.reverse(first)
    second = world.redeem(coupon)
    with pytest.raises(errors.FailedPrecondition, match="ALREADY_REVERSED"):
        world.reverse(first)
    assert fresh(coupon).redemption_id == second.id


def test_a_redemption_is_reversed_within_the_shortest_window_of_its_coupons(world: World) -> None:
    (long,), (short,) = claimed(world, "ann", reversal_window=7_200), claimed(world, "ann", reversal_window=60)
    both = world.redeem(long, short, basket=BANQUET)
    with pytest.raises(errors.FailedPrecondition, match="REVERSAL_CLOSED"):
        world.reverse(both, now=NOW + timedelta(seconds=60))
    world.reverse(both, now=NOW + timedelta(seconds=59))
    with pytest.raises(errors.FailedPrecondition, match="ALREADY_REVERSED"):
        world.reverse(both, now=NOW + DAY)


def test_without_a_window_nothing_is_reversed(world: World) -> None:
    (coupon,) = claimed(world, "ann", reversal_window=0)
    with pytest.raises(errors.FailedPrecondition, match="REVERSAL_CLOSED"):
        world.reverse(world.redeem(coupon))


def test_a_reversed_coupon_past_its_time_stays_unusable(world: World) -> None:
    (coupon,) = claimed(world, "ann", reversal_window=30 * 86_400)
    redemption = world.redeem(coupon)
    assert coupon.expire_time is not None
    world.reverse(redemption, now=coupon.expire_time)
    assert refused(world, coupon, now=coupon.expire_time) == "COUPON_EXPIRED 0"


def test_a_coupon_is_voided_once_and_never_after_its_use(world: World) -> None:
    one, two = claimed(world, "ann", "bob")
    world.hold(one)
    world.void(one)
    assert (fresh(one).state, fresh(one).hold) == ("VOID", None)
    with pytest.raises(errors.FailedPrecondition, match="COUPON_VOID"):
        world.void(one)
    world.redeem(two)
    with pytest.raises(errors.FailedPrecondition, match="COUPON_REDEEMED") as refusal:
        world.void(two)
    assert refusal.value.metadata == {"time": "2026-03-10 12:00", "redeem_time": "2026-03-10T04:00:00+00:00"}


def shared(world: World, reward: dict[str, Any], role: str = "CUSTOMER", friends: int = 1) -> list[CouponRow]:
    """The coupons that friends claimed through sam's share."""
    activity = world.publish(reward=reward, per_customer=5)
    share = world.share(activity, "sam", role)
    return [world.claim(activity, f"friend-{number}", share) for number in range(friends)]


def test_a_friends_redemption_holds_a_reward_for_the_direct_sharer(world: World) -> None:
    (coupon,) = shared(world, REWARD)
    assert Reward.select().count() == 0
    redemption = world.redeem(coupon)
    reward = Reward.get()
    assert (reward.sharer, reward.amount, reward.state) == (world.customer("sam"), 300, "HELD")
    assert (reward.redemption_id, reward.share_id, reward.grant_time) == (redemption.id, coupon.share_id, NOW + 7 * DAY)


def test_a_reward_is_held_as_long_as_the_redemption_can_be_reversed(world: World) -> None:
    activity = world.publish(reward={**REWARD, "hold_days": 0}, reversal_window=3 * 86_400)
    world.redeem(world.claim(activity, "friend", world.share(activity, "sam")))
    assert Reward.get().grant_time == NOW + 3 * DAY


def test_a_reversal_revokes_the_reward_and_frees_its_place(world: World) -> None:
    coupons = shared(world, {**REWARD, "cap_per_sharer": 1, "budget": yuan(3)}, friends=2)
    first = world.redeem(coupons[0])
    world.reverse(first, NOW + SECOND)
    assert (Reward.get().state, Reward.get().revoke_time) == ("REVOKED", NOW + SECOND)
    world.redeem(coupons[1])
    assert [row.state for row in Reward.select().order_by(Reward.id)] == ["REVOKED", "HELD"]
    world.redeem(coupons[0])
    assert Reward.select().count() == 2


@pytest.mark.parametrize("role", ["STAFF", "MERCHANT"])
def test_who_shares_as_their_work_earns_nothing(world: World, role: str) -> None:
    (coupon,) = shared(world, REWARD, role)
    world.redeem(coupon)
    assert Reward.select().count() == 0


def test_a_sharer_earns_no_more_than_the_cap_and_the_budget(world: World) -> None:
    capped, budgeted = shared(world, REWARD, friends=3), shared(world, {**REWARD, "budget": yuan(5)}, friends=2)
    for coupon in capped + budgeted:
        world.redeem(coupon)
    assert Supply.get_by_id(capped[0].activity_id).rewarded == 600
    assert Supply.get_by_id(budgeted[0].activity_id).rewarded == 300


def test_coupons_on_one_order_are_capped_together(world: World) -> None:
    world.redeem(*shared(world, REWARD, friends=5), basket=BANQUET)
    assert Reward.select().count() == 2


def test_only_the_direct_sharer_earns(world: World) -> None:
    activity = world.publish(reward=REWARD)
    parent = world.share(activity, "sam")
    child = world.share(activity, "kim")
    child.parent_id = parent.id
    child.save()
    world.redeem(world.claim(activity, "friend", child))
    assert [row.sharer for row in Reward.select()] == [world.customer("kim")]


def test_no_share_and_no_reward_in_the_terms_earn_nothing(world: World) -> None:
    rewarding, plain = world.publish(reward=REWARD), world.publish()
    world.redeem(world.claim(rewarding, "ann"))
    world.redeem(world.claim(plain, "ann", world.share(plain, "sam")))
    assert Reward.select().count() == 0
