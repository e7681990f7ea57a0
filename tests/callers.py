"""Callers of real servers who ask until they are answered, and the book of what they were told."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.type.money_pb2 import Money
from grpc_status import rpc_status

from local import mariadb
from services.chassis.names import name
from services.chassis.tokens import DevIssuer
from services.schema.tables import Coupon, Redemption
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc, share_pb2, share_pb2_grpc
from tests.ledger import books
from tests.ledger.world import World
from tests.servers import Servers

T = TypeVar("T")

CALL_SECONDS = 15.0
# Between two tries of who got no answer.
PAUSE_SECONDS = 0.05
# Longer than any outage here; who gets no answer for that long never will.
PATIENCE_SECONDS = 90.0
# How long batches are kept waiting at most, and how soon after that they are on their way: a batch takes some of it.
MOMENT_SECONDS = 20.0
HELD_SECONDS = 1.0
UNDER_WAY_SECONDS = 0.02
# What batches ask for first, and nobody else so. By its beginning: MariaDB tells but a kilobyte of a query, and a batch
# names many codes.
WAITING = (
    "SELECT COUNT(*) FROM information_schema.innodb_trx "
    "WHERE trx_query REGEXP '^SELECT (s[.])?activity_id, ' AND trx_mysql_thread_id != CONNECTION_ID()"
)
# What tells nothing about the outcome: the caller asks again with the same request_id.
NO_ANSWER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
LUNCH = redeem_pb2.BasketLine(item="noodles", quantity=2, unit_price=Money(currency_code="CNY", units=60))


class Caller:
    """Whoever asks one set of servers, with a token for each subject, until there is an answer."""

    def __init__(self, servers: Servers, issuer: DevIssuer, activity: str, store: str) -> None:
        self._servers, self._issuer, self._activity, self._store = servers, issuer, activity, store
        self._owner = self._bearer("MERCHANT", "owner")
        self.unanswered = 0

    def _bearer(self, role: str, subject: str) -> Any:
        return (("authorization", f"Bearer {self._issuer.issue(role, subject)}"),)

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            await self._servers.up.wait()
            try:
                return await ask()
            except grpc.aio.AioRpcError as error:
                if error.code() not in NO_ANSWER or time.monotonic() > end:
                    raise
                self.unanswered += 1
                await asyncio.sleep(PAUSE_SECONDS)
            except (asyncio.CancelledError, grpc.aio.UsageError):
                # The channel was closed under the call because its server was killed.
                if self._servers.up.is_set():
                    raise
                self.unanswered += 1

    def _till(self) -> Any:
        return redeem_pb2_grpc.RedeemServiceStub(self._servers.channels["redeem"])

    async def _at_till(self, method: str, request: Message) -> Any:
        return await self._answer(
            lambda: getattr(self._till(), method)(request, metadata=self._owner, timeout=CALL_SECONDS)
        )

    async def claim(self, subject: str, request_id: str) -> redeem_pb2.Coupon:
        request = share_pb2.ClaimCouponRequest(activity=self._activity, request_id=request_id)
        bearer = self._bearer("CUSTOMER", subject)
        return await self._answer(
            lambda: share_pb2_grpc.ShareServiceStub(self._servers.channels["share"]).ClaimCoupon(
                request, metadata=bearer, timeout=CALL_SECONDS
            )
        )

    async def redeem(self, code: str, request_id: str, hold: str = "") -> redeem_pb2.Redemption:
        # All that this caller's order is made of goes by the request_id, so that a retry has the same body.
        request = redeem_pb2.RedeemCouponRequest(
            store=self._store, codes=[code], basket=[LUNCH], order_id=request_id, request_id=request_id, hold=hold
        )
        redemption: redeem_pb2.Redemption = await self._at_till("RedeemCoupon", request)
        return redemption

    async def reverse(self, redemption: str, request_id: str) -> redeem_pb2.Redemption:
        request = redeem_pb2.ReverseRedemptionRequest(name=redemption, reason="back", request_id=request_id)
        reversed_: redeem_pb2.Redemption = await self._at_till("ReverseRedemption", request)
        return reversed_

    async def hold(self, code: str, request_id: str) -> str:
        """The hold's name, "" if the coupon is not usable."""
        request = redeem_pb2.VerifyCouponRequest(
            store=self._store, codes=[code], basket=[LUNCH], hold_coupons=True, request_id=request_id
        )
        return str((await self._at_till("VerifyCoupon", request)).hold)


@dataclass
class Book:
    """What callers were told, by request_id; reversed redemptions by name."""

    coupons: dict[str, redeem_pb2.Coupon] = field(default_factory=dict)
    redemptions: dict[str, redeem_pb2.Redemption] = field(default_factory=dict)
    reversals: set[str] = field(default_factory=set)
    # How many turns each caller has had, and whether it is time to go home.
    turns: Counter[int] = field(default_factory=Counter)
    is_over: bool = False
    goals: dict[int, asyncio.Event] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        return len(self.coupons) + len(self.redemptions) + len(self.reversals)

    async def reaches(self, answers: int) -> None:
        """Returns as soon as so many were answered."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.goals.setdefault(answers, asyncio.Event()).wait()

    def _count(self) -> None:
        for goal, reached in self.goals.items():
            if self.answers >= goal:
                reached.set()

    async def rounds(self, caller: Caller, number: int) -> None:
        """One caller's load until it is over: claim and redeem, and take every third back."""
        while not self.is_over:
            turn, key = self.turns[number], key_of(number, self.turns[number])
            self.coupons[key] = coupon = await caller.claim(f"customer-{number}", key)
            self.redemptions[key] = redemption = await caller.redeem(coupon.code, key)
            if turn % 3 == 0:
                await caller.reverse(redemption.name, key)
                self.reversals.add(redemption.name)
            self.turns[number] += 1
            self._count()

    async def again(self, caller: Caller, number: int) -> None:
        """Everything asked once more with the same ids: the same outcome, and no second effect."""
        for turn in range(self.turns[number]):
            key = key_of(number, turn)
            assert (await caller.claim(f"customer-{number}", key)).name == self.coupons[key].name
            assert (await caller.redeem(self.coupons[key].code, key)).name == self.redemptions[key].name

    def check(self) -> None:
        """Every answer stands, and there is nothing that was answered to nobody."""
        assert books.wrongs() == []
        given = {name("coupons", row.uid): row for row in Coupon.select().where(Coupon.customer.is_null(False))}
        assert len(self.coupons) == len(given)
        assert {coupon.name for coupon in self.coupons.values()} == given.keys()
        assert all(given[coupon.name].code == coupon.code for coupon in self.coupons.values())
        used = {name("redemptions", row.uid): row for row in Redemption.select()}
        assert {redemption.name: redemption.order_id for redemption in self.redemptions.values()} == {
            key: row.order_id for key, row in used.items()
        }
        assert self.reversals == {key for key, row in used.items() if row.reverse_time is not None}


def key_of(number: int, turn: int) -> str:
    """The request_id of a caller's turn."""
    return f"{number}-{turn}-of-the-load"


def lay(**terms: Any) -> tuple[str, str]:
    """An activity that runs now, generous unless `terms` say otherwise; returns its name and the store's."""
    world, today = World(), datetime.now(UTC).date()
    period = {"start_date": str(today - timedelta(days=2)), "end_date": str(today + timedelta(days=30))}
    generous = {"stock": 100_000, "per_customer": 1_000, "validity": {"days_after_claim": 7}, "reversal_window": 86_400}
    activity = world.publish(**{"claim_period": period, **generous, **terms})
    return name("activities", activity.uid), name("stores", world.store.uid)


def batches() -> tuple[int, int]:
    """The most claims and the most redemptions that were decided at one instant: in one transaction."""
    claims = Counter(row.claim_time for row in Coupon.select().where(Coupon.claim_time.is_null(False)))
    uses = Counter(row.use_time for row in Redemption.select())
    return max(claims.values(), default=0), max(uses.values(), default=0)


def let_batches_go(url: str) -> int:
    """Keeps every batch of a MariaDB waiting until some do, and returns how many they were once they are under way."""
    where = urlsplit(url)
    with mariadb.connect(where.port or 0) as connection, connection.cursor() as cursor:
        connection.select_db(where.path.removeprefix("/"))
        waiting, end = 0, time.monotonic() + MOMENT_SECONDS
        while waiting < 1:
            assert time.monotonic() < end, "no batch came"
            connection.begin()
            cursor.execute("SELECT activity_id FROM supply FOR UPDATE")
            # It may be that all are taking redemptions back just now: then they are let go on, to claims again.
            begin = time.monotonic()
            while waiting < 1 and time.monotonic() < begin + HELD_SECONDS:
                time.sleep(mariadb.FRESH_SECONDS)
                cursor.execute(WAITING)
                ((waiting,),) = cursor.fetchall()
            connection.rollback()
            time.sleep(0 if waiting else mariadb.FRESH_SECONDS)
    time.sleep(random.uniform(0, UNDER_WAY_SECONDS))
    return int(waiting)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason of a refusal."""
    info, called = ErrorInfo(), cast(Any, error)  # Its stubs speak of synchronous calls.
    status = rpc_status.from_call(called)
    for detail in () if status is None else status.details:
        detail.Unpack(info)
    return str(info.reason)
