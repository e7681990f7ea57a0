"""What customers would see of an activity now, in the shape of the contract's Snapshot."""

from typing import Any

from services.chassis import errors, parameters
from services.chassis.names import name, uid_of
from services.schema.tables import Activity, Merchant, StaffBinding, Store, canonical

# The parts of StoreProfile that stand in Store.profile with the same names.
_PROFILE = ("display_name", "description", "address", "phone", "hot_items", "images")


def snapshot_of(activity: Activity) -> dict[str, Any]:
    """The Snapshot of the activity's present content, its merchant and its stores, as a plain, JSON-ready dict.

    Stores stand in the order of terms.scope.stores, staff in the order they were bound. Read it inside the transaction
    that holds the activity's lock to freeze it: whoever changes a shown word takes that lock too, so the snapshot and
    the state agree. Raises Invalid(INVALID_FIELD) for one larger than parameters.snapshot_bytes.
    """
    content = activity.content
    snapshot = {
        "merchant_display_name": Merchant.get_by_id(activity.merchant_id).display_name,
        "title": content["title"],
        "description": content["description"],
        "fields": content["fields"],
        "images": content["images"],
        "terms": content["terms"],
        "stores": _profiles(activity.merchant_id, content["terms"]["scope"]["stores"]),
        "template": name("templates", activity.template),
    }
    most = parameters.current().snapshot_bytes
    if len(canonical(snapshot).encode()) > most:
        told = errors.Words(
            f"所选门店展示的文字超过 {most // 1024} KiB：请减少门店，或精简门店介绍",
            f"its stores show more than {most // 1024} KiB of text: name fewer, or shorten what they say",
        )
        raise errors.invalid_field("terms.scope.stores", told)
    return snapshot


def store_profile(store: Store) -> dict[str, Any]:
    """The store as customers see it, in the shape of StoreProfile."""
    shown = (
        StaffBinding.select()
        .where(StaffBinding.store_id == store.id, StaffBinding.is_shown == True)  # noqa: E712
        .order_by(StaffBinding.id)
    )
    return _profile(store, list(shown))


def _profiles(merchant_id: int, names: list[str]) -> list[dict[str, Any]]:
    uids = [uid_of("stores", wire_name) for wire_name in names]
    stores = {store.uid: store for store in Store.select().where(Store.merchant_id == merchant_id, Store.uid << uids)}
    ids = [store.id for store in stores.values()]
    shown: dict[int, list[StaffBinding]] = {store_id: [] for store_id in ids}
    bindings = StaffBinding.select().where(StaffBinding.store_id << ids, StaffBinding.is_shown == True)  # noqa: E712
    for binding in bindings.order_by(StaffBinding.id):
        shown[binding.store_id].append(binding)
    return [_profile(stores[uid], shown[stores[uid].id]) for uid in uids]


def _profile(store: Store, staff: list[StaffBinding]) -> dict[str, Any]:
    return {
        "name": name("stores", store.uid),
        "zone": store.zone,
        "city": store.city,
        "category": store.category,
        "staff": [{"display_name": one.display_name, "title": one.title} for one in staff],
        **{part: store.profile[part] for part in _PROFILE},
    }
