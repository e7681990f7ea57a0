"""Rows of the ledger as its hot statements read and write them: plain values, columns by their names."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from services.ledger.promises import Promise

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

COUPON_COLUMNS = (
    "id, uid, code, activity_id, merchant_id, share_id, state, publication_id, customer, "
    "claim_time, start_time, expire_time, hold, hold_store_id, hold_until, redemption_id"
)
SUPPLY_COLUMNS = (
    "activity_id, merchant_id, publication_id, state, stock, day_stock, taken, budget, committed, rewarded, is_stopped"
)


def instant(microseconds: int) -> datetime:
    """The instant that a column holds."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else instant(microseconds)


def microseconds(instant: datetime) -> int:
    """What a column holds of an instant."""
    return (instant - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Use:
    """The redemption that used a coupon: its uid, when, and the uid of the store that took it."""

    redemption: str
    time: datetime
    store: str


@dataclass(slots=True)
class CouponRow:
    """A coupon; what is promised with it and its use are known only where they were asked for."""

    id: int
    uid: str
    code: str
    activity_id: int
    merchant_id: int
    share_id: int
    state: str
    publication_id: int | None = None
    customer: str | None = None
    claim_time: datetime | None = None
    start_time: datetime | None = None
    expire_time: datetime | None = None
    hold: str | None = None
    hold_store_id: int | None = None
    hold_until: datetime | None = None
    redemption_id: int | None = None
    promised: Promise | None = None
    use: Use | None = None

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> "CouponRow":
        """From the values of COUPON_COLUMNS."""
        made = cls(*row)
        made.claim_time, made.start_time, made.expire_time = _instant(row[9]), _instant(row[10]), _instant(row[11])
        made.hold_until = _instant(row[14])
        return made


@dataclass(slots=True)
class SupplyRow:
    """What an activity has left, from the values of SUPPLY_COLUMNS; see tables.Supply."""

    activity_id: int
    merchant_id: int
    publication_id: int
    state: str
    stock: int
    day_stock: int
    taken: int
    budget: int | None
    committed: int
    rewarded: int
    is_stopped: bool


class Part(NamedTuple):
    """A coupon's part in a redemption, by uids; `share` is "" for a coupon that was claimed without one."""

    coupon: str
    activity: str
    share: str
    discount: int
    gifts: list[str]


@dataclass(slots=True)
class Receipt:
    """A redemption with its parts, as its message tells it; `merchant` and `store` are uids, money is minor units."""

    id: int
    uid: str
    merchant: str
    store: str
    order_id: str
    terminal: str
    operator: str
    use_time: datetime
    currency: str
    order_amount: int
    discount: int
    reverse_until: datetime
    reverse_time: datetime | None = None
    reverse_reason: str = ""
    parts: list[Part] = field(default_factory=list)
