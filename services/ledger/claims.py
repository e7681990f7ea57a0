"""Claiming: a list of claims in one transaction, each taking stock, the customer's limit and the budget, or refused."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis import errors, parameters
from services.chassis.call import Call
from services.ledger import coupons, rows, rules, schedule
from services.ledger.codes import CouponCodes
from services.ledger.promises import Promise, promise
from services.schema import replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Coupon, CustomerCounter, DayStock, Replay, Share, Supply


@dataclass(frozen=True)
class Claim:
    """One customer's wish: `tenant` is the merchant's uid, `share` None for one who came by no share, `customer` a
    pseudonym."""

    call: Call
    tenant: str
    activity_id: int
    share: Share | None
    customer: str

    @property
    def key(self) -> str:
        """What its request_id is unique within."""
        return replay.key(self.call, self.tenant)

    @property
    def pool(self) -> tuple[int, int]:
        """The (activity, share) whose coupons it takes."""
        return self.activity_id, 0 if self.share is None else self.share.id


Outcome = Coupon | errors.Error


def claim(commands: Sequence[Claim], codes: CouponCodes, now: datetime) -> list[Outcome]:
    """Decide claims in the order given, all in one transaction; returns each one's coupon or refusal.

    A refusal or a replay costs its own caller only. Raises Conflict(TRY_AGAIN) if the same requests keep being
    committed elsewhere.
    """
    return rows.settled(lambda: _claim(commands, codes, now))


@dataclass
class _Book:
    """The rows that the claims of one transaction are decided by, all locked, and what they have come to so far."""

    supplies: dict[int, Supply]
    promises: dict[int, Promise]
    customers: Collection[str]
    days: dict[tuple[int, str], DayStock]
    counters: dict[tuple[int, str], CustomerCounter]
    old_customers: set[str]
    replays: dict[str, Replay]
    # By their keys: a twin gets its winner's coupon, and the id of a refused request is free.
    winners: dict[str, Claim] = field(default_factory=dict)


def _claim(commands: Sequence[Claim], codes: CouponCodes, now: datetime) -> list[Outcome]:
    book = _read(commands, now)
    decided: list[errors.Error | str | None] = []
    for command in commands:
        known, twin = book.replays.get(command.key), book.winners.get(command.key)
        if known is not None:
            decided.append(_replayed(command, known))
        elif twin is not None:
            same = twin.call.digest == command.call.digest
            decided.append(None if same else errors.Invalid("REQUEST_ID_REUSED"))
        else:
            decided.append(_decide(command, book, now))
    won = _write(book, codes, now)
    outcomes: list[Outcome] = []
    for command, verdict in zip(commands, decided, strict=True):
        if isinstance(verdict, errors.Error):
            outcomes.append(verdict)
        else:
            outcomes.append(won[command.key] if verdict is None else Coupon.get(Coupon.uid == verdict))
    return outcomes


def _replayed(command: Claim, known: Replay) -> errors.Error | str:
    try:
        return replay.check(command.call, known)
    except errors.Invalid as reused:
        return reused


def _read(commands: Sequence[Claim], now: datetime) -> _Book:
    supplies = rows.lock_supplies({command.activity_id for command in commands})
    promises = {key: promise(supply.publication_id) for key, supply in supplies.items()}
    days = {(key, _today(promises[key], now)) for key in supplies}
    counted = [command for command in commands if command.activity_id in supplies]
    counters = {(command.activity_id, command.customer) for command in counted}
    # A first visit is the customer's, not the activity's: lock the customer as well.
    new = {c.customer for c in counted if rules.is_for_new_customers(promises[c.activity_id].terms)}
    return _Book(
        supplies,
        promises,
        rows.lock_customers({command.customer for command in counted}) if counted else (),
        rows.lock_days(days) if days else {},
        rows.lock_counters(counters | {(0, customer) for customer in new}) if counters else {},
        rows.old_customers(new) if new else set(),
        rows.replays({command.key for command in commands}),
    )


def _decide(command: Claim, book: _Book, now: datetime) -> errors.Error | None:
    """Refuse the claim, or take what it needs from the book and list it among the winners."""
    supply = book.supplies.get(command.activity_id)
    if supply is None:
        return errors.FailedPrecondition("ACTIVITY_NOT_PUBLISHED")
    if command.customer not in book.customers:  # Erased since the claim came in: the next try finds who it is now.
        return errors.Conflict("TRY_AGAIN")
    terms = book.promises[command.activity_id].terms
    day = book.days[command.activity_id, _today(book.promises[command.activity_id], now)]
    counter = book.counters[command.activity_id, command.customer]
    claimant = rules.Claimant(
        claims=counter.claims,
        is_new=command.customer not in book.old_customers,
        is_sharer=command.share is not None and command.share.sharer == command.customer,
    )
    refusal = rules.why_no_claim(supply, terms, day.taken, claimant, now)
    if refusal is not None:
        return refusal.error()
    supply.taken += 1
    supply.committed += rules.reserve(terms)
    day.taken += 1
    counter.claims += 1
    book.winners[command.key] = command
    return None


def _write(book: _Book, codes: CouponCodes, now: datetime) -> dict[str, Coupon]:
    """Give each winner a coupon and write what the book has come to; returns the coupons by the claims' keys."""
    pools = _take(book, codes, now)
    won: dict[str, Coupon] = {}
    for command in book.winners.values():
        coupon, promised = pools[command.pool].pop(0), book.promises[command.activity_id]
        start, expire = schedule.validity(promised.terms, now)
        rows.move_coupon(
            coupon,
            "CLAIMED",
            # The pseudonym at the merchant, not the caller's own: what is erased must not be told by the history.
            Why(Actor(command.call.principal.role, command.customer), now),
            publication_id=promised.publication_id,
            customer=command.customer,
            claim_time=now,
            start_time=start,
            expire_time=expire,
            reserved=rules.reserve(promised.terms),
        )
        won[command.key] = coupon
    _save(book, now)
    if won:
        rows.keep_replays([(key, book.winners[key].call.digest, coupon.uid) for key, coupon in won.items()], now)
    return won


def _take(book: _Book, codes: CouponCodes, now: datetime) -> dict[tuple[int, int], list[Coupon]]:
    """As many coupons of each pool as it has winners; a pool that runs dry gets its next block."""
    pools: dict[tuple[int, int], list[Coupon]] = {}
    for (activity_id, share_id), wanted in sorted(Counter(command.pool for command in book.winners.values()).items()):
        pool = rows.lock_available(activity_id, share_id, wanted)
        if len(pool) < wanted:
            block = max(wanted - len(pool), parameters.current().share_block_size)
            merchant_id = book.supplies[activity_id].merchant_id
            pool += coupons.mint(activity_id, merchant_id, share_id, block, codes, Why(Actor("SERVICE"), now))
        pools[activity_id, share_id] = pool
    return pools


def _save(book: _Book, now: datetime) -> None:
    """Write the counters of the winners. The supply's own bounds stand in the UPDATE again: never oversold."""
    for activity_id in sorted({command.activity_id for command in book.winners.values()}):
        supply, today = book.supplies[activity_id], _today(book.promises[activity_id], now)
        saved = (
            Supply.update(taken=supply.taken, committed=supply.committed)
            .where(Supply.activity_id == activity_id, Supply.stock >= supply.taken, Supply.taken < supply.taken)
            .execute()
        )
        if saved != 1:
            raise errors.Conflict("TRY_AGAIN")
        DayStock.update(taken=book.days[activity_id, today].taken).where(
            DayStock.activity_id == activity_id, DayStock.date == today
        ).execute()
    for activity_id, customer in sorted({(command.activity_id, command.customer) for command in book.winners.values()}):
        CustomerCounter.update(claims=book.counters[activity_id, customer].claims).where(
            CustomerCounter.activity_id == activity_id, CustomerCounter.customer == customer
        ).execute()


def _today(promised: Promise, now: datetime) -> str:
    return schedule.local_date(now, promised.terms.zone)
