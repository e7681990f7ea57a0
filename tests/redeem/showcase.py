"""Offers as a caller gets them from a process that has just started, and so from the database."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.parts import repeated, serialized, text
from services.chassis.wire import to_plain
from services.redeem.offers import Offers
from sharemesh.v1 import redeem_pb2
from tests.share.shop import NOW, TAGS, page


def opened(db: Database, clock: Callable[[], datetime] = lambda: NOW) -> Offers:
    """Offers of which nothing is in memory yet."""
    return Offers(db, clock, TAGS, _packed)


def offer(db: Database, by: Call, activity: str, now: datetime = NOW) -> dict[str, Any]:
    """The plain form of the caller's offer of an activity."""
    parts = asyncio.run(opened(db, lambda: now).get(by, activity))
    return to_plain(redeem_pb2.Offer.FromString(b"".join(parts)))


def listed(
    db: Database, by: Call, size: int = 0, token: str = "", now: datetime = NOW, **filters: str
) -> dict[str, Any]:
    """The plain form of a page of offers."""
    asked = page(size, token, merchant="", store="", city="", category="") | filters
    offers, more = asyncio.run(opened(db, lambda: now).page(by, asked))
    return to_plain(redeem_pb2.ListOffersResponse.FromString(repeated(1, offers) + text(2, more)))


def _packed(plain: Mapping[str, Any], locale: str) -> bytes:
    return serialized(redeem_pb2.Offer, plain)
