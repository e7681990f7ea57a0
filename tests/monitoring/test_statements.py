"""How MariaDB carries out what the business's reader asks."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import mariadb
from monitoring.business import Business
from monitoring.readings import Readings
from monitoring.trade.invariants import EVENTS
from services.chassis import database
from services.schema.tables import Activity
from tests.conftest import empty_on
from tests.ledger.world import World
from tests.monitoring.beats import Clock, asked, beat, broken, execute

# Nobody else asks for such a snapshot.
OURS = "SELECT thread_id FROM mysql.general_log WHERE argument LIKE 'START TRANSACTION WITH CONSISTENT SNAPSHOT%'"


def statements_of(server: mariadb.Server, ask: Callable[[], None]) -> list[str]:
    """What SELECTs the business's reader has sent meanwhile, as the server logged them."""
    with mariadb.connect(server.port) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1")
        try:
            ask()
        finally:
            cursor.execute("SET GLOBAL general_log = 0")
        cursor.execute(
            "SELECT DISTINCT CONVERT(argument USING utf8mb4) FROM mysql.general_log "
            f"WHERE command_type = 'Query' AND argument LIKE 'SELECT%' AND thread_id IN ({OURS})"
        )
        found = [str(row[0]) for row in cursor.fetchall()]
        cursor.execute("TRUNCATE TABLE mysql.general_log")
    return found


ROWS = 20_000
ACTIVITIES = 2_000
SLICE = 500
# What grows with the business.
BIG = {
    *("coupon", "coupon_event", "customer_counter", "redemption", "redeemed_coupon"),
    *("activity", "day_stock", "publication", "supply", "transition"),
}


def crowd(world: World, activity: Activity) -> None:
    """As if so many had claimed: rows by the bulk, each agreeing with the others."""
    publication, merchant = world.supply(activity).publication_id, world.merchant.id
    about = f"{activity.id}, {merchant}, 0"
    execute(
        "INSERT INTO coupon (id, uid, code, activity_id, merchant_id, share_id, state, publication_id, customer, "
        "claim_time, start_time, expire_time, reserved, redemption_id) "
        f"SELECT seq, seq, seq, {about}, 'REDEEMED', {publication}, seq, 1, 1, 1, 0, seq FROM seq_1_to_{ROWS}"
    )
    for before, after in (("", "AVAILABLE"), ("AVAILABLE", "CLAIMED"), ("CLAIMED", "REDEEMED")):
        execute(
            "INSERT INTO coupon_event (coupon_id, merchant_id, from_state, to_state, time, actor_role, actor, reason) "
            f"SELECT seq, {merchant}, '{before}', '{after}', 1, '', '', '' FROM seq_1_to_{ROWS}"
        )
    execute(
        "INSERT INTO redemption (id, uid, merchant_id, store_id, order_id, terminal, operator, use_time, currency, "
        "order_amount, discount, reverse_until, reverse_reason) "
        f"SELECT seq, seq, {merchant}, 1, '', '', '', seq, 'CNY', 1, 1, 1, '' FROM seq_1_to_{ROWS}"
    )
    execute(
        "INSERT INTO redeemed_coupon (redemption_id, merchant_id, coupon_id, activity_id, share_id, customer, "
        f"discount, gifts, standing) SELECT seq, {merchant}, seq, {activity.id}, 0, seq, 1, '[]', 1 "
        f"FROM seq_1_to_{ROWS}"
    )
    execute(
        "INSERT INTO customer_counter (activity_id, customer, claims) "
        f"SELECT {activity.id}, seq, 2 FROM seq_1_to_{ROWS}"
    )
    others(merchant)
    execute(f"UPDATE supply SET taken = {ROWS}, redeemed = {ROWS} WHERE activity_id = {activity.id}")
    execute(f"INSERT INTO day_stock (activity_id, date, taken) VALUES ({activity.id}, '2026-03-10', {ROWS})")


def others(merchant: int) -> None:
    """Activities that nobody has claimed from, in the state of those that were published once."""
    execute(
        "INSERT INTO activity (id, uid, merchant_id, template, content, state, revision, version, sequence, "
        "create_time, update_time) "
        f"SELECT 10000000 + seq, seq, {merchant}, '', '', 'APPROVED', 1, 1, 2, 1, 1 FROM seq_1_to_{ACTIVITIES}"
    )
    execute(
        "INSERT INTO publication (id, uid, activity_id, merchant_id, revision, state, digest, snapshot, audit_id, "
        "publish_time, claim_start, claim_end, version) "
        f"SELECT 10000000 + seq, seq, 10000000 + seq, {merchant}, 1, 'WITHDRAWN', '', '{{}}', 1, 1, 1, 1, 1 "
        f"FROM seq_1_to_{ACTIVITIES}"
    )
    execute(
        "INSERT INTO supply (activity_id, merchant_id, publication_id, state, stock, day_stock, taken, redeemed, "
        f"committed, rewarded, is_stopped) SELECT 10000000 + seq, {merchant}, 10000000 + seq, 'WITHDRAWN', 9, 9, "
        f"0, 0, 0, 0, 0 FROM seq_1_to_{ACTIVITIES}"
    )
    for sequence, subject, state in ((1, "ACTIVITY", "APPROVED"), (2, "PUBLICATION", "WITHDRAWN")):
        execute(
            "INSERT INTO transition (activity_id, sequence, subject, revision, from_state, to_state, time, actor_role, "
            f"actor, reason) SELECT 10000000 + seq, {sequence}, '{subject}', 1, '', '{state}', 1, '', '', '' "
            f"FROM seq_1_to_{ACTIVITIES}"
        )
        execute(
            "INSERT INTO day_stock (activity_id, date, taken) "
            f"SELECT 10000000 + seq, '2026-03-0{sequence}', 0 FROM seq_1_to_{ACTIVITIES}"
        )


def test_no_statement_scans_a_table_that_grows(
    maria: mariadb.Server, clock: Clock, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = empty_on("mariadb", request, tmp_path)
    db, reader = database.bind(url), Business(url, rows=SLICE, wait_seconds=1, clock=clock, ticks=clock)
    try:
        world = World()
        activity = world.publish(stock=ROWS + 100, per_customer=2)
        crowd(world, activity)
        for name in BIG:
            asked(f"ANALYZE TABLE {name}")
        told: list[Readings] = []
        read: list[int] = []

        def ask() -> None:
            for number in range((ROWS + 4 * ACTIVITIES) // SLICE + 6):
                if number < 5:
                    world.claim(activity, f"customer-{number}")
                if number == 5:
                    execute("UPDATE coupon SET expire_time = NULL WHERE id = 1")
                before = rows_read(reader)
                told.append(beat(reader, clock))
                read.append(rows_read(reader) - before)

        found = statements_of(maria, ask)
        assert len(found) > 100
        plans = [(table, kind, rows, one) for one in found for table, kind, rows in plan(one)]
        assert [one for one in plans if one[1] in ("ALL", "index") or one[2] > 2 * EVENTS] == []
        assert max(read) < 20 * SLICE
        assert {table for table, *_ in plans} == BIG
        assert broken(told[-1]) == {"unclaimed": 1}
    finally:
        reader.close()
        db.close()


def rows_read(reader: Business) -> int:
    """How many rows, of tables and of what is made of them, the server has read for the reader so far."""
    return sum(int(row[1]) for row in reader._connection.rows("SHOW SESSION STATUS LIKE 'Handler_read%'"))


def plan(statement: str) -> Iterator[tuple[str, str, int]]:
    """Of each table that grows: its name, how it is reached, and how many rows are expected."""
    aliases = dict(re.findall(r"(?:FROM|JOIN) (\w+) ([a-z])\b", statement))
    tables = {alias: name for name, alias in aliases.items()}
    for row in asked(f"EXPLAIN {statement}"):
        name = tables.get(row[2], row[2])
        if name in BIG:
            # What is estimated knows no LIMIT.
            limit = min([int(one) for one in re.findall(rf"FROM {name} .* LIMIT (\d+)\)", statement)], default=ROWS)
            yield name, str(row[3]), min(limit, int(row[8] or 0))
