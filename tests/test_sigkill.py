"""Servers killed in mid-load: every answer that a caller got stands, and who got none retries to exactly one effect."""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.type.money_pb2 import Money

from services.chassis.database import Database
from services.chassis.names import name
from services.chassis.tokens import DevIssuer
from services.schema.tables import Coupon, Redemption
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc, share_pb2, share_pb2_grpc
from tests.ledger import books
from tests.ledger.world import World
from tests.mesh import settings_for

T = TypeVar("T")

TASKS = 32
# Answers before the servers are killed, and rounds that every task goes in all.
ANSWERS_BEFORE = 150
ROUNDS = 6
SERVICES = ("share", "redeem")
START_SECONDS = 60.0
CALL_SECONDS = 15.0
# What tells nothing about the outcome: the caller asks again with the same request_id.
NO_ANSWER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
LUNCH = redeem_pb2.BasketLine(item="noodles", quantity=2, unit_price=Money(currency_code="CNY", units=60))


@dataclass
class Servers:
    """The share and the redeem service, each a process of its own, that can be killed and started again."""

    url: str
    folder: Path
    up: asyncio.Event = field(default_factory=asyncio.Event)
    processes: list[Process] = field(default_factory=list)
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    async def start(self) -> None:
        for service in SERVICES:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "services", "serve", service, "--database", self.url, "--var", str(self.folder)),
                *("--logs", str(self.folder / "log"), "--images", f"file://{self.folder}/images", "--port", "0"),
                stdout=PIPE,
            )
            self.processes.append(process)
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
            assert line, f"{service} did not start"
            self.channels[service] = grpc.aio.insecure_channel(line.decode().split()[1])
        self.up.set()

    async def kill(self) -> None:
        self.up.clear()
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            await process.wait()
        for channel in self.channels.values():
            await channel.close(None)
        self.processes.clear()


@dataclass
class Book:
    """What callers were told, by request_id, and how often they were told nothing."""

    coupons: dict[str, redeem_pb2.Coupon] = field(default_factory=dict)
    redemptions: dict[str, redeem_pb2.Redemption] = field(default_factory=dict)
    reversals: set[str] = field(default_factory=set)
    unanswered: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answers(self) -> int:
        return len(self.coupons) + len(self.redemptions) + len(self.reversals)

    def count(self) -> None:
        """Tell whoever waits for it that there are answers enough to kill the servers."""
        if self.answers >= ANSWERS_BEFORE:
            self.enough.set()


class Callers:
    """Customers who claim, and the shop that redeems and takes back, until each has an answer to everything."""

    def __init__(self, servers: Servers, issuer: DevIssuer, activity: str, store: str) -> None:
        self._servers, self._issuer, self._activity, self._store = servers, issuer, activity, store
        self._owner = self._bearer("MERCHANT", "owner")
        self.book = Book()

    def _bearer(self, role: str, subject: str) -> Any:
        return (("authorization", f"Bearer {self._issuer.issue(role, subject)}"),)

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            await self._servers.up.wait()
            try:
                return await ask()
            except grpc.aio.AioRpcError as error:
                if error.code() not in NO_ANSWER:
                    raise
                self.book.unanswered += 1
                await asyncio.sleep(0.02)
            except (asyncio.CancelledError, grpc.aio.UsageError):
                # The channel was closed under the call because its server was killed.
                if self._servers.up.is_set():
                    raise
                self.book.unanswered += 1

    async def claim(self, subject: str, request_id: str) -> redeem_pb2.Coupon:
        request = share_pb2.ClaimCouponRequest(activity=self._activity, request_id=request_id)
        bearer = self._bearer("CUSTOMER", subject)
        return await self._answer(
            lambda: share_pb2_grpc.ShareServiceStub(self._servers.channels["share"]).ClaimCoupon(
                request, metadata=bearer, timeout=CALL_SECONDS
            )
        )

    def _till(self) -> Any:
        return redeem_pb2_grpc.RedeemServiceStub(self._servers.channels["redeem"])

    async def redeem(self, code: str, request_id: str) -> redeem_pb2.Redemption:
        request = redeem_pb2.RedeemCouponRequest(
            store=self._store, codes=[code], basket=[LUNCH], order_id=request_id, request_id=request_id
        )
        return await self._answer(
            lambda: self._till().RedeemCoupon(request, metadata=self._owner, timeout=CALL_SECONDS)
        )

    async def reverse(self, redemption: str, request_id: str) -> redeem_pb2.Redemption:
        request = redeem_pb2.ReverseRedemptionRequest(name=redemption, reason="back", request_id=request_id)
        return await self._answer(
            lambda: self._till().ReverseRedemption(request, metadata=self._owner, timeout=CALL_SECONDS)
        )

    async def rounds(self, number: int) -> None:
        """One caller's load: claim and redeem, and take every third back."""
        for turn in range(ROUNDS):
            key = f"{number}-{turn}-of-the-load"
            self.book.coupons[key] = coupon = await self.claim(f"customer-{number}", key)
            self.book.redemptions[key] = redemption = await self.redeem(coupon.code, key)
            if turn % 3 == 0:
                await self.reverse(redemption.name, key)
                self.book.reversals.add(redemption.name)
            self.book.count()

    async def again(self, number: int) -> None:
        """Everything asked once more with the same ids: the same outcome, and no second effect."""
        for turn in range(ROUNDS):
            key = f"{number}-{turn}-of-the-load"
            assert (await self.claim(f"customer-{number}", key)).name == self.book.coupons[key].name
            coupon = self.book.coupons[key]
            assert (await self.redeem(coupon.code, key)).name == self.book.redemptions[key].name


def lay() -> tuple[str, str]:
    """A generous activity that runs now; returns its name and the store's."""
    world, today = World(), datetime.now(UTC).date()
    period = {"start_date": str(today - timedelta(days=2)), "end_date": str(today + timedelta(days=30))}
    activity = world.publish(
        claim_period=period, stock=100_000, per_customer=1_000, validity={"days_after_claim": 7}, reversal_window=86_400
    )
    return name("activities", activity.uid), name("stores", world.store.uid)


async def load(callers: Callers, servers: Servers) -> None:
    try:
        await servers.start()
        begin = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(TASKS):
                tasks.create_task(callers.rounds(number))
            await callers.book.enough.wait()
            rate = callers.book.answers / (time.monotonic() - begin)
            await servers.kill()
            answered = callers.book.answers
            await servers.start()
        sys.stdout.write(f"{rate:.0f} writes/s; killed after {answered}, {callers.book.unanswered} unanswered\n")
        async with asyncio.TaskGroup() as tasks:
            for number in range(TASKS):
                tasks.create_task(callers.again(number))
    finally:
        await servers.kill()


def test_answers_outlive_a_kill_in_mid_load_and_the_unanswered_retry_to_one_effect(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    activity, store = db.run_here(lay)
    issuer = DevIssuer.of(settings_for(database_url, tmp_path))
    servers = Servers(database_url, tmp_path)
    callers = Callers(servers, issuer, activity, store)
    asyncio.run(load(callers, servers))
    book = callers.book
    assert book.unanswered > 0, "nothing was in flight"
    assert books.wrongs() == []
    given = {name("coupons", row.uid): row for row in Coupon.select().where(Coupon.customer.is_null(False))}
    assert len(book.coupons) == TASKS * ROUNDS
    assert {coupon.name for coupon in book.coupons.values()} == given.keys()
    assert all(given[coupon.name].code == coupon.code for coupon in book.coupons.values())
    used = {name("redemptions", row.uid): row for row in Redemption.select()}
    assert {redemption.name: redemption.order_id for redemption in book.redemptions.values()} == {
        key: row.order_id for key, row in used.items()
    }
    assert book.reversals == {key for key, row in used.items() if row.reverse_time is not None}
