"""Whatever is asked, in whatever order and however it falls into batches, the ledger and the model agree."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from services.chassis import database, errors
from services.chassis.batching import Batcher, Lane
from services.chassis.drivers import driver_of
from services.chassis.names import name
from services.chassis.script import Script
from services.ledger import claims, customers, redemptions
from services.ledger.basket import Line
from services.ledger.claims import Claim
from services.ledger.counter import Order
from services.ledger.records import CouponRow, Receipt
from services.redeem import domain
from services.schema.tables import (
    Activity,
    Coupon,
    Share,
    Store,
)
from tests.conftest import delete_all
from tests.ledger import agreement
from tests.ledger.fair import OFFERS, PEOPLE, published
from tests.ledger.model import Link, Model, Slip, Use
from tests.ledger.world import CODES, NOW, TAGS, World, call

C = TypeVar("C")
R = TypeVar("R")
D = TypeVar("D", Claim, Order)

WRONG_CODE = "7000000000000000"
BASKETS = ((Line("noodles", 100, 6_000),), (Line("tea", 1, 100),))
PAUSES = [timedelta(minutes=minutes) for minutes in (1, 5, 16, 16, 70, 13 * 60)]
NOWHERE = Activity(id=10**9, uid="nowhere")
PATIENCE_SECONDS = 60.0
# A whole crowd from one number: of commands drawn one by one most would be alike, and few would get anywhere.
DICE = st.randoms(use_true_random=True)


def _again(dice: Random, commands: Sequence[D]) -> D:
    """One of these once more, now and then with another body."""
    one: Any = dice.choice(commands)
    call_ = one.call._replace(digest="changed") if dice.random() < 0.25 else one.call
    made: D = replace(one, call=call_)
    return made


class LedgerMachine(RuleBasedStateMachine):
    """One merchant's ledger behind a real batcher, and the model beside it."""

    def __init__(self, url: str, most: int) -> None:
        super().__init__()
        # A store of its own for each example: what is remembered of publications goes by it, and SQLite's ids return.
        self._db = database.bind(url, pool=1)
        self._loop = asyncio.Runner()
        self._batcher = Batcher(driver_of(self._db), most)
        self._decided: list[Sequence[Any]] = []
        self._claims: Lane[Claim, CouponRow] = self._batcher.lane(
            lambda wishes: self._noted(wishes, claims.claiming(wishes, CODES, TAGS, self._now))
        )
        self._orders: Lane[Order, Receipt] = self._batcher.lane(
            lambda orders: self._noted(orders, redemptions.redeeming(orders, self._now))
        )
        self._now = NOW
        self._wishes: list[Claim] = []
        self._sales: list[Order] = []
        self._holds: list[tuple[Order, str]] = []
        self._reversals: list[tuple[str, Use]] = []
        self.batches: list[int] = []
        self._asides: dict[Callable[[Random], None], int] = {
            self.wait: 4,
            self.hold: 4,
            self.release: 1,
            self.reverse: 4,
            self.void: 1,
            self.move: 1,
            self.adjust: 1,
            self.erase: 1,
            self.fail: 1,
        }
        self._db.run_here(self._lay)

    def _lay(self) -> None:
        delete_all()
        self._world = World()
        self._elsewhere: Store = self._world.open_store()
        self._model = Model(self._world.store.id)
        activities = [published(self._world, offer) for offer in OFFERS]
        self._activities = {one.id: one for one in activities}
        self._model.offers = {
            one.id: replace(offer, by_day=offer.by_day.copy()) for one, offer in zip(activities, OFFERS, strict=True)
        }
        self._shares: list[Share] = []
        for activity, sharer, role in (
            (0, "ann", "CUSTOMER"),
            (2, "bob", "CUSTOMER"),
            (5, "ann", "STAFF"),
            (5, "dan", "CUSTOMER"),
            (5, "bob", "CUSTOMER"),
            (3, "cat", "CUSTOMER"),
        ):
            share = self._world.share(activities[activity], sharer, role)
            self._shares.append(share)
            self._model.links[share.id] = Link(self._model.meet(sharer), role == "CUSTOMER")

    def _noted(self, commands: Sequence[C], script: Script[R]) -> Script[R]:
        self._decided.append(commands)
        return script

    def teardown(self) -> None:
        self._loop.run(self._batcher.close())
        self._loop.close()
        self._db.close()

    # What is asked.

    @initialize(dice=DICE)
    def open(self, dice: Random) -> None:
        self._ask([self._claim(dice) for _ in range(12)], [])

    @rule(dice=DICE)
    def turn(self, dice: Random) -> None:
        """One or two things on the side, then a crowd. Rules of their own would be left out of most examples."""
        for aside in dice.choices([*self._asides], [*self._asides.values()], k=dice.randint(1, 2)):
            aside(dice)
        wishes = [self._claim(dice) for _ in range(dice.randrange(10))]
        self._ask(wishes, [self._order(dice) for _ in range(dice.randrange(8))])

    def _ask(self, wishes: list[Claim], orders: list[Order]) -> None:
        """All of them at once; then the model is asked in the order in which the batches decided."""
        self._decided.clear()
        outcomes = self._loop.run(self._asked(wishes, orders))
        told = dict(zip(map(id, [*wishes, *orders]), outcomes, strict=True))
        for batch in self._decided:
            self.batches.append(len(batch))
            for command in batch:
                outcome = told.pop(id(command))
                if isinstance(command, Claim):
                    self._agree_on_claim(command, self._model.claim(command, self._now), outcome)
                else:
                    self._agree_on_order(command, self._model.redeem(command, self._now), outcome)
        assert not told, "never decided"

    async def _asked(self, wishes: list[Claim], orders: list[Order]) -> list[Any]:
        end, tenant = time.monotonic() + PATIENCE_SECONDS, self._world.merchant.uid
        asked = [self._claims.submit(wish, tenant, end) for wish in wishes]
        return await asyncio.gather(
            *asked, *(self._orders.submit(order, tenant, end) for order in orders), return_exceptions=True
        )

    def _claim(self, dice: Random) -> Claim:
        """Somebody's wish, or now and then one of the last once more, perhaps with another body."""
        if self._wishes and dice.random() < 0.25:
            made = _again(dice, self._wishes[-6:])
        else:
            share = dice.choice([None, None, *self._shares])
            activity = (
                self._activities[share.activity_id] if share else dice.choice([*self._activities.values(), NOWHERE])
            )
            made = self._world.wish(activity, dice.choice(PEOPLE), share)
        self._wishes.append(made)
        return made

    def _order(self, dice: Random) -> Order:
        """An order with some of the latest coupons, or with what a hold holds, or one of the last once more."""
        if self._sales and dice.random() < 0.2:
            made = _again(dice, self._sales[-6:])
        else:
            held, codes = "", self._codes(dice)
            if self._holds and dice.random() < 0.4:
                _, held = dice.choice(self._holds[-3:])
                its = [slip.code for slip in self._model.slips if slip.hold == held]
                codes = dice.sample(its, dice.randint(1, len(its))) if its else codes
            store = dice.choices([self._world.store, self._elsewhere], (15, 1))[0]
            made = self._world.order(*codes, basket=dice.choices(BASKETS, (9, 1))[0], hold=held, store=store)
        self._sales.append(made)
        return made

    def _codes(self, dice: Random) -> list[str]:
        """One to three codes, mostly of coupons that can be used."""
        slips = [slip for slip in self._model.slips if slip.state == "CLAIMED" or dice.random() < 0.2]
        if slips and dice.random() < 0.3:
            # What one customer has in the pocket.
            holder = dice.choice(slips[-12:]).holder
            slips = [slip for slip in slips if slip.holder == holder]
        codes = [slip.code for slip in slips[-12:]]
        chosen = dice.sample(codes, min(len(codes), dice.choice((1, 1, 2, 3))))
        return [*chosen, WRONG_CODE] if not chosen or dice.random() < 0.05 else chosen

    def _agree_on_claim(self, claim: Claim, expected: Slip | str, outcome: CouponRow | errors.Error) -> None:
        if isinstance(expected, str):
            assert isinstance(outcome, errors.Error), (expected, outcome)
            assert outcome.reason == expected
            return
        assert isinstance(outcome, CouponRow), (expected, outcome)
        is_own = expected.holder == self._model.pseudonym(claim.call.principal.subject)
        if expected.uid:
            assert (outcome.uid, outcome.code) == (expected.uid, expected.code if is_own else "")
        expected.uid, expected.code = outcome.uid, expected.code or outcome.code
        assert (outcome.state, outcome.activity_id, outcome.expire_time) == (
            expected.state,
            expected.offer,
            expected.until,
        )

    def _agree_on_order(self, order: Order, expected: Use | str, outcome: Receipt | errors.Error) -> None:
        if isinstance(expected, str):
            assert isinstance(outcome, errors.Error), (expected, outcome)
            assert outcome.reason == expected
            return
        assert isinstance(outcome, Receipt), (expected, outcome)
        assert expected.uid in ("", outcome.uid)
        expected.uid = outcome.uid
        assert (outcome.discount, outcome.reverse_until) == (expected.discount, expected.until)
        assert [part.coupon for part in outcome.parts] == [slip.uid for slip in expected.slips]
        # Of a twin in the same batch the receipt is its winner's; of a later one it is the redemption as it is now.
        assert (outcome.reverse_time is not None) == expected.is_reversed

    def wait(self, dice: Random) -> None:
        self._now += dice.choice(PAUSES)

    def hold(self, dice: Random) -> None:
        order = self._world.order(*self._codes(dice), basket=dice.choice(BASKETS), rpc="RedeemService.VerifyCoupon")
        if self._holds and dice.random() < 0.2:
            order, _ = dice.choice(self._holds[-3:])
        request = {"request_id": order.call.request_id, "basket": order.basket}
        reasons, held = self._db.run_here(lambda: self._world.hold(*order.codes, now=self._now, **request))
        expected, on = self._model.hold(order, held, self._now)
        assert (reasons, held) == ([one if isinstance(one, str) else "" for one in expected], on)
        if held:
            self._holds.append((order, held))

    def release(self, dice: Random) -> None:
        if not self._holds:
            return
        _, held = dice.choice(self._holds[-3:])
        refusal = self._refusal(lambda: self._world.release(held, now=self._now))
        assert refusal == self._model.release(held, self._now)

    def reverse(self, dice: Random) -> None:
        if not self._model.uses:
            return
        if self._reversals and dice.random() < 0.2:
            assert self._reversed(*dice.choice(self._reversals)) == ""
            return
        use = dice.choice(self._model.uses[-6:])
        request_id = f"reverse-{len(self._reversals)}-{use.uid}"
        refusal = self._reversed(request_id, use)
        assert refusal == self._model.reverse(use, self._now)
        if not refusal:
            self._reversals.append((request_id, use))

    def _reversed(self, request_id: str, use: Use) -> str:
        asked = call("MERCHANT", self._world.owner, "RedeemService.ReverseRedemption", request_id)
        plain = {"name": name("redemptions", use.uid), "reason": "brought back"}
        return self._refusal(lambda: domain.reverse_redemption(asked, plain, self._now))

    def void(self, dice: Random) -> None:
        """One that is somebody's, and the next that would have been."""
        if not self._model.slips:
            return
        slip = dice.choice(self._model.slips[-12:])
        refusal = self._refusal(lambda: self._world.void(Coupon.get(Coupon.uid == slip.uid)))
        assert refusal == self._model.void(slip)
        self._refusal(lambda: self._world.void(Coupon.get(Coupon.state == "AVAILABLE")))

    def move(self, dice: Random) -> None:
        activity_id, shown = dice.choice([*self._model.offers.items()])
        to = {"LIVE": "SUSPENDED", "SUSPENDED": dice.choice(("LIVE", "LIVE", "WITHDRAWN"))}.get(shown.state)
        if to is not None:
            self._db.run_here(lambda: self._world.move_publication(self._activities[activity_id], to))
            shown.state = to

    def adjust(self, dice: Random) -> None:
        activity_id, shown = dice.choice([*self._model.offers.items()])
        if shown.state != "WITHDRAWN":
            shown.stock, shown.is_stopped = shown.stock + dice.randrange(3), dice.random() < 0.3
            amounts: dict[str, Any] = {"stock": shown.stock, "is_stopped": shown.is_stopped}
            self._db.run_here(lambda: self._world.adjust(self._activities[activity_id], **amounts))

    def erase(self, dice: Random) -> None:
        who = dice.choice(PEOPLE)

        def erase() -> None:
            with database.write():
                customers.erase(who, TAGS)

        self._db.run_here(erase)
        self._model.erase(who)

    def fail(self, dice: Random) -> None:
        """Sometimes the platform did not take a share."""
        share = dice.choice(self._shares)
        if dice.random() < 0.3:
            self._db.run_here(lambda: Share.update(state="FAILED").where(Share.id == share.id).execute())
            self._model.links[share.id].is_failed = True

    def _refusal(self, command: Callable[[], object]) -> str:
        try:
            self._db.run_here(command)
        except errors.FailedPrecondition as refusal:
            return refusal.reason
        return ""

    # What the rows must come to.

    @invariant()
    def rows_agree(self) -> None:
        self._db.run_here(lambda: agreement.check(self._model, self._world.merchant.id))


def run(url: str, examples: int, steps: int, is_same: bool) -> None:
    """So many examples of so many steps, with large batches and with small ones; the same every time, or new ones."""
    batches: list[int] = []
    for most in (64, 3):

        class Machine(LedgerMachine):
            def __init__(self) -> None:
                super().__init__(url, most)  # noqa: B023 - run before the loop goes on.
                self.batches = batches

        rules = settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=is_same,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        )
        run_state_machine_as_test(Machine, settings=rules)
    assert max(batches) > 3


def test_the_ledger_agrees_with_the_model_whatever_falls_into_a_batch(database_url: str) -> None:
    run(database_url, examples=10, steps=15, is_same=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_ledger_agrees_with_the_model_for_a_long_time(database_url: str) -> None:
    run(database_url, examples=60, steps=40, is_same=False)
