"""Claiming: a list of claims in one transaction, each taking stock, the customer's limit and the budget, or refused."""

from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeAlias

from services.chassis import errors
from services.chassis.call import Call
from services.chassis.script import Row, Script, Statement
from services.ledger import rows, rules, statements
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.ledger.issue import Book, Issue, Person, Via
from services.ledger.promises import promises
from services.ledger.records import COUPON_COLUMNS, CouponRow, SupplyRow, Use, instant
from services.schema import replay

Outcome: TypeAlias = CouponRow | errors.Error

_CLAIMED = (
    f"SELECT {', '.join(f'c.{column}' for column in COUPON_COLUMNS.split(', '))}, r.uid, r.use_time, s.uid "
    "FROM coupon c LEFT JOIN redemption r ON r.id = c.redemption_id LEFT JOIN store s ON s.id = r.store_id "
    "WHERE c.uid IN ?"
)
_SHARES = "SELECT id, state FROM share WHERE id IN ?"


@dataclass(frozen=True)
class Claim:
    """One customer's wish: `tenant` is the merchant's uid, `via` the share they came by, None for none."""

    call: Call
    tenant: str
    merchant_id: int
    activity_id: int
    via: Via | None

    @cached_property
    def key(self) -> str:
        """What its request_id is unique within."""
        return replay.key(self.call, self.tenant)

    @property
    def person(self) -> tuple[int, str]:
        """Who wishes: (merchant_id, subject)."""
        return self.merchant_id, self.call.principal.subject

    @property
    def pool(self) -> tuple[int, int]:
        """The (activity, share) whose coupons it takes."""
        return self.activity_id, 0 if self.via is None else self.via.id


def claim(claims: Sequence[Claim], codes: CouponCodes, tags: Tags, now: datetime) -> list[Outcome]:
    """claiming() in this thread and in a transaction of its own.

    Raises Conflict(TRY_AGAIN) if the same requests keep being committed elsewhere.
    """
    return rows.settled(lambda: claiming(claims, codes, tags, now))


def claiming(claims: Sequence[Claim], codes: CouponCodes, tags: Tags, now: datetime) -> Script[list[Outcome]]:
    """The script that decides claims in the order given; its result is each one's coupon or refusal.

    A refusal or a replay costs its own caller only: what is not claimed writes nothing. The code of a coupon is "" for
    who was erased after claiming it.
    """
    if not claims:
        return [], []
    keys = {claim.key: claim for claim in claims}
    book, known, closed = yield from _locked(claims, keys, tags, now)
    issue = Issue(book, codes)
    won: dict[str, tuple[str, CouponRow]] = {}
    outcomes: list[Outcome] = []
    for claim in claims:
        first = won.get(claim.key) or known.get(claim.key)
        if first is not None:
            digest, coupon = first
            is_same = coupon is not None and digest == claim.call.digest
            outcomes.append(coupon if coupon and is_same else errors.Invalid("REQUEST_ID_REUSED"))
            continue
        outcome = _decide(claim, issue, closed)
        if isinstance(outcome, CouponRow):
            won[claim.key] = claim.call.digest, outcome
        outcomes.append(outcome)
    return issue.statements([(key, digest, coupon.uid) for key, (digest, coupon) in won.items()]), outcomes


def _decide(claim: Claim, issue: Issue, closed: Collection[int]) -> Outcome:
    """Refuse the claim, or issue its coupon."""
    book = issue.book
    supply = book.supplies.get(claim.activity_id)
    if supply is None:
        return errors.FailedPrecondition("ACTIVITY_NOT_PUBLISHED")
    if claim.via is not None and claim.via.id in closed:
        return errors.FailedPrecondition("SHARE_CLOSED")
    person, terms = book.people[claim.person], book.promises[supply.publication_id].terms
    claimant = rules.Claimant(
        claims=book.claims[claim.activity_id, person.counted_as],
        is_new=person.counted_as not in book.old_customers,
        is_sharer=claim.via is not None and claim.via.sharer == person.pseudonym,
    )
    refusal = rules.why_no_claim(supply, terms, book.taken[claim.activity_id, book.today(supply)], claimant, book.now)
    return issue.give(claim.pool, person, claim.call) if refusal is None else refusal.error()


def _locked(
    claims: Sequence[Claim], keys: Mapping[str, Claim], tags: Tags, now: datetime
) -> Generator[
    Sequence[Statement],
    Sequence[Sequence[Row]],
    tuple[Book, dict[str, tuple[str, CouponRow | None]], set[int]],
]:
    """Everything that the claims are decided by, locked; the coupons of those that were committed before; and which
    shares are closed."""
    activities, people = {one.activity_id for one in claims}, {one.person for one in claims}
    pools = Counter(one.pool for one in claims)
    shares = tuple(sorted({share for _, share in pools} - {0}))
    dates = [(now + timedelta(days=days)).date().isoformat() for days in (-1, 0, 1)]
    got = yield [
        statements.lock_supplies(activities),
        statements.lock_customers(people),
        statements.counters(people, activities),
        statements.days(activities, dates),
        statements.replays(keys),
        Statement(_SHARES, (shares or (0,),)),
        *(statements.lock_pool(*pool, wanted) for pool, wanted in sorted(pools.items())),
    ]
    supplied, customers, counted, days, replays, states, *free = got
    supplies = {row[0]: SupplyRow(*row) for row in supplied}
    promised = yield from promises({one.publication_id for one in supplies.values()})
    coupons = ([CouponRow.of(row) for row in some] for some in free)
    book = Book(now, supplies, promised, dict(zip(sorted(pools), coupons, strict=True)))
    book.taken.update({(activity, date): taken for activity, date, taken in days})
    book.claims.update({(activity, customer): claims for activity, customer, claims in counted})
    book.people = {(merchant, subject): Person(pseudonym) for merchant, subject, pseudonym in customers}
    for newcomer in people - book.people.keys():
        book.people[newcomer] = Person.new(newcomer, tags.of(*newcomer))
    more = [
        _claimed(replays),
        _kept([one for one in book.people.values() if one.is_new]),
        _visits(claims, book),
    ]
    answers = iter((yield [one for some in more for one in some]) if any(more) else ())
    replayed, kept, visits = [[next(answers) for _ in some] for some in more]
    book.learn([row for some in kept for row in some])
    book.old_customers |= {row[0] for row in visits[-1]} if visits else set()
    first = {row[1]: _with_use(row) for some in replayed for row in some}
    promised = yield from promises({one.publication_id for one in first.values() if one.publication_id is not None})
    for coupon in first.values():
        coupon.promised = promised.get(coupon.publication_id or 0)
    known = {key: (digest, _own(first.get(uid), book.people[keys[key].person])) for key, digest, uid in replays}
    return book, known, {key for key, state in states if state == "FAILED"}


def _claimed(replays: Sequence[Row]) -> list[Statement]:
    """The coupons of claims that were committed before, as they are now."""
    uids = tuple(sorted({uid for _, _, uid in replays}))
    return [Statement(_CLAIMED, (uids,))] if uids else []


def _kept(newcomers: Sequence[Person]) -> list[Statement]:
    """What is kept of those who were erased before they came back."""
    tagged = tuple(sorted({one.counted_as for one in newcomers}))
    return [statements.counters_of(tagged)] if tagged else []


def _visits(claims: Sequence[Claim], book: Book) -> list[Statement]:
    """For offers to new customers: that a first visit comes but once, and who came before."""
    wanted = {
        book.people[one.person].pseudonym
        for one in claims
        if (supply := book.supplies.get(one.activity_id)) is not None
        and rules.is_for_new_customers(book.promises[supply.publication_id].terms)
        and not book.people[one.person].is_new
    }
    return statements.lock_first_visits(wanted) if wanted else []


def _own(coupon: CouponRow | None, person: Person) -> CouponRow | None:
    """The coupon; without its code if its holder was erased meanwhile, for nobody knows that it was this person."""
    if coupon is not None and coupon.customer != person.pseudonym:
        coupon.code = ""
    return coupon


def _with_use(row: Row) -> CouponRow:
    *columns, redemption, time, store = row
    coupon = CouponRow.of(tuple(columns))
    coupon.use = None if redemption is None else Use(redemption, instant(time), store)
    return coupon
