"""What the load is about: one merchant's shop with its staff, activities on ordinary terms, and coupons to redeem."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql

from services.chassis import database
from services.chassis.keys import Keyring
from services.chassis.names import name, new_uid
from services.ledger import schedule, supply
from services.ledger.codes import CouponCodes
from services.ledger.terms import Terms
from services.schema import lifecycle, migrate
from services.schema.lifecycle import Actor, Why
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, Customer, Merchant, StaffBinding, Store
from services.start import MASTER_KEY

MOST_CALLERS = 256
# Redemptions of a shop are of many promotions, claims of a flash crowd of one.
REDEEMED_ACTIVITIES = 16
SPREAD_ACTIVITIES = 64
_HOLDERS = 500
_STOCK = 2_000_000_000
_ROWS = 1000
_DAY = 86_400_000_000  # microseconds

_COUPON = (
    "INSERT INTO coupon (uid, code, activity_id, merchant_id, share_id, state, publication_id, customer, claim_time,"
    " start_time, expire_time, reserved) VALUES (%s, %s, %s, %s, 0, 'CLAIMED', %s, %s, %s, %s, %s, 0)"
)
_COUNTER = (
    "INSERT INTO customer_counter (activity_id, customer, claims) VALUES (%s, %s, %s)"
    " ON DUPLICATE KEY UPDATE claims = claims + VALUES(claims)"
)


@dataclass(frozen=True)
class Offer:
    """An activity with its live publication."""

    activity_id: int
    activity: str  # its uid
    publication_id: int


@dataclass
class World:
    """One database's world, as plain values; `codes` are claimed coupons that nobody has redeemed yet."""

    url: str
    var: Path
    merchant_id: int
    merchant: str
    store_id: int
    store: str
    redeemed: list[Offer]
    hot: Offer
    spread: list[Offer]
    holders: list[str]
    codes: list[str] = field(default_factory=list)

    def connect(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection of one's own, in autocommit."""
        return connect(self.url)

    def take_codes(self, count: int) -> list[str]:
        """That many codes of coupons to redeem; laid now if there are not enough."""
        if count > len(self.codes):
            self.codes += self._lay_coupons(max(count - len(self.codes), 10 * _ROWS))
        taken = self.codes[:count]
        del self.codes[:count]
        return taken

    def give_back(self, codes: Sequence[str]) -> None:
        """Take back codes that were not used."""
        self.codes += codes

    def _lay_coupons(self, count: int) -> list[str]:
        codes = CouponCodes(Keyring.open(self.var / MASTER_KEY))
        rows: list[tuple[Any, ...]] = []
        with self.connect() as connection, connection.cursor() as cursor:
            connection.begin()
            while len(rows) < count:
                some = [self._new_coupon(codes) for _ in range(_ROWS)]
                # Of a million random codes, two are the same now and then: others are made in place of all these.
                with suppress(pymysql.IntegrityError):
                    cursor.executemany(_COUPON, some)
                    rows += some
            per_customer = Counter((row[2], row[5]) for row in rows)
            taken = Counter(row[2] for row in rows)
            cursor.executemany(_COUNTER, [(*key, claims) for key, claims in sorted(per_customer.items())])
            for activity_id, claims in sorted(taken.items()):
                cursor.execute("UPDATE supply SET taken = taken + %s WHERE activity_id = %s", (claims, activity_id))
            connection.commit()
        return [row[1] for row in rows]

    def _new_coupon(self, codes: CouponCodes) -> tuple[Any, ...]:
        """A row for _COUPON."""
        now = time.time_ns() // 1000
        offer, holder = random.choice(self.redeemed), random.choice(self.holders)
        ids = offer.activity_id, self.merchant_id, offer.publication_id, holder
        return (new_uid(), codes.new(), *ids, now, now - _DAY, now + 7 * _DAY)


def connect(url: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    """A connection to the database at mysql://user@host:port/name, in autocommit."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=parts.username or "root",
        database=parts.path[1:],
        charset="utf8mb4",
        autocommit=True,
    )


def lay(url: str, var: Path) -> World:
    """Bring the empty database at `url` to the schema and lay the world in it; binds the models while it does."""
    db = database.bind(url, pool=1, statement_seconds=600)
    try:
        return db.run_here(_lay, url, var)
    finally:
        db.close()


def staff(caller: int) -> str:
    """The subject of a caller's member of staff."""
    return f"cashier-{caller}"


def customer(caller: int) -> str:
    """The subject of a caller's customer."""
    return f"customer-{caller}"


def _lay(url: str, var: Path) -> World:
    migrate.up()
    now = datetime.now(UTC)
    merchant = Merchant.create(
        uid=new_uid(), owner="owner", display_name="老街面馆 Noodle House", currency="CNY", create_time=now
    )
    store = _open_store(merchant, now)
    StaffBinding.insert_many(
        {
            "store_id": store.id,
            "subject": staff(caller),
            "display_name": "Lin",
            "title": "Cashier",
            "rights": ["REDEEM", "VERIFY"],
            "create_time": now,
        }
        for caller in range(MOST_CALLERS)
    ).execute()
    holders = [new_uid() for _ in range(_HOLDERS)]
    Customer.insert_many(
        {"merchant_id": merchant.id, "subject": f"holder-{place}", "pseudonym": holder, "create_time": now}
        for place, holder in enumerate(holders)
    ).execute()
    offers = [_publish(merchant, store, now) for _ in range(REDEEMED_ACTIVITIES + SPREAD_ACTIVITIES + 1)]
    return World(
        url=url,
        var=var,
        merchant_id=merchant.id,
        merchant=merchant.uid,
        store_id=store.id,
        store=store.uid,
        redeemed=offers[:REDEEMED_ACTIVITIES],
        hot=offers[REDEEMED_ACTIVITIES],
        spread=offers[REDEEMED_ACTIVITIES + 1 :],
        holders=holders,
    )


def _open_store(merchant: Merchant, now: datetime) -> Store:
    profile = {
        "display_name": "老街面馆 人民路店",
        "description": "手工面，每天现做。Hand-pulled noodles, made every day.",
        "address": "人民路 128 号",
        "phone": "+86 21 5555 0100",
        "hot_items": [],
        "images": [],
    }
    return Store.create(
        uid=new_uid(),
        merchant_id=merchant.id,
        zone="Asia/Shanghai",
        city="Shanghai",
        category="food",
        profile=profile,
        create_time=now,
        update_time=now,
    )


def _publish(merchant: Merchant, store: Store, now: datetime) -> Offer:
    """A new activity: 20.00 off from 100.00, seven days to use it, a LIVE publication and its supply."""
    terms = {
        "benefit": {"amount_off": {"tiers": [{"threshold": _yuan(100), "off": _yuan(20)}]}},
        "zone": "Asia/Shanghai",
        "claim_period": {
            "start_date": (now - timedelta(days=30)).date().isoformat(),
            "end_date": (now + timedelta(days=300)).date().isoformat(),
        },
        "validity": {"days_after_claim": 7},
        "windows": [],
        "blackout_dates": [],
        "stock": _STOCK,
        "day_stock": 0,
        "per_customer": _STOCK,
        "scope": {"stores": [name("stores", store.uid)], "items": []},
        "stacking": {"mode": "ANY", "max_codes": 10},
        "reversal_window": 3600,
    }
    content = {
        "title": "满 100 减 20",
        "description": "每单满 100 元立减 20 元，堂食外带均可。20 off from 100, to eat here or to take away.",
        "fields": {},
        "images": [],
        "terms": terms,
    }
    activity = Activity(
        uid=new_uid(),
        merchant_id=merchant.id,
        template="amount-off",
        content=content,
        create_time=now,
        update_time=now,
    )
    why = Why(Actor("OPERATOR", "bench"), now, "bench")
    with database.write():
        lifecycle.enter(activity, why)
        frozen = snapshot_of(activity)
        lifecycle.move(activity, "PENDING_AUDIT", why, snapshot=frozen, digest=lifecycle.digest_of(frozen))
        publication = lifecycle.approve(activity, 1, schedule.claim_window(Terms.of(terms)), why)
        supply.follow(publication)
    return Offer(activity.id, activity.uid, publication.id)


def _yuan(amount: int) -> dict[str, Any]:
    return {"currency": "CNY", "minor": amount * 100}
