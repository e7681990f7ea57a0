"""One process of many that claim, hold, redeem, reverse and void at random, and write down every answer they get."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any, TypeVar

from services.chassis import database, errors
from services.chassis.database import Database
from services.chassis.names import name
from services.ledger import claims, holds, redemptions
from services.ledger.basket import Line
from services.ledger.claims import Claim
from services.ledger.counter import Order
from services.ledger.records import CouponRow, Receipt
from services.redeem import domain
from services.schema.tables import Activity, Coupon, Redemption, Share
from tests.ledger.world import CODES, DAY, NOW, TAGS, World, call

T = TypeVar("T")

BANQUET = (Line("noodles", 100, 6_000),)
CUSTOMERS = [f"customer-{number}" for number in range(12)]


@dataclass
class Answers:
    """What one process was told: `claims` and `redemptions` by request key, as (digest, uid); `reversals` and `voids`
    that succeeded, by name; how often it was told what; how many commands it gave
    and how long that took."""

    claims: list[tuple[str, str, str]] = field(default_factory=list)
    redemptions: list[tuple[str, str, str]] = field(default_factory=list)
    reversals: list[str] = field(default_factory=list)
    voids: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    seconds: float = 0.0


class Fire:
    """A process's own connection, dice and answers."""

    def __init__(self, db: Database, seed: int) -> None:
        self._db, self._dice, self._world = db, random.Random(seed), World.found()
        self._activities = list(Activity.select().order_by(Activity.id))
        self._shares = [None, *Share.select().order_by(Share.id)]
        self.answers = Answers()
        self._wishes: list[Claim] = []
        self._orders: list[Order] = []

    def again(self) -> None:
        """One claim and one order that were done, asked a second time."""
        if self._wishes:
            self._claim([self._dice.choice(self._wishes)])
        if self._orders:
            self._redeem([self._dice.choice(self._orders)], self._now())

    def once(self) -> None:
        """One random thing."""
        moves = (self.claim, self.redeem, self.hold, self.reverse, self.void)
        (move,) = self._dice.choices(moves, (8, 8, 2, 3, 1))
        move()

    def claim(self) -> None:
        """Up to eight claims in one list. Few ids among many processes: most come again somewhere, some changed."""
        wishes = []
        for _ in range(self._dice.randint(1, 8)):
            share = self._dice.choice(self._shares)
            activity = self._dice.choice([one for one in self._activities if share in (None, *self._shares_of(one))])
            subject, number = self._dice.choice(CUSTOMERS), self._dice.randrange(8)
            via = 0 if share is None else share.id
            body = f"{activity.id} {via}" if self._dice.random() < 0.95 else "changed"
            wishes.append(self._world.wish(activity, subject, share, f"claim-{activity.id}-{via}-{number}", body=body))
        self._claim(wishes)

    def _claim(self, wishes: list[Claim]) -> None:
        for wish, outcome in zip(
            wishes, self._asked(lambda: claims.claim(wishes, CODES, TAGS, self._now())), strict=True
        ):
            self._note(outcome)
            if isinstance(outcome, CouponRow):
                self._wishes.append(wish)
                self.answers.claims.append((wish.key, wish.call.digest, outcome.uid))

    def redeem(self) -> None:
        """Up to three orders in one list, of up to three coupons."""
        orders = []
        for _ in range(self._dice.randint(1, 3)):
            coupons = self._some(self._dice.randint(1, 3), "CLAIMED", "REDEEMED")
            if coupons:
                request_id = f"redeem-{'-'.join(str(one.id) for one in coupons)}-{self._dice.randrange(3)}"
                body = "order" if self._dice.random() < 0.95 else "changed"
                orders.append(self._world.order(*coupons, basket=BANQUET, request_id=request_id, body=body))
        if orders:
            self._redeem(orders, self._now())

    def _redeem(self, orders: list[Order], now: datetime) -> None:
        for order, outcome in zip(orders, self._asked(lambda: redemptions.redeem(orders, now)), strict=True):
            self._note(outcome)
            if isinstance(outcome, Receipt):
                self._orders.append(order)
                self.answers.redemptions.append((order.key, order.call.digest, outcome.uid))

    def hold(self) -> None:
        """A hold that is released, redeemed, or left to its fifteen minutes."""
        coupons = self._some(self._dice.randint(1, 2), "CLAIMED")
        if not coupons:
            return
        now, order = self._now(), self._world.order(*coupons, basket=BANQUET, rpc="RedeemService.VerifyCoupon")
        _, held = self._asked(lambda: holds.hold(order, now + timedelta(minutes=15), now))
        self.answers.told["held" if held else "not held"] += 1
        end = self._dice.random()
        if held and end < 0.4:
            self._redeem([self._world.order(*coupons, basket=BANQUET, hold=held)], now)
        elif held and end < 0.8:
            plain = {"store": name("stores", self._world.store.uid), "hold": held}
            asked = call("MERCHANT", "owner", "RedeemService.ReleaseHold")
            self._tried(lambda: domain.release_hold(asked, plain, now))

    def reverse(self) -> None:
        found = list(Redemption.select().order_by(Redemption.id.desc()).limit(30))
        if found:
            one = self._dice.choice(found)
            plain = {"name": name("redemptions", one.uid), "reason": "brought back"}
            asked = call("MERCHANT", "owner", "RedeemService.ReverseRedemption")
            if self._tried(lambda: domain.reverse_redemption(asked, plain, self._now())):
                self.answers.reversals.append(one.uid)

    def void(self) -> None:
        found = self._some(1, "CLAIMED", "AVAILABLE")
        if found:
            plain = {"name": name("coupons", found[0].uid), "reason": "test"}
            asked = call("OPERATOR", "op", "RedeemService.VoidCoupon")
            if self._tried(lambda: domain.void_coupon(asked, plain, self._now())):
                self.answers.voids.append(found[0].uid)

    def _tried(self, command: Callable[[], object]) -> bool:
        try:
            self._asked(command)
        except errors.Error as refusal:
            self._note(refusal)
            return False
        self._note(None)
        return True

    def _asked(self, command: Callable[[], T]) -> T:
        """As a caller asks: what passes is asked again, with the same ids, until there is an answer."""
        while True:
            try:
                return self._db.run_here(command)
            except errors.Conflict:
                self.answers.told["asked again"] += 1

    def _note(self, outcome: object) -> None:
        self.answers.commands += 1
        self.answers.told[outcome.reason if isinstance(outcome, errors.Error) else "done"] += 1

    def _now(self) -> datetime:
        """Today or tomorrow, so that two days' stock is drawn on."""
        return NOW + self._dice.randrange(2) * DAY

    def _shares_of(self, activity: Activity) -> list[Share]:
        return [share for share in self._shares if share is not None and share.activity_id == activity.id]

    def _some(self, number: int, *states: str) -> list[Coupon]:
        found = list(Coupon.select().where(Coupon.state << states).order_by(Coupon.id.desc()).limit(60))
        return self._dice.sample(found, min(number, len(found)))


def wait(barrier: Barrier) -> None:
    """All begin together, however long each took to start."""
    barrier.wait()


def burn(url: str, seed: int, moves: int) -> Answers:
    """So many random things; everything that was asked is answered."""
    db = database.bind(url, pool=1)
    try:
        fire = db.run_here(lambda: Fire(db, seed))
        start = time.monotonic()
        for _ in range(moves):
            fire.once()
        fire.again()
        fire.answers.seconds = time.monotonic() - start
        return fire.answers
    finally:
        db.close()


def deadlocks() -> int:
    """How many the database has counted; SQLite has none."""
    if database.dialect() == "sqlite":
        return 0
    row: Any = database.proxy.execute_sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").fetchone()
    return int(row[1])
