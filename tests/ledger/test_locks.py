"""What the hot transactions lock on MariaDB: exactly the rows that they decide by, supplies first and in key order."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

from local import mariadb
from services.chassis import database
from services.chassis.database import Database
from services.chassis.drivers import played
from services.chassis.script import Ending, Script, bound, step
from services.ledger import claims, redemptions
from services.schema.tables import Activity, Coupon, Customer
from tests.conftest import emptied
from tests.ledger.offers import yuan
from tests.ledger.world import CODES, NOW, TAGS, World, told

Rows: TypeAlias = dict[str, set[Any]]

KEYS = {"supply": "activity_id", "coupon": "id", "customer": "id", "share": "id", "publication": "id"}
# Enough for the optimizer to prefer an index to reading the table.
OTHERS = 2_000
WAIT_SECONDS = 1.5
NEW_CUSTOMER = {"new_customer": {"off": yuan(5), "threshold": yuan(10)}}


@pytest.fixture
def db(maria_url: str) -> Iterator[Database]:
    """SQLite has one lock for everything."""
    emptied(maria_url)
    bound_to = database.bind(maria_url)
    yield bound_to
    bound_to.close()


@pytest.fixture
def other(maria: mariadb.Server) -> Iterator[Any]:
    """Another connection's cursor, in a transaction."""
    with mariadb.connect(maria.port) as connection, connection.cursor() as cursor:
        connection.select_db("tests")
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.begin()
        yield cursor
        connection.rollback()


class Enough(Exception):
    """Nothing that was begun shall stand."""


def locked_by(script: Script[Any], other: Any) -> Rows:
    """The rows that a script has locked by the time it has decided."""
    store: Any = database.proxy.obj
    locked: Rows = {}
    with suppress(Enough), database.write():
        asked = step(script, None)
        while not isinstance(asked, Ending):
            asked = step(script, [store.execute_sql(*bound(one, "mysql")).fetchall() for one in asked])
        for table, key in KEYS.items():
            every, free = f"SELECT {key} FROM {table}", f"SELECT {key} FROM {table} FOR UPDATE SKIP LOCKED"
            found = []
            for query in (every, free):
                other.execute(query)
                found.append({row[0] for row in other.fetchall()})
            locked[table] = found[0] - found[1]
        raise Enough
    return {table: rows for table, rows in locked.items() if rows}


def crowded(world: World) -> Activity:
    """Another activity with many coupons and customers, some in pools, some claimed, in the same tables."""
    activity = world.publish(stock=10_000, per_customer=100)
    share = world.share(activity, "somebody", block=OTHERS // 2)
    assert share.id
    world.share(activity, "somebody else", block=OTHERS // 2)
    Customer.insert_many(
        {"merchant_id": world.merchant.id, "subject": f"s{n}", "pseudonym": f"p{n}", "create_time": NOW}
        for n in range(OTHERS)
    ).execute()
    for subject in range(5):
        world.claim(activity, f"s{subject}", share)
    return activity


def ids(*coupons: Any) -> set[int]:
    return {coupon.id for coupon in coupons}


def customer_ids(world: World, *subjects: str) -> set[int]:
    mine = (Customer.merchant_id == world.merchant.id, Customer.subject.in_(subjects))
    return {row.id for row in Customer.select().where(*mine)}


def test_a_claim_locks_its_supply_its_customer_and_the_coupon_that_it_takes(world: World, other: Any) -> None:
    crowded(world)
    activity = world.publish()
    share = world.share(activity, "bob", block=20)
    world.share(activity, "cat", block=20)
    world.customer("ann")
    first = Coupon.select().where(Coupon.share_id == share.id).order_by(Coupon.id).first()
    script = claims.claiming([world.wish(activity, "ann", share)], CODES, TAGS, NOW)
    assert locked_by(script, other) == {
        "supply": {activity.id},
        "coupon": ids(first),
        "customer": customer_ids(world, "ann"),
    }


def test_a_batch_of_claims_locks_nothing_of_other_activities(world: World, other: Any) -> None:
    crowded(world)
    activities = [world.publish(), world.publish(NEW_CUSTOMER)]
    shares = [world.share(activity, "bob", block=20) for activity in activities]
    subjects = [f"s{n}" for n in range(30)]
    wishes = [
        world.wish(activity, subject, share)
        for subject in subjects
        for activity, share in zip(activities, shares, strict=True)
    ]
    pools = Coupon.select().where(Coupon.share_id.in_([share.id for share in shares]))
    assert locked_by(claims.claiming(wishes, CODES, TAGS, NOW), other) == {
        "supply": {activity.id for activity in activities},
        "coupon": ids(*pools),
        "customer": customer_ids(world, *subjects),
    }


def test_a_redemption_locks_its_supply_and_its_coupons(world: World, other: Any) -> None:
    crowded(world)
    activity = world.publish(NEW_CUSTOMER, per_customer=5)
    shown, _ = world.claim(activity, "ann"), world.claim(activity, "ann")
    assert locked_by(redemptions.redeeming([world.order(shown)], NOW), other) == {
        "supply": {activity.id},
        "coupon": ids(shown),
    }


def test_a_redemption_by_a_hold_locks_what_the_hold_holds(world: World, other: Any) -> None:
    crowded(world)
    here, there = world.publish(), world.publish()
    shown, held_too, _ = world.claim(here, "ann"), world.claim(there, "ann"), world.claim(there, "bob")
    _, held = world.hold(shown, held_too)
    assert held
    assert locked_by(redemptions.redeeming([world.order(shown, hold=held)], NOW), other) == {
        "supply": {here.id, there.id},
        "coupon": ids(shown, held_too),
    }


def test_what_is_refused_or_unknown_locks_no_more(world: World, other: Any) -> None:
    crowded(world)
    assert locked_by(redemptions.redeeming([world.order("7000000000000000")], NOW), other) == {}
    nowhere = Activity(id=10**9, uid="nowhere")
    assert locked_by(claims.claiming([world.wish(nowhere, "nobody")], CODES, TAGS, NOW), other) == {}


def claiming_both(world: World, *activities: Activity) -> Callable[[], str]:
    wishes = [world.wish(activity, "ann") for activity in activities]
    return lambda: " ".join(told(one) for one in claims.claim(wishes, CODES, TAGS, NOW))


def redeeming_both(world: World, *activities: Activity) -> Callable[[], str]:
    order = world.order(*(world.claim(activity, "ann") for activity in activities))
    return lambda: told(redemptions.redeem([order], NOW)[0])


@pytest.mark.parametrize("prepare", [claiming_both, redeeming_both])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_supplies_are_locked_in_key_order_and_before_anything_else(
    world: World, db: Database, other: Any, prepare: Callable[..., Callable[[], str]], order: Sequence[int]
) -> None:
    crowded(world)
    both = [world.publish(), world.publish()]
    low, high = sorted(activity.id for activity in both)
    job = prepare(world, *(both[place] for place in order))
    other.execute("SELECT 1 FROM supply WHERE activity_id = %s FOR UPDATE", (low,))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(db.run_here, job)
        await_waiting()
        # Whoever waits for the lower key has neither the higher one nor any coupon or customer.
        for query in (
            f"SELECT 1 FROM supply WHERE activity_id = {high}",
            "SELECT id FROM coupon",
            "SELECT id FROM customer",
        ):
            other.execute(f"{query} FOR UPDATE NOWAIT")
        other.connection.rollback()
        assert set(waiting.result().split()) <= {"CLAIMED", "REDEEMED"}


def test_newcomers_are_entered_in_key_order(world: World) -> None:
    """Else two processes that meet the same two people at once, in opposite orders, would wait for each other."""
    activity = world.publish()
    wishes = [world.wish(activity, subject) for subject in ("cat", "ann", "bob")]
    entered: list[Any] = []

    def watched(script: Script[Any]) -> Script[Any]:
        asked = step(script, None)
        while not isinstance(asked, Ending):
            asked = step(script, (yield asked))
        entered.extend(one.args[0] for one in asked.statements if one.sql.startswith("INSERT INTO `customer` "))
        return asked.statements, asked.result

    played(watched(claims.claiming(wishes, CODES, TAGS, NOW)))
    assert [[subject for _, subject, *_ in rows] for rows in entered] == [["ann", "bob", "cat"]]


def await_waiting() -> None:
    """Returns once a transaction waits for a lock."""
    query = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    end = time.monotonic() + WAIT_SECONDS
    while not database.proxy.execute_sql(query).fetchone()[0]:
        assert time.monotonic() < end
        time.sleep(mariadb.FRESH_SECONDS)
