"""The business figures, asked of the tables that the real ledger writes, on both databases."""

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from local import mariadb
from monitoring.business import Business
from monitoring.readings import Readings, key
from monitoring.trade.traffic import EVENTS, SETTLED_SECONDS
from services.chassis import database
from services.chassis.database import Database
from services.schema import lifecycle
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, CouponEvent, Publication
from tests.conftest import empty_on, migrated
from tests.ledger.world import DAY, NOW, World, why
from tests.monitoring.beats import BEAT, Clock, asked, beat, broken, execute, figure

UNREADABLE = {key("business.readable"): 0}


def moves() -> Counter[tuple[str, str]]:
    return Counter((row.from_state, row.to_state) for row in CouponEvent.select())


def settle(business: Business, clock: Clock) -> Readings:
    """What is told once everything so far is settled and is still within the last minute."""
    return beat(business, clock, int(SETTLED_SECONDS / BEAT) + 1)


def test_moves_are_counted_a_minute_each_once(business: Business, clock: Clock, db: Database) -> None:
    world = World()
    activity = world.publish(per_customer=5)
    share = world.share(activity, "ann")
    # A whole minute of nothing.
    beat(business, clock, 20)
    held = [world.claim(activity, f"customer-{number}", share) for number in range(6)]
    receipts = [world.redeem(coupon) for coupon in held[:4]]
    beat(business, clock)
    for receipt in receipts[:2]:
        world.reverse(receipt)
    world.void(held[5])
    world.hold(held[4])
    told = settle(business, clock)
    wanted = {"claims": 6, "redemptions": 4, "reversals": 2, "voids": 1}
    assert {name: figure(told, name) for name in wanted} == pytest.approx(wanted)
    seen = moves()
    assert (seen["AVAILABLE", "CLAIMED"], seen["CLAIMED", "REDEEMED"]) == (6, 4)
    told = beat(business, clock, 12)
    assert {name: figure(told, name) for name in wanted} == dict.fromkeys(wanted, 0)


def test_what_happened_while_the_database_was_away_does_not_leap(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "sharemesh.db"
    migrated(f"sqlite:///{path}")
    db, reader = database.bind(f"sqlite:///{path}"), Business(f"sqlite:///{path}", clock=clock, ticks=clock)
    world = World()
    activity = world.publish()
    beat(reader, clock, 20)
    for number in range(20):
        world.claim(activity, f"customer-{number}")
    path.rename(tmp_path / "elsewhere.db")
    for _ in range(10):
        clock.now += 60
        assert reader.read() == UNREADABLE
    (tmp_path / "elsewhere.db").rename(path)
    # Twenty in ten minutes are two a minute.
    assert figure(settle(reader, clock), "claims") == pytest.approx(2, rel=0.1)
    reader.close()
    db.close()


def test_who_was_not_asked_for_long_begins_anew(business: Business, clock: Clock, db: Database) -> None:
    """Another sidecar was elected meanwhile: no old claims are told as new ones, and no rule to be kept unseen."""
    world = World()
    activity = world.publish(stock=1_000)
    for number in range(30):
        world.claim(activity, f"customer-{number}")
    assert broken(beat(business, clock, 10)) == {}
    for number in range(20):
        world.claim(activity, f"customer-{number + 30}")
    clock.now += 3_600
    told = business.read()
    assert not [name for name in told if ".broken" in name]
    assert (figure(told, "check.age"), figure(told, "check.lag")) == (0, 0)
    assert figure(beat(business, clock, 10), "claims") == 0


def test_more_events_than_a_beat_takes_are_made_up_for_one_by_one(
    business: Business, clock: Clock, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    activity = world.publish()
    beat(business, clock, 20)
    for number in range(30):
        world.claim(activity, f"customer-{number}")
    business._traffic._most = 7
    found = [told.get(key("business.claims"), 0) for told in (beat(business, clock) for _ in range(12))]
    assert max(found) == pytest.approx(30)
    assert EVENTS > 7


def test_a_late_commit_with_a_lower_number_is_counted_once(
    clock: Clock, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = empty_on("mariadb", request, tmp_path)
    db, reader = database.bind(url), Business(url, clock=clock, ticks=clock)
    try:
        world = World()
        activities = [world.publish(), world.publish()]
        beat(reader, clock, 20)
        inserted, go = threading.Event(), threading.Event()

        def late() -> None:
            with database.write():
                row = {"coupon_id": 1, "merchant_id": 1, "time": NOW, "actor_role": "", "actor": "", "reason": ""}
                CouponEvent.insert(from_state="AVAILABLE", to_state="CLAIMED", **row).execute()
                inserted.set()
                assert go.wait(20)

        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(db.run_here, late)
            try:
                assert inserted.wait(20)
                for number in range(5):
                    world.claim(activities[1], f"customer-{number}")
                beat(reader, clock, 2)
            finally:
                go.set()
            waiting.result()
        assert CouponEvent.select().order_by(CouponEvent.id).first().coupon_id == 1
        assert figure(settle(reader, clock), "claims") == pytest.approx(6)
        assert figure(beat(reader, clock, 12), "claims") == 0
    finally:
        reader.close()
        db.close()


def test_submissions_that_wait_are_counted_with_the_oldest_wait(business: Business, clock: Clock, db: Database) -> None:
    world = World()
    for state, ages in (("PENDING_AUDIT", (30, 90)), ("IN_REVIEW", (3_600,))):
        for age in ages:
            activity = Activity.get_by_id(world.publish().id)
            past = why(now=NOW - timedelta(seconds=age))
            with database.write():
                lifecycle.revise(activity, past)
                frozen = snapshot_of(activity)
                lifecycle.move(activity, "PENDING_AUDIT", past, snapshot=frozen, digest=lifecycle.digest_of(frozen))
                if state == "IN_REVIEW":
                    lifecycle.move(activity, "IN_REVIEW", past)
    told = business.read()
    assert (figure(told, "audit.pending"), figure(told, "audit.oldest")) == (2, pytest.approx(90))
    assert (figure(told, "review.pending"), figure(told, "review.oldest")) == (1, pytest.approx(3_600))
    (count,) = asked("SELECT COUNT(*) FROM activity WHERE state IN ('PENDING_AUDIT', 'IN_REVIEW')")
    assert count == (3,)


def test_stock_that_runs_out_is_told_of_live_publications_only(business: Business, clock: Clock, db: Database) -> None:
    world = World()
    for stock, claims in ((100, 95), (10, 10), (10, 5)):
        activity = world.publish(stock=stock)
        for number in range(claims):
            world.claim(activity, f"customer-{number}")
    suspended = world.publish(stock=1)
    world.claim(suspended, "ann")
    world.move_publication(suspended, "SUSPENDED")
    told = business.read()
    names = ("live", "stock.out", "stock.low", "stock.least")
    assert [figure(told, name) for name in names] == [3, 1, 1, 0.0]
    # When all claim periods are over nothing is live, and nothing is about to run out.
    clock.now += 60 * DAY.total_seconds()
    assert [figure(business.read(), name) for name in names] == [0, 0, 0, 100.0]
    assert Publication.select().where(Publication.state == "LIVE").count() == 3


def test_a_database_that_is_away_is_told_once_and_found_again(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/sharemesh.db"
    reader = Business(url, clock=clock, ticks=clock)
    assert [reader.read(), reader.read()] == [UNREADABLE, UNREADABLE]
    migrated(url)
    assert figure(reader.read(), "live") == 0
    reader.close()
    assert [one.message for one in caplog.records if one.name == "sharemesh.monitoring"] == [
        "business_unreadable",
        "business_readable",
    ]


def test_a_server_that_dies_is_told_once_and_found_again(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = mariadb.start(tmp_path)
    try:
        migrated(server.url)
        nowhere = re.sub("@", "@127.0.0.1:1,", server.url)
        reader = Business(nowhere, clock=clock, ticks=clock)
        assert figure(reader.read(), "live") == 0
        server.crash()
        assert [reader.read(), reader.read()] == [UNREADABLE, UNREADABLE]
        server.start_again()
        assert figure(reader.read(), "live") == 0
        reader.close()
    finally:
        server.stop()
    told = [one.message for one in caplog.records if one.name == "sharemesh.monitoring"]
    assert told == ["business_unreadable", "business_readable"]


def test_a_missing_column_is_noticed(business: Business, db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """So the tests above fail when a column is gone that a statement asks for."""
    assert business.read()
    execute("ALTER TABLE coupon RENAME COLUMN customer TO who")
    try:
        coupon = {"uid": "a", "code": "b", "activity_id": 1, "merchant_id": 1, "share_id": 0, "state": "AVAILABLE"}
        columns, values = ", ".join(coupon), ", ".join(repr(value) for value in coupon.values())
        execute(f"INSERT INTO coupon ({columns}, reserved) VALUES ({values}, 0)")
        assert business.read() == UNREADABLE
        assert "business_unreadable" in caplog.messages
    finally:
        execute("ALTER TABLE coupon RENAME COLUMN who TO customer")
