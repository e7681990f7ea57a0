"""Shelves: what is left of activities, read in a few queries whatever their number."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.ledger import rules, schedule
from services.ledger.promises import promise
from services.ledger.terms import Terms
from services.schema import catalogue
from services.schema.catalogue import Listing
from services.schema.tables import Activity, DayStock, Supply

Plain = dict[str, Any]

# Measured: 1600, and 300 for each standing that was told of it; those are few, for claims are few.
BYTES = 4000
# Beyond it a shelf forgets what it told.
MOST_TOLD = 64


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is left of an activity. From `since` until `until` the clock alone changes nothing of what it says."""

    activity_id: int
    merchant_id: int
    publication_id: int
    is_live: bool
    supply: Supply
    terms: Terms
    taken_today: int
    since: datetime
    until: datetime
    # The packed standings, by what they depend on beside the shelf: locale, why the role may not claim, and custom.
    told: dict[tuple[str, str | None, int, bool], bytes] = field(default_factory=dict)

    def standing(self, barred: str | None, claims: int, is_new: bool, now: datetime) -> Plain:
        """The fields of an Offer that differ from time to time and caller to caller."""
        supply = self.supply
        left = max(supply.stock - supply.taken, 0)
        today = supply.day_stock - self.taken_today if supply.day_stock else left
        claimant = rules.Claimant(claims=claims, is_new=is_new)
        refusal = rules.why_no_claim(supply, self.terms, self.taken_today, claimant, now)
        reason = barred or (None if refusal is None else refusal.reason)
        return {
            "remaining": left,
            "remaining_today": max(min(left, today), 0),
            "claimed_by_me": claims,
            "can_claim": reason is None,
            "reason": reason,
        }

    def shows(self, publication_id: int) -> bool:
        """Whether that publication is the one that is LIVE."""
        return self.is_live and self.publication_id == publication_id


def of_page(listing: Listing, now: datetime) -> tuple[list[Shelf], int | None]:
    """The shelves of a page of the catalogue, and what the next one is after."""
    publications, after = catalogue.live(listing, now)
    shelves = _shelves([row.activity_id for row in publications], now)
    # A publication may have moved since the page was read.
    shown = [shelves[row.activity_id] for row in publications if shelves[row.activity_id].shows(row.id)]
    return shown, after


def of(activities: Collection[str], now: datetime) -> dict[str, Shelf]:
    """The shelves of those of the activities, by uid, that were ever published."""
    rows = Activity.select(Activity.id, Activity.uid).where(Activity.uid.in_(list(activities)))
    uids = {row.id: row.uid for row in rows}
    return {uids[key]: shelf for key, shelf in _shelves(uids, now).items()}


def _shelves(activities: Collection[int], now: datetime) -> dict[int, Shelf]:
    supplies = list(Supply.select().where(Supply.activity_id.in_(list(activities)))) if activities else []
    terms = {row.activity_id: promise(row.publication_id).terms for row in supplies}
    dates = {
        row.activity_id: schedule.local_date(now, terms[row.activity_id].zone) for row in supplies if row.day_stock
    }
    days = DayStock.select().where(DayStock.activity_id.in_(list(dates)), DayStock.date.in_({*dates.values()}))
    taken = {(row.activity_id, row.date): row.taken for row in (days if dates else ())}
    return {
        row.activity_id: Shelf(
            activity_id=row.activity_id,
            merchant_id=row.merchant_id,
            publication_id=row.publication_id,
            is_live=row.state == "LIVE",
            supply=row,
            terms=terms[row.activity_id],
            taken_today=taken.get((row.activity_id, dates.get(row.activity_id, "")), 0),
            since=now,
            until=schedule.turning(terms[row.activity_id], now),
        )
        for row in supplies
    }
