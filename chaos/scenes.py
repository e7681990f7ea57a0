"""What the callers do: turns of every kind of call of the five services, each of which is expected to succeed."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chaos.caller import Caller
from services.journey import content
from sharemesh.v1 import audit_pb2, entry_pb2, options_pb2, publish_pb2, redeem_pb2, share_pb2

LIN, OPERATOR, ANYBODY, CASHIER = ("MERCHANT", "lin"), ("OPERATOR", "olga"), ("", ""), ("STAFF", "jie")
_TEMPLATE = "templates/amount-off"
_STOCK = 1_000_000
# A customer that claims more often than the terms allow would be refused.
_PER_CUSTOMER = 1_000
# Between two looks at a submission that waits for its audit.
_LOOK_SECONDS = 0.5
_RIGHTS = [number for number in entry_pb2.StaffRight.values() if number]


@dataclass(frozen=True)
class World:
    """What all turns are about: Lin's merchant, her store, a picture of it, and an activity that is published."""

    merchant: str
    store: str
    image: str
    activity: str
    publication: str


async def lay(caller: Caller) -> World:
    """Enter and publish it, by the RPCs themselves."""
    merchant = await caller.ask(LIN, "CreateMerchant", _merchant())
    upload = entry_pb2.UploadImageRequest(merchant=merchant.name, content=content.picture())
    image = await caller.ask(LIN, "UploadImage", upload)
    shop = entry_pb2.CreateStoreRequest(store=content.store(merchant.name, image.name))
    store = await caller.ask(LIN, "CreateStore", shop)
    bind = entry_pb2.BindStaffRequest(store=store.name, subject=CASHIER[1], rights=_RIGHTS)
    await caller.ask(LIN, "BindStaff", bind)
    entered = _entered(World(merchant.name, store.name, image.name, "", ""))
    draft = await caller.ask(LIN, "CreateActivity", entry_pb2.CreateActivityRequest(activity=entered))
    shown = await submit(caller, draft.name)
    assert shown.publication, f"the audit did not let it pass: {shown.audit}"
    return World(merchant.name, store.name, image.name, shown.name, shown.publication)


class Turns:
    """One caller's turns, one after the other."""

    def __init__(self, caller: Caller, world: World, number: int) -> None:
        self._caller, self._ask, self._world, self._number = caller, caller.ask, world, number
        self._turn = count()

    async def take(self) -> None:
        """The next turn; callers begin at different ones, so that all kinds of call are made all the time."""
        turns = (self.buy, self.share, self.edit, self.appeal, self.open_shop, self.regret)
        turn = next(self._turn)
        self._customer = ("CUSTOMER", f"customer-{self._number}-{turn * 4 // _PER_CUSTOMER}")
        await turns[(self._number + turn) % len(turns)]()

    async def open_shop(self) -> None:
        """Somebody new enters a business and its store."""
        ask, owner = self._ask, ("MERCHANT", f"owner-{secrets.token_hex(6)}")
        made = await ask(owner, "CreateMerchant", _merchant())
        await ask(owner, "GetMerchant", entry_pb2.GetMerchantRequest(name=made.name))
        renamed = entry_pb2.Merchant(name=made.name, display_name="老街面馆")
        await ask(owner, "UpdateMerchant", entry_pb2.UpdateMerchantRequest(merchant=renamed))
        await ask(owner, "ListMerchants", entry_pb2.ListMerchantsRequest())
        upload = entry_pb2.UploadImageRequest(merchant=made.name, content=content.picture())
        image = (await ask(owner, "UploadImage", upload)).name
        await ask(owner, "GetImage", entry_pb2.GetImageRequest(name=image))
        shop = entry_pb2.CreateStoreRequest(store=content.store(made.name, image))
        store = (await ask(owner, "CreateStore", shop)).name
        await ask(owner, "GetStore", entry_pb2.GetStoreRequest(name=store))
        changed = entry_pb2.Store(name=store, description="三十张桌子。")
        await ask(owner, "UpdateStore", entry_pb2.UpdateStoreRequest(store=changed))
        await ask(owner, "ListStores", entry_pb2.ListStoresRequest(city="成都"))
        await ask(owner, "BindStaff", entry_pb2.BindStaffRequest(store=store, subject="wei", rights=_RIGHTS))
        await ask(owner, "ListStaff", entry_pb2.ListStaffRequest(store=store))
        await ask(owner, "UnbindStaff", entry_pb2.UnbindStaffRequest(store=store, subject="wei"))

    async def edit(self) -> None:
        """Lin enters another activity, changes it, publishes it, and takes it back."""
        ask = self._ask
        await ask(LIN, "ListTemplates", entry_pb2.ListTemplatesRequest(page_size=10))
        await ask(LIN, "GetTemplate", entry_pb2.GetTemplateRequest(name=_TEMPLATE))
        draft = (await ask(LIN, "CreateActivity", self._activity())).name
        await ask(LIN, "PreviewActivity", entry_pb2.PreviewActivityRequest(name=draft))
        await ask(LIN, "UpdateActivity", update_of(draft))
        await ask(LIN, "ListActivities", entry_pb2.ListActivitiesRequest(page_size=10))
        shown = await submit(self._caller, draft)
        await ask(LIN, "GetActivity", entry_pb2.GetActivityRequest(name=draft))
        audit = await ask(LIN, "GetAudit", audit_pb2.GetAuditRequest(name=shown.audit))
        if not shown.publication:
            found = [f"{one.field}: {one.term} in {one.text!r}" for one in audit.findings]
            raise self._caller.wrong("SubmitActivity", f"not published for {', '.join(found)}")
        await ask(ANYBODY, "GetPublication", publish_pb2.GetPublicationRequest(name=shown.publication))
        await ask(LIN, "AdjustSupply", publish_pb2.AdjustSupplyRequest(name=draft, stock=_STOCK + 1))
        await ask(OPERATOR, "AuditActivity", audit_pb2.AuditActivityRequest(activity=draft))
        await ask(LIN, "WithdrawActivity", publish_pb2.WithdrawActivityRequest(name=draft, reason="换季"))
        await ask(LIN, "ListTransitions", publish_pb2.ListTransitionsRequest(activity=draft))
        other = (await ask(LIN, "CreateActivity", self._activity())).name
        await ask(LIN, "DeleteActivity", entry_pb2.DeleteActivityRequest(name=other))
        await ask(OPERATOR, "CreateTemplate", entry_pb2.CreateTemplateRequest(template=_template()))

    async def appeal(self) -> None:
        """Words that break the law, and an operator who lets them pass."""
        ask = self._ask
        await ask(LIN, "CheckText", audit_pb2.CheckTextRequest(text=content.ILLEGAL_TITLE))
        await ask(LIN, "CheckText", audit_pb2.CheckTextRequest(text=content.TITLE))
        draft = (await ask(LIN, "CreateActivity", self._activity(is_legal=False))).name
        rejected = (await submit(self._caller, draft)).audit
        await ask(LIN, "GetAudit", audit_pb2.GetAuditRequest(name=rejected))
        open_ = await ask(LIN, "AppealAudit", audit_pb2.AppealAuditRequest(name=rejected, reason="这是书名"))
        await ask(LIN, "ListAudits", audit_pb2.ListAuditsRequest(page_size=10))
        passing = audit_pb2.ResolveAuditRequest(
            name=open_.name, digest=open_.digest, decision=audit_pb2.DECISION_PASS, reason="ok"
        )
        await ask(OPERATOR, "ResolveAudit", passing)

    async def share(self) -> None:
        """Lin's offer goes from hand to hand."""
        ask, activity = self._ask, self._world.activity
        await ask(ANYBODY, "ListShareable", share_pb2.ListShareableRequest(city="成都", page_size=10))
        wechat = share_pb2.CreateShareRequest(activity=activity, channel=share_pb2.CHANNEL_WECHAT)
        first = await ask(LIN, "CreateShare", wechat)
        took = share_pb2.ReportShareRequest(name=first.name, state=share_pb2.SHARE_STATE_SHARED)
        await ask(LIN, "ReportShare", took)
        visit = share_pb2.RecordVisitRequest(share_code=first.code, visitor_id=secrets.token_hex(16))
        await ask(ANYBODY, "RecordVisit", visit)
        await ask(self._customer, "ClaimCoupon", share_pb2.ClaimCouponRequest(share_code=first.code))
        on = share_pb2.CreateShareRequest(activity=activity, channel=share_pb2.CHANNEL_QQ, parent_code=first.code)
        await ask(self._customer, "CreateShare", on)
        await ask(LIN, "GetShare", share_pb2.GetShareRequest(name=first.name))
        await ask(LIN, "ListShares", share_pb2.ListSharesRequest(activity=activity, page_size=10))
        await ask(ANYBODY, "GetPublication", publish_pb2.GetPublicationRequest(name=self._world.publication))

    async def buy(self) -> None:
        """A customer claims a coupon and redeems it; the till takes it back, and reads its books."""
        ask, world, mine = self._ask, self._world, self._customer
        await ask(mine, "ListOffers", redeem_pb2.ListOffersRequest(city="成都", page_size=10))
        await ask(mine, "GetOffer", redeem_pb2.GetOfferRequest(activity=world.activity))
        coupon = await ask(mine, "ClaimCoupon", share_pb2.ClaimCouponRequest(activity=world.activity))
        await ask(mine, "GetCoupon", redeem_pb2.GetCouponRequest(name=coupon.name))
        basket = content.basket(FISH_07=2)
        order: Any = {"store": world.store, "codes": [coupon.code], "basket": basket}
        verify = redeem_pb2.VerifyCouponRequest(**order, hold_coupons=True)
        hold = (await ask(CASHIER, "VerifyCoupon", verify)).hold
        use = redeem_pb2.RedeemCouponRequest(**order, hold=hold, order_id=coupon.code, terminal="till-1")
        used = (await ask(CASHIER, "RedeemCoupon", use)).name
        await ask(LIN, "GetRedemption", redeem_pb2.GetRedemptionRequest(name=used))
        back = redeem_pb2.ReverseRedemptionRequest(name=used, reason="顾客取消")
        await ask(CASHIER, "ReverseRedemption", back)
        await ask(mine, "ListCoupons", redeem_pb2.ListCouponsRequest(page_size=10))
        now = datetime.now(UTC)
        minute = [Timestamp(seconds=int((now - timedelta(seconds=ago)).timestamp())) for ago in (60, 0)]
        books = redeem_pb2.ListRedemptionsRequest(store=world.store, start_time=minute[0], end_time=minute[1])
        books.page_size = 10
        await ask(LIN, "ListRedemptions", books)

    async def regret(self) -> None:
        """A coupon that is held and let go, another that is used for good, a void one, and somebody forgotten."""
        ask, world = self._ask, self._world
        leaver = ("CUSTOMER", f"leaver-{secrets.token_hex(6)}")
        coupon = await ask(leaver, "ClaimCoupon", share_pb2.ClaimCouponRequest(activity=world.activity))
        held = redeem_pb2.VerifyCouponRequest(store=world.store, codes=[coupon.code], hold_coupons=True)
        hold = (await ask(CASHIER, "VerifyCoupon", held)).hold
        await ask(CASHIER, "ReleaseHold", redeem_pb2.ReleaseHoldRequest(store=world.store, hold=hold))
        use = redeem_pb2.RedeemCouponRequest(
            store=world.store, codes=[coupon.code], basket=content.basket(HOTPOT_01=1, FISH_07=2), order_id=hold
        )
        await ask(CASHIER, "RedeemCoupon", use)
        other = await ask(leaver, "ClaimCoupon", share_pb2.ClaimCouponRequest(activity=world.activity))
        await ask(OPERATOR, "VoidCoupon", redeem_pb2.VoidCouponRequest(name=other.name, reason="fraud"))
        await ask(LIN, "GetActivityReport", redeem_pb2.GetActivityReportRequest(activity=world.activity))
        await ask(leaver, "EraseCustomer", redeem_pb2.EraseCustomerRequest())

    def _activity(self, is_legal: bool = True) -> entry_pb2.CreateActivityRequest:
        return entry_pb2.CreateActivityRequest(activity=_entered(self._world, is_legal))


async def submit(caller: Caller, activity: str) -> entry_pb2.Activity:
    """Submit it and return it once it is judged: if no audit answers in time, publish asks again later."""
    seen = await caller.ask(LIN, "SubmitActivity", publish_pb2.SubmitActivityRequest(name=activity))
    while seen.state == entry_pb2.ACTIVITY_STATE_PENDING_AUDIT:
        await asyncio.sleep(_LOOK_SECONDS)
        seen = await caller.ask(LIN, "GetActivity", entry_pb2.GetActivityRequest(name=activity))
    assert isinstance(seen, entry_pb2.Activity)
    return seen


def update_of(activity: str) -> entry_pb2.UpdateActivityRequest:
    """A change that makes a new revision: its words are new."""
    changed = entry_pb2.Activity(name=activity, description=f"{content.DESCRIPTION}{_letters()}")
    return entry_pb2.UpdateActivityRequest(activity=changed, update_mask=FieldMask(paths=["description"]))


def _entered(world: World, is_legal: bool = True) -> entry_pb2.Activity:
    today = (datetime.now(UTC) - timedelta(days=1)).date()
    entered = content.activity(world.merchant, _TEMPLATE, world.store, world.image, today)
    if is_legal:
        entered.title, entered.description = content.TITLE, content.DESCRIPTION
    # Each has a digest of its own: what an operator rules on one says nothing of the others.
    entered.fields["notes"] = _letters()
    entered.terms.stock, entered.terms.per_customer = _STOCK, _PER_CUSTOMER
    entered.terms.ClearField("budget")
    entered.terms.ClearField("reward")
    return entered


def _merchant() -> entry_pb2.CreateMerchantRequest:
    return entry_pb2.CreateMerchantRequest(merchant=entry_pb2.Merchant(display_name="川味小馆", currency="CNY"))


def _template() -> entry_pb2.Template:
    """One whose name is new, with a single question."""
    text = options_pb2.LocalizedText(zh_cn="秒杀", en="Flash sale")
    made = entry_pb2.Template(name=f"templates/t{secrets.token_hex(12)}", title=text, benefit="amount_off")
    made.fields.add(key="headline", label=text, kind=entry_pb2.TemplateField.KIND_TEXT, is_required=True)
    asked = {"headline": {"type": "string", "maxLength": 30}}
    rules: Any = {"type": "object", "additionalProperties": False, "required": ["headline"], "properties": asked}
    made.schema.update(rules)
    return made


def _letters() -> str:
    """Twenty that nobody had before, of which nothing can be read: no number, no syllable, and no platform's name."""
    return "".join(secrets.choice("hjlnrz") for _ in range(20))
