"""The same job by hand-written SQL, one transaction for each redemption or claim: what the rivals do."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.chassis.names import new_uid
from services.ledger.codes import CouponCodes

# Runs one statement, and gives back what has fetchone(), lastrowid and rowcount.
Execute = Callable[[str, Sequence[Any]], Any]

_BLOCK = 20
_REVERSAL_US = 3600 * 1_000_000

_LOCK_COUPON = (
    "SELECT coupon.id, coupon.state, coupon.activity_id, coupon.share_id, coupon.publication_id, coupon.customer,"
    " coupon.start_time, coupon.expire_time, coupon.hold, coupon.hold_until"
    " FROM coupon JOIN supply USING (activity_id) WHERE coupon.code = %s AND coupon.merchant_id = %s FOR UPDATE"
)
_REPLAY = "SELECT digest, outcome FROM replay WHERE `key` = %s"
_KEEP = "INSERT INTO replay (`key`, digest, outcome, create_time) VALUES (%s, %s, %s, %s)"
_REDEMPTION = (
    "INSERT INTO redemption (uid, merchant_id, store_id, order_id, terminal, operator, use_time, currency,"
    " order_amount, discount, reverse_until, reverse_reason) VALUES (%s, %s, %s, %s, %s, %s, %s, 'CNY', %s, %s, %s, '')"
)
_USE = (
    "UPDATE coupon SET state = 'REDEEMED', redemption_id = %s, hold = NULL, hold_store_id = NULL, hold_until = NULL"
    " WHERE id = %s AND state = 'CLAIMED'"
)
_EVENT = (
    "INSERT INTO coupon_event (coupon_id, merchant_id, from_state, to_state, time, actor_role, actor, reason)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, '')"
)
_USED = (
    "INSERT INTO redeemed_coupon (redemption_id, merchant_id, coupon_id, activity_id, share_id, customer, discount,"
    " gifts, standing) VALUES (%s, %s, %s, %s, %s, %s, %s, '[]', 1)"
)
_COUNT_USE = "UPDATE supply SET redeemed = redeemed + 1 WHERE activity_id = %s"

_LOCK_SUPPLY = (
    "SELECT supply.activity_id, supply.publication_id, supply.state, supply.stock, supply.taken,"
    " supply.is_stopped, supply.day_stock FROM supply JOIN activity ON activity.id = supply.activity_id"
    " WHERE activity.uid = %s FOR UPDATE"
)
_LOCK_CUSTOMER = "SELECT pseudonym FROM customer WHERE merchant_id = %s AND subject = %s FOR UPDATE"
_NEW_CUSTOMER = "INSERT IGNORE INTO customer (merchant_id, subject, pseudonym, create_time) VALUES (%s, %s, %s, %s)"
_COUNT_CLAIM = (
    "INSERT INTO customer_counter (activity_id, customer, claims) VALUES (%s, %s, 1)"
    " ON DUPLICATE KEY UPDATE claims = claims + 1"
)
_CLAIMS = "SELECT claims FROM customer_counter WHERE activity_id = %s AND customer = %s"
_COUNT_DAY = (
    "INSERT INTO day_stock (activity_id, date, taken) VALUES (%s, %s, 1) ON DUPLICATE KEY UPDATE taken = taken + 1"
)
_POOL = (
    "SELECT id, uid, code FROM coupon WHERE activity_id = %s AND share_id = 0 AND state = 'AVAILABLE'"
    " ORDER BY id LIMIT 1 FOR UPDATE"
)
# A code that is in use already is left out.
_MINT = "INSERT IGNORE INTO coupon (uid, code, activity_id, merchant_id, share_id, state, reserved) VALUES "
_MINTED = (
    "INSERT INTO coupon_event (coupon_id, merchant_id, from_state, to_state, time, actor_role, actor, reason)"
    " SELECT id, merchant_id, '', 'AVAILABLE', %s, 'SERVICE', '', '' FROM coupon"
    " WHERE activity_id = %s AND share_id = 0 AND state = 'AVAILABLE'"
)
_GIVE = (
    "UPDATE coupon SET state = 'CLAIMED', publication_id = %s, customer = %s, claim_time = %s, start_time = %s,"
    " expire_time = %s WHERE id = %s AND state = 'AVAILABLE'"
)
_TAKE = "UPDATE supply SET taken = taken + 1 WHERE activity_id = %s AND taken < stock"


class Refused(Exception):
    """The rules refuse it; the message is the reason."""


@dataclass(frozen=True)
class Shop:
    """Whose till it is."""

    merchant_id: int
    merchant: str
    store_id: int
    store: str


@dataclass(frozen=True)
class Order:
    """One code on an order, in minor units; `key` is the request's in replay."""

    code: str
    basket: Sequence[tuple[str, int, int]]
    order_id: str
    terminal: str
    operator: str
    key: str
    digest: str


@dataclass(frozen=True)
class Claim:
    """A customer's wish for a coupon of an activity (its uid)."""

    activity: str
    subject: str
    key: str
    digest: str


class Terms:
    """What publications promise, each read once: they never change."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, Any]] = {}

    def of(self, execute: Execute, publication_id: int) -> dict[str, Any]:
        """The plain terms of a publication."""
        if publication_id not in self._known:
            row = execute("SELECT snapshot FROM publication WHERE id = %s", (publication_id,)).fetchone()
            self._known[publication_id] = json.loads(row[0])["terms"]
        return self._known[publication_id]


def redeem(execute: Execute, shop: Shop, order: Order, terms: Terms) -> dict[str, Any]:
    """Redeem one code, inside a transaction; what the till is told. Raises Refused."""
    now = _now()
    coupon = execute(_LOCK_COUPON, (order.code, shop.merchant_id)).fetchone()
    known = execute(_REPLAY, (order.key,)).fetchone()
    if known is not None:
        if known[0] != order.digest:
            raise Refused("REQUEST_ID_REUSED")
        return {"name": f"redemptions/{known[1]}"}
    if coupon is None:
        raise Refused("COUPON_REFUSED")
    coupon_id, state, activity_id, share_id, publication_id, customer, start, expire, hold, hold_until = coupon
    if state != "CLAIMED":
        raise Refused("COUPON_REDEEMED" if state == "REDEEMED" else "COUPON_STATE")
    if not start <= now < expire or (hold and now < hold_until):
        raise Refused("COUPON_EXPIRED")
    discount, total = _discount(terms.of(execute, publication_id), shop, order)
    uid = new_uid()
    place = shop.merchant_id, shop.store_id, order.order_id, order.terminal, order.operator
    made = execute(_REDEMPTION, (uid, *place, now, total, discount, now + _REVERSAL_US)).lastrowid
    if execute(_USE, (made, coupon_id)).rowcount != 1:
        raise Refused("TRY_AGAIN")
    execute(_EVENT, (coupon_id, shop.merchant_id, "CLAIMED", "REDEEMED", now, "STAFF", order.operator))
    execute(_USED, (made, shop.merchant_id, coupon_id, activity_id, share_id, customer, discount))
    execute(_COUNT_USE, (activity_id,))
    execute(_KEEP, (order.key, order.digest, uid, now))
    return {
        "name": f"redemptions/{uid}",
        "merchant": f"merchants/{shop.merchant}",
        "store": f"stores/{shop.store}",
        "order_id": order.order_id,
        "terminal": order.terminal,
        "operator": order.operator,
        "use_time": now,
        "order_amount": total,
        "discount": discount,
        "coupons": [{"coupon": coupon_id, "activity": activity_id, "discount": discount, "gifts": []}],
    }


def claim(execute: Execute, shop: Shop, wish: Claim, codes: CouponCodes, terms: Terms) -> dict[str, Any]:
    """Claim a coupon, inside a transaction; what the customer is told. Raises Refused."""
    now = _now()
    row = execute(_LOCK_SUPPLY, (wish.activity,)).fetchone()
    if row is None or row[2] != "LIVE" or row[5]:
        raise Refused("ACTIVITY_NOT_PUBLISHED")
    activity_id, publication_id, _, stock, taken, _, day_stock = row
    known = execute(_REPLAY, (wish.key,)).fetchone()
    if known is not None:
        if known[0] != wish.digest:
            raise Refused("REQUEST_ID_REUSED")
        return {"name": f"coupons/{known[1]}"}
    promised = terms.of(execute, publication_id)
    start, expire, today = _validity(promised, now)
    customer = _customer(execute, shop.merchant_id, wish.subject, now)
    execute(_COUNT_CLAIM, (activity_id, customer))
    claims = execute(_CLAIMS, (activity_id, customer)).fetchone()[0]
    if taken >= stock or day_stock or claims > promised["per_customer"]:
        raise Refused("CUSTOMER_LIMIT_REACHED")
    execute(_COUNT_DAY, (activity_id, today))
    coupon_id, uid, code = _coupon(execute, activity_id, shop.merchant_id, codes, now)
    if execute(_GIVE, (publication_id, customer, now, start, expire, coupon_id)).rowcount != 1:
        raise Refused("TRY_AGAIN")
    execute(_EVENT, (coupon_id, shop.merchant_id, "AVAILABLE", "CLAIMED", now, "CUSTOMER", customer))
    execute(_TAKE, (activity_id,))
    execute(_KEEP, (wish.key, wish.digest, uid, now))
    return {
        "name": f"coupons/{uid}",
        "activity": f"activities/{wish.activity}",
        "merchant": f"merchants/{shop.merchant}",
        "code": code,
        "state": "CLAIMED",
        "benefit": promised["benefit"],
        "claim_time": now,
        "start_time": start,
        "expire_time": expire,
    }


def digest_of(body: bytes) -> str:
    """The digest of a request, by which a replay is known from another body."""
    return hashlib.sha256(body).hexdigest()


def _discount(terms: dict[str, Any], shop: Shop, order: Order) -> tuple[int, int]:
    """What comes off and the order's total, in minor units."""
    if f"stores/{shop.store}" not in terms["scope"]["stores"]:
        raise Refused("STORE_NOT_COVERED")
    total = sum(quantity * price for _, quantity, price in order.basket)
    tiers = terms["benefit"]["amount_off"]["tiers"]
    off = max((tier["off"]["minor"] for tier in tiers if tier["threshold"]["minor"] <= total), default=0)
    if not off:
        raise Refused("THRESHOLD_NOT_REACHED")
    return off, total


def _customer(execute: Execute, merchant_id: int, subject: str, now: int) -> str:
    known = execute(_LOCK_CUSTOMER, (merchant_id, subject)).fetchone()
    if known is None:
        execute(_NEW_CUSTOMER, (merchant_id, subject, new_uid(), now))
        known = execute(_LOCK_CUSTOMER, (merchant_id, subject)).fetchone()
    return str(known[0])


def _coupon(execute: Execute, activity_id: int, merchant_id: int, codes: CouponCodes, now: int) -> tuple[int, str, str]:
    """The oldest coupon that nobody has, of a block that is minted now if there is none: (id, uid, code)."""
    found = execute(_POOL, (activity_id,)).fetchone()
    if found is None:
        rows = [(new_uid(), codes.new(), activity_id, merchant_id) for _ in range(_BLOCK)]
        values = ", ".join(["(%s, %s, %s, %s, 0, 'AVAILABLE', 0)"] * len(rows))
        execute(_MINT + values, [value for row in rows for value in row])
        execute(_MINTED, (now, activity_id))
        found = execute(_POOL, (activity_id,)).fetchone()
    return int(found[0]), str(found[1]), str(found[2])


def _validity(terms: dict[str, Any], now: int) -> tuple[int, int, str]:
    """From and until when a coupon claimed now is used, in microseconds, and today's date, in the activity's zone."""
    zone = ZoneInfo(terms["zone"])
    today = datetime.fromtimestamp(now // 1_000_000, zone).replace(hour=0, minute=0, second=0)
    end = today + timedelta(days=terms["validity"]["days_after_claim"] + 1)
    return int(today.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000, today.date().isoformat()


def _now() -> int:
    return time.time_ns() // 1000
