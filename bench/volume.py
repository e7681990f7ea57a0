"""Millions of other people's coupons in the table, laid by SQL alone."""

from bench.world import World

_AT_ONCE = 500_000
# Activities of nobody's: what the ledger's sums are checked over has a supply.
_FIRST_ACTIVITY = 1_000_000
_PER_ACTIVITY = 5000

# Codes, uids and customers lie all over their ranges, as random ones do, but are laid in their order, so that the
# indexes are built in minutes. Every other one is claimed.
_FILL = """
    INSERT INTO coupon (uid, code, activity_id, merchant_id, share_id, state, publication_id, customer, claim_time,
        start_time, expire_time, reserved)
    SELECT
        CONCAT(LPAD(LOWER(CONV(seq * ((1 << 50) DIV {more}), 10, 32)), 10, '0'), SUBSTR(MD5(seq), 1, 10)),
        CONCAT('6', LPAD(seq * (1000000000000000 DIV {more}) + FLOOR(RAND(seq) * 1000), 15, '0')),
        {first} + seq DIV {per_activity}, {merchant}, 0, IF(seq % 2, 'CLAIMED', 'AVAILABLE'), IF(seq % 2, 1, NULL),
        IF(seq % 2, LPAD(LOWER(CONV(seq DIV 5 * ((1 << 52) DIV {more}), 10, 32)), 20, '0'), NULL),
        IF(seq % 2, {now} - seq, NULL), IF(seq % 2, {now} - seq, NULL), IF(seq % 2, {now} + 604800000000, NULL), 0
    FROM seq_{low}_to_{high}
"""


def fill(shop: World, count: int, now: int) -> None:
    """Lay `count` coupons that no load touches; `now` in microseconds."""
    with shop.connect() as connection, connection.cursor() as cursor:
        for low in range(1, count + 1, _AT_ONCE):
            high = min(low + _AT_ONCE - 1, count)
            cursor.execute(
                _FILL.format(
                    more=count + 1,
                    first=_FIRST_ACTIVITY,
                    per_activity=_PER_ACTIVITY,
                    merchant=shop.merchant_id,
                    now=now,
                    low=low,
                    high=high,
                )
            )
        cursor.execute("ANALYZE TABLE coupon")
