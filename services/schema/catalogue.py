"""What everybody may see: the publications that are live, and how rows are called on the wire."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.chassis.names import uid_of
from services.chassis.paging import Page
from services.schema import pages
from services.schema.tables import Merchant, Publication, PublicationStore, Store


def live(page: Page, plain: dict[str, Any], now: datetime) -> tuple[list[Publication], int | None]:
    """A page of the LIVE publications whose claim period is not over, newest first, and what the next one is after.

    `plain` may filter: merchant and store (names), city and category (exact). A publication is found by its stores
    when one of them satisfies all that is asked of a store. `page.after` is a publication's id.
    """
    query = Publication.select().where(Publication.state == "LIVE", Publication.claim_end > now)
    if page.after is not None:
        query = query.where(Publication.id < page.after)
    if plain.get("merchant"):
        uid = uid_of("merchants", plain["merchant"], "merchant")
        query = query.where(Publication.merchant_id.in_(Merchant.select(Merchant.id).where(Merchant.uid == uid)))
    asked = list(_of_a_store(plain))
    if asked:
        query = query.where(Publication.id.in_(PublicationStore.select(PublicationStore.publication_id).where(*asked)))
    return pages.page(query.order_by(Publication.id.desc()), page.size, Publication.snapshot)


def _of_a_store(plain: dict[str, Any]) -> Iterable[Any]:
    if plain.get("store"):
        uid = uid_of("stores", plain["store"], "store")
        yield PublicationStore.store_id.in_(Store.select(Store.id).where(Store.uid == uid))
    if plain.get("city"):
        yield PublicationStore.city == plain["city"]
    if plain.get("category"):
        yield PublicationStore.category == plain["category"]


def uids(table: Any, ids: Iterable[int | None]) -> dict[int, str]:
    """The uids of a table's rows, by id; one query, whatever their number."""
    wanted = {id for id in ids if id is not None}
    if not wanted:
        return {}
    return {row.id: row.uid for row in table.select(table.id, table.uid).where(table.id.in_(wanted))}
