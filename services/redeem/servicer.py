"""RedeemService on the wire: each method unpacks, calls its rule and packs."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec

from google.protobuf.empty_pb2 import Empty

from services.chassis.batching import Batcher
from services.chassis.call import Call, current, deadline
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.parts import repeated, serialized, text
from services.chassis.status import message_of
from services.chassis.wire import packed, to_plain
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.redeem import books, domain, wallet
from services.redeem.offers import Offers
from services.redeem.redeeming import Redeeming
from services.redeem.shops import Shops
from services.redeem.tries import Tries
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc

# Reports that are counted at a time.
_REPORTS = 2

P = ParamSpec("P")
Plain = dict[str, Any]


class Servicer(redeem_pb2_grpc.RedeemServiceServicer):
    """The servicer; `clock` tells the aware present time, `code_generation` the latest key of coupon codes."""

    def __init__(
        self,
        db: Database,
        batcher: Batcher,
        clock: Callable[[], datetime],
        keys: Keyring,
        *,
        code_generation: int = 0,
    ) -> None:
        self._db = db
        self._clock = clock
        self._codes = CouponCodes(keys, code_generation)
        self._tags = Tags(keys)
        self._tries = Tries()
        # A report counts for a second: the threads are for everybody.
        self._reports = asyncio.Semaphore(_REPORTS)
        pack = partial(serialized, redeem_pb2.Redemption)
        self._redeeming = Redeeming(Shops(db), batcher, clock, self._codes, self._tries, to_plain, pack)
        self._offers = Offers(db, clock, self._tags, _packed_offer)

    # These two answer bytes, which the pipeline passes on as they are: the stubs do not know of that.
    async def ListOffers(self, request: redeem_pb2.ListOffersRequest, context: object) -> bytes:  # type: ignore[override]
        page, token = await self._offers.page(current(), to_plain(request))
        return repeated(1, page) + text(2, token)

    async def GetOffer(self, request: redeem_pb2.GetOfferRequest, context: object) -> bytes:  # type: ignore[override]
        return b"".join(await self._offers.get(current(), request.activity))

    async def ListCoupons(
        self, request: redeem_pb2.ListCouponsRequest, context: object
    ) -> redeem_pb2.ListCouponsResponse:
        plain = to_plain(request)
        return await self._db.run(
            packed(redeem_pb2.ListCouponsResponse, wallet.list_coupons), current(), plain, self._clock()
        )

    async def GetCoupon(self, request: redeem_pb2.GetCouponRequest, context: object) -> redeem_pb2.Coupon:
        plain = to_plain(request)
        return await self._db.run(packed(redeem_pb2.Coupon, wallet.get_coupon), current(), plain, self._clock())

    async def VerifyCoupon(
        self, request: redeem_pb2.VerifyCouponRequest, context: object
    ) -> redeem_pb2.VerifyCouponResponse:
        plain, now = to_plain(request), self._clock()
        verify_coupons = packed(
            redeem_pb2.VerifyCouponResponse, _told(domain.verify_coupons, lambda answer: answer["verdicts"])
        )
        return await self._db.run(verify_coupons, current(), plain, now, self._codes, self._tries)

    async def ReleaseHold(self, request: redeem_pb2.ReleaseHoldRequest, context: object) -> Empty:
        plain = to_plain(request)
        return await self._db.run(packed(Empty, domain.release_hold), current(), plain, self._clock())

    # It answers bytes, as above: of a whole batch they are packed at once.
    async def RedeemCoupon(self, request: redeem_pb2.RedeemCouponRequest, context: object) -> bytes:  # type: ignore[override]
        return await self._redeeming.redeem(current(), request.store, request, deadline())

    async def ReverseRedemption(
        self, request: redeem_pb2.ReverseRedemptionRequest, context: object
    ) -> redeem_pb2.Redemption:
        plain = to_plain(request)
        return await self._db.run(
            packed(redeem_pb2.Redemption, domain.reverse_redemption), current(), plain, self._clock()
        )

    async def VoidCoupon(self, request: redeem_pb2.VoidCouponRequest, context: object) -> redeem_pb2.Coupon:
        plain = to_plain(request)
        return await self._db.run(packed(redeem_pb2.Coupon, domain.void_coupon), current(), plain, self._clock())

    async def GetRedemption(self, request: redeem_pb2.GetRedemptionRequest, context: object) -> redeem_pb2.Redemption:
        plain = to_plain(request)
        return await self._db.run(packed(redeem_pb2.Redemption, books.get_redemption), current(), plain)

    async def ListRedemptions(
        self, request: redeem_pb2.ListRedemptionsRequest, context: object
    ) -> redeem_pb2.ListRedemptionsResponse:
        plain = to_plain(request)
        return await self._db.run(packed(redeem_pb2.ListRedemptionsResponse, books.list_redemptions), current(), plain)

    async def GetActivityReport(
        self, request: redeem_pb2.GetActivityReportRequest, context: object
    ) -> redeem_pb2.ActivityReport:
        plain = to_plain(request)
        async with self._reports:
            return await self._db.run(packed(redeem_pb2.ActivityReport, books.get_activity_report), current(), plain)

    async def EraseCustomer(self, request: redeem_pb2.EraseCustomerRequest, context: object) -> Empty:
        plain = to_plain(request)
        return await self._db.run(packed(Empty, books.erase_customer), current(), plain, self._clock(), self._tags)


def _packed_offer(plain: Plain, locale: str) -> bytes:
    return serialized(redeem_pb2.Offer, _in_words(plain, locale))


def _told(
    rule: Callable[Concatenate[Call, P], Plain], reasoned: Callable[[Plain], Iterable[Plain]]
) -> Callable[Concatenate[Call, P], Plain]:
    """The rule, with words for a person beside every reason: lite runtimes cannot read them from the contract.

    `reasoned` finds the views in the answer that may have a `reason`, with its `details` if it has any.
    """

    def in_words(call: Call, /, *args: P.args, **kwargs: P.kwargs) -> Plain:
        answer = rule(call, *args, **kwargs)
        for view in reasoned(answer):
            view |= _in_words(view, call.locale)
        return answer

    return in_words


def _in_words(view: Plain, locale: str) -> Plain:
    return (
        view | {"message": message_of(view["reason"], view.get("details", {}), locale)} if view.get("reason") else view
    )
