"""Shareables: what can be shared now, the same for everybody, from memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.chassis.cache import Cache
from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.paging import page_of, token_of
from services.schema import catalogue
from services.schema.catalogue import CHANGES, Listing

Plain = dict[str, Any]

_FILTERS = ("store", "city", "category")


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    after: int | None
    # Within these nothing of it ends.
    since: datetime
    until: datetime


class Shareables:
    """What can be shared of a database, for one event loop.

    `pack` makes a Shareable's bytes, `join` those of a page of them.
    """

    def __init__(
        self,
        db: Database,
        clock: Callable[[], datetime],
        pack: Callable[[Plain], bytes],
        join: Callable[[Sequence[bytes]], bytes],
    ) -> None:
        self._db, self._clock, self._pack, self._join = db, clock, pack, join
        self._posters = Cache(self._read_posters, len, topic=None)
        self._pages = Cache(self._read_page, lambda page: len(page.body), lambda _: CHANGES, holds=self._holds, batch=1)

    async def page(self, call: Call, plain: Plain) -> tuple[bytes, str]:
        """A page of what can be shared now, newest first, and the token of the next one."""
        query = {key: plain[key] for key in _FILTERS}
        listing = Listing.of(page_of(plain["page_token"], plain["page_size"], call, query), query)
        page = await self._pages.one(listing)
        return (page.body, token_of(page.after, call, query)) if page else (b"", "")

    def _holds(self, page: _Page) -> bool:
        return page.since <= self._clock() < page.until

    async def _read_posters(self, publications: Sequence[int]) -> Mapping[int, bytes]:
        return await self._db.run(catalogue.posters, publications, self._pack)

    async def _read_page(self, listings: Sequence[Listing]) -> Mapping[Listing, _Page]:
        return {listing: await self._page(listing) for listing in listings}

    async def _page(self, listing: Listing) -> _Page:
        now = self._clock()
        shown, after = await self._db.run(catalogue.live, listing, now)
        posters = await self._posters.many(row.id for row in shown)
        until = min((row.claim_end for row in shown), default=catalogue.NEVER)
        return _Page(self._join([posters[row.id] for row in shown]), after, now, until)
