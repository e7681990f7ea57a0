"""One process of many that claim and redeem while servers of the database come and go, and write down every answer."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any, Protocol, TypeVar

from services.chassis import database, errors
from services.chassis.database import Database
from services.ledger import claims, redemptions
from services.ledger.claims import Claim
from services.schema.tables import Activity
from tests.ledger.world import CODES, NOW, TAGS, World

T = TypeVar("T")

THREADS = 4
CUSTOMERS = [f"customer-{number}" for number in range(12)]
# Every so many commands one is asked a second time.
AGAIN = 8
# As the services' health checks do.
PROBE_SECONDS = 0.2
# Longer than any failover; who gets no answer for that long never will.
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.02

# What the processes of one test share: how many answers were given, and whether it is time to go home.
_answers: "Synchronized[int]"
_closing: Event


class Made(Protocol):
    """What a command made: a coupon that is somebody's, or a redemption."""

    @property
    def uid(self) -> str: ...


@dataclass
class Answers:
    """What one thread was told: how often each (request key, digest, outcome); how often it was told what else; and the
    longest that an answer took, in seconds."""

    claims: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    redemptions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


def enter(answers: "Synchronized[int]", closing: Event) -> None:
    """What a process begins with."""
    global _answers, _closing
    _answers, _closing = answers, closing


def shop(url: str, seed: int) -> list[Answers]:
    """Some threads' claims and redemptions, each asked until it is answered, until it is time to go home."""
    db = database.bind(url, pool=THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        shopping = [threads.submit(Shopper(db, f"{seed}-{number}").shop) for number in range(THREADS)]
        while not _closing.wait(PROBE_SECONDS):
            db.ping()
        told = [one.result() for one in shopping]
    db.close()
    return told


class Shopper:
    """One thread: it claims, redeems what it got, and now and then asks again what was answered."""

    def __init__(self, db: Database, name: str) -> None:
        self._db, self._name, self._dice = db, name, random.Random(name)
        self._told = Answers()

    def shop(self) -> Answers:
        world, activities = self._answered(lambda: (World.found(), list(Activity.select().order_by(Activity.id))))
        turn = 0
        while not _closing.is_set():
            self._turn(world, self._dice.choice(activities), f"{self._name}-{turn}")
            turn += 1
        return self._told

    def _turn(self, world: World, activity: Activity, request_id: str) -> None:
        subject, is_again = self._dice.choice(CUSTOMERS), self._dice.randrange(AGAIN) == 0
        code = self._claim(world, activity, subject, request_id)
        if is_again:
            code = self._claim(world, activity, subject, request_id)
        if code:
            for _ in range(1 + is_again):
                self._redeem(world, code, request_id)

    def _claim(self, world: World, activity: Activity, subject: str, request_id: str) -> str:
        """The code of the coupon, or ""."""

        def claim() -> tuple[Claim, Any]:
            wish = world.wish(activity, subject, None, request_id)
            return wish, only(claims.claim([wish], CODES, TAGS, NOW))

        wish, outcome = self._answered(claim)
        self._note(self._told.claims, wish.key, wish.call.digest, outcome)
        return "" if isinstance(outcome, errors.Error) else str(outcome.code)

    def _redeem(self, world: World, code: str, request_id: str) -> None:
        order = world.order(code, request_id=request_id)
        outcome = self._answered(lambda: only(redemptions.redeem([order], NOW)))
        self._note(self._told.redemptions, order.key, order.call.digest, outcome)

    def _answered(self, command: Callable[[], T]) -> T:
        """As a caller asks: what may not have happened is asked again, with the same ids, until there is an answer."""
        begin = time.monotonic()
        while True:
            try:
                answer = self._db.run_here(command)
            except (errors.Conflict, errors.Unavailable) as unanswered:
                self._told.told[str(unanswered)] += 1
                if time.monotonic() - begin > PATIENCE_SECONDS:
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                self._told.longest = max(self._told.longest, time.monotonic() - begin)
                return answer

    def _note(
        self, answers: Counter[tuple[str, str, str]], scope: str, digest: str, outcome: Made | errors.Error
    ) -> None:
        with _answers.get_lock():
            _answers.value += 1
        if isinstance(outcome, errors.Error):
            self._told.told[outcome.reason] += 1
        else:
            answers[scope, digest, outcome.uid] += 1


def only(outcomes: Sequence[T]) -> T:
    (outcome,) = outcomes
    return outcome
