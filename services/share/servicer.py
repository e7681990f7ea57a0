"""ShareService on the wire: each method unpacks, calls its rule and packs."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from services.chassis.batching import Batcher
from services.chassis.call import current, deadline
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.parts import repeated, serialized, text
from services.chassis.wire import packed, to_plain
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.share import domain, sharing
from services.share.claiming import Claiming
from services.share.codes import ShareCodes, Visitors
from services.share.shareables import Shareables
from sharemesh.v1 import redeem_pb2, share_pb2, share_pb2_grpc


class Servicer(share_pb2_grpc.ShareServiceServicer):
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
        self._codes = ShareCodes(keys)
        self._coupon_codes = CouponCodes(keys, code_generation)
        self._tags = Tags(keys)
        self._visitors = Visitors(keys)
        pack = partial(serialized, redeem_pb2.Coupon)
        self._claiming = Claiming(db, batcher, clock, self._codes, self._coupon_codes, self._tags, pack)
        self._shareables = Shareables(
            db, clock, partial(serialized, share_pb2.Shareable), lambda page: repeated(1, ((one,) for one in page))
        )

    # It answers bytes, which the pipeline passes on as they are: the stubs do not know of that.
    async def ListShareable(  # type: ignore[override]
        self, request: share_pb2.ListShareableRequest, context: object
    ) -> bytes:
        body, token = await self._shareables.page(current(), to_plain(request))
        return body + text(2, token)

    async def CreateShare(self, request: share_pb2.CreateShareRequest, context: object) -> share_pb2.Share:
        plain, now = to_plain(request), self._clock()
        codes = self._codes, self._coupon_codes
        return await self._db.run(
            packed(share_pb2.Share, sharing.create_share), current(), plain, now, *codes, self._tags
        )

    async def ReportShare(self, request: share_pb2.ReportShareRequest, context: object) -> share_pb2.Share:
        plain = to_plain(request)
        return await self._db.run(
            packed(share_pb2.Share, sharing.report_share), current(), plain, self._clock(), self._codes
        )

    async def GetShare(self, request: share_pb2.GetShareRequest, context: object) -> share_pb2.Share:
        plain = to_plain(request)
        return await self._db.run(
            packed(share_pb2.Share, domain.get_share), current(), plain, self._clock(), self._codes
        )

    async def ListShares(self, request: share_pb2.ListSharesRequest, context: object) -> share_pb2.ListSharesResponse:
        plain = to_plain(request)
        return await self._db.run(
            packed(share_pb2.ListSharesResponse, domain.list_shares), current(), plain, self._clock(), self._codes
        )

    async def RecordVisit(
        self, request: share_pb2.RecordVisitRequest, context: object
    ) -> share_pb2.RecordVisitResponse:
        plain, now = to_plain(request), self._clock()
        record_visit = packed(share_pb2.RecordVisitResponse, domain.record_visit)
        return await self._db.run(record_visit, current(), plain, now, self._codes, self._visitors)

    # It answers bytes, as above: of a whole batch they are packed at once.
    async def ClaimCoupon(self, request: share_pb2.ClaimCouponRequest, context: object) -> bytes:  # type: ignore[override]
        return await self._claiming.claim(current(), to_plain(request), deadline())
