"""Where the caller stands: stores as tills need them, and whom they admit, known for a moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.chassis import errors
from services.chassis.cache import Cache
from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.names import uid_of
from services.schema import access
from services.schema.access import Admission

# What a store and one of its staff weigh in the cache, about.
_STORE_BYTES = 3000
_STAFF_BYTES = 300


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
        # By uid. Nobody tells of a change: age alone ends what is known.
        self._cache: Cache[str, Admission] = Cache(self._read, _weight, lambda uid: uid)

    async def find(self, call: Call, store: str, right: str) -> Shop:
        """The shop of a store's name, for who has the right in it; raises what access.store() raises."""
        known = await self._cache.one(uid_of("stores", store, "store"))
        try:
            if known is not None:
                known.check(call.principal, right)
                return _shop(known)
        except errors.Error:
            pass  # What was given a moment ago counts at once: the database refuses, memory does not.
        return await self._db.run(shop_of, call, store, right)

    async def _read(self, uids: Sequence[str]) -> Mapping[str, Admission]:
        return await self._db.run(access.admissions, uids)


def shop_of(call: Call, store: str, right: str) -> Shop:
    """The shop of a store's name; raises what access.store() raises."""
    return _shop(access.admission(call, store, right))


def _shop(admission: Admission) -> Shop:
    store, merchant = admission.store, admission.merchant
    return Shop(store.id, store.uid, merchant.id, merchant.uid, store.zone, merchant.currency)


def _weight(admission: Admission) -> int:
    return _STORE_BYTES + _STAFF_BYTES * len(admission.rights)
