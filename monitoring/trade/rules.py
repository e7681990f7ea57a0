"""What must hold of the services' rows, each rule as the SQL condition by which a row breaks it.

A condition speaks of one row `t`, asks others by index alone, and is judged within one snapshot: every transaction of
the services leaves all rules kept. The names of the rules:

- oversold: more was taken of an activity's stock, or of a day's, than there is.
- overspent: an activity's claims reserve more than its budget.
- miscounted: what a supply says was taken is not what its days add up to, or not what coupons were given.
- unfollowed: a supply does not show its publication's state, so that it sells what must not be sold, or does not sell.
- twice: a coupon has two redemptions that were not reversed.
- unmatched: a coupon is redeemed without the redemption that it names, or has one and is not redeemed.
- unclaimed: a coupon is given without all that a claim writes, or has a holder and is not given.
- overclaimed: somebody has claimed more of an activity's coupons than any revision of it allows.
- untold: a coupon, activity or publication is in a state that its history does not end with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

OVERSOLD, MISCOUNTED, OVERCLAIMED = "oversold", "miscounted", "overclaimed"


@dataclass(frozen=True)
class Table:
    """A table that is walked by its primary key, one integer, and the conditions that its rows break rules by."""

    name: str
    key: str
    wrongs: Mapping[str, str] = field(default_factory=dict)

    def bound(self) -> str:
        """The last key of the next slice and how many rows it has; asked with the key before it and the most rows."""
        return (
            f"SELECT MAX(s.{self.key}), COUNT(*) FROM "
            f"(SELECT {self.key} FROM {self.name} WHERE {self.key} > ? ORDER BY {self.key} LIMIT ?) s"
        )

    def broken(self, rule: str, among: str) -> str:
        """The keys of those rows among some that break the rule; `among` is a condition on t."""
        return f"SELECT t.{self.key} FROM {self.name} t WHERE {among} AND ({self.wrongs[rule]})"

    @property
    def slice(self) -> str:
        """Those above one key and up to another."""
        return f"t.{self.key} > ? AND t.{self.key} <= ?"

    def these(self, number: int) -> str:
        """Those with the so many keys."""
        return f"t.{self.key} IN ({', '.join('?' * number)})"


# A new publication may bring a lower day stock on a day that has sold more: what counts are the days after it, in any
# zone. Adjustments only raise it.
_DAY_OVERSOLD = (
    "(SELECT COUNT(*) FROM day_stock d JOIN publication p ON p.id = t.publication_id "
    "WHERE d.activity_id = t.activity_id AND d.taken > t.day_stock AND d.date > {next_day}) > 0"
)
_NEXT_DAY = {
    True: "DATE(p.publish_time / 1000000 + 86400, 'unixepoch')",
    False: "CAST(DATE(FROM_UNIXTIME(p.publish_time DIV 1000000 + 86400)) AS CHAR)",
}

# Counts, since a database may answer EXISTS by reading the whole other table once.
_STANDING = "(SELECT COUNT(*) FROM redeemed_coupon r WHERE r.coupon_id = t.id AND r.standing = 1)"
_RIGHTFUL = (
    "(SELECT COUNT(*) FROM redeemed_coupon r JOIN redemption u ON u.id = r.redemption_id "
    "WHERE r.coupon_id = t.id AND r.standing = 1 AND r.redemption_id = t.redemption_id AND u.reverse_time IS NULL)"
)


def supply(is_sqlite: bool) -> Table:
    """What activities have left to give. Never changed but with a claim, or to more than was taken."""
    return Table(
        "supply",
        "activity_id",
        {
            OVERSOLD: "t.taken > t.stock OR (t.day_stock > 0 AND "
            + _DAY_OVERSOLD.format(next_day=_NEXT_DAY[is_sqlite])
            + ")",
            "overspent": "t.committed > t.budget",
            MISCOUNTED: "t.taken <> COALESCE("
            "(SELECT SUM(d.taken) FROM day_stock d WHERE d.activity_id = t.activity_id), 0)",
            "unfollowed": "t.state <> COALESCE((SELECT p.state FROM publication p "
            "WHERE p.id = t.publication_id AND p.activity_id = t.activity_id), '')",
        },
    )


ACTIVITY = Table(
    "activity",
    "id",
    {
        "untold": "t.state <> COALESCE((SELECT m.to_state FROM transition m WHERE m.activity_id = t.id "
        "AND m.subject = 'ACTIVITY' ORDER BY m.sequence DESC LIMIT 1), '') "
        "OR t.sequence <> COALESCE((SELECT MAX(m.sequence) FROM transition m WHERE m.activity_id = t.id), 0)"
    },
)
# A revision is approved once.
PUBLICATION = Table(
    "publication",
    "id",
    {
        "untold": "t.state <> COALESCE((SELECT m.to_state FROM transition m WHERE m.activity_id = t.activity_id "
        "AND m.subject = 'PUBLICATION' AND m.revision = t.revision ORDER BY m.sequence DESC LIMIT 1), '')"
    },
)
# A coupon's events are written under its activity's lock, so the last by number is the last.
COUPON = Table(
    "coupon",
    "id",
    {
        "untold": "t.state <> COALESCE((SELECT e.to_state FROM coupon_event e WHERE e.coupon_id = t.id "
        "ORDER BY e.id DESC LIMIT 1), '')",
        "unclaimed": "(t.state IN ('CLAIMED', 'REDEEMED') AND (t.customer IS NULL OR t.publication_id IS NULL "
        "OR t.claim_time IS NULL OR t.start_time IS NULL OR t.expire_time IS NULL)) "
        "OR (t.state = 'AVAILABLE' AND (t.customer IS NOT NULL OR t.claim_time IS NOT NULL))",
        "twice": f"{_STANDING} > 1",
        "unmatched": f"(t.state = 'REDEEMED' AND {_RIGHTFUL} = 0) "
        f"OR (t.state <> 'REDEEMED' AND (t.redemption_id IS NOT NULL OR {_STANDING} > 0))",
    },
)


def tables(is_sqlite: bool) -> tuple[Table, ...]:
    """All that are walked, in this order."""
    return supply(is_sqlite), ACTIVITY, PUBLICATION, COUPON


# Every rule's name.
NAMES = tuple(sorted({OVERCLAIMED, *(name for table in tables(True) for name in table.wrongs)}))

# Coupons of a slice that were given to somebody, by activity. Once given, always given: neither a reversal, nor
# voiding, nor an erasure takes the holder's pseudonym off.
GIVEN = (
    "SELECT t.activity_id, COUNT(*) FROM coupon t WHERE t.id > ? AND t.id <= ? AND t.customer IS NOT NULL GROUP BY 1"
)
# The most claims of one of a slice's holders, by activity; one is what everybody may.
CLAIMS = (
    "SELECT t.activity_id, MAX(k.claims) FROM coupon t "
    "JOIN customer_counter k ON k.activity_id = t.activity_id AND k.customer = t.customer "
    "WHERE t.id > ? AND t.id <= ? AND k.claims > 1 GROUP BY t.activity_id"
)
# What the most generous of an activity's revisions allows each customer; one that does not say allows one.
LIMIT = {
    is_sqlite: f"SELECT MAX(CAST(COALESCE({value}(p.snapshot, '$.terms.per_customer'), 1) AS {integer})) "
    "FROM publication p WHERE p.activity_id = ?"
    for is_sqlite, value, integer in ((True, "json_extract", "INTEGER"), (False, "JSON_VALUE", "SIGNED"))
}
TAKEN = "SELECT t.activity_id, t.taken, t.stock FROM supply t WHERE t.activity_id > ? AND t.activity_id <= ?"
# Of the events above one id and up to another: the coupons, as a condition, and their activities.
CHANGED = "t.id IN (SELECT e.coupon_id FROM coupon_event e WHERE e.id > ? AND e.id <= ?)"
CHANGED_ACTIVITIES = (
    "SELECT DISTINCT c.activity_id FROM coupon_event e JOIN coupon c ON c.id = e.coupon_id WHERE e.id > ? AND e.id <= ?"
)
EVENTS = Table("coupon_event", "id")
LAST_EVENT = "SELECT MAX(id) FROM coupon_event"
# What MariaDB takes the table to have, without counting.
COUPONS = "SELECT table_rows FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'coupon'"
