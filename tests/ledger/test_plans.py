"""Every statement of a batch is answered from an index, however large the tables have grown."""

from collections.abc import Sequence
from itertools import cycle, product
from typing import Any, TypeVar

import pytest

from services.chassis import database
from services.chassis.drivers import played
from services.chassis.script import Ending, Script, Statement, bound, step
from services.ledger import claims, redemptions
from services.ledger.records import CouponRow
from services.schema.tables import (
    ALL,
    Activity,
    Coupon,
    Customer,
    CustomerCounter,
    DayStock,
    Merchant,
    Publication,
    RedeemedCoupon,
    Redemption,
    Replay,
    Reward,
    Row,
    Share,
    Store,
    Supply,
)
from tests.ledger.offers import yuan
from tests.ledger.world import CODES, NOW, TAGS, World, told

T = TypeVar("T")

# MariaDB's batch, and what stands in the tables already.
BATCH = 64
SUPPLIES = 500
PEOPLE = 5_000
COUPONS = 8_000
REWARD = {"amount": yuan(3), "cap_per_sharer": 3, "hold_days": 7, "budget": yuan(30)}
NEW_CUSTOMER = {"new_customer": {"off": yuan(5), "threshold": yuan(10)}}
STATES = ("CLAIMED", "REDEEMED", "REDEEMED")
# More rows than any one statement of a batch has to look at.
MOST_ROWS = 4 * BATCH
# How MariaDB reads a whole table, and a whole index.
WHOLE = {"ALL", "index"}


def insert(table: type[Row], rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 500):
        table.insert_many(rows[start : start + 500]).execute()


def fill(world: World, hot: Activity) -> None:
    """Rows as years leave them: of activities that nobody knows any more, and many of one that is still hot."""
    merchant, far = {"merchant_id": world.merchant.id}, 10**6
    insert(
        Supply,
        [
            {"activity_id": far + n, **merchant, "publication_id": far, "state": "LIVE", "stock": 9, "day_stock": 0}
            for n in range(SUPPLIES)
        ],
    )
    insert(
        Customer,
        [{**merchant, "subject": f"s{n}", "pseudonym": f"p{n:019}", "create_time": NOW} for n in range(PEOPLE)],
    )
    counters = [{"activity_id": far + n % SUPPLIES, "customer": f"p{n:019}", "claims": 1} for n in range(PEOPLE)]
    # One for each customer who ever wished for a first visit's coupon.
    first_visits = [{"activity_id": 0, "customer": f"p{n:019}"} for n in range(PEOPLE)]
    insert(CustomerCounter, counters + first_visits)
    insert(DayStock, [{"activity_id": far + n, "date": "2026-03-10", "taken": 1} for n in range(SUPPLIES)])
    coupon = {**merchant, "share_id": 0}
    insert(
        Coupon,
        [
            {**coupon, "uid": f"u{n}", "code": f"{n:016}", "activity_id": activity_id, "state": state}
            for n, (activity_id, state) in zip(
                range(COUPONS), cycle(product((hot.id, far, far + 1), STATES)), strict=False
            )
        ],
    )
    insert(Replay, [{"key": f"{n:064}", "digest": "d", "outcome": f"u{n}", "create_time": NOW} for n in range(PEOPLE)])
    share = {**merchant, "publication_id": far, "channel": "WECHAT", "sharer_role": "CUSTOMER", "state": "CREATED"}
    insert(
        Share,
        [
            {**share, "uid": f"h{n}", "code": f"h{n}", "activity_id": far, "sharer": f"p{n:019}", "create_time": NOW}
            for n in range(PEOPLE // 5)
        ],
    )
    fill_catalogue(world, far)
    fill_uses(world, hot, far)


def fill_catalogue(world: World, far: int) -> None:
    times, merchant = {"create_time": NOW, "update_time": NOW}, {"merchant_id": world.merchant.id}
    insert(
        Merchant,
        [
            {"uid": f"m{n}", "owner": "o", "display_name": "", "currency": "CNY", "create_time": NOW}
            for n in range(SUPPLIES)
        ],
    )
    place = {**merchant, **times, "zone": "Asia/Shanghai", "city": "", "category": "", "profile": {}}
    insert(Store, [{**place, "uid": f"s{n}"} for n in range(SUPPLIES)])
    activity = {**merchant, **times, "template": "", "content": {}, "state": "APPROVED"}
    insert(Activity, [{**activity, "id": far + n, "uid": f"a{n}"} for n in range(SUPPLIES)])
    shown = {**merchant, "revision": 1, "state": "LIVE", "digest": "", "snapshot": {}, "audit_id": 1}
    times = {"publish_time": NOW, "claim_start": NOW, "claim_end": NOW}
    insert(Publication, [{**shown, **times, "uid": f"p{n}", "activity_id": far + n} for n in range(SUPPLIES)])


def fill_uses(world: World, hot: Activity, far: int) -> None:
    merchant = {"merchant_id": world.merchant.id}
    use = {**merchant, "store_id": world.store.id, "terminal": "", "operator": "", "use_time": NOW, "currency": "CNY"}
    amounts = {"order_amount": 1, "discount": 1, "reverse_until": NOW}
    insert(Redemption, [{**use, **amounts, "id": far + n, "uid": f"r{n}", "order_id": "o"} for n in range(PEOPLE)])
    insert(
        RedeemedCoupon,
        [
            {
                **merchant,
                "redemption_id": far + n,
                "coupon_id": far + n,
                "activity_id": (hot.id, far)[n % 2],
                "share_id": 0,
                "customer": f"x{n:019}",
                "discount": 1,
                "gifts": [],
            }
            for n in range(PEOPLE)
        ],
    )
    reward = {**merchant, "share_id": 1, "amount": 1, "state": "HELD", "grant_time": NOW, "create_time": NOW}
    insert(
        Reward,
        [
            {**reward, "activity_id": (hot.id, far)[n % 2], "sharer": f"p{n:019}", "redemption_id": far + n}
            for n in range(PEOPLE)
        ],
    )


def explained(script: Script[T], found: dict[str, list[str]]) -> Script[T]:
    """The script; what each of its statements reads too much of goes into `found`."""
    asked = step(script, None)
    while not isinstance(asked, Ending):
        found |= {one.sql: read_too_much(one) for one in asked}
        asked = step(script, (yield asked))
    found |= {one.sql: read_too_much(one) for one in asked.statements if not one.sql.startswith("INSERT")}
    return asked.statements, asked.result


def read_too_much(statement: Statement) -> list[str]:
    sql, values = bound(statement, database.dialect())
    if sql.startswith("INSERT"):
        return []
    if database.dialect() == "sqlite":
        told = [row[3] for row in database.proxy.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
        made = {line.split()[-1] for line in told if line.startswith(("CO-ROUTINE ", "MATERIALIZE "))}
        return [line for line in told if line.startswith("SCAN ") and line.split()[1] not in made]
    rows = database.proxy.execute_sql(f"EXPLAIN {sql}", values).fetchall()
    # table, type and rows, among others; what begins with < was made on the way.
    read = [(row[2], row[3], int(row[8] or 0)) for row in rows if row[2] and not row[2].startswith("<")]
    return [str(one) for one in read if one[1] in WHOLE or one[2] > MOST_ROWS]


def measure() -> None:
    """Let MariaDB look at the tables as they are; it would in a while."""
    if database.dialect() == "mysql":
        for table in ALL:
            database.proxy.execute_sql(f"ANALYZE TABLE `{table._meta.table_name}`").fetchall()


@pytest.mark.usefixtures("db")
def test_every_statement_of_a_batch_is_answered_from_an_index() -> None:
    world = World()
    rewarding, welcoming = world.publish(stock=1_000, reward=REWARD), world.publish(NEW_CUSTOMER, stock=1_000)
    share = world.share(rewarding, "somebody", block=BATCH // 4)
    fill(world, rewarding)
    measure()
    found: dict[str, list[str]] = {}
    people = [f"s{n}" if n % 4 else f"newcomer {n}" for n in range(BATCH // 2)]
    wishes = [world.wish(rewarding, who, share) for who in people] + [world.wish(welcoming, who) for who in people]
    # The second time they are replays.
    first, again = (played(explained(claims.claiming(wishes, CODES, TAGS, NOW), found)) for _ in range(2))
    coupons = [one for one in first if isinstance(one, CouponRow)]
    assert len(coupons) == len(again) == BATCH
    _, held = world.hold(*coupons[:2])
    orders = [world.order(coupons[0], hold=held), *(world.order(coupon) for coupon in coupons[2:])]
    # Redeemed, replayed, and shown once more.
    for batch in (orders, orders, [world.order(coupon) for coupon in coupons]):
        receipts = played(explained(redemptions.redeeming(batch, NOW), found))
        assert {told(one) for one in receipts} >= {"COUPON_REDEEMED" if batch is not orders else "REDEEMED"}
    assert {sql: whole for sql, whole in found.items() if whole} == {}
    assert len(found) > 20
