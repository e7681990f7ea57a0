"""Claiming as the service does it: what is claimed is found, and the claim takes its turn in a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from services.chassis import errors
from services.chassis.batching import Batcher, Lane
from services.chassis.cache import Cache
from services.chassis.call import Call, note
from services.chassis.database import Database
from services.chassis.names import name, uid_of
from services.chassis.script import Script
from services.ledger import claims, custom
from services.ledger.claims import Claim
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.ledger.issue import Via
from services.ledger.records import CouponRow
from services.ledger.views import claimed_view
from services.schema import access
from services.schema.tables import Activity, Merchant, Share
from services.share.codes import ShareCodes

Plain = dict[str, Any]
A = TypeVar("A")

# What a target weighs in the cache, about.
_BYTES = 400


@dataclass(frozen=True, slots=True)
class Target:
    """What a claim is for: ids and uids that never change, the merchant's, the activity's, and the share's if any."""

    merchant_id: int
    merchant: str
    activity_id: int
    activity: str
    via: Via | None = None


class _Claimed(NamedTuple, Generic[A]):
    coupon: CouponRow
    answer: A


# The random part of a share's code and "", or "" and an activity's uid.
_Key: TypeAlias = tuple[str, str]


class Claiming(Generic[A]):
    """The way of a ClaimCouponRequest to its Coupon; the batch's instant is when it is decided.

    `pack` makes an answer of a plain Coupon. It is called within the batch: the same work for many in a row costs less
    than in each call for itself.
    """

    def __init__(
        self,
        db: Database,
        batcher: Batcher,
        clock: Callable[[], datetime],
        codes: ShareCodes,
        coupon_codes: CouponCodes,
        tags: Tags,
        pack: Callable[[Plain], A],
    ) -> None:
        self._db, self._clock, self._codes = db, clock, codes
        self._coupon_codes, self._tags, self._pack = coupon_codes, tags, pack
        self._targets: Cache[_Key, Target] = Cache(self._read, lambda _: _BYTES, None)
        self._lane: Lane[Claim, _Claimed[A]] = batcher.lane(self._decide)

    async def claim(self, call: Call, plain: Plain, deadline: float) -> A:
        """The answer; raises what the contract says of ClaimCoupon, and what Lane.submit() raises."""
        target = await self._target(plain)
        via = target.via
        note(activity=name("activities", target.activity), share=name("shares", via.uid) if via else "")
        wish = Claim(call, target.merchant, target.merchant_id, target.activity_id, via)
        try:
            claimed = await self._lane.submit(wish, target.merchant, deadline)
        finally:
            custom.change(call.principal.subject)
        note(coupon=name("coupons", claimed.coupon.uid))
        return claimed.answer

    def _decide(self, wishes: Sequence[Claim]) -> Script[list[_Claimed[A] | errors.Error]]:
        now = self._clock()
        statements, outcomes = yield from claims.claiming(wishes, self._coupon_codes, self._tags, now)
        return statements, [self._answer(*pair, now) for pair in zip(wishes, outcomes, strict=True)]

    def _answer(self, wish: Claim, outcome: CouponRow | errors.Error, now: datetime) -> _Claimed[A] | errors.Error:
        if isinstance(outcome, errors.Error):
            return outcome
        view = claimed_view(outcome, wish.tenant, wish.via.uid if wish.via else "", now)
        return _Claimed(outcome, self._pack(view))

    async def _target(self, plain: Plain) -> Target:
        """Raises Invalid(SHARE_CODE_INVALID), alike for a forged code and one that names no share, and NotFound."""
        is_shared = "share_code" in plain
        uid = "" if is_shared else uid_of("activities", plain["activity"], "activity")
        key = (self._codes.read(plain["share_code"]), "") if is_shared else ("", uid)
        found = self._targets.get(key) or await self._targets.one(key)
        if found is None:
            raise errors.Invalid("SHARE_CODE_INVALID") if is_shared else access.not_found("activities", uid)
        return found

    async def _read(self, keys: Sequence[_Key]) -> Mapping[_Key, Target]:
        return await self._db.run(_targets, keys)


def _targets(keys: Sequence[_Key]) -> dict[_Key, Target]:
    """Those of the shares and published activities that there are."""
    shares = {row.code: row for row in Share.select().where(Share.code.in_([code for code, _ in keys if code]))}
    activities = Activity.select(Activity.id, Activity.uid, Activity.merchant_id).where(
        Activity.publication_id.is_null(False),
        Activity.uid.in_([uid for _, uid in keys if uid])
        | Activity.id.in_([row.activity_id for row in shares.values()]),
    )
    merchants = {
        row.id: row.uid for row in Merchant.select().where(Merchant.id.in_([a.merchant_id for a in activities]))
    }
    by_id = {row.id: Target(row.merchant_id, merchants[row.merchant_id], row.id, row.uid) for row in activities}
    found = {("", target.activity): target for target in by_id.values()}
    for code, row in shares.items():
        target = by_id[row.activity_id]
        via = Via(row.id, row.uid, row.sharer)
        found[code, ""] = Target(target.merchant_id, target.merchant, target.activity_id, target.activity, via)
    return found
