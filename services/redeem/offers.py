"""Offers: what is published, what is left of it, and whether the one who asks may claim it, all from memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.chassis.cache import Cache
from services.chassis.call import ANONYMOUS, Call
from services.chassis.database import Database
from services.chassis.names import uid_of
from services.chassis.paging import page_of, token_of
from services.ledger import custom
from services.ledger.custom import Custom
from services.ledger.customers import Tags
from services.redeem import shelves
from services.redeem.shelves import Shelf
from services.schema import access, catalogue
from services.schema.catalogue import CHANGES, Listing

Plain = dict[str, Any]
# An offer's bytes: what never changes of it, and how it stands for the one who asks.
Offer = tuple[bytes, bytes]

_FILTERS = ("merchant", "store", "city", "category")
_NOBODYS = Custom({}, is_new=True)
# Measured: without claims, and for each activity that a regular has claimed in.
_CUSTOM_BYTES = 400
_CLAIMS_BYTES = 100


def _weight(custom: Custom) -> int:
    return _CUSTOM_BYTES + _CLAIMS_BYTES * len(custom.claims)


@dataclass(frozen=True, slots=True)
class _Page:
    """What a page of offers is made of: the poster and the shelf of each, and what the next page is after."""

    shown: Sequence[tuple[bytes, Shelf]]
    after: int | None
    since: datetime
    until: datetime

    @property
    def weight(self) -> int:
        """About how many bytes it keeps."""
        return sum(len(poster) + shelves.BYTES for poster, _ in self.shown)


_NO_PAGE = _Page((), None, catalogue.NEVER, catalogue.NEVER)


class Offers:
    """The offers of a database, for one event loop.

    `pack` makes an Offer's bytes of some of its fields, in words of the locale where it has a reason; the bytes of
    different fields joined are one Offer.
    """

    def __init__(
        self, db: Database, clock: Callable[[], datetime], tags: Tags, pack: Callable[[Plain, str], bytes]
    ) -> None:
        self._db, self._clock, self._tags, self._pack = db, clock, tags, pack
        self._posters = Cache(self._read_posters, len, topic=None)
        self._shelves = Cache(self._read_shelves, lambda _: shelves.BYTES, lambda _: CHANGES, holds=self._holds)
        self._pages = Cache(self._read_page, lambda page: page.weight, lambda _: CHANGES, holds=self._holds, batch=1)
        self._customs = Cache(self._read_customs, _weight, custom.topic)

    async def get(self, call: Call, activity: str) -> Offer:
        """The offer of an activity; NotFound unless its publication is LIVE."""
        uid = uid_of("activities", activity, "activity")
        shelf = await self._shelves.one(uid)
        poster = await self._posters.one(shelf.publication_id) if shelf is not None and shelf.is_live else None
        if shelf is None or poster is None:
            raise access.not_found("activities", uid)
        who = call.principal
        known = await self._customs.one((who.subject, shelf.merchant_id)) if who.role == "CUSTOMER" else None
        return poster, self._standing(call.locale, _barred(who.role), shelf, known or _NOBODYS)

    async def page(self, call: Call, plain: Plain) -> tuple[Iterator[Offer], str]:
        """The offers of a page, newest first, as the caller finds them, and the token of the next page."""
        query = {key: plain[key] for key in _FILTERS}
        listing = Listing.of(page_of(plain["page_token"], plain["page_size"], call, query), query)
        page = await self._pages.one(listing) or _NO_PAGE
        who, customs = call.principal, dict[int, Custom]()
        if who.role == "CUSTOMER":
            merchants = {(who.subject, shelf.merchant_id) for _, shelf in page.shown}
            customs = {key[1]: known for key, known in (await self._customs.many(merchants)).items()}
        locale, barred = call.locale, _barred(who.role)
        offers = (
            (poster, self._standing(locale, barred, shelf, customs.get(shelf.merchant_id, _NOBODYS)))
            for poster, shelf in page.shown
        )
        return offers, token_of(page.after, call, query)

    def _standing(self, locale: str, barred: str | None, shelf: Shelf, known: Custom) -> bytes:
        claims = known.claims.get(shelf.activity_id, 0)
        key = locale, barred, claims, known.is_new
        told = shelf.told.get(key)
        if told is None:
            if len(shelf.told) >= shelves.MOST_TOLD:
                shelf.told.clear()
            told = shelf.told[key] = self._pack(shelf.standing(barred, claims, known.is_new, self._clock()), locale)
        return told

    def _holds(self, read: Shelf | _Page) -> bool:
        return read.since <= self._clock() < read.until

    async def _read_posters(self, publications: Sequence[int]) -> Mapping[int, bytes]:
        return await self._db.run(catalogue.posters, publications, lambda plain: self._pack(plain, ""))

    async def _read_shelves(self, activities: Sequence[str]) -> Mapping[str, Shelf]:
        return await self._db.run(shelves.of, activities, self._clock())

    async def _read_page(self, listings: Sequence[Listing]) -> Mapping[Listing, _Page]:
        return {listing: await self._page(listing) for listing in listings}

    async def _page(self, listing: Listing) -> _Page:
        now = self._clock()
        shown, after = await self._db.run(shelves.of_page, listing, now)
        posters = await self._posters.many(shelf.publication_id for shelf in shown)
        until = min((shelf.until for shelf in shown), default=catalogue.NEVER)
        return _Page([(posters[shelf.publication_id], shelf) for shelf in shown], after, now, until)

    async def _read_customs(self, keys: Sequence[custom.Key]) -> Mapping[custom.Key, Custom]:
        return await self._db.run(custom.customs, keys, self._tags)


def _barred(role: str) -> str | None:
    """Why a role may not claim whatever is left; None for customers."""
    return None if role == "CUSTOMER" else "TOKEN_MISSING" if role == ANONYMOUS else "ROLE_NOT_ALLOWED"
