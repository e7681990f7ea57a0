"""Supply: what a publication brings, what can be raised without an audit, and what never shrinks."""

from typing import Any

import pytest

from services.chassis import errors
from services.ledger import claims, supply
from tests.ledger.offers import yuan
from tests.ledger.world import CODES, NOW, TAGS, World, told


def amounts(row: Any) -> tuple[int, int, int | None]:
    return row.stock, row.day_stock, row.budget


def refused(world: World, activity: Any, **wanted: int) -> str:
    with pytest.raises(errors.FailedPrecondition) as refusal:
        world.adjust(activity, **wanted)
    return f"{refusal.value.reason} {refusal.value.metadata.get('field', '')}".strip()


def test_an_approved_activity_has_the_supply_of_its_terms(world: World) -> None:
    row = world.supply(world.publish(stock=30, day_stock=4, budget=yuan(600)))
    assert (row.state, row.taken, row.committed, row.is_stopped, *amounts(row)) == ("LIVE", 0, 0, False, 30, 4, 60_000)


def test_no_budget_and_no_day_stock_are_no_limits(world: World) -> None:
    assert amounts(world.supply(world.publish())) == (100, 0, None)


def test_a_new_revision_keeps_what_was_raised_meanwhile(world: World) -> None:
    activity = world.publish(stock=10, day_stock=2, budget=yuan(200))
    world.adjust(activity, stock=20, day_stock=4, budget=40_000)
    world.revise(activity, per_customer=2)
    assert amounts(world.supply(activity)) == (20, 4, 40_000)


def test_a_new_revision_brings_what_was_changed_in_it(world: World) -> None:
    activity = world.publish(stock=10, day_stock=2)
    world.adjust(activity, stock=20)
    world.revise(activity, day_stock=3)
    assert amounts(world.supply(activity)) == (20, 3, None)
    world.revise(activity, stock=50, day_stock=3, budget=yuan(1_000))
    assert amounts(world.supply(activity)) == (50, 3, 100_000)


def test_a_new_revision_never_falls_below_what_was_taken(world: World) -> None:
    activity = world.publish(stock=10, budget=yuan(200))
    for subject in ("ann", "bob", "cat"):
        world.claim(activity, subject)
    world.revise(activity, stock=1, budget=yuan(20))
    assert amounts(world.supply(activity)) == (3, 0, 6_000)
    (outcome,) = claims.claim([world.wish(activity, "dan")], CODES, TAGS, NOW)
    assert told(outcome) == "STOCK_EXHAUSTED"


def test_a_new_revision_gives_its_own_promise_and_honours_the_old_one(world: World) -> None:
    activity = world.publish()
    old = world.claim(activity, "ann")
    world.revise(activity, benefit={"amount_off": {"tiers": [{"threshold": yuan(50), "off": yuan(5)}]}})
    new = world.claim(activity, "bob")
    assert (world.redeem(old).discount, world.redeem(new).discount) == (2_000, 500)


def test_a_new_revision_of_a_suspended_activity_is_live(world: World) -> None:
    activity = world.publish()
    world.move_publication(activity, "SUSPENDED")
    world.revise(activity, stock=200)
    assert world.supply(activity).state == "LIVE"


def test_a_stopped_activity_stays_stopped_through_a_new_revision(world: World) -> None:
    activity = world.publish()
    world.adjust(activity, is_stopped=True)
    world.revise(activity, stock=200)
    assert world.supply(activity).is_stopped


def test_raising_changes_only_what_is_named(world: World) -> None:
    activity = world.publish(stock=10, day_stock=2, budget=yuan(200))
    assert amounts(world.adjust(activity, stock=11)) == (11, 2, 20_000)
    assert amounts(world.adjust(activity, day_stock=3)) == (11, 3, 20_000)
    assert amounts(world.adjust(activity, budget=20_001)) == (11, 3, 20_001)
    assert amounts(world.adjust(activity)) == amounts(world.supply(activity)) == (11, 3, 20_001)


def test_a_day_stock_of_zero_lifts_the_limit_for_good(world: World) -> None:
    activity = world.publish(day_stock=2)
    world.adjust(activity, day_stock=0)
    assert refused(world, activity, day_stock=50) == "SUPPLY_NOT_LIMITED day_stock"
    assert amounts(world.adjust(activity, day_stock=0))[1] == 0


def test_nothing_shrinks(world: World) -> None:
    activity, boundless = world.publish(stock=10, day_stock=2, budget=yuan(200)), world.publish()
    assert refused(world, activity, stock=9) == "SUPPLY_CANNOT_SHRINK stock"
    assert refused(world, activity, day_stock=1) == "SUPPLY_CANNOT_SHRINK day_stock"
    assert refused(world, activity, budget=19_999) == "SUPPLY_CANNOT_SHRINK budget"
    assert refused(world, boundless, budget=10**9) == "SUPPLY_NOT_LIMITED budget"
    assert refused(world, activity, stock=20, budget=1) == "SUPPLY_CANNOT_SHRINK budget"
    assert amounts(world.supply(activity)) == (10, 2, 20_000)


def test_what_is_withdrawn_or_was_never_published_is_not_adjusted(world: World) -> None:
    activity = world.publish()
    world.move_publication(activity, "WITHDRAWN")
    assert refused(world, activity, stock=500) == "ACTIVITY_NOT_PUBLISHED"
    activity.id += 1
    assert refused(world, activity, stock=500) == "ACTIVITY_NOT_PUBLISHED"
    with pytest.raises(errors.FailedPrecondition, match="ACTIVITY_NOT_PUBLISHED"):
        supply.of(activity.id)


def test_what_is_suspended_can_be_raised(world: World) -> None:
    activity = world.publish()
    world.move_publication(activity, "SUSPENDED")
    assert world.adjust(activity, stock=500).stock == 500
