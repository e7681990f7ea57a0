"""One row for each RPC: a request that succeeds, who makes it, whom it is none of the business of, what it refuses."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from PIL import Image

from services.journey import content
from sharemesh.v1 import audit_pb2, entry_pb2, options_pb2, promotion_pb2, publish_pb2, redeem_pb2, share_pb2
from tests.mesh import request_id
from tests.world import ALICE, ANYBODY, EVE, JIE, LIN, MALLORY, OPERATOR, STRANGER, Who, World, changed

# From the world and a fresh good request to the request that is refused.
Spoil = Callable[[World, Any], Any]
STATE, INVALID, MISSING = "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND"
STALE = ("ABORTED", "ETAG_MISMATCH")
NO_SUCH = "zzzzzzzzzzzzzzzzzzzz"


@dataclass(frozen=True)
class Row:
    """`foreigner` has the right role, and gets NOT_FOUND; None where a request names nothing that is anybody's."""

    who: Who
    request: Callable[[World], Any]
    foreigner: Who | None = None
    refusals: dict[str, tuple[Spoil, str, str]] = field(default_factory=dict)


def sets(status: str, reason: str, **fields: Any) -> tuple[Spoil, str, str]:
    """A refusal of the good request with these fields changed, as world.changed takes them."""
    return lambda _, request: changed(request, **fields), status, reason


def mask_refusals(resource: str) -> dict[str, tuple[Spoil, str, str]]:
    """What every update refuses."""
    wrong = (INVALID, "INVALID_UPDATE_MASK")
    paths = ("no_such_field", "name", "create_time", "etag", "display_name.x", "", "名称")
    masks = {f"mask {path!r}": sets(*wrong, update_mask=FieldMask(paths=[path])) for path in paths}
    return {**masks, "stale etag": sets(*STALE, **{f"{resource}__etag": "999999"})}


def picture(kind: str, size: tuple[int, int], frames: int = 1) -> bytes:
    """A file of that kind with so many pixels."""
    file = io.BytesIO()
    images = [Image.new("1", size, shade) for shade in range(frames)]
    images[0].save(file, kind, save_all=frames > 1, append_images=images[1:])
    return file.getvalue()


def entered(**fields: Any) -> Callable[[World], Any]:
    return lambda world: entry_pb2.CreateActivityRequest(
        activity=changed(world.activity_of_lin(), **fields), request_id=request_id()
    )


def terms(status: str, reason: str, **fields: Any) -> tuple[Spoil, str, str]:
    """A refusal of an activity with these terms changed."""
    return sets(status, reason, **{f"activity__terms__{name}": value for name, value in fields.items()})


def answers(**fields: Any) -> Spoil:
    """Other answers to the template's questions."""

    def spoil(_: World, request: Any) -> Any:
        copy = changed(request)
        copy.activity.fields.update(fields)
        return copy

    return spoil


def percent(world: World, request: Any) -> Any:
    copy = changed(request, activity__template="templates/percent-off")
    copy.activity.terms.benefit.percent_off.percent = 20
    return copy


def uncapped(world: World, request: Any) -> Any:
    """A percentage under a budget, without a cap."""
    copy = percent(world, request)
    copy.activity.terms.budget.CopyFrom(content.yuan(100_000))
    return copy


DOLLARS = Money(currency_code="USD", units=100)
BACKWARDS = promotion_pb2.Period(start_date=content.day(date(2026, 4, 2)), end_date=content.day(date(2026, 4, 1)))
TERMS_REFUSALS: dict[str, tuple[Spoil, str, str]] = {
    "benefit of another template": (
        lambda world, request: changed(percent(world, request), activity__template="templates/amount-off"),
        INVALID,
        "BENEFIT_NOT_ALLOWED",
    ),
    "end before start": terms(INVALID, "PERIOD_INVALID", claim_period=BACKWARDS),
    "validity ends before it starts": terms(
        INVALID, "PERIOD_INVALID", validity=promotion_pb2.Validity(period=BACKWARDS)
    ),
    "another currency": terms(INVALID, "CURRENCY_MISMATCH", budget=DOLLARS),
    "negative budget": terms(INVALID, "INVALID_FIELD", budget=Money(currency_code="CNY", units=-1)),
    "three decimals": terms(INVALID, "INVALID_FIELD", budget=Money(currency_code="CNY", units=5000, nanos=1_000_000)),
    "no such zone": terms(INVALID, "INVALID_FIELD", zone="Mars/Olympus"),
    "no such day": terms(INVALID, "INVALID_FIELD", claim_period__start_date__day=31, claim_period__start_date__month=2),
    "negative window": terms(INVALID, "INVALID_FIELD", reversal_window=Duration(seconds=-1)),
    "a store of nobody's": terms(MISSING, "RESOURCE_NOT_FOUND", scope__stores=[f"stores/{NO_SUCH}"]),
    "a rival's store": (
        lambda world, request: changed(request, activity__terms__scope__stores=[world.rivals_store]),
        MISSING,
        "RESOURCE_NOT_FOUND",
    ),
    "an image of nobody's": sets(MISSING, "RESOURCE_NOT_FOUND", activity__images=[f"images/{NO_SUCH}"]),
    "an answer nobody asked for": (answers(colour="red"), INVALID, "TEMPLATE_FIELDS_INVALID"),
    "an answer of the wrong type": (answers(headline=12), INVALID, "TEMPLATE_FIELDS_INVALID"),
    "an answer that is no number": (answers(guests=float("nan")), INVALID, ""),
    "an oversized answer": (answers(notes="x" * 100_000), INVALID, "TEMPLATE_FIELDS_INVALID"),
}


def template(world: World) -> Any:
    text = options_pb2.LocalizedText(zh_cn="秒杀", en="Flash sale")
    made = entry_pb2.Template(name=f"templates/t{request_id()[:20]}", title=text, benefit="amount_off")
    made.fields.add(key="headline", label=text, kind=entry_pb2.TemplateField.KIND_TEXT, is_required=True)
    made.schema.update(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["headline"],
            "properties": {"headline": {"type": "string", "maxLength": 30}},
        }
    )
    return entry_pb2.CreateTemplateRequest(template=made, request_id=request_id())


def bad_schema(**rules: Any) -> Spoil:
    def spoil(_: World, request: Any) -> Any:
        copy = changed(request)
        copy.template.schema.update(rules)
        return copy

    return spoil


def bad_term(**fields: Any) -> Spoil:
    """An import whose one term is otherwise."""

    def spoil(_: World, request: Any) -> Any:
        copy = changed(request)
        copy.terms[0].CopyFrom(changed(copy.terms[0], **fields))
        return copy

    return spoil


def past(world: World) -> str:
    """A lexicon that was the head, and is not any more."""
    head = world.head
    world.release(world.lexicon())
    return head


ENTRY = {
    "CreateMerchant": Row(
        LIN,
        lambda w: entry_pb2.CreateMerchantRequest(
            merchant=entry_pb2.Merchant(display_name="面馆", currency="CNY"), request_id=request_id()
        ),
        refusals={
            "another's": sets(INVALID, "INVALID_FIELD", merchant__owner="mallory"),
            "no currency of ours": sets(INVALID, "INVALID_FIELD", merchant__currency="XXX"),
        },
    ),
    "GetMerchant": Row(LIN, lambda w: entry_pb2.GetMerchantRequest(name=w.merchant), MALLORY),
    "ListMerchants": Row(LIN, lambda w: entry_pb2.ListMerchantsRequest()),
    "UpdateMerchant": Row(
        LIN,
        lambda w: entry_pb2.UpdateMerchantRequest(
            merchant=entry_pb2.Merchant(name=w.merchant, display_name="川味小馆"), request_id=request_id()
        ),
        MALLORY,
        mask_refusals("merchant"),
    ),
    "CreateStore": Row(
        LIN,
        lambda w: entry_pb2.CreateStoreRequest(store=content.store(w.merchant, w.image), request_id=request_id()),
        MALLORY,
        {
            "no such zone": sets(INVALID, "INVALID_FIELD", store__zone="Mars/Olympus"),
            "a zone that is a path": sets(INVALID, "INVALID_FIELD", store__zone="../../etc/passwd"),
            "an image of nobody's": sets(MISSING, "RESOURCE_NOT_FOUND", store__images=[f"images/{NO_SUCH}"]),
        },
    ),
    "GetStore": Row(LIN, lambda w: entry_pb2.GetStoreRequest(name=w.store), MALLORY),
    "ListStores": Row(LIN, lambda w: entry_pb2.ListStoresRequest(city="成都")),
    "UpdateStore": Row(
        LIN,
        lambda w: entry_pb2.UpdateStoreRequest(
            store=entry_pb2.Store(name=w.store, description="二十张桌子。"), request_id=request_id()
        ),
        MALLORY,
        {
            **mask_refusals("store"),
            "an image of nobody's": sets(MISSING, "RESOURCE_NOT_FOUND", store__images=[f"images/{NO_SUCH}"]),
        },
    ),
    "BindStaff": Row(
        LIN,
        lambda w: entry_pb2.BindStaffRequest(
            store=w.store, subject="wei", rights=[entry_pb2.STAFF_RIGHT_VERIFY], request_id=request_id()
        ),
        MALLORY,
        {"no right": sets(INVALID, "INVALID_FIELD", rights=[])},
    ),
    "UnbindStaff": Row(
        LIN,
        lambda w: entry_pb2.UnbindStaffRequest(store=w.store, subject=w.leaver(), request_id=request_id()),
        MALLORY,
        {"somebody who is not bound": sets(MISSING, "RESOURCE_NOT_FOUND", subject="nobody")},
    ),
    "ListStaff": Row(LIN, lambda w: entry_pb2.ListStaffRequest(store=w.store), MALLORY),
    "CreateTemplate": Row(
        OPERATOR,
        template,
        refusals={
            "a taken name": sets("ALREADY_EXISTS", "ALREADY_EXISTS", template__name="templates/amount-off"),
            "no JSON Schema": (bad_schema(type="nonsense"), INVALID, "INVALID_FIELD"),
            "a schema that reaches out": (
                bad_schema(properties={"headline": {"$ref": "http://example.com/x.json"}}),
                INVALID,
                "INVALID_FIELD",
            ),
            "a schema without its question": (
                bad_schema(properties={"other": {"type": "string", "maxLength": 3}}),
                INVALID,
                "INVALID_FIELD",
            ),
        },
    ),
    "GetTemplate": Row(LIN, lambda w: entry_pb2.GetTemplateRequest(name="templates/amount-off")),
    "ListTemplates": Row(LIN, lambda w: entry_pb2.ListTemplatesRequest()),
    "CreateActivity": Row(
        LIN, entered(), MALLORY, {**TERMS_REFUSALS, "budget without a cap": (uncapped, INVALID, "BUDGET_NEEDS_CAP")}
    ),
    "GetActivity": Row(LIN, lambda w: entry_pb2.GetActivityRequest(name=w.published.name), MALLORY),
    "ListActivities": Row(
        LIN,
        lambda w: entry_pb2.ListActivitiesRequest(order_by="create_time"),
        refusals={
            "no such order": sets(INVALID, "INVALID_ORDER_BY", order_by="title; DROP TABLE activity"),
            "state 99": sets(INVALID, "INVALID_FIELD", state=99),
        },
    ),
    "UpdateActivity": Row(
        LIN,
        lambda w: entry_pb2.UpdateActivityRequest(
            activity=changed(w.activity_of_lin(), name=w.draft().name, merchant=None, template=None),
            request_id=request_id(),
        ),
        MALLORY,
        {
            **mask_refusals("activity"),
            "a path inside terms": sets(INVALID, "INVALID_UPDATE_MASK", update_mask=FieldMask(paths=["terms.stock"])),
            **{title: one for title, one in TERMS_REFUSALS.items() if "template" not in title},
        },
    ),
    "DeleteActivity": Row(
        LIN,
        lambda w: entry_pb2.DeleteActivityRequest(name=w.draft().name, request_id=request_id()),
        MALLORY,
        {
            "stale etag": sets(*STALE, etag="999999"),
            "published": (lambda w, r: changed(r, name=w.published.name), STATE, "ACTIVITY_NOT_DRAFT"),
        },
    ),
    "PreviewActivity": Row(LIN, lambda w: entry_pb2.PreviewActivityRequest(name=w.published.name), MALLORY),
    "UploadImage": Row(
        LIN,
        lambda w: entry_pb2.UploadImageRequest(merchant=w.merchant, content=content.picture(), request_id=request_id()),
        MALLORY,
        {
            "9 MiB": sets(INVALID, "IMAGE_TOO_LARGE", content=b"\xff\xd8\xff" + bytes(9 * 1024 * 1024)),
            "49 megapixels": sets(INVALID, "IMAGE_TOO_LARGE", content=picture("PNG", (7000, 7000))),
            "no picture": sets(INVALID, "IMAGE_UNREADABLE", content=b"<svg onload=alert(1)>"),
            "half a picture": sets(INVALID, "IMAGE_UNREADABLE", content=content.picture()[:500]),
            "a film": sets(INVALID, "IMAGE_UNREADABLE", content=picture("GIF", (4, 4), frames=2)),
        },
    ),
    "GetImage": Row(LIN, lambda w: entry_pb2.GetImageRequest(name=w.hidden_image), MALLORY),
}

PUBLISH = {
    "SubmitActivity": Row(
        LIN,
        lambda w: publish_pb2.SubmitActivityRequest(name=w.draft().name, request_id=request_id()),
        MALLORY,
        {
            "stale etag": sets(*STALE, etag="999999"),
            "submitted before": (lambda w, r: changed(r, name=w.published.name), STATE, "ACTIVITY_STATE"),
        },
    ),
    "WithdrawActivity": Row(
        LIN,
        lambda w: publish_pb2.WithdrawActivityRequest(name=w.submitted().name, request_id=request_id()),
        MALLORY,
        {"a draft": (lambda w, r: changed(r, name=w.draft().name), STATE, "ACTIVITY_STATE")},
    ),
    "AdjustSupply": Row(
        LIN,
        lambda w: publish_pb2.AdjustSupplyRequest(name=w.published.name, stock=60, request_id=request_id()),
        MALLORY,
        {
            "less": sets(STATE, "SUPPLY_CANNOT_SHRINK", stock=1),
            "a smaller budget": sets(STATE, "SUPPLY_CANNOT_SHRINK", budget=content.yuan(1)),
            "a negative budget": sets(INVALID, "INVALID_FIELD", budget=Money(currency_code="CNY", units=-1)),
            "another currency": sets(INVALID, "CURRENCY_MISMATCH", budget=Money(currency_code="USD", units=9_999)),
            "a draft": (lambda w, r: changed(r, name=w.draft().name), STATE, "ACTIVITY_NOT_PUBLISHED"),
        },
    ),
    "ListTransitions": Row(LIN, lambda w: publish_pb2.ListTransitionsRequest(activity=w.published.name), MALLORY),
    "GetPublication": Row(ANYBODY, lambda w: publish_pb2.GetPublicationRequest(name=w.published.publication)),
    "WatchActivity": Row(
        LIN,
        lambda w: publish_pb2.WatchActivityRequest(activity=w.published.name),
        MALLORY,
        {"a cursor of nowhere": sets(INVALID, "INVALID_PAGE_TOKEN", cursor="nowhere")},
    ),
}

AUDIT = {
    "AuditActivity": Row(
        OPERATOR,
        lambda w: audit_pb2.AuditActivityRequest(activity=w.published.name, request_id=request_id()),
        refusals={"a draft": (lambda w, r: changed(r, activity=w.draft().name), STATE, "ACTIVITY_STATE")},
    ),
    "GetAudit": Row(LIN, lambda w: audit_pb2.GetAuditRequest(name=w.published.audit), MALLORY),
    "ListAudits": Row(
        LIN,
        lambda w: audit_pb2.ListAuditsRequest(category="absolute_claim", max_age=Duration(seconds=60)),
        refusals={
            "a negative age": sets(INVALID, "INVALID_FIELD", min_age=Duration(seconds=-1)),
            "an age beyond reckoning": sets(INVALID, "INVALID_FIELD", max_age=Duration(seconds=300_000_000_000)),
        },
    ),
    "CheckText": Row(LIN, lambda w: audit_pb2.CheckTextRequest(text="全城最低价")),
    "ResolveAudit": Row(
        OPERATOR,
        lambda w: audit_pb2.ResolveAuditRequest(
            name=(audit := w.open_audit()).name,
            digest=audit.digest,
            decision=audit_pb2.DECISION_PASS,
            reason="ok",
            request_id=request_id(),
        ),
        refusals={
            "REVIEW": sets(INVALID, "INVALID_FIELD", decision=audit_pb2.DECISION_REVIEW),
            "another digest": sets(STATE, "AUDIT_STALE", digest="0" * 64),
            "decided": (lambda w, r: changed(r, name=w.published.audit), STATE, "AUDIT_NOT_OPEN"),
        },
    ),
    "AppealAudit": Row(
        LIN,
        lambda w: audit_pb2.AppealAuditRequest(name=w.rejected_audit(), reason="这是书名", request_id=request_id()),
        MALLORY,
        {"passed": (lambda w, r: changed(r, name=w.published.audit), STATE, "AUDIT_NOT_OPEN")},
    ),
    "ImportTerms": Row(
        OPERATOR,
        lambda w: w.terms_of_olga(),
        refusals={
            "no change": sets(INVALID, "INVALID_FIELD", terms=[]),
            "no such category": (bad_term(category="rumours"), INVALID, "INVALID_FIELD"),
            "a pass": (bad_term(action=audit_pb2.DECISION_PASS), INVALID, "INVALID_FIELD"),
            "no words": (bad_term(text="……"), INVALID, "INVALID_FIELD"),
            "no rewrite": (bad_term(rewrite=None), INVALID, "INVALID_FIELD"),
            "no basis": (bad_term(basis=""), INVALID, "INVALID_FIELD"),
            "a pattern that is none": (bad_term(pattern="开(光"), INVALID, "INVALID_FIELD"),
            "a pattern without a bound": (bad_term(pattern="开.*光"), INVALID, "INVALID_FIELD"),
            "a removal of nothing": sets(
                INVALID, "INVALID_FIELD", removals=[audit_pb2.TermKey(category="abuse", text="没有的词")]
            ),
        },
    ),
    "GetLexicon": Row(OPERATOR, lambda w: audit_pb2.GetLexiconRequest(name=w.head)),
    "ListLexicons": Row(OPERATOR, lambda w: audit_pb2.ListLexiconsRequest(page_size=1)),
    "ListTerms": Row(OPERATOR, lambda w: audit_pb2.ListTermsRequest(lexicon=w.head, category="minors", text="烟")),
    "TestLexicon": Row(OPERATOR, lambda w: audit_pb2.TestLexiconRequest(name=w.lexicon())),
    "ReleaseLexicon": Row(
        OPERATOR,
        lambda w: audit_pb2.ReleaseLexiconRequest(
            name=w.lexicon(), head=w.head, reason="新规", request_id=request_id()
        ),
        refusals={
            "the head": (lambda w, r: changed(r, name=w.head), STATE, "LEXICON_IS_HEAD"),
            "another head than expected": (lambda w, r: changed(r, head=r.name), *STALE),
        },
    ),
    "RollbackLexicon": Row(
        OPERATOR,
        lambda w: audit_pb2.RollbackLexiconRequest(name=past(w), head=w.head, reason="误伤", request_id=request_id()),
        refusals={
            "the head": (lambda w, r: changed(r, name=w.head), STATE, "LEXICON_IS_HEAD"),
            "never released": (lambda w, r: changed(r, name=w.lexicon()), STATE, "LEXICON_NEVER_RELEASED"),
            "another head than expected": (lambda w, r: changed(r, head=r.name), *STALE),
        },
    ),
    "GetRollout": Row(OPERATOR, lambda w: audit_pb2.GetRolloutRequest(name=w.rollout.name)),
    "ListRollouts": Row(OPERATOR, lambda w: audit_pb2.ListRolloutsRequest(page_size=1)),
}

SHARE = {
    "ListShareable": Row(ANYBODY, lambda w: share_pb2.ListShareableRequest(city="成都")),
    "CreateShare": Row(
        LIN,
        lambda w: share_pb2.CreateShareRequest(
            activity=w.published.name, channel=share_pb2.CHANNEL_QQ, request_id=request_id()
        ),
        MALLORY,
        {
            "a forged parent": sets(INVALID, "SHARE_CODE_INVALID", parent_code="AAAAAAAAAAAA"),
            "a draft": (lambda w, r: changed(r, activity=w.draft().name), MISSING, "RESOURCE_NOT_FOUND"),
        },
    ),
    "ReportShare": Row(
        LIN,
        lambda w: share_pb2.ReportShareRequest(
            name=w.share().name, state=share_pb2.SHARE_STATE_SHARED, request_id=request_id()
        ),
        MALLORY,
        {"CREATED": sets(INVALID, "INVALID_FIELD", state=share_pb2.SHARE_STATE_CREATED)},
    ),
    "GetShare": Row(LIN, lambda w: share_pb2.GetShareRequest(name=w.share().name), MALLORY),
    "ListShares": Row(LIN, lambda w: share_pb2.ListSharesRequest(activity=w.published.name), MALLORY),
    "RecordVisit": Row(
        ANYBODY,
        lambda w: share_pb2.RecordVisitRequest(
            share_code=w.share().code, visitor_id=request_id(), request_id=request_id()
        ),
        refusals={
            "a forged code": sets(INVALID, "SHARE_CODE_INVALID", share_code="AAAAAAAAAAAA"),
            "no code at all": sets(INVALID, "SHARE_CODE_INVALID", share_code="' OR 1=1 --"),
        },
    ),
    "ClaimCoupon": Row(
        ALICE,
        lambda w: share_pb2.ClaimCouponRequest(share_code=w.share().code, request_id=request_id()),
        refusals={
            "a forged code": sets(INVALID, "SHARE_CODE_INVALID", share_code="AAAAAAAAAAAA"),
            "no such activity": sets(MISSING, "RESOURCE_NOT_FOUND", activity=f"activities/{NO_SUCH}"),
            "a draft": (lambda w, r: changed(r, activity=w.draft().name), MISSING, "RESOURCE_NOT_FOUND"),
            "her own share": (
                lambda w, r: changed(r, share_code=w.share(w.alice).code),
                STATE,
                "SELF_REFERRAL",
            ),
        },
    ),
}

TILL_REFUSALS: dict[str, tuple[Spoil, str, str]] = {
    "a negative price": (
        lambda w, r: changed(r, basket=[redeem_pb2.BasketLine(item="x", quantity=1, unit_price=content.yuan(-100))]),
        INVALID,
        "INVALID_FIELD",
    ),
    "a code twice": (lambda w, r: changed(r, codes=[r.codes[0]] * 2), INVALID, "INVALID_FIELD"),
    "eleven codes": sets(INVALID, "INVALID_FIELD", codes=[f"{6 * 10**15 + n}" for n in range(11)]),
    "a code of letters": sets(INVALID, "INVALID_FIELD", codes=["六" * 16]),
}

REDEEM = {
    "ListOffers": Row(ANYBODY, lambda w: redeem_pb2.ListOffersRequest(city="成都")),
    "GetOffer": Row(
        ALICE,
        lambda w: redeem_pb2.GetOfferRequest(activity=w.published.name),
        refusals={"a draft": (lambda w, r: changed(r, activity=w.draft().name), MISSING, "RESOURCE_NOT_FOUND")},
    ),
    "ListCoupons": Row(ALICE, lambda w: redeem_pb2.ListCouponsRequest(state=redeem_pb2.COUPON_STATE_CLAIMED)),
    "GetCoupon": Row(ALICE, lambda w: redeem_pb2.GetCouponRequest(name=w.coupon().name), EVE),
    "VerifyCoupon": Row(
        JIE,
        lambda w: redeem_pb2.VerifyCouponRequest(
            store=w.store,
            codes=[w.coupon().code],
            basket=content.basket(FISH_07=2),
            hold_coupons=True,
            request_id=request_id(),
        ),
        STRANGER,
        {**TILL_REFUSALS, "a hold without request_id": sets(INVALID, "INVALID_FIELD", request_id="")},
    ),
    "ReleaseHold": Row(
        JIE,
        lambda w: redeem_pb2.ReleaseHoldRequest(store=w.store, hold=w.hold(), request_id=request_id()),
        STRANGER,
        {"no such hold": sets(STATE, "HOLD_NOT_FOUND", hold=NO_SUCH)},
    ),
    "RedeemCoupon": Row(
        JIE,
        lambda w: w.redeeming(w.coupon().code),
        STRANGER,
        {
            **TILL_REFUSALS,
            "a forged code": (
                lambda w, r: changed(r, codes=[content.forged(r.codes[0])]),
                STATE,
                "COUPON_REFUSED",
            ),
            "one good and one forged": (
                lambda w, r: changed(r, codes=[r.codes[0], content.forged(r.codes[0])]),
                STATE,
                "COUPON_REFUSED",
            ),
            "two that do not stack": (
                lambda w, r: changed(r, codes=[r.codes[0], w.coupon().code]),
                STATE,
                "NOT_STACKABLE",
            ),
            "below the threshold": sets(STATE, "BELOW_THRESHOLD", basket=content.basket(RICE_01=1)),
            "a hold that ended": sets(STATE, "HOLD_NOT_FOUND", hold=NO_SUCH),
            "a redeemed one": (
                lambda w, r: w.used(r),
                STATE,
                "COUPON_REDEEMED",
            ),
        },
    ),
    "ReverseRedemption": Row(
        JIE,
        lambda w: redeem_pb2.ReverseRedemptionRequest(
            name=w.redemption().name, reason="顾客取消", request_id=request_id()
        ),
        STRANGER,
        {
            "reversed before": (
                lambda w, r: w.reversed(r),
                STATE,
                "ALREADY_REVERSED",
            )
        },
    ),
    "VoidCoupon": Row(
        OPERATOR,
        lambda w: redeem_pb2.VoidCouponRequest(name=w.coupon().name, reason="fraud", request_id=request_id()),
        refusals={
            "a redeemed one": (
                lambda w, r: changed(r, name=w.redemption().coupons[0].coupon),
                STATE,
                "COUPON_REDEEMED",
            )
        },
    ),
    "GetRedemption": Row(LIN, lambda w: redeem_pb2.GetRedemptionRequest(name=w.redemption().name), MALLORY),
    "ListRedemptions": Row(
        LIN,
        lambda w: redeem_pb2.ListRedemptionsRequest(
            store=w.store, start_time=Timestamp(seconds=1), end_time=Timestamp(seconds=2)
        ),
        MALLORY,
        {"a time that is none": sets(INVALID, "INVALID_FIELD", end_time=Timestamp(seconds=10**12))},
    ),
    "GetActivityReport": Row(LIN, lambda w: redeem_pb2.GetActivityReportRequest(activity=w.published.name), MALLORY),
    "EraseCustomer": Row(
        OPERATOR, lambda w: redeem_pb2.EraseCustomerRequest(subject="somebody", request_id=request_id())
    ),
}

ROWS: dict[str, Row] = {**ENTRY, **PUBLISH, **AUDIT, **SHARE, **REDEEM}


def other(**fields: Any) -> Spoil:
    return lambda _, request: changed(request, **fields)


# Another request that would be as good, for the same request_id.
OTHERS: dict[str, Spoil] = {
    "CreateMerchant": other(merchant__display_name="饺子馆"),
    "UpdateMerchant": other(merchant__display_name="饺子馆"),
    "CreateStore": other(store__description="三十张桌子。"),
    "UpdateStore": other(store__description="三十张桌子。"),
    "BindStaff": other(title="店员"),
    "UnbindStaff": other(subject=JIE[1]),
    "CreateTemplate": other(template__title__en="Another"),
    "CreateActivity": other(activity__title="周末火锅满减"),
    "UpdateActivity": other(activity__title="周末火锅满减"),
    "DeleteActivity": other(etag="1"),
    "UploadImage": other(content=picture("PNG", (9, 9))),
    "SubmitActivity": other(etag="7"),
    "WithdrawActivity": other(reason="换季"),
    "AdjustSupply": other(stock=70),
    "AuditActivity": lambda w, r: changed(r, activity=w.submitted().name),
    "ResolveAudit": other(decision=audit_pb2.DECISION_REJECT),
    "AppealAudit": other(reason="这是菜名"),
    "ImportTerms": other(reason="四起投诉"),
    "ReleaseLexicon": other(reason="旧规"),
    "RollbackLexicon": other(reason="误判"),
    "CreateShare": other(channel=share_pb2.CHANNEL_WEIBO),
    "ReportShare": other(report="ok"),
    "RecordVisit": lambda w, r: changed(r, share_code=w.share().code),
    "ClaimCoupon": lambda w, r: changed(r, activity=w.published.name),
    "VerifyCoupon": other(basket=content.basket(RICE_01=1)),
    "ReleaseHold": other(hold=NO_SUCH),
    "RedeemCoupon": other(order_id="A-9"),
    "ReverseRedemption": other(reason="收错了"),
    "VoidCoupon": other(reason="mistake"),
    "EraseCustomer": other(subject="somebody-else"),
}
