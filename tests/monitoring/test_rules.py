"""The numbers that must be 0: what breaks a rule is found, and the real ledger's traffic never is."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from monitoring.business import Business
from monitoring.readings import key
from services.chassis import database
from services.chassis.database import Database
from services.ledger import customers
from services.schema.tables import Activity, Redemption
from tests.conftest import migrated
from tests.fire import CUSTOMERS, Fire
from tests.ledger.world import TAGS, World
from tests.monitoring.beats import BEAT, Clock, asked, beat, broken, execute, figure
from tests.test_invariants import lay


def burn(db: Database, seed: int) -> None:
    """Claims, holds, redemptions, reversals and voids at random, and an erasure now and then."""
    fire = db.run_here(lambda: Fire(db, seed))
    for number in range(40):
        fire.once()
        if number % 10 == 9:
            db.run_here(erased, CUSTOMERS[seed])


def erased(subject: str) -> None:
    with database.write():
        customers.erase(subject, TAGS)


def govern(db: Database, activity: Activity) -> None:
    """Claims of an activity that is suspended, resumed and revised between them."""
    world = World.found()
    for number in range(12):
        for claimant in range(3):
            db.run_here(world.claim, activity, f"{number}-{claimant}")
        db.run_here(world.move_publication, activity, "SUSPENDED")
        db.run_here(world.move_publication, activity, "LIVE")
        db.run_here(partial(world.revise, activity, stock=200 - number, day_stock=100 - number))
    # Less than was sold already: that is a merchant's right.
    db.run_here(partial(world.revise, activity, stock=1, day_stock=1))


def watch(reader: Business, over: threading.Event) -> set[str]:
    """Whatever was told or only suspected to be broken, until it is over and three passes more."""
    found: set[str] = set()
    passes = 0
    while not over.is_set() or passes < 3:
        told = reader.read()
        found |= {name for name, number in told.items() if ".broken" in name and number}
        found |= {str(place) for place, rows in reader._invariants._found._of.items() if rows}
        passes += over.is_set() and told.get(key("business.check.progress")) == 100.0
    return found


def test_no_traffic_looks_like_a_violation(database_url: str, db: Database) -> None:
    """All that the ledger does at once, looked at as fast as can be."""
    db.run_here(lay)
    governed = World.found().publish(stock=200, day_stock=100)
    reader, over = Business(database_url, rows=50, wait_seconds=0), threading.Event()
    with ThreadPoolExecutor(5) as threads:
        watching = threads.submit(watch, reader, over)
        burning = [*(threads.submit(burn, db, seed) for seed in range(3)), threads.submit(govern, db, governed)]
        try:
            for one in burning:
                one.result()
        finally:
            over.set()
        assert watching.result() == set()
    reader.close()
    assert Redemption.select().count() > 10
    ((taken, day_stock, stock),) = asked(
        f"SELECT taken, day_stock, stock FROM supply WHERE activity_id = {governed.id}"
    )
    assert (taken >= 36, day_stock, stock) == (True, 1, taken)


def one_more_use() -> None:
    """A second standing redemption of the same coupon, which the database itself refuses."""
    index = "redeemedcoupon_coupon_id_standing"
    on = " ON redeemed_coupon" if database.dialect() == "mysql" else ""
    execute(f"DROP INDEX {index}{on}")
    columns = "merchant_id, coupon_id, activity_id, share_id, customer, gifts, standing"
    execute(
        f"INSERT INTO redeemed_coupon (redemption_id, discount, {columns}) "
        f"SELECT redemption_id + 1, 0, {columns} FROM redeemed_coupon"
    )


def one_use_again() -> None:
    execute("DELETE FROM redeemed_coupon WHERE discount = 0")
    execute("CREATE UNIQUE INDEX redeemedcoupon_coupon_id_standing ON redeemed_coupon (coupon_id, standing)")


REDEEMED, CLAIMED = "state = 'REDEEMED'", "state = 'CLAIMED'"
PLANTED: dict[str, tuple[str | Callable[[], None], str | Callable[[], None], set[str]]] = {
    "more taken than there is": (
        "UPDATE supply SET stock = taken - 1",
        "UPDATE supply SET stock = 100",
        {"oversold"},
    ),
    "a day sold out twice": (
        "UPDATE day_stock SET date = '2026-03-15'",
        "UPDATE day_stock SET date = '2026-03-10'",
        {"oversold"},
    ),
    "more reserved than the budget": (
        "UPDATE supply SET budget = 1, committed = 2",
        "UPDATE supply SET budget = NULL, committed = 0",
        {"overspent"},
    ),
    "a claim that took nothing": (
        "UPDATE supply SET taken = taken - 1",
        "UPDATE supply SET taken = taken + 1",
        {"miscounted"},
    ),
    "taken without a coupon": (
        "UPDATE supply SET taken = taken + 1; UPDATE day_stock SET taken = taken + 1",
        "UPDATE supply SET taken = taken - 1; UPDATE day_stock SET taken = taken - 1",
        {"miscounted"},
    ),
    "more claimed than a customer may": (
        "UPDATE customer_counter SET claims = 2 WHERE activity_id > 0",
        "UPDATE customer_counter SET claims = 1 WHERE activity_id > 0",
        {"overclaimed"},
    ),
    "a suspended offer that sells on": (
        "UPDATE publication SET state = 'SUSPENDED'",
        "UPDATE publication SET state = 'LIVE'",
        {"unfollowed", "untold"},
    ),
    "two standing redemptions": (one_more_use, one_use_again, {"twice"}),
    "redeemed by nothing": (
        "UPDATE redeemed_coupon SET standing = NULL",
        "UPDATE redeemed_coupon SET standing = 1",
        {"unmatched"},
    ),
    "redeemed by what was reversed": (
        "UPDATE redemption SET reverse_time = 1",
        "UPDATE redemption SET reverse_time = NULL",
        {"unmatched"},
    ),
    "used and still claimed": (
        "UPDATE coupon SET state = 'CLAIMED' WHERE state = 'REDEEMED'",
        "UPDATE coupon SET state = 'REDEEMED' WHERE redemption_id IS NOT NULL",
        {"unmatched", "untold"},
    ),
    "given to nobody": (
        "UPDATE coupon SET expire_time = NULL WHERE state = 'CLAIMED'",
        "UPDATE coupon SET expire_time = 1 WHERE state = 'CLAIMED'",
        {"unclaimed"},
    ),
    "a coupon without history": (
        "UPDATE coupon_event SET coupon_id = -coupon_id",
        "UPDATE coupon_event SET coupon_id = -coupon_id",
        {"untold"},
    ),
    "an activity that moved without history": (
        "UPDATE activity SET state = 'DRAFT'",
        "UPDATE activity SET state = 'APPROVED'",
        {"untold"},
    ),
    "a lost transition": (
        "UPDATE activity SET sequence = sequence + 1",
        "UPDATE activity SET sequence = sequence - 1",
        {"untold"},
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_violation_is_found_and_gone_when_mended(
    planted: str, business: Business, clock: Clock, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    activity = world.publish(stock=100, day_stock=10 if planted == "a day sold out twice" else 0)
    held = [world.claim(activity, f"customer-{number}") for number in range(10)]
    world.redeem(held[0])
    if planted == "a day sold out twice":
        execute("UPDATE supply SET day_stock = 9")
    assert broken(beat(business, clock, 6)) == {}
    break_it, mend_it, wanted = PLANTED[planted]
    change(break_it)
    assert broken(beat(business, clock, 6)).keys() == wanted
    told = [record for record in caplog.records if record.message == "invariant_broken"]
    assert {record.args["rule"] for record in told if isinstance(record.args, dict)} == wanted
    beat(business, clock, 3)
    assert len([record for record in caplog.records if record.message == "invariant_broken"]) == len(told)
    change(mend_it)
    assert broken(beat(business, clock, 6)) == {}


def change(how: str | Callable[[], None]) -> None:
    if callable(how):
        how()
    else:
        for sql in how.split("; "):
            execute(sql)


def test_a_changed_coupon_is_checked_at_the_next_beat(database_url: str, clock: Clock, db: Database) -> None:
    world = World()
    activity = world.publish(stock=1_000)
    for number in range(30):
        world.claim(activity, f"customer-{number}")
    # One row a beat: the pass alone would take half a minute to come there.
    reader = Business(database_url, rows=1, wait_seconds=1, clock=clock, ticks=clock)
    assert figure(reader.read(), "check.lag") == 0
    world.claim(activity, "late")
    execute(f"UPDATE coupon SET expire_time = NULL WHERE id = {asked('SELECT MAX(coupon_id) FROM coupon_event')[0][0]}")
    assert figure(beat(reader, clock, 2), "broken", "unclaimed") == 1
    reader.close()


def test_nothing_is_told_to_be_whole_before_a_whole_pass(database_url: str, clock: Clock, db: Database) -> None:
    world = World()
    activity = world.publish(stock=1_000)
    for number in range(30):
        world.claim(activity, f"customer-{number}")
    reader = Business(database_url, rows=10, clock=clock, ticks=clock)
    told = beat(reader, clock, 2)
    assert not [name for name in told if ".broken" in name]
    assert figure(told, "check.age") == pytest.approx(2 * BEAT)
    told = beat(reader, clock, 4)
    assert broken(told) == {}
    reader.close()


def test_a_slice_that_takes_too_long_is_made_smaller(clock: Clock, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sharemesh.db"
    migrated(url)
    db = database.bind(url)
    world = World()
    activity = world.publish()
    share = world.share(activity, "ann", block=2_000)
    # No statement may take longer than SQLite takes to ask for the first time whether to go on.
    reader = Business(url, rows=5_000, statement_seconds=0, clock=clock, ticks=clock)
    assert share.id
    assert not [name for name in beat(reader, clock) if ".broken" in name]
    assert broken(beat(reader, clock, 100)) == {}
    reader.close()
    db.close()


def test_changes_that_take_too_long_are_followed_in_smaller_steps(clock: Clock, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sharemesh.db"
    migrated(url)
    db = database.bind(url)
    world = World()
    reader = Business(url, statement_seconds=0, clock=clock, ticks=clock)
    assert figure(beat(reader, clock), "check.lag") == 0
    world.share(world.publish(), "ann", block=2_000)
    assert [name for name in beat(reader, clock) if name == key("business.check.lag")] == [], "it took too long"
    assert figure(beat(reader, clock, 100), "check.lag") == 0
    reader.close()
    db.close()
