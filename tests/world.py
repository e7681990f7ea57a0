"""A small world behind the services: Lin and what she owns, her rival Mallory, and everything a test can refer to."""

import io
from datetime import date
from functools import cached_property
from typing import Any, TypeVar

from google.protobuf.message import Message
from PIL import Image

from services.journey import content
from services.journey.people import Person
from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2
from tests.contracts import rpcs
from tests.mesh import Mesh, poll, request_id

TODAY = date(2026, 3, 4)
ALL_RIGHTS = [number for number in entry_pb2.StaffRight.values() if number]
Who = tuple[str, str]
M = TypeVar("M", bound=Message)

LIN, MALLORY = ("MERCHANT", "lin"), ("MERCHANT", "mallory")
JIE, STRANGER = ("STAFF", "jie"), ("STAFF", "stranger")
ALICE, EVE = ("CUSTOMER", "alice"), ("CUSTOMER", "eve")
OPERATOR, SERVICE, ANYBODY = ("OPERATOR", "olga"), ("SERVICE", "publish"), ("", "")


class World:
    """What exists once, as attributes, and what is used up, as methods that make a new one each time."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._tokens: dict[Who, str] = {}
        self.lin, self.jie, self.alice, self.olga = (mesh.person(*who) for who in (LIN, JIE, ALICE, OPERATOR))
        self.merchant = self._merchant(self.lin)
        self.image = self.upload(content.picture())
        self.store = self.new_store(self.lin, self.merchant, self.image)
        self.bind(self.store, JIE[1])
        # A rival with a store of his own, so that a foreign name is refused for being foreign and not for being alone.
        rival = mesh.person(*MALLORY)
        self.rivals_merchant = self._merchant(rival)
        self.rivals_store = self.new_store(rival, self.rivals_merchant, "")

    def send(self, rpc: str, raw: bytes, metadata: list[tuple[str, str]]) -> bytes:
        """The answer's bytes (of a stream its first message); raises grpc.RpcError."""
        method = rpcs()[rpc].descriptor
        path = f"/{method.containing_service.full_name}/{method.name}"
        channel = self.mesh.channels[rpcs()[rpc].service]
        # The stubs do not know calls in bytes.
        call: Any = channel.unary_stream(path) if method.server_streaming else channel.unary_unary(path)
        answer = call(raw, metadata=metadata, timeout=20)
        if not method.server_streaming:
            return bytes(answer)
        try:
            return bytes(next(answer))
        finally:
            answer.cancel()

    def metadata(self, who: Who) -> list[tuple[str, str]]:
        """The headers of a bearer."""
        language = ("accept-language", "en")
        return [language, ("authorization", f"Bearer {self._token(who)}")] if who[0] else [language]

    def _token(self, who: Who) -> str:
        return self._tokens.setdefault(who, self.mesh.token(*who))

    def _merchant(self, owner: Person) -> str:
        merchant = entry_pb2.Merchant(display_name="川味小馆", currency="CNY")
        return owner.entry.CreateMerchant(
            entry_pb2.CreateMerchantRequest(merchant=merchant, request_id=request_id())
        ).name

    def upload(self, picture: bytes) -> str:
        request = entry_pb2.UploadImageRequest(merchant=self.merchant, content=picture, request_id=request_id())
        return self.lin.entry.UploadImage(request).name

    def new_store(self, owner: Person, merchant: str, image: str) -> str:
        store = content.store(merchant, image)
        if not image:
            del store.images[:]
        return owner.entry.CreateStore(entry_pb2.CreateStoreRequest(store=store, request_id=request_id())).name

    def bind(self, store: str, subject: str) -> None:
        self.lin.entry.BindStaff(
            entry_pb2.BindStaffRequest(store=store, subject=subject, rights=ALL_RIGHTS, request_id=request_id())
        )

    def activity_of_lin(self, is_legal: bool = True) -> entry_pb2.Activity:
        """What Lin would enter."""
        entered = content.activity(self.merchant, "templates/amount-off", self.store, self.image, TODAY)
        if is_legal:
            entered.title, entered.description = content.TITLE, content.DESCRIPTION
        entered.terms.per_customer = 1000
        # Each snapshot has a digest of its own: what an operator rules on one says nothing of the others.
        # In letters, since one in some hundred of hexadecimal numbers holds a telephone's.
        entered.fields["notes"] = request_id().translate(str.maketrans("0123456789", "ghijklmnop"))
        return entered

    def draft(self, is_legal: bool = True) -> entry_pb2.Activity:
        request = entry_pb2.CreateActivityRequest(activity=self.activity_of_lin(is_legal), request_id=request_id())
        return self.lin.entry.CreateActivity(request)

    def submitted(self, is_legal: bool = True) -> entry_pb2.Activity:
        """APPROVED if it is legal, else REJECTED."""
        request = publish_pb2.SubmitActivityRequest(name=self.draft(is_legal).name, request_id=request_id())
        return self.lin.publish.SubmitActivity(request)

    @cached_property
    def published(self) -> entry_pb2.Activity:
        activity = self.submitted()
        assert activity.state == entry_pb2.ACTIVITY_STATE_APPROVED
        return activity

    def rejected_audit(self) -> str:
        return self.submitted(is_legal=False).audit

    def open_audit(self) -> audit_pb2.Audit:
        """An appealed rejection, which an operator is to decide."""
        return self.lin.audit.AppealAudit(
            audit_pb2.AppealAuditRequest(name=self.rejected_audit(), reason="这是书名", request_id=request_id())
        )

    def lexicon(self) -> str:
        """A new lexicon, with a term that nobody's words have."""
        return self.olga.audit.ImportTerms(self.terms_of_olga()).name

    def terms_of_olga(self) -> audit_pb2.ImportTermsRequest:
        """What an operator would import."""
        term = audit_pb2.Term(text=f"暗号{request_id()}", category="superstition", action=audit_pb2.DECISION_REVIEW)
        term.basis, term.rewrite.zh_cn, term.rewrite.en = "平台规则第三条", "删去", "Leave it out"
        term.exceptions.append(f"{term.text}牌")
        return audit_pb2.ImportTermsRequest(base=self.head, terms=[term], reason="三起投诉", request_id=request_id())

    @property
    def rollout(self) -> audit_pb2.Rollout:
        """The newest."""
        return self.olga.audit.ListRollouts(audit_pb2.ListRolloutsRequest(page_size=1)).rollouts[0]

    @property
    def head(self) -> str:
        """The lexicon that decides."""
        return self.rollout.lexicon

    def release(self, lexicon: str) -> None:
        """Make it the head, with all that follows from it."""
        self.olga.audit.ReleaseLexicon(
            audit_pb2.ReleaseLexiconRequest(name=lexicon, reason="新规", request_id=request_id())
        )
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is judged again in the background."""
        poll(lambda: self.rollout.state != audit_pb2.ROLLOUT_STATE_RUNNING, 60.0)

    def share(self, sharer: Person | None = None) -> share_pb2.Share:
        request = share_pb2.CreateShareRequest(
            activity=self.published.name, channel=share_pb2.CHANNEL_WECHAT, request_id=request_id()
        )
        return (sharer or self.lin).share.CreateShare(request)

    def coupon(self) -> redeem_pb2.Coupon:
        """Claimed by Alice."""
        return self.alice.share.ClaimCoupon(
            share_pb2.ClaimCouponRequest(activity=self.published.name, request_id=request_id())
        )

    def redemption(self) -> redeem_pb2.Redemption:
        """By Jie, of a coupon of Alice's."""
        return self.jie.redeem.RedeemCoupon(self.redeeming(self.coupon().code))

    def redeeming(self, code: str) -> redeem_pb2.RedeemCouponRequest:
        return redeem_pb2.RedeemCouponRequest(
            store=self.store,
            codes=[code],
            basket=content.basket(FISH_07=2),
            order_id="A-1",
            terminal="till-1",
            request_id=request_id(),
        )

    def leaver(self) -> str:
        """Somebody who is bound to the store for now."""
        self.bind(self.store, "leaver")
        return "leaver"

    @cached_property
    def hidden_image(self) -> str:
        """An image that no publication shows."""
        file = io.BytesIO()
        Image.new("RGB", (8, 8), "#123456").save(file, "PNG")
        return self.upload(file.getvalue())

    def used(self, request: redeem_pb2.RedeemCouponRequest) -> redeem_pb2.RedeemCouponRequest:
        """The same codes for another order, after their one use."""
        self.jie.redeem.RedeemCoupon(request)
        return changed(request, request_id=request_id(), order_id="A-2")

    def reversed(self, request: redeem_pb2.ReverseRedemptionRequest) -> redeem_pb2.ReverseRedemptionRequest:
        """The same redemption again, after it was taken back."""
        self.jie.redeem.ReverseRedemption(request)
        return changed(request, request_id=request_id())

    def hold(self) -> str:
        request = redeem_pb2.VerifyCouponRequest(
            store=self.store, codes=[self.coupon().code], hold_coupons=True, request_id=request_id()
        )
        return self.jie.redeem.VerifyCoupon(request).hold


def changed(message: M, **fields: Any) -> M:
    """A copy of the message with these fields set; None clears one, `a__b` is field b of a."""
    copy = type(message)()
    copy.CopyFrom(message)
    for path, value in fields.items():
        *above, name = path.split("__")
        target: Message = copy
        for step in above:
            target = getattr(target, step)
        if value is None:
            target.ClearField(name)
        elif isinstance(value, Message):
            getattr(target, name).CopyFrom(value)
        elif isinstance(value, list):
            target.ClearField(name)
            getattr(target, name).extend(value)
        else:
            setattr(target, name, value)
    return copy
