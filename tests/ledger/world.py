"""One merchant's world for tests: a shop, activities on any terms, customers, staff, made as the services make them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any

from services.chassis import database, errors
from services.chassis.call import Call, Principal
from services.chassis.keys import Keyring
from services.chassis.names import name, new_uid
from services.ledger import claims, coupons, customers, holds, redemptions, schedule, supply
from services.ledger.basket import Line
from services.ledger.claims import Claim
from services.ledger.codes import CouponCodes
from services.ledger.counter import Order
from services.ledger.customers import Tags
from services.ledger.issue import Via
from services.ledger.records import CouponRow, Receipt
from services.ledger.terms import Terms
from services.schema import lifecycle
from services.schema.lifecycle import Actor, Why
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, Coupon, Merchant, Redemption, Share, StaffBinding, Store, Supply
from tests.ledger.offers import content

# Noon of a Tuesday in Shanghai, inside the claim period of offers.content().
NOW = datetime(2026, 3, 10, 4, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
# 120.00: enough for the 20.00 off that offers.content() gives.
LUNCH = (Line("noodles", 2, 6_000),)
KEYS = Keyring(b"the master secret of these tests")
CODES = CouponCodes(KEYS)
TAGS = Tags(KEYS)

_requests = count()


def call(role: str, subject: str, rpc: str, request_id: str = "", body: str = "") -> Call:
    """A call as the interceptor makes it; without a request_id it gets one of its own, `body` is what is digested."""
    request_id = request_id or f"request-{next(_requests)}-{new_uid()}"
    digest = sha256(body.encode()).hexdigest()
    return Call(Principal(role, subject), rpc, request_id, digest, actor=f"actor-{subject}")


def why(role: str = "OPERATOR", reason: str = "test", now: datetime = NOW) -> Why:
    return Why(Actor(role, "somebody"), now, reason)


def told(outcome: CouponRow | Receipt | errors.Error) -> str:
    """The reason of a refusal; a coupon's state; "REDEEMED" for a redemption."""
    if isinstance(outcome, errors.Error):
        return outcome.reason
    return "REDEEMED" if isinstance(outcome, Receipt) else outcome.state


class World:
    """A merchant with one store; the models must be bound."""

    def __init__(self, owner: str = "owner") -> None:
        self.owner = owner
        self.merchant = Merchant.create(
            uid=new_uid(), owner=owner, display_name="Noodle House", currency="CNY", create_time=NOW
        )
        self.store = self.open_store()

    @classmethod
    def found(cls) -> "World":
        """The only world of the database, for another process."""
        world = cls.__new__(cls)
        world.merchant, world.store = Merchant.get(), Store.get()
        world.owner = world.merchant.owner
        return world

    def open_store(self, zone: str = "Asia/Shanghai") -> Store:
        profile = {
            "display_name": "Noodles",
            "description": "",
            "address": "",
            "phone": "",
            "hot_items": [],
            "images": [],
        }
        return Store.create(
            uid=new_uid(),
            merchant_id=self.merchant.id,
            zone=zone,
            city="Shanghai",
            category="food",
            profile=profile,
            create_time=NOW,
            update_time=NOW,
        )

    def bind(self, subject: str, *rights: str, store: Store | None = None) -> None:
        """Let a member of staff touch a store."""
        StaffBinding.create(
            store_id=(store or self.store).id,
            subject=subject,
            display_name="Lin",
            title="Cashier",
            rights=[*rights],
            create_time=NOW,
        )

    def publish(self, benefit: dict[str, Any] | None = None, **terms: Any) -> Activity:
        """A new activity on these terms (offers.content() says the rest), approved and LIVE in the store."""
        stores = terms.pop("stores", [self.store])
        scope = {"stores": [name("stores", store.uid) for store in stores], "items": terms.pop("items", [])}
        activity = Activity(
            uid=new_uid(),
            merchant_id=self.merchant.id,
            template="amount-off",
            content={
                "title": "Twenty off",
                "description": "",
                "fields": {},
                "images": [],
                "terms": content(benefit, **{"scope": scope, **terms}),
            },
            create_time=NOW,
            update_time=NOW,
        )
        with database.write():
            lifecycle.enter(activity, why())
            self._approve(activity)
        return activity

    def revise(self, activity: Activity, **terms: Any) -> None:
        """A new revision with other terms, approved."""
        with database.write():
            present = lifecycle.lock(activity.uid)
            changed = {**present.content, "terms": {**present.content["terms"], **terms}}
            lifecycle.revise(present, why(), content=changed)
            self._approve(present)

    def _approve(self, activity: Activity) -> None:
        frozen = snapshot_of(activity)
        lifecycle.move(activity, "PENDING_AUDIT", why(), snapshot=frozen, digest=lifecycle.digest_of(frozen))
        period = schedule.claim_window(Terms.of(frozen["terms"]))
        supply.follow(lifecycle.approve(activity, 1, period, why()))

    def move_publication(self, activity: Activity, to: str) -> None:
        """Suspend, resume or withdraw what the activity shows."""
        with database.write():
            present = lifecycle.lock(activity.uid)
            publication = lifecycle.publication_of(present)
            assert publication is not None
            supply.follow(lifecycle.move_publication(present, publication, to, why()))

    def adjust(self, activity: Activity, **amounts: Any) -> Supply:
        with database.write():
            return supply.adjust(activity.id, **amounts)

    def supply(self, activity: Activity) -> Supply:
        return Supply.get_by_id(activity.id)

    def customer(self, subject: str) -> str:
        return customers.pseudonym(self.merchant.id, subject, TAGS, NOW)

    def share(self, activity: Activity, sharer: str, role: str = "CUSTOMER", block: int = 2) -> Share:
        """A share with its first block of coupons."""
        with_code = {"uid": new_uid(), "code": new_uid()}
        share = Share.create(
            **with_code,
            activity_id=activity.id,
            merchant_id=self.merchant.id,
            publication_id=self.supply(activity).publication_id,
            channel="WECHAT",
            sharer_role=role,
            sharer=self.customer(sharer),
            state="CREATED",
            create_time=NOW,
        )
        with database.write():
            coupons.mint(activity.id, self.merchant.id, share.id, block, CODES, why(role))
        return share

    def wish(
        self, activity: Activity, subject: str, share: Share | None = None, request_id: str = "", body: str = ""
    ) -> Claim:
        """The command of a customer who wants a coupon."""
        wanted = call("CUSTOMER", subject, "ShareService.ClaimCoupon", request_id, body or activity.uid)
        via = None if share is None else Via(share.id, share.uid, share.sharer)
        return Claim(wanted, self.merchant.uid, self.merchant.id, activity.id, via)

    def claim(
        self, activity: Activity, subject: str, share: Share | None = None, now: datetime = NOW, request_id: str = ""
    ) -> CouponRow:
        """The coupon that a customer gets; raises the refusal."""
        (outcome,) = claims.claim([self.wish(activity, subject, share, request_id)], CODES, TAGS, now)
        if isinstance(outcome, errors.Error):
            raise outcome
        return outcome

    def order(self, *presented: Coupon | CouponRow | str, basket: tuple[Line, ...] = LUNCH, **more: Any) -> Order:
        """The command of a till; coupons, or codes as they are; more: `request_id`, `store`, `hold`, `rpc`, `staff`."""
        codes = tuple(one if isinstance(one, str) else one.code for one in presented)
        rpc, staff = more.pop("rpc", "RedeemService.RedeemCoupon"), more.pop("staff", "cashier")
        body = more.pop("body", " ".join(codes))
        placed = call("STAFF", staff, rpc, more.pop("request_id", ""), body)
        order = Order(
            placed, self.merchant.uid, self.store, codes, basket, "CNY", order_id="order-1", terminal="till-1"
        )
        return replace(order, **more)

    def redeem(self, *presented: Coupon | CouponRow | str, now: datetime = NOW, **more: Any) -> Receipt:
        """The redemption of an order; raises the refusal."""
        (outcome,) = redemptions.redeem([self.order(*presented, **more)], now)
        if isinstance(outcome, errors.Error):
            raise outcome
        return outcome

    def hold(self, *presented: Coupon | CouponRow | str, now: datetime = NOW, **more: Any) -> tuple[list[str], str]:
        """What a hold tells of each coupon ("" for usable), and the hold's name."""
        order = self.order(*presented, **{"rpc": "RedeemService.VerifyCoupon", **more})
        verdicts, held = holds.hold(order, now + timedelta(minutes=15), now)
        return ["" if verdict.refusal is None else verdict.refusal.reason for verdict in verdicts], held

    def release(self, held: str, store: Store | None = None, now: datetime = NOW) -> None:
        with database.write():
            holds.release(held, store or self.store, why("STAFF", "release", now))

    def reverse(self, redemption: Receipt | Redemption, now: datetime = NOW) -> None:
        with database.write():
            redemptions.reverse(redemption.id, why("STAFF", "brought back", now))

    def void(self, coupon: Coupon | CouponRow) -> None:
        with database.write():
            coupons.void(coupon.id, coupon.activity_id, why())


def fresh(coupon: Coupon | CouponRow) -> Coupon:
    """The coupon as it is now."""
    return Coupon.get_by_id(coupon.id)
