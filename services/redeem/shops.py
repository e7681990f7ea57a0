"""Where the caller stands: stores as tills need them, and who may do what there, known for a moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.chassis.cache import Cache
from services.chassis.call import Call
from services.chassis.database import Database
from services.schema import access
from services.schema.access import Asked
from services.schema.tables import Merchant, Store

# What a shop weighs in the cache, about.
_BYTES = 300


@dataclass(frozen=True, slots=True)
class Shop:
    """A store in which the caller may do what was asked for; `merchant` is its merchant's uid."""

    id: int
    uid: str
    merchant_id: int
    merchant: str
    zone: str
    currency: str


class Shops:
    """Finds shops by the database at first, and then by memory for at most parameters.cache_seconds: as soon as that a
    right that was taken away is gone."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._cache: Cache[Asked, Shop] = Cache(self._read, lambda _: _BYTES, lambda key: key)

    async def find(self, call: Call, store: str, right: str) -> Shop:
        """The shop of a store's name, for who has the right in it; raises what access.store() raises."""
        key = call.principal, store, right
        shop = self._cache.get(key) or await self._cache.one(key)
        # What it is refused for is never remembered.
        return await self._db.run(shop_of, call, store, right) if shop is None else shop

    async def _read(self, keys: Sequence[Asked]) -> Mapping[Asked, Shop]:
        return await self._db.run(_shops, keys)


def shop_of(call: Call, store: str, right: str) -> Shop:
    """The shop of a store's name; raises what access.store() raises."""
    found = access.store(call, store, right)
    return _shop(found, Merchant.get_by_id(found.merchant_id))


def _shops(keys: Sequence[Asked]) -> dict[Asked, Shop]:
    found = access.stores(keys)
    wanted = {store.merchant_id for store in found.values()}
    merchants = {row.id: row for row in Merchant.select().where(Merchant.id.in_(wanted))} if wanted else {}
    return {key: _shop(store, merchants[store.merchant_id]) for key, store in found.items()}


def _shop(store: Store, merchant: Merchant) -> Shop:
    return Shop(store.id, store.uid, merchant.id, merchant.uid, store.zone, merchant.currency)
