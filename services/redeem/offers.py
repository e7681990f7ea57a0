"""Offers: what is published, what is left of it, and whether the one who asks may claim it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.chassis.call import ANONYMOUS, Call
from services.chassis.names import name, uid_of
from services.chassis.paging import page_of, token_of
from services.ledger import rows, rules, schedule
from services.ledger.customers import Tags
from services.ledger.promises import promise
from services.schema import access, catalogue
from services.schema.tables import Activity, Customer, CustomerCounter, DayStock, Merchant, Publication, Supply

Plain = dict[str, Any]
_FILTERS = ("merchant", "store", "city", "category")


def list_offers(call: Call, plain: Plain, now: datetime, tags: Tags) -> Plain:
    """The offers of a page, newest first, as the caller finds them."""
    query = {key: plain[key] for key in _FILTERS}
    page = page_of(plain["page_token"], plain["page_size"], call, query)
    shown, more = catalogue.live(page, query, now)
    return {"offers": _offers(call, shown, now, tags), "next_page_token": token_of(more, call, query)}


def get_offer(call: Call, plain: Plain, now: datetime, tags: Tags) -> Plain:
    """The offer of an activity; NotFound unless its publication is LIVE."""
    publication = access.live_publication(uid_of("activities", plain["activity"], "activity"))
    return _offers(call, [publication], now, tags)[0]


@dataclass(frozen=True)
class _Shelves:
    """What is left of the activities of a page, by activity id; one query each, whatever the number."""

    supplies: dict[int, Supply]
    dates: dict[int, str]
    taken: dict[tuple[int, str], int]

    @classmethod
    def of(cls, publications: Sequence[Publication], now: datetime) -> "_Shelves":
        dates = {row.activity_id: schedule.local_date(now, promise(row.id).terms.zone) for row in publications}
        supplies = Supply.select().where(Supply.activity_id.in_(list(dates)))
        days = DayStock.select().where(DayStock.activity_id.in_(list(dates)), DayStock.date.in_({*dates.values()}))
        return cls(
            {row.activity_id: row for row in supplies}, dates, {(row.activity_id, row.date): row.taken for row in days}
        )

    def taken_today(self, activity_id: int) -> int:
        return self.taken.get((activity_id, self.dates[activity_id]), 0)

    def remaining(self, activity_id: int) -> tuple[int, int]:
        """How many coupons are left altogether and today."""
        supply = self.supplies[activity_id]
        left = max(supply.stock - supply.taken, 0)
        today = supply.day_stock - self.taken_today(activity_id) if supply.day_stock else left
        return left, max(min(left, today), 0)


@dataclass(frozen=True)
class _Caller:
    """What counts of the one who asks: what the counters know them by, by merchant id, claims by activity id, and who
    came before."""

    known_as: dict[int, str]
    claims: dict[int, int]
    old_customers: set[str]

    @classmethod
    def of(cls, call: Call, publications: Sequence[Publication], tags: Tags) -> "_Caller":
        if call.principal.role != "CUSTOMER":
            return cls({}, {}, set())
        subject, merchants = call.principal.subject, {row.merchant_id for row in publications}
        known = Customer.select().where(Customer.subject == subject, Customer.merchant_id.in_(merchants))
        # Who was erased has no pseudonym before they come back, but counters all the same.
        known_as = {key: tags.of(key, subject) for key in merchants} | {row.merchant_id: row.pseudonym for row in known}
        counters = CustomerCounter.select().where(
            CustomerCounter.activity_id.in_({row.activity_id for row in publications}),
            CustomerCounter.customer.in_(list(known_as.values())),
        )
        claims = {row.activity_id: row.claims for row in counters}
        return cls(known_as, claims, rows.old_customers(known_as.values()))

    def claimant(self, publication: Publication) -> rules.Claimant:
        is_new = self.known_as.get(publication.merchant_id) not in self.old_customers
        return rules.Claimant(claims=self.claims.get(publication.activity_id, 0), is_new=is_new)


def _offers(call: Call, publications: Sequence[Publication], now: datetime, tags: Tags) -> list[Plain]:
    activities = catalogue.uids(Activity, (row.activity_id for row in publications))
    merchants = catalogue.uids(Merchant, (row.merchant_id for row in publications))
    shelves, caller = _Shelves.of(publications, now), _Caller.of(call, publications, tags)
    offers = []
    for row in publications:
        remaining, remaining_today = shelves.remaining(row.activity_id)
        claimant = caller.claimant(row)
        reason = _why_not(call, row, shelves, claimant, now)
        offers.append(
            {
                "activity": name("activities", activities[row.activity_id]),
                "merchant": name("merchants", merchants[row.merchant_id]),
                "publication": name("publications", row.uid),
                "snapshot": row.snapshot,
                "remaining": remaining,
                "remaining_today": remaining_today,
                "claimed_by_me": claimant.claims,
                "can_claim": reason is None,
                "reason": reason,
            }
        )
    return offers


def _why_not(
    call: Call, publication: Publication, shelves: _Shelves, claimant: rules.Claimant, now: datetime
) -> str | None:
    """The reason that a claim would be refused with now; None if it would not."""
    if call.principal.role == ANONYMOUS:
        return "TOKEN_MISSING"
    if call.principal.role != "CUSTOMER":
        return "ROLE_NOT_ALLOWED"
    activity_id = publication.activity_id
    supply, terms = shelves.supplies[activity_id], promise(publication.id).terms
    refusal = rules.why_no_claim(supply, terms, shelves.taken_today(activity_id), claimant, now)
    return None if refusal is None else refusal.reason
