"""Whether the ledger agrees with itself, and with every answer that was given, by SQL alone."""

import itertools
from collections.abc import Collection

from pymysql.cursors import Cursor

from bench.people import principal
from bench.traffic import CLAIMS
from bench.world import World
from services.chassis.call import Call, Principal
from services.schema import replay

_KEYS_AT_ONCE = 1000

# What must be the same number, each with its name.
_REDEMPTIONS = {
    "redemptions": "SELECT COUNT(*) FROM redemption",
    "coupons REDEEMED": "SELECT COUNT(*) FROM coupon WHERE state = 'REDEEMED'",
    "rows of redeemed_coupon": "SELECT COUNT(*) FROM redeemed_coupon",
    "supply.redeemed": "SELECT COALESCE(SUM(redeemed), 0) FROM supply",
    "events of redemptions": "SELECT COUNT(*) FROM coupon_event WHERE to_state = 'REDEEMED'",
}
# Filler coupons are of activities without a supply.
_CLAIMS = {
    "stock taken": "SELECT COALESCE(SUM(taken), 0) FROM supply",
    "coupons CLAIMED or REDEEMED": (
        "SELECT COUNT(*) FROM coupon JOIN supply USING (activity_id) WHERE coupon.state IN ('CLAIMED', 'REDEEMED')"
    ),
    "customers' counters": "SELECT COALESCE(SUM(claims), 0) FROM customer_counter WHERE activity_id > 0",
}


def key(shop: World, work: str, caller: int, request_id: str) -> str:
    """What the row in replay of a caller's request is called."""
    rpc = "ShareService.ClaimCoupon" if work in CLAIMS else "RedeemService.RedeemCoupon"
    return replay.key(Call(Principal(*principal(work, caller)), rpc, request_id), shop.merchant)


def disagreements(shop: World, answered: Collection[str]) -> list[str]:
    """What does not agree, in words; `answered` are the keys of the writes that were answered OK."""
    with shop.connect() as connection, connection.cursor() as cursor:
        found = [line for numbers in (_REDEMPTIONS, _CLAIMS) for line in _different(cursor, numbers)]
        missing = len(answered) - _kept(cursor, answered)
    return [*found, *([f"{missing} of {len(answered)} calls were answered OK and left no trace"] if missing else [])]


def _different(cursor: Cursor, numbers: dict[str, str]) -> list[str]:
    counts = {}
    for name, query in numbers.items():
        cursor.execute(query)
        row = cursor.fetchone()
        assert row is not None
        counts[name] = int(row[0])
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [] if len({*counts.values()}) == 1 else [f"not the same: {told}"]


def _kept(cursor: Cursor, keys: Collection[str]) -> int:
    """How many of these keys have their row in replay."""
    kept, left = 0, iter(keys)
    while some := list(itertools.islice(left, _KEYS_AT_ONCE)):
        cursor.execute("SELECT COUNT(*) FROM replay WHERE `key` IN %s", (some,))
        row = cursor.fetchone()
        assert row is not None
        kept += int(row[0])
    return kept
