"""A merchant with a store and published activities, and the people around it, for the tests of share and redeem."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis import database
from services.chassis.call import Call, Principal
from services.chassis.keys import Keyring
from services.chassis.names import name, new_uid
from services.ledger import customers, schedule, supply
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.ledger.terms import Terms
from services.redeem import domain as till
from services.redeem.tries import Tries
from services.schema import lifecycle
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Activity, Merchant, Publication, StaffBinding, Store
from services.share import domain, sharing
from services.share.codes import ShareCodes, Visitors
from tests.batches import claimed, redeemed
from tests.ledger.offers import content, yuan

# Noon in Shanghai, within the claim period of tests.ledger.offers.
NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
KEYS = Keyring(b"k" * 32)
CODES = ShareCodes(KEYS)
COUPON_CODES = CouponCodes(KEYS)
VISITORS = Visitors(KEYS)
TAGS = Tags(KEYS)

_numbers = itertools.count(1)


def call(role: str, subject: str = "", rpc: str = "Test.Rpc", request_id: str = "", digest: str = "body") -> Call:
    """A call with a request_id of its own unless one is given."""
    request_id = request_id or f"request-{next(_numbers)}"
    return Call(Principal(role, subject), rpc, request_id, digest, actor=f"actor-of-{subject}"[:40])


@dataclass
class Shop:
    """One merchant and its store in Shanghai; `owner` is the merchant's subject."""

    owner: str
    merchant: Merchant
    store: Store
    tries: Tries = field(default_factory=Tries)

    @classmethod
    def open(cls, owner: str = "owner", city: str = "上海", category: str = "餐饮") -> Shop:
        merchant = Merchant.create(
            uid=new_uid(), owner=owner, display_name=f"{owner}的店", currency="CNY", create_time=NOW
        )
        shop = cls(owner, merchant, Store())
        shop.store = shop.open_store(city, category)
        return shop

    def open_store(self, city: str, category: str) -> Store:
        return Store.create(
            uid=new_uid(),
            merchant_id=self.merchant.id,
            zone="Asia/Shanghai",
            city=city,
            category=category,
            profile={},
            create_time=NOW,
            update_time=NOW,
        )

    @property
    def store_name(self) -> str:
        return name("stores", self.store.uid)

    def employ(self, subject: str, *rights: str, store: Store | None = None) -> None:
        StaffBinding.create(
            store_id=(store or self.store).id,
            subject=subject,
            display_name=subject,
            title="店员",
            rights=list(rights),
            create_time=NOW,
        )

    def draft(self, *stores: Store, **terms: Any) -> Activity:
        """An activity whose snapshot is ready to be approved."""
        shown = stores or (self.store,)
        scope = {"stores": [name("stores", store.uid) for store in shown], "items": []}
        snapshot = {
            "title": "满100减20",
            "terms": content(**({"scope": scope} | terms)),
            "stores": [
                {"name": name("stores", store.uid), "city": store.city, "category": store.category} for store in shown
            ],
        }
        activity = Activity(
            uid=new_uid(),
            merchant_id=self.merchant.id,
            template="amount-off",
            content={},
            snapshot=snapshot,
            digest=lifecycle.digest_of(snapshot),
            create_time=NOW,
            update_time=NOW,
        )
        with database.write():
            lifecycle.enter(activity, _why())
        return activity

    def publish(self, *stores: Store, **terms: Any) -> str:
        """A published activity's name; `terms` replace those of tests.ledger.offers.content."""
        activity = self.draft(*stores, **terms)
        period = schedule.claim_window(Terms.of(activity.snapshot["terms"]))
        with database.write():
            lifecycle.move(activity, "PENDING_AUDIT", _why())
            supply.follow(lifecycle.approve(activity, 1, period, _why()))
        return name("activities", activity.uid)

    def move(self, activity: str, to: str) -> None:
        """Suspend, restore or withdraw an activity's publication."""
        with database.write():
            row = lifecycle.lock(activity.removeprefix("activities/"))
            publication = Publication.get_by_id(row.publication_id)
            lifecycle.move_publication(row, publication, to, _why())
            supply.follow(publication)

    def redeem(self, *codes: str, amount: float = 100, store: str = "", now: datetime = NOW) -> dict[str, Any]:
        """The Redemption of codes at the till, on an order of `amount` yuan."""
        plain = {
            "store": store or self.store_name,
            "codes": list(codes),
            "basket": [{"item": "noodles", "quantity": 1, "unit_price": yuan(amount)}],
            "hold": "",
            "order_id": f"order-{next(_numbers)}",
            "terminal": "",
        }
        return redeemed(call("MERCHANT", self.owner), plain, now, COUPON_CODES, self.tries)

    def reverse(self, redemption: str) -> None:
        plain = {"name": redemption, "reason": "退货"}
        till.reverse_redemption(call("MERCHANT", self.owner), plain, NOW + timedelta(minutes=5))


def share(
    by: Call, activity: str, channel: str = "WECHAT", parent_code: str = "", now: datetime = NOW
) -> dict[str, Any]:
    plain = {"activity": activity, "channel": channel, "parent_code": parent_code}
    return sharing.create_share(by, plain, now, CODES, COUPON_CODES, TAGS)


def report(by: Call, shared: str, state: str) -> dict[str, Any]:
    return sharing.report_share(by, {"name": shared, "state": state, "report": state.lower()}, NOW, CODES)


def visit(by: Call, code: str, visitor_id: str) -> dict[str, Any]:
    return domain.record_visit(by, {"share_code": code, "visitor_id": visitor_id}, NOW, CODES, VISITORS)


def claim(by: Call, *, code: str = "", activity: str = "", now: datetime = NOW) -> dict[str, Any]:
    source = {"share_code": code} if code else {"activity": activity}
    return claimed(by, source, now, CODES, COUPON_CODES, TAGS)


def erase(subject: str) -> None:
    with database.write():
        customers.erase(subject, TAGS)


def get(by: Call, shared: str, now: datetime = NOW) -> dict[str, Any]:
    return domain.get_share(by, {"name": shared}, now, CODES)


def page(size: int = 0, token: str = "", **filters: Any) -> dict[str, Any]:
    """The plain form of a list request."""
    return {"page_size": size, "page_token": token, **filters}


def _why() -> Why:
    return Why(Actor("SERVICE"), NOW)
