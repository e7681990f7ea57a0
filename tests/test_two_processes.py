"""Two processes on one database, asked the same at once: never too much, never twice, the same id the same outcome."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from services.chassis.database import Database
from services.chassis.names import name
from services.chassis.tokens import DevIssuer
from services.schema.tables import Coupon, RedeemedCoupon, Redemption, Supply
from tests.callers import Caller, batches, lay, reason_of
from tests.fire import deadlocks
from tests.ledger import books
from tests.mesh import settings_for
from tests.servers import Servers

CALLERS = 64
TURNS = 4
# Less than what is asked for.
STOCK = 160
REFUSED = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT}


@dataclass
class Crowd:
    """What 64 callers were told who each ask both processes; `told` counts outcomes by what was asked."""

    both: list[Caller]
    coupons: set[str] = field(default_factory=set)
    redemptions: set[str] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)

    async def visit(self, number: int) -> None:
        for turn in range(TURNS):
            await self._turn(
                f"customer-{number}", f"{number}-{turn}-to-both-of-them", self.both[number % 2], turn % 2 == 0
            )

    async def _turn(self, subject: str, key: str, rival: Caller, is_held: bool) -> None:
        coupon = await self._same("claim", lambda one: one.claim(subject, key))
        if isinstance(coupon, str):
            assert coupon == "STOCK_EXHAUSTED"
            return
        self.coupons.add(coupon.name)
        await self._use(coupon.code, key, rival, is_held)

    async def _use(self, code: str, key: str, rival: Caller, is_held: bool) -> None:
        """Redeem the coupon at both, against a rival; take it back at both, and redeem it once more."""
        hold = await self._same("hold", lambda one: one.hold(code, key)) if is_held else ""
        ours, theirs = await asyncio.gather(
            self._same("redeem", lambda one: one.redeem(code, key, hold)),
            self._told("rival", rival.redeem(code, f"rival-{key}")),
        )
        won = [one for one in (ours, theirs) if not isinstance(one, str)]
        assert len(won) == 1, (ours, theirs)
        assert {ours if isinstance(ours, str) else theirs} <= {"COUPON_HELD", "COUPON_REDEEMED"}
        assert won == [ours] or not hold
        await self._same("reverse", lambda one: one.reverse(won[0].name, f"back-{key}"))
        again = await self._same("redeem again", lambda one: one.redeem(code, f"again-{key}"))
        self.redemptions |= {won[0].name, again.name}

    async def _same(self, asked: str, ask: Callable[[Caller], Awaitable[Any]]) -> Any:
        """What both told, which is the same."""
        one, other = await asyncio.gather(*(self._told(asked, ask(caller)) for caller in self.both))
        assert getattr(one, "name", one) == getattr(other, "name", other), asked
        return one

    async def _told(self, asked: str, answer: Awaitable[Any]) -> Any:
        """The answer, or the reason of the refusal."""
        try:
            told = await answer
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSED:
                raise
            told = reason_of(error)
        self.told[f"{asked}: {told}" if told and isinstance(told, str) and told.isupper() else asked] += 1
        return told


async def load(crowd: Crowd, processes: list[Servers]) -> float:
    """How many seconds it took."""
    try:
        for one in processes:
            await one.start()
        begin = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(CALLERS):
                tasks.create_task(crowd.visit(number))
        return time.monotonic() - begin
    finally:
        for one in processes:
            await one.kill()


def test_two_processes_never_give_too_much_nor_anything_twice(db: Database, database_url: str, tmp_path: Path) -> None:
    activity, store = db.run_here(lambda: lay(stock=STOCK))
    issuer = DevIssuer.of(settings_for(database_url, tmp_path))
    processes = [Servers(database_url, tmp_path, ("all",)) for _ in range(2)]
    crowd = Crowd([Caller(one, issuer, activity, store) for one in processes])
    before = deadlocks()
    seconds = asyncio.run(load(crowd, processes))
    calls, unanswered = sum(crowd.told.values()), sum(one.unanswered for one in crowd.both)
    sys.stdout.write(
        f"{calls} calls, {calls / seconds:.0f}/s, {unanswered} asked again, {deadlocks() - before} deadlocks, "
        f"batches up to {batches()}, {crowd.told}\n"
    )
    assert books.wrongs() == []
    assert Supply.get().taken == len(crowd.coupons) == STOCK
    assert crowd.coupons == {name("coupons", row.uid) for row in Coupon.select().where(Coupon.customer.is_null(False))}
    assert crowd.redemptions == {name("redemptions", row.uid) for row in Redemption.select()}
    assert RedeemedCoupon.select().where(RedeemedCoupon.standing == 1).count() == STOCK
    assert min(batches()) > 1
