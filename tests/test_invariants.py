"""The ledger under fire: eight processes at once, and afterwards every invariant holds and no answer was a lie."""

import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from services.chassis.database import Database
from services.schema.tables import Coupon, CouponEvent, Redemption, Replay
from tests.fire import CUSTOMERS, Answers, burn, deadlocks, wait
from tests.ledger import books
from tests.ledger.offers import yuan
from tests.ledger.world import World

PROCESSES = 8
# Some seconds on two cores.
MOVES = 60

# What such fire always meets.
MIXED_IN = {"done", "REQUEST_ID_REUSED", "STOCK_EXHAUSTED", "COUPON_REDEEMED", "SELF_REFERRAL", "ALREADY_REVERSED"}

NEW_CUSTOMER = {"new_customer": {"off": yuan(5), "threshold": yuan(10)}}
REWARD = {"amount": yuan(3), "cap_per_sharer": 3, "hold_days": 7, "budget": yuan(30)}


def lay() -> None:
    """Activities that run out of everything that can run out, shares of customers and of staff."""
    world = World()
    for subject in CUSTOMERS:
        world.customer(subject)
    anything: dict[str, Any] = {"reversal_window": 7 * 86_400, "per_customer": 6}
    scarce = world.publish(stock=40, **anything, reward=REWARD)
    world.publish(stock=1_000, day_stock=30, **anything)
    frugal = world.publish(stock=1_000, budget=yuan(700), **anything, reward=REWARD)
    plenty = world.publish(stock=10_000, **{**anything, "per_customer": 500})
    world.publish(NEW_CUSTOMER, stock=500, **{**anything, "per_customer": 20})
    for activity in (scarce, frugal, plenty):
        world.share(activity, CUSTOMERS[0])
        world.share(activity, "lin", "STAFF")


def test_every_invariant_holds_under_fire_and_every_answer_agrees_with_the_books(
    db: Database, database_url: str
) -> None:
    db.run_here(lay)
    before = deadlocks()
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(PROCESSES, timeout=60)
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn, initializer=wait, initargs=(barrier,)) as processes:
        burning = [processes.submit(burn, database_url, seed, MOVES) for seed in range(PROCESSES)]
        answers = [one.result() for one in burning]
    told = sum((one.told for one in answers), Counter[str]())
    commands = sum(one.commands for one in answers)
    seconds = max(one.seconds for one in answers)
    sys.stdout.write(f"{commands} commands, {commands / seconds:.0f}/s, {deadlocks() - before} deadlocks, {told}\n")
    assert books.wrongs() == []
    check_outcomes([one for process in answers for one in process.claims])
    check_outcomes([one for process in answers for one in process.redemptions])
    check_effects(answers)
    assert told.keys() >= MIXED_IN, told


def check_outcomes(answered: list[tuple[str, str, str]]) -> None:
    """The same request_id had one body and one outcome, in whichever process, and it is the one remembered."""
    outcomes: dict[str, set[tuple[str, str]]] = {}
    for key, digest, uid in answered:
        outcomes.setdefault(key, set()).add((digest, uid))
    kept = {row.key: {(row.digest, row.outcome)} for row in Replay.select()}
    assert outcomes == {key: kept.get(key) for key in outcomes}
    assert len(answered) > len(outcomes), "nothing was replayed"


def check_effects(answers: list[Answers]) -> None:
    """Every effect was answered to somebody, and every answer has its effect."""
    claimed = {uid for process in answers for _, _, uid in process.claims}
    assert claimed == {row.uid for row in Coupon.select().where(Coupon.customer.is_null(False))}
    redeemed = {uid for process in answers for _, _, uid in process.redemptions}
    assert redeemed == {row.uid for row in Redemption.select()}
    reversals = [uid for process in answers for uid in process.reversals]
    assert sorted(reversals) == sorted(
        row.uid for row in Redemption.select().where(Redemption.reverse_time.is_null(False))
    )
    voids = [uid for process in answers for uid in process.voids]
    assert sorted(voids) == sorted(row.uid for row in Coupon.select().where(Coupon.state == "VOID"))
    moves = Counter((row.from_state, row.to_state) for row in CouponEvent.select())
    assert moves["AVAILABLE", "CLAIMED"] == len(claimed)
