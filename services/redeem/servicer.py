"""RedeemService on the wire: each method unpacks, calls its rule and packs."""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.empty_pb2 import Empty

from services.chassis.call import current
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.wire import to_message, to_plain
from services.ledger.codes import CouponCodes
from services.redeem import books, domain, offers, wallet
from services.redeem.tries import Tries
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc


class Servicer(redeem_pb2_grpc.RedeemServiceServicer):
    """The servicer; `clock` tells the aware present time."""

    def __init__(self, db: Database, clock: Callable[[], datetime], keys: Keyring) -> None:
        self._db = db
        self._clock = clock
        self._codes = CouponCodes(keys)
        self._tries = Tries()

    async def ListOffers(self, request: redeem_pb2.ListOffersRequest, context: object) -> redeem_pb2.ListOffersResponse:
        plain = to_plain(request)
        row = await self._db.run(offers.list_offers, current(), plain, self._clock())
        return to_message(redeem_pb2.ListOffersResponse, row)

    async def GetOffer(self, request: redeem_pb2.GetOfferRequest, context: object) -> redeem_pb2.Offer:
        plain = to_plain(request)
        row = await self._db.run(offers.get_offer, current(), plain, self._clock())
        return to_message(redeem_pb2.Offer, row)

    async def ListCoupons(
        self, request: redeem_pb2.ListCouponsRequest, context: object
    ) -> redeem_pb2.ListCouponsResponse:
        plain = to_plain(request)
        row = await self._db.run(wallet.list_coupons, current(), plain, self._clock())
        return to_message(redeem_pb2.ListCouponsResponse, row)

    async def GetCoupon(self, request: redeem_pb2.GetCouponRequest, context: object) -> redeem_pb2.Coupon:
        plain = to_plain(request)
        row = await self._db.run(wallet.get_coupon, current(), plain, self._clock())
        return to_message(redeem_pb2.Coupon, row)

    async def VerifyCoupon(
        self, request: redeem_pb2.VerifyCouponRequest, context: object
    ) -> redeem_pb2.VerifyCouponResponse:
        plain, now = to_plain(request), self._clock()
        row = await self._db.run(domain.verify_coupons, current(), plain, now, self._codes, self._tries)
        return to_message(redeem_pb2.VerifyCouponResponse, row)

    async def ReleaseHold(self, request: redeem_pb2.ReleaseHoldRequest, context: object) -> Empty:
        plain = to_plain(request)
        row = await self._db.run(domain.release_hold, current(), plain, self._clock())
        return to_message(Empty, row)

    async def RedeemCoupon(self, request: redeem_pb2.RedeemCouponRequest, context: object) -> redeem_pb2.Redemption:
        plain, now = to_plain(request), self._clock()
        row = await self._db.run(domain.redeem_coupons, current(), plain, now, self._codes, self._tries)
        return to_message(redeem_pb2.Redemption, row)

    async def ReverseRedemption(
        self, request: redeem_pb2.ReverseRedemptionRequest, context: object
    ) -> redeem_pb2.Redemption:
        plain = to_plain(request)
        row = await self._db.run(domain.reverse_redemption, current(), plain, self._clock())
        return to_message(redeem_pb2.Redemption, row)

    async def VoidCoupon(self, request: redeem_pb2.VoidCouponRequest, context: object) -> redeem_pb2.Coupon:
        plain = to_plain(request)
        row = await self._db.run(domain.void_coupon, current(), plain, self._clock())
        return to_message(redeem_pb2.Coupon, row)

    async def GetRedemption(self, request: redeem_pb2.GetRedemptionRequest, context: object) -> redeem_pb2.Redemption:
        plain = to_plain(request)
        row = await self._db.run(books.get_redemption, current(), plain)
        return to_message(redeem_pb2.Redemption, row)

    async def ListRedemptions(
        self, request: redeem_pb2.ListRedemptionsRequest, context: object
    ) -> redeem_pb2.ListRedemptionsResponse:
        plain = to_plain(request)
        row = await self._db.run(books.list_redemptions, current(), plain)
        return to_message(redeem_pb2.ListRedemptionsResponse, row)

    async def GetActivityReport(
        self, request: redeem_pb2.GetActivityReportRequest, context: object
    ) -> redeem_pb2.ActivityReport:
        plain = to_plain(request)
        row = await self._db.run(books.get_activity_report, current(), plain)
        return to_message(redeem_pb2.ActivityReport, row)

    async def EraseCustomer(self, request: redeem_pb2.EraseCustomerRequest, context: object) -> Empty:
        plain = to_plain(request)
        row = await self._db.run(books.erase_customer, current(), plain, self._clock())
        return to_message(Empty, row)
