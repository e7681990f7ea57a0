"""The ledger's hot statements: rows locked in one order, and many written at once.

The order is supplies, in key order; under a supply's lock its coupons, which nobody locks without it; then customers
and their counters. Replays are looked up after the locks, so that what another process committed meanwhile is seen.
"""

from collections.abc import Collection, Iterable
from typing import Any

from services.chassis.script import Statement
from services.ledger.records import COUPON_COLUMNS, SUPPLY_COLUMNS

# The shown coupons' activities are read first, unlocked: they never change.
_SHOWN = "SELECT activity_id FROM coupon FORCE INDEX (coupon_code) WHERE code IN ?"
_HELD = "SELECT activity_id FROM coupon FORCE INDEX (coupon_hold) WHERE hold IN ?"
# More than a batch can name; MariaDB keeps an inner order only under a LIMIT.
_MOST_ACTIVITIES = 10_000

_POOL = (
    f"SELECT {COUPON_COLUMNS} FROM coupon WHERE activity_id = ? AND share_id = ? AND state = 'AVAILABLE' "
    "ORDER BY id LIMIT ? FOR UPDATE"
)
_OLD = (
    "SELECT customer FROM redeemed_coupon WHERE customer IN ? AND standing = 1 "
    "UNION SELECT customer FROM customer_counter WHERE activity_id = 0 AND customer IN ? AND claims > 0"
)


def lock_supplies(activity_ids: Collection[int]) -> Statement:
    """The supplies of these activities."""
    query = f"SELECT {SUPPLY_COLUMNS} FROM supply FORCE INDEX (PRIMARY) WHERE activity_id IN ? ORDER BY activity_id"
    return Statement(query + " FOR UPDATE", (tuple(sorted(activity_ids)),))


def lock_supplies_of(codes: tuple[str, ...], holds: tuple[str, ...]) -> Statement:
    """The supplies of the coupons with these codes, and of those held by these holds."""
    shown = f"{_SHOWN} UNION {_HELD}" if holds else f"{_SHOWN} GROUP BY activity_id"
    columns = ", ".join(f"s.{column}" for column in SUPPLY_COLUMNS.split(", "))
    query = (
        f"SELECT {columns} FROM ({shown} ORDER BY activity_id LIMIT {_MOST_ACTIVITIES}) a "
        "STRAIGHT_JOIN supply s FORCE INDEX (PRIMARY) ON s.activity_id = a.activity_id FOR UPDATE"
    )
    return Statement(query, (codes, holds) if holds else (codes,))


def lock_shown(codes: tuple[str, ...]) -> Statement:
    """The coupons with these codes."""
    query = f"SELECT {COUPON_COLUMNS} FROM coupon FORCE INDEX (coupon_code) WHERE code IN ? ORDER BY id FOR UPDATE"
    return Statement(query, (codes,))


def lock_held(holds: tuple[str, ...]) -> Statement:
    """The coupons that these holds hold."""
    query = f"SELECT {COUPON_COLUMNS} FROM coupon FORCE INDEX (coupon_hold) WHERE hold IN ? ORDER BY id FOR UPDATE"
    return Statement(query, (holds,))


def lock_pool(activity_id: int, share_id: int, count: int) -> Statement:
    """Up to `count` coupons of a share's pool that nobody has yet, the oldest first."""
    return Statement(_POOL, (activity_id, share_id, count))


def lock_customers(people: Collection[tuple[int, str]]) -> Statement:
    """(merchant_id, subject, pseudonym) of those of these (merchant_id, subject) who are known."""
    asked, args = _of_merchants(people)
    query = (
        f"SELECT merchant_id, subject, pseudonym FROM customer FORCE INDEX (customer_merchant_id_subject) WHERE {asked}"
    )
    return Statement(query + " ORDER BY merchant_id, subject FOR UPDATE", args)


def counters(people: Collection[tuple[int, str]], activity_ids: Collection[int]) -> Statement:
    """(activity_id, pseudonym, claims) of these people in these activities; their own and the supplies' locks cover
    them."""
    asked, args = _of_merchants(people)
    query = (
        "SELECT k.activity_id, k.customer, k.claims FROM customer c FORCE INDEX (customer_merchant_id_subject) "
        "STRAIGHT_JOIN customer_counter k FORCE INDEX (customercounter_customer) ON k.customer = c.pseudonym "
        f"WHERE ({asked}) AND k.activity_id IN ?"
    )
    return Statement(query, (*args, tuple(sorted(activity_ids))))


def counters_of(customers: tuple[str, ...]) -> Statement:
    """(activity_id, customer, claims) of whatever counters stand under these names."""
    return Statement("SELECT activity_id, customer, claims FROM customer_counter WHERE customer IN ?", (customers,))


def days(activity_ids: Collection[int], dates: Iterable[str]) -> Statement:
    """(activity_id, date, taken) of these day stocks; the supplies' locks cover them."""
    query = "SELECT activity_id, date, taken FROM day_stock WHERE activity_id IN ? AND date IN ?"
    return Statement(query, (tuple(sorted(activity_ids)), tuple(dates)))


def lock_first_visits(customers: Collection[str]) -> list[Statement]:
    """Locks that these customers come for the first time but once, and at last those of them who came before."""
    wanted = tuple(sorted(customers))
    made = [(0, customer, 0) for customer in wanted]
    return [
        # An upsert locks a row that is there for writing. INSERT IGNORE would lock it for reading, and two that did so
        # and then wait for each other to write are a deadlock.
        Statement(
            "INSERT INTO customer_counter (activity_id, customer, claims) VALUES ? "
            "ON DUPLICATE KEY UPDATE claims = claims",
            (made,),
        ),
        Statement(_OLD, (wanted, wanted)),
    ]


def replays(keys: Iterable[str]) -> Statement:
    """(key, digest, outcome) of those of these requests that were committed."""
    return Statement("SELECT `key`, digest, outcome FROM `replay` WHERE `key` IN ?", (tuple(sorted({*keys})),))


def keep_replays(rows: list[tuple[str, str, str, int]]) -> Statement:
    """Remember committed outcomes: (key, digest, outcome, microseconds), in key order as all that locks."""
    return insert("replay", "`key`, digest, outcome, create_time", sorted(rows))


def keep_events(rows: list[tuple[int, int, str, str, int, str, str, str]]) -> Statement:
    """The history of coupons: (coupon_id, merchant_id, from_state, to_state, microseconds, role, actor, reason)."""
    return insert("coupon_event", "coupon_id, merchant_id, from_state, to_state, time, actor_role, actor, reason", rows)


def insert(table: str, columns: str, rows: list[Any]) -> Statement:
    """Rows, tuples in the order of the columns."""
    return Statement(f"INSERT INTO `{table}` ({columns}) VALUES ?", (rows,))


def _of_merchants(people: Collection[tuple[int, str]]) -> tuple[str, tuple[Any, ...]]:
    """A condition that an index answers, unlike one on pairs."""
    subjects: dict[int, list[str]] = {}
    for merchant_id, subject in sorted(people):
        subjects.setdefault(merchant_id, []).append(subject)
    args = [part for merchant_id, some in subjects.items() for part in (merchant_id, tuple(some))]
    return " OR ".join(["merchant_id = ? AND subject IN ?"] * len(subjects)), tuple(args)
