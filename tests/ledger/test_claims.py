"""Claims: who gets a coupon, who is told what instead, and what a claim takes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis import database, errors
from services.chassis.database import Database
from services.ledger import claims, coupons
from services.ledger.records import COUPON_COLUMNS, CouponRow
from services.schema.tables import Coupon, CouponEvent, CustomerCounter, DayStock
from tests.ledger.offers import yuan
from tests.ledger.world import CODES, DAY, NOW, TAGS, World, fresh, told, why

NEW_CUSTOMER = {"new_customer": {"off": yuan(5), "threshold": yuan(10)}}


COLUMNS = COUPON_COLUMNS.split(", ")


def claim_all(*wishes: claims.Claim, now: datetime = NOW) -> list[str]:
    return [told(outcome) for outcome in claims.claim(wishes, CODES, TAGS, now)]


def pool(activity_id: int, share_id: int) -> int:
    return int(
        Coupon.select()
        .where(Coupon.activity_id == activity_id, Coupon.share_id == share_id, Coupon.state == "AVAILABLE")
        .count()
    )


def test_a_claim_takes_stock_day_stock_the_customers_limit_and_the_worst_case_of_the_budget(world: World) -> None:
    activity = world.publish(stock=10, day_stock=5, budget=yuan(100))
    coupon = world.claim(activity, "ann")
    supply = world.supply(activity)
    assert (supply.taken, supply.committed, supply.redeemed) == (1, 2_000, 0)
    assert DayStock.get(DayStock.activity_id == activity.id, DayStock.date == "2026-03-10").taken == 1
    assert CustomerCounter.get(CustomerCounter.activity_id == activity.id).claims == 1
    assert (coupon.state, coupon.customer, coupon.claim_time) == ("CLAIMED", world.customer("ann"), NOW)
    assert (coupon.publication_id, fresh(coupon).reserved, coupon.share_id) == (supply.publication_id, 2_000, 0)
    assert coupon.start_time == datetime(2026, 3, 9, 16, tzinfo=UTC)
    assert coupon.expire_time == datetime(2026, 3, 17, 16, tzinfo=UTC)
    kept = fresh(coupon)
    assert {column: getattr(kept, column) for column in COLUMNS} == {
        column: getattr(coupon, column) for column in COLUMNS
    }


def test_a_claim_is_remembered_with_the_pseudonym_of_who_claimed(world: World) -> None:
    coupon = world.claim(world.publish(), "ann")
    events = CouponEvent.select().where(CouponEvent.coupon_id == coupon.id).order_by(CouponEvent.id)
    assert [(event.from_state, event.to_state, event.actor_role, event.actor) for event in events] == [
        ("", "AVAILABLE", "SERVICE", ""),
        ("AVAILABLE", "CLAIMED", "CUSTOMER", world.customer("ann")),
    ]


def test_a_coupon_within_a_validity_period_starts_and_ends_with_it(world: World) -> None:
    period = {"start_date": "2026-03-20", "end_date": "2026-04-05"}
    coupon = world.claim(world.publish(validity={"period": period}), "ann")
    assert coupon.start_time == datetime(2026, 3, 19, 16, tzinfo=UTC)
    assert coupon.expire_time == datetime(2026, 4, 5, 16, tzinfo=UTC)


def test_an_activity_that_was_never_published_gives_nothing(world: World) -> None:
    activity = world.publish()
    activity.id += 1
    assert claim_all(world.wish(activity, "ann")) == ["ACTIVITY_NOT_PUBLISHED"]


@pytest.mark.parametrize("state, reason", [("SUSPENDED", "ACTIVITY_SUSPENDED"), ("WITHDRAWN", "ACTIVITY_WITHDRAWN")])
def test_a_suspended_or_withdrawn_activity_gives_nothing_and_what_was_claimed_redeems(
    world: World, state: str, reason: str
) -> None:
    activity = world.publish()
    coupon = world.claim(activity, "ann")
    world.move_publication(activity, state)
    assert claim_all(world.wish(activity, "bob")) == [reason]
    assert world.redeem(coupon).discount == 2_000


def test_a_suspended_activity_gives_again_once_it_is_live(world: World) -> None:
    activity = world.publish()
    world.move_publication(activity, "SUSPENDED")
    world.move_publication(activity, "LIVE")
    assert claim_all(world.wish(activity, "ann")) == ["CLAIMED"]


@pytest.mark.parametrize(
    "now, told_then",
    [
        (datetime(2026, 2, 28, 15, 59, 59, tzinfo=UTC), "ACTIVITY_NOT_STARTED"),
        (datetime(2026, 2, 28, 16, tzinfo=UTC), "CLAIMED"),
        (datetime(2026, 3, 31, 15, 59, 59, tzinfo=UTC), "CLAIMED"),
        (datetime(2026, 3, 31, 16, tzinfo=UTC), "ACTIVITY_ENDED"),
    ],
)
def test_claims_begin_and_end_at_the_midnights_of_the_activitys_zone(
    world: World, now: datetime, told_then: str
) -> None:
    assert claim_all(world.wish(world.publish(), "ann"), now=now) == [told_then]


def test_nothing_is_claimed_that_could_not_be_used_any_more(world: World) -> None:
    activity = world.publish(validity={"period": {"start_date": "2026-03-01", "end_date": "2026-03-09"}})
    assert claim_all(world.wish(activity, "ann")) == ["ACTIVITY_ENDED"]


def test_a_stopped_activity_gives_nothing_until_it_is_resumed(world: World) -> None:
    activity = world.publish()
    coupon = world.claim(activity, "ann")
    world.adjust(activity, is_stopped=True)
    assert claim_all(world.wish(activity, "bob")) == ["ISSUING_STOPPED"]
    assert world.redeem(coupon).discount == 2_000
    world.adjust(activity, is_stopped=False)
    assert claim_all(world.wish(activity, "bob")) == ["CLAIMED"]


def test_nobody_claims_through_a_share_of_their_own(world: World) -> None:
    activity = world.publish()
    share = world.share(activity, "ann")
    assert claim_all(world.wish(activity, "ann", share), world.wish(activity, "bob", share)) == [
        "SELF_REFERRAL",
        "CLAIMED",
    ]


def test_a_customer_gets_no_more_than_the_limit(world: World) -> None:
    activity, other = world.publish(per_customer=2), world.publish()
    wishes = [world.wish(activity, "ann") for _ in range(3)]
    assert claim_all(*wishes, world.wish(activity, "bob"), world.wish(other, "ann")) == [
        "CLAIMED",
        "CLAIMED",
        "CUSTOMER_LIMIT_REACHED",
        "CLAIMED",
        "CLAIMED",
    ]
    assert claim_all(world.wish(activity, "ann")) == ["CUSTOMER_LIMIT_REACHED"]


def test_the_limit_is_one_over_all_shares(world: World) -> None:
    activity = world.publish()
    one, two = world.share(activity, "ann"), world.share(activity, "bob")
    assert claim_all(world.wish(activity, "cat", one), world.wish(activity, "cat", two)) == [
        "CLAIMED",
        "CUSTOMER_LIMIT_REACHED",
    ]


def test_stock_is_never_oversold(world: World) -> None:
    activity = world.publish(stock=2)
    wishes = [world.wish(activity, subject) for subject in ("ann", "bob", "cat")]
    assert claim_all(*wishes) == ["CLAIMED", "CLAIMED", "STOCK_EXHAUSTED"]


def test_day_stock_turns_at_the_activitys_midnight(world: World) -> None:
    activity = world.publish(stock=3, day_stock=1)
    midnight = datetime(2026, 3, 10, 16, tzinfo=UTC)
    assert claim_all(world.wish(activity, "ann"), world.wish(activity, "bob")) == ["CLAIMED", "DAY_STOCK_EXHAUSTED"]
    assert claim_all(world.wish(activity, "bob"), now=midnight - timedelta(microseconds=1)) == ["DAY_STOCK_EXHAUSTED"]
    assert claim_all(world.wish(activity, "bob"), now=midnight) == ["CLAIMED"]


def test_the_budget_bears_the_worst_case_of_every_claim(world: World) -> None:
    percent = {"percent_off": {"percent": 50, "cap": yuan(30), "threshold": yuan(0.01)}}
    activity = world.publish(percent, budget=yuan(70))
    wishes = [world.wish(activity, subject) for subject in ("ann", "bob", "cat")]
    assert claim_all(*wishes) == ["CLAIMED", "CLAIMED", "BUDGET_EXHAUSTED"]
    world.adjust(activity, budget=9_000)
    assert claim_all(world.wish(activity, "cat"), world.wish(activity, "dan")) == ["CLAIMED", "BUDGET_EXHAUSTED"]


def test_expired_and_voided_stock_never_returns(world: World) -> None:
    activity = world.publish(stock=2, validity={"days_after_claim": 0})
    world.claim(activity, "ann")
    world.void(world.claim(activity, "bob"))
    assert claim_all(world.wish(activity, "cat"), now=NOW + 2 * DAY) == ["STOCK_EXHAUSTED"]


def test_a_share_that_runs_dry_gets_its_next_block_and_idle_shares_take_no_stock(world: World) -> None:
    activity = world.publish(stock=30)
    share, idle = world.share(activity, "ann", block=2), world.share(activity, "zoe", block=20)
    assert (pool(activity.id, share.id), world.supply(activity).taken) == (2, 0)
    wishes = [world.wish(activity, subject, share) for subject in ("bob", "cat", "dan")]
    got = claims.claim(wishes, CODES, TAGS, NOW)
    assert [told(one) for one in got] == ["CLAIMED"] * 3
    assert {one.share_id for one in got if isinstance(one, CouponRow)} == {share.id}
    assert (pool(activity.id, share.id), pool(activity.id, idle.id)) == (19, 20)
    assert world.claim(activity, "eve", share).share_id == share.id
    assert pool(activity.id, share.id) == 18


def test_a_batch_larger_than_a_block_is_minted_at_once(world: World) -> None:
    activity = world.publish()
    wishes = [world.wish(activity, f"customer-{number}") for number in range(25)]
    assert claim_all(*wishes) == ["CLAIMED"] * 25
    assert pool(activity.id, 0) == 0


def test_a_claim_without_a_share_takes_no_shares_coupon(world: World) -> None:
    activity = world.publish()
    share = world.share(activity, "ann", block=2)
    assert world.claim(activity, "bob").share_id == 0
    assert (pool(activity.id, share.id), pool(activity.id, 0)) == (2, 0)


def test_a_voided_coupon_of_the_pool_is_given_to_nobody(world: World) -> None:
    activity = world.publish()
    share = world.share(activity, "ann", block=1)
    unclaimed = Coupon.get(Coupon.share_id == share.id)
    world.void(unclaimed)
    assert world.claim(activity, "bob", share).id != unclaimed.id


def test_a_block_with_a_code_in_use_is_drawn_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    activity = world.publish()
    taken = world.claim(activity, "ann")
    drawn = iter([taken.code, CODES.new(), CODES.new()])

    class Drawn:
        def new(self) -> str:
            return next(drawn)

    with database.write():
        minted = coupons.mint(activity.id, world.merchant.id, 0, 1, Drawn(), why())  # type: ignore[arg-type]
    assert minted[0].code != taken.code


def test_only_a_new_customer_claims_an_offer_for_new_customers(world: World) -> None:
    activity, usual = world.publish(NEW_CUSTOMER, per_customer=5), world.publish()
    redemption = world.redeem(world.claim(usual, "ann"))
    assert claim_all(world.wish(activity, "ann"), world.wish(activity, "bob")) == ["NEW_CUSTOMERS_ONLY", "CLAIMED"]
    world.reverse(redemption)
    assert claim_all(world.wish(activity, "ann")) == ["CLAIMED"]


def test_a_replay_gets_the_first_coupon_as_it_is_now(world: World) -> None:
    activity = world.publish()
    first = world.claim(activity, "ann", request_id="the-same-request")
    assert world.claim(activity, "ann", request_id="the-same-request").id == first.id
    world.redeem(first)
    again = world.claim(activity, "ann", request_id="the-same-request", now=NOW + 60 * DAY)
    assert (again.id, again.state) == (first.id, "REDEEMED")
    assert world.supply(activity).taken == 1


def test_a_replay_finds_its_coupon_though_the_activity_was_withdrawn(world: World) -> None:
    activity = world.publish()
    first = world.claim(activity, "ann", request_id="the-same-request")
    world.move_publication(activity, "WITHDRAWN")
    assert world.claim(activity, "ann", request_id="the-same-request").id == first.id


def test_the_same_id_with_another_body_is_refused_and_takes_nothing(world: World) -> None:
    activity, other = world.publish(per_customer=2), world.publish()
    world.claim(activity, "ann", request_id="the-same-request")
    assert claim_all(world.wish(other, "ann", request_id="the-same-request")) == ["REQUEST_ID_REUSED"]
    assert world.supply(other).taken == 0


def test_an_id_is_the_callers_own(world: World) -> None:
    activity = world.publish()
    ann = world.claim(activity, "ann", request_id="the-same-request")
    assert world.claim(activity, "bob", request_id="the-same-request").id != ann.id


def test_twins_in_one_batch_get_one_coupon(world: World) -> None:
    activity = world.publish(per_customer=5)
    twins = [world.wish(activity, "ann", request_id="the-same-request") for _ in range(3)]
    got = claims.claim(twins, CODES, TAGS, NOW)
    assert len({one.uid for one in got if isinstance(one, CouponRow)}) == 1
    assert [told(one) for one in got] == ["CLAIMED"] * 3
    assert world.supply(activity).taken == 1


def test_twins_of_a_refusal_are_refused_alike(world: World) -> None:
    activity = world.publish()
    share = world.share(activity, "ann")
    twins = [world.wish(activity, "ann", share, request_id="the-same-request") for _ in range(2)]
    assert claim_all(*twins) == ["SELF_REFERRAL"] * 2


def test_an_id_whose_request_was_refused_in_the_same_batch_is_free_for_another_body(world: World) -> None:
    activity = world.publish()
    share = world.share(activity, "ann")
    refused = world.wish(activity, "ann", share, request_id="the-same-request", body="through my own share")
    other = world.wish(activity, "ann", request_id="the-same-request", body="directly")
    assert claim_all(refused, other, refused) == ["SELF_REFERRAL", "CLAIMED", "REQUEST_ID_REUSED"]


def test_a_refused_request_is_judged_anew_with_the_same_id(world: World) -> None:
    activity = world.publish(stock=1)
    world.claim(activity, "ann")
    wish = world.wish(activity, "bob", request_id="the-same-request")
    assert claim_all(wish) == ["STOCK_EXHAUSTED"]
    world.adjust(activity, stock=2)
    assert claim_all(wish) == ["CLAIMED"]
    assert claim_all(wish) == ["CLAIMED"]
    assert world.supply(activity).taken == 2


def test_one_list_of_winner_refusal_replay_and_reuse_gives_each_its_own(world: World) -> None:
    one, two = world.publish(stock=2), world.publish()
    share = world.share(two, "cat")
    known = world.claim(one, "ann", request_id="first-request")
    got = claims.claim(
        [
            world.wish(one, "ann"),
            world.wish(one, "ann", request_id="first-request"),
            world.wish(two, "dan", share),
            world.wish(two, "ann", request_id="first-request"),
            world.wish(one, "bob", request_id="bobs-request"),
            world.wish(two, "cat", share),
            world.wish(one, "bob", request_id="bobs-request"),
            world.wish(two, "bob", request_id="bobs-request"),
            world.wish(one, "eve"),
        ],
        CODES,
        TAGS,
        NOW,
    )
    assert [told(outcome) for outcome in got] == [
        "CUSTOMER_LIMIT_REACHED",
        "CLAIMED",
        "CLAIMED",
        "REQUEST_ID_REUSED",
        "CLAIMED",
        "SELF_REFERRAL",
        "CLAIMED",
        "REQUEST_ID_REUSED",
        "STOCK_EXHAUSTED",
    ]
    uids = [outcome.uid if isinstance(outcome, CouponRow) else None for outcome in got]
    assert uids[1] == known.uid
    assert uids[4] == uids[6] not in (None, known.uid)
    assert (world.supply(one).taken, world.supply(two).taken) == (2, 1)


def test_an_empty_list_does_nothing(world: World) -> None:
    assert claims.claim([], CODES, TAGS, NOW) == []


def test_claims_for_new_customers_in_several_activities_never_deadlock(world: World, db: Database) -> None:
    """The same customers in two activities at once: both lock the customers' own rows."""
    activities = [world.publish(NEW_CUSTOMER, per_customer=50) for _ in range(2)]
    subjects = [f"customer-{number}" for number in range(4)]
    batches = [[[world.wish(one, subject) for subject in subjects] for _ in range(12)] for one in activities]

    def claim_them(mine: list[list[claims.Claim]]) -> int:
        # Not by run_here(): it would run again what met a deadlock.
        return sum(told(outcome) == "CLAIMED" for batch in mine for outcome in claims.claim(batch, CODES, TAGS, NOW))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(claim_them, batches)) == [48, 48]


def test_a_refusal_says_it_as_an_error_with_its_reason(world: World) -> None:
    activity = world.publish(stock=1)
    world.claim(activity, "ann")
    with pytest.raises(errors.FailedPrecondition, match="STOCK_EXHAUSTED"):
        world.claim(activity, "bob")
