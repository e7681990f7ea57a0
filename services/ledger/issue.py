"""What the claims of one transaction come to: given one after the other, written together at its end."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis import parameters
from services.chassis.call import Call
from services.chassis.names import new_id, new_uid
from services.chassis.script import Row, Statement
from services.ledger import rules, schedule, statements
from services.ledger.codes import CouponCodes
from services.ledger.promises import Promise
from services.ledger.records import CouponRow, SupplyRow, microseconds

_SUPPLY_TAKEN = (
    "UPDATE supply SET taken = taken + CASE activity_id ? END, committed = committed + CASE activity_id ? END "
    "WHERE activity_id IN ? AND stock >= taken + CASE activity_id ? END"
)
_DAY_TAKEN = "INSERT INTO day_stock (activity_id, date, taken) VALUES ? ON DUPLICATE KEY UPDATE taken = VALUES(taken)"
_CLAIMS = (
    "INSERT INTO customer_counter (activity_id, customer, claims) VALUES ? "
    "ON DUPLICATE KEY UPDATE claims = VALUES(claims)"
)
_COUPON_CLAIMED = (
    "UPDATE coupon SET state = 'CLAIMED', customer = CASE id ? END, publication_id = CASE activity_id ? END, "
    "claim_time = ?, start_time = CASE activity_id ? END, expire_time = CASE activity_id ? END, "
    "reserved = CASE activity_id ? END WHERE id IN ? AND state = 'AVAILABLE'"
)
_COUNTED_AS = "UPDATE customer_counter SET customer = ? WHERE customer = ?"
_MINTED = (
    "id, uid, code, activity_id, merchant_id, share_id, state, publication_id, customer, "
    "claim_time, start_time, expire_time, reserved"
)


@dataclass(frozen=True, slots=True)
class Via:
    """The share that a claim came by: its id and uid, and its sharer's pseudonym."""

    id: int
    uid: str
    sharer: str


@dataclass(slots=True)
class Person:
    """A customer to one merchant; a new one gets the pseudonym with the first coupon.

    `counted_as` is what the counters know them by: of who was erased before coming back, the tag.
    """

    pseudonym: str
    counted_as: str = ""
    who: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        self.counted_as = self.counted_as or self.pseudonym

    @classmethod
    def new(cls, who: tuple[int, str], tag: str) -> "Person":
        """Somebody (merchant_id, subject) whom no row knows."""
        return cls(new_uid(), tag, who)

    @property
    def is_new(self) -> bool:
        """Whether no row knows them yet."""
        return self.who is not None


@dataclass
class Book:
    """The rows that the claims of one transaction are decided by, all locked, and what they have come to so far."""

    now: datetime
    supplies: dict[int, SupplyRow]
    promises: dict[int, Promise]
    # By (activity_id, share_id), the oldest first.
    free: dict[tuple[int, int], list[CouponRow]]
    people: dict[tuple[int, str], Person] = field(default_factory=dict)
    # By (activity_id, date).
    taken: Counter[tuple[int, str]] = field(default_factory=Counter)
    # By (activity_id, what the counters know the customer by).
    claims: Counter[tuple[int, str]] = field(default_factory=Counter)
    old_customers: set[str] = field(default_factory=set)
    # The tags that counters were kept under.
    kept: set[str] = field(default_factory=set)
    _dates: dict[str, str] = field(default_factory=dict)

    def today(self, supply: SupplyRow) -> str:
        """The date in the activity's zone."""
        zone = self.promises[supply.publication_id].terms.zone
        if zone not in self._dates:
            self._dates[zone] = schedule.local_date(self.now, zone)
        return self._dates[zone]

    def learn(self, counters: Iterable[Row]) -> None:
        """Take the counters (activity_id, customer, claims) of people who were erased."""
        for activity_id, customer, claims in counters:
            self.claims[activity_id, customer] = claims
            self.kept.add(customer)
            if activity_id == 0 and claims:
                self.old_customers.add(customer)


@dataclass
class Issue:
    """Gives coupons to people whose claims were judged good, all at the instant `book.now`."""

    book: Book
    codes: CouponCodes
    _claimed: list[CouponRow] = field(default_factory=list)
    # By their ids.
    _minted: dict[int, CouponRow] = field(default_factory=dict)
    _events: list[Row] = field(default_factory=list)
    _people: dict[str, Person] = field(default_factory=dict)
    _taken: Counter[int] = field(default_factory=Counter)
    _counted: set[tuple[int, str]] = field(default_factory=set)
    _validities: dict[int, tuple[datetime, datetime]] = field(default_factory=dict)

    def give(self, pool: tuple[int, int], person: Person, call: Call) -> CouponRow:
        """The coupon that is this person's now, with all that it takes from the book."""
        activity_id = pool[0]
        supply = self.book.supplies[activity_id]
        coupon = self._next(pool, supply)
        coupon.state, coupon.publication_id, coupon.customer = "CLAIMED", supply.publication_id, person.pseudonym
        coupon.promised = self.book.promises[supply.publication_id]
        coupon.claim_time, (coupon.start_time, coupon.expire_time) = self.book.now, self._validity(supply)
        # The pseudonym at the merchant, not the caller's own: what is erased must not be told by the history.
        self._tell(coupon, "AVAILABLE", call.principal.role, person.pseudonym)
        supply.taken += 1
        supply.committed += self._reserve(supply)
        self._taken[activity_id] += 1
        self.book.taken[activity_id, self.book.today(supply)] += 1
        self.book.claims[activity_id, person.counted_as] += 1
        self._people[person.pseudonym] = person
        self._counted.add((activity_id, person.pseudonym))
        return coupon

    def statements(self, replays: Sequence[tuple[str, str, str]]) -> list[Statement]:
        """All that was given, in the order of the locks, and the (key, digest, outcome) of what was asked."""
        if not replays:
            return []
        at = microseconds(self.book.now)
        return [
            self._of_supplies(),
            *self._of_people(at),
            *self._of_coupons(at),
            statements.keep_events(self._events),
            statements.keep_replays([(*replay, at) for replay in replays]),
        ]

    def _next(self, pool: tuple[int, int], supply: SupplyRow) -> CouponRow:
        """The oldest free coupon of the pool; a share's pool that is dry gets its next block."""
        free = self.book.free[pool]
        if not free:
            # Who comes by no share leaves none for others: one is minted when it is wanted.
            free += self._mint(pool, supply, parameters.current().share_block_size if pool[1] else 1)
        coupon = free.pop(0)
        if coupon.id not in self._minted:
            self._claimed.append(coupon)
        return coupon

    def _mint(self, pool: tuple[int, int], supply: SupplyRow, count: int) -> list[CouponRow]:
        activity_id, share_id = pool
        about = (activity_id, supply.merchant_id, share_id, "AVAILABLE")
        block = [CouponRow(new_id(), new_uid(), self.codes.new(), *about) for _ in range(count)]
        for coupon in block:
            self._minted[coupon.id] = coupon
            self._tell(coupon, "", "SERVICE", "")
        return block

    def _tell(self, coupon: CouponRow, before: str, role: str, who: str) -> None:
        at = microseconds(self.book.now)
        self._events.append((coupon.id, coupon.merchant_id, before, coupon.state, at, role, who, ""))

    def _validity(self, supply: SupplyRow) -> tuple[datetime, datetime]:
        """From when and until when a coupon claimed now is used."""
        found = self._validities.get(supply.activity_id)
        if found is None:
            terms = self.book.promises[supply.publication_id].terms
            found = self._validities[supply.activity_id] = schedule.validity(terms, self.book.now)
        return found

    def _reserve(self, supply: SupplyRow) -> int:
        return rules.reserve(self.book.promises[supply.publication_id].terms)

    def _of_supplies(self) -> Statement:
        """What was taken; that it was there stands in the UPDATE again: never oversold."""
        supplies = [self.book.supplies[activity_id] for activity_id in self._taken]
        committed = {one.activity_id: self._taken[one.activity_id] * self._reserve(one) for one in supplies}
        args = (self._taken, committed, tuple(self._taken), self._taken)
        return Statement(_SUPPLY_TAKEN, args, touches=len(self._taken))

    def _of_people(self, at: int) -> list[Statement]:
        """The newcomers, and how much everybody has claimed; what newcomers had before an erasure is theirs again."""
        book, new = self.book, [(*one.who, one) for one in self._people.values() if one.who is not None]
        # In key order, or two processes that meet the same newcomers would wait for each other.
        known = sorted([(merchant, subject, one.pseudonym, at) for merchant, subject, one in new])
        back = {one.counted_as: one.pseudonym for *_, one in new}
        kept = book.kept & back.keys()
        claims = [(key, who, book.claims[key, self._people[who].counted_as]) for key, who in sorted(self._counted)]
        days = [(key, book.today(book.supplies[key])) for key in self._taken]
        return [
            *([statements.insert("customer", "merchant_id, subject, pseudonym, create_time", known)] if new else ()),
            *(Statement(_COUNTED_AS, (back[tag], tag)) for tag in sorted(kept)),
            Statement(_CLAIMS, (claims,)),
            Statement(_DAY_TAKEN, ([(*day, book.taken[day]) for day in days],)),
        ]

    def _of_coupons(self, at: int) -> list[Statement]:
        made = []
        if self._claimed:
            supplies = {one.activity_id: self.book.supplies[one.activity_id] for one in self._claimed}
            validities = {key: self._validity(one) for key, one in supplies.items()}
            ids = tuple(sorted(one.id for one in self._claimed))
            args = (
                {one.id: one.customer for one in self._claimed},
                {key: one.publication_id for key, one in supplies.items()},
                at,
                {key: microseconds(start) for key, (start, _) in validities.items()},
                {key: microseconds(end) for key, (_, end) in validities.items()},
                {key: self._reserve(one) for key, one in supplies.items()},
                ids,
            )
            made.append(Statement(_COUPON_CLAIMED, args, touches=len(ids)))
        if self._minted:
            made.append(statements.insert("coupon", _MINTED, [self._row(one) for one in self._minted.values()]))
        return made

    def _row(self, coupon: CouponRow) -> Row:
        about = (coupon.id, coupon.uid, coupon.code, coupon.activity_id, coupon.merchant_id, coupon.share_id)
        if coupon.state == "AVAILABLE":
            return (*about, coupon.state, None, None, None, None, None, 0)
        supply = self.book.supplies[coupon.activity_id]
        instants = [microseconds(one) for one in (self.book.now, *self._validity(supply))]
        return (*about, coupon.state, coupon.publication_id, coupon.customer, *instants, self._reserve(supply))
