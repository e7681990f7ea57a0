"""Staff: who may do what in a store, as data that is asked for at every call."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.chassis import database, errors
from services.chassis.call import Call
from services.chassis.names import name
from services.entry.domain import revisions
from services.entry.domain.checks import check_filled
from services.entry.domain.listing import listed
from services.schema import access, replay
from services.schema.tables import Merchant, StaffBinding, Store, locked

Plain = Mapping[str, Any]

_CHANGED = ("display_name", "title", "rights", "is_shown")


def bind_staff(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Bind a person to a store with these rights and no others; in the shape of StaffBinding.

    NotFound for a foreign store, and for a replay after the person was unbound again.
    """
    if plain["is_shown"]:
        check_filled(plain, ("display_name",))

    def command() -> str:
        store = locked(Store.select().where(Store.id == mine.id)).get()
        revisions.changing_store(store, lambda: _bind(store, plain, now), call, now)
        return ""

    with database.write():
        mine = access.store(call, plain["store"])
        replay.once(call, Merchant.get_by_id(mine.merchant_id).uid, command, now)
    return _view(_bound(mine, plain["subject"]), mine)


def unbind_staff(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Take a person's rights in a store away; in the shape of Empty. NotFound if the person is not bound."""

    def command() -> str:
        store = locked(Store.select().where(Store.id == mine.id)).get()
        binding = _bound(store, plain["subject"])
        revisions.changing_store(store, binding.delete_instance, call, now)
        return ""

    with database.write():
        mine = access.store(call, plain["store"])
        replay.once(call, Merchant.get_by_id(mine.merchant_id).uid, command, now)
    return {}


def list_staff(call: Call, plain: Plain) -> dict[str, Any]:
    """The people bound to a store in the order they were bound, in the shape of ListStaffResponse."""
    store = access.store(call, plain["store"])
    rows = StaffBinding.select().where(StaffBinding.store_id == store.id)
    found, token = listed(rows, call, plain, {"store": plain["store"]}, is_oldest_first=True)
    return {"staff": [_view(binding, store) for binding in found], "next_page_token": token}


def _bind(store: Store, plain: Plain, now: datetime) -> None:
    """The store's lock, which every binder holds, keeps a second one from inserting between the two statements."""
    given = {key: plain[key] for key in _CHANGED}
    its = (StaffBinding.store_id == store.id) & (StaffBinding.subject == plain["subject"])
    if not StaffBinding.update(**given).where(its).execute():
        StaffBinding.create(store_id=store.id, subject=plain["subject"], create_time=now, **given)


def _bound(store: Store, subject: str) -> StaffBinding:
    binding = StaffBinding.get_or_none(StaffBinding.store_id == store.id, StaffBinding.subject == subject)
    if binding is None:
        # The subject says who a person is, so the answer names the store alone.
        raise errors.NotFound("RESOURCE_NOT_FOUND", resource=f"{name('stores', store.uid)}/staff")
    return binding


def _view(binding: StaffBinding, store: Store) -> dict[str, Any]:
    return {
        "store": name("stores", store.uid),
        **{key: getattr(binding, key) for key in ("subject", *_CHANGED)},
        "create_time": binding.create_time,
    }
