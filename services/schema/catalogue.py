"""What everybody may see: the publications that are live, and how rows are called on the wire."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from services.chassis import cache, database
from services.chassis.names import name, uid_of
from services.chassis.paging import Page
from services.schema import pages
from services.schema.tables import Activity, Merchant, Publication, PublicationStore, Store

# What a cache is told of under: that a publication has moved, or the supply behind it was adjusted.
CHANGES = "catalogue"
# Later than anything ends.
NEVER = datetime.max.replace(tzinfo=UTC)

Plain = dict[str, Any]


class Listing(NamedTuple):
    """A page of the catalogue as it is asked for, the same for everybody; `filters` are those of live(), in order."""

    size: int
    after: int | None
    filters: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, page: Page, query: Plain) -> "Listing":
        return cls(page.size, page.after, tuple(sorted(query.items())))


def change() -> None:
    """Tell this process's caches, once the present write() has ended, that what the catalogue shows was changed."""
    database.after_write(partial(cache.HERE.tell, CHANGES))


def live(listing: Listing, now: datetime) -> tuple[list[Publication], int | None]:
    """A page of the LIVE publications whose claim period is not over, newest first, and what the next one is after.

    The filters may be merchant and store (names), city and category (exact). A publication is found by its stores when
    one of them satisfies all that is asked of a store. `after` is a publication's id. The rows come without their
    snapshots.
    """
    shown = (Publication.id, Publication.activity_id, Publication.claim_end)
    query = Publication.select(*shown).where(Publication.state == "LIVE", Publication.claim_end > now)
    if listing.after is not None:
        query = query.where(Publication.id < listing.after)
    plain = dict(listing.filters)
    if plain.get("merchant"):
        uid = uid_of("merchants", plain["merchant"], "merchant")
        query = query.where(Publication.merchant_id.in_(Merchant.select(Merchant.id).where(Merchant.uid == uid)))
    asked = list(_of_a_store(plain))
    if asked:
        query = query.where(Publication.id.in_(PublicationStore.select(PublicationStore.publication_id).where(*asked)))
    return pages.page(query.order_by(Publication.id.desc()), listing.size, Publication.snapshot)


def _of_a_store(plain: dict[str, str]) -> Iterable[Any]:
    if plain.get("store"):
        uid = uid_of("stores", plain["store"], "store")
        yield PublicationStore.store_id.in_(Store.select(Store.id).where(Store.uid == uid))
    if plain.get("city"):
        yield PublicationStore.city == plain["city"]
    if plain.get("category"):
        yield PublicationStore.category == plain["category"]


def posters(publication_ids: Collection[int], pack: Callable[[Plain], bytes]) -> dict[int, bytes]:
    """What never changes of publications, as everybody is shown it: activity, merchant, publication and snapshot.

    By id, each packed by `pack`: a thing for a pool job.
    """
    rows = list(Publication.select().where(Publication.id.in_(list(publication_ids))))
    activities = uids(Activity, (row.activity_id for row in rows))
    merchants = uids(Merchant, (row.merchant_id for row in rows))
    return {
        row.id: pack(
            {
                "activity": name("activities", activities[row.activity_id]),
                "merchant": name("merchants", merchants[row.merchant_id]),
                "publication": name("publications", row.uid),
                "snapshot": row.snapshot,
            }
        )
        for row in rows
    }


def uids(table: Any, ids: Iterable[int | None]) -> dict[int, str]:
    """The uids of a table's rows, by id; one query, whatever their number."""
    wanted = {id for id in ids if id is not None}
    if not wanted:
        return {}
    return {row.id: row.uid for row in table.select(table.id, table.uid).where(table.id.in_(wanted))}
