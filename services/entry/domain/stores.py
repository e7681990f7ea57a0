"""Stores: the places where coupons are redeemed, as their merchants describe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from peewee import ModelSelect

from services.chassis import database
from services.chassis.call import Call
from services.chassis.mask import apply_mask
from services.chassis.names import name, new_uid, uid_of
from services.entry.domain import revisions, versions
from services.entry.domain.checks import check_currency, check_filled, check_images, check_prices, check_zone
from services.entry.domain.listing import listed
from services.schema import access, replay
from services.schema.tables import Merchant, Store, locked

Plain = Mapping[str, Any]

# Kept in Store.profile, in the shape of the message.
_PROFILE = ("display_name", "description", "address", "phone", "hot_items", "images")
# Kept in columns of their own, since stores are found by them.
_COLUMNS = ("zone", "city", "category")
_REQUIRED = ("display_name", *_COLUMNS)


def create_store(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Create a store; in the shape of Store. NotFound for a merchant or image that is not the caller's."""
    given = plain["store"]

    def command() -> str:
        _check(merchant, given)
        store = Store.create(uid=new_uid(), merchant_id=merchant.id, **_kept(given), create_time=now, update_time=now)
        return str(store.uid)

    with database.write():
        merchant = access.merchant(call, given["merchant"], "store.merchant")
        uid, _ = replay.once(call, merchant.uid, command, now)
    return _views([Store.get(Store.uid == uid)])[0]


def get_store(call: Call, plain: Plain) -> dict[str, Any]:
    """The store in the shape of Store, for its owner, its staff and the platform; else NotFound."""
    store = access.store(call, plain["name"], field="name")
    return _with_rights(call, [store])[0]


def list_stores(call: Call, plain: Plain) -> dict[str, Any]:
    """The stores that the caller may see, newest first, in the shape of ListStoresResponse."""
    query = {key: plain[key] for key in ("merchant", "city", "category")}
    rows = _visible(call, plain["merchant"])
    if plain["city"]:
        rows = rows.where(Store.city == plain["city"])
    if plain["category"]:
        rows = rows.where(Store.category == plain["category"])
    found, token = listed(rows, call, plain, query, weighed=Store.profile)
    return {"stores": _with_rights(call, found), "next_page_token": token}


def update_store(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Change a store and, as revisions.changing_store() says, what shows it; in the shape of Store.

    Errors: NotFound, Conflict(ETAG_MISMATCH), Invalid.
    """
    patch, paths = plain["store"], plain.get("update_mask", {}).get("paths", [])

    def command() -> str:
        store = locked(Store.select().where(Store.id == mine.id)).get()
        versions.check_etag(patch["etag"], store)
        present = {**store.profile, **{column: getattr(store, column) for column in _COLUMNS}}
        updated = apply_mask(present, patch, paths, (*_PROFILE, *_COLUMNS))
        _check(Merchant.get_by_id(store.merchant_id), updated)
        if updated != present:
            kept = _kept(updated)
            revisions.changing_store(store, lambda: versions.change(store, **kept, update_time=now), call, now)
        return str(store.uid)

    with database.write():
        mine = access.store(call, patch["name"], field="store.name")
        uid, _ = replay.once(call, Merchant.get_by_id(mine.merchant_id).uid, command, now)
    return _views([Store.get(Store.uid == uid)])[0]


def _check(merchant: Merchant, given: Plain) -> None:
    check_filled(given, _REQUIRED, "store")
    check_zone(given["zone"], "store.zone")
    prices = [
        (f"store.hot_items[{place}].price", item["price"])
        for place, item in enumerate(given["hot_items"])
        if "price" in item
    ]
    check_prices(prices)
    check_currency(merchant, prices)
    check_images(merchant, _pictures(given))


def _pictures(given: Plain) -> Iterator[tuple[str, str]]:
    yield from ((f"store.images[{place}]", image) for place, image in enumerate(given["images"]))
    for place, item in enumerate(given["hot_items"]):
        if item["image"]:
            yield f"store.hot_items[{place}].image", item["image"]


def _kept(given: Plain) -> dict[str, Any]:
    return {
        **{column: given[column] for column in _COLUMNS},
        "profile": {part: given[part] for part in _PROFILE},
    }


def _visible(call: Call, merchant: str) -> ModelSelect[Store]:
    """The stores that the caller may see, of one merchant if it is named; NotFound for a foreign one."""
    if call.principal.role == "STAFF":
        rows = Store.select().where(Store.id << access.bound_stores(call))
        if not merchant:
            return rows
        # Of a merchant that binds them nowhere staff see nothing, as of one that does not exist.
        named = Merchant.select(Merchant.id).where(Merchant.uid == uid_of("merchants", merchant, "merchant"))
        return rows.where(Store.merchant_id << named)
    if merchant:
        return Store.select().where(Store.merchant_id == access.merchant(call, merchant, "merchant").id)
    rows = Store.select()
    return rows if access.sees_all(call) else rows.where(Store.merchant_id << access.merchant_ids(call))


def _with_rights(call: Call, stores: list[Store]) -> list[dict[str, Any]]:
    """The stores as the caller finds them: each with the rights that the calling member of staff has there."""
    rights = access.rights(call)
    return [{**view, "my_rights": rights.get(store.id, [])} for store, view in zip(stores, _views(stores), strict=True)]


def _views(stores: list[Store]) -> list[dict[str, Any]]:
    ids = {store.merchant_id for store in stores}
    merchants = {row.id: row.uid for row in Merchant.select(Merchant.id, Merchant.uid).where(Merchant.id << list(ids))}
    return [
        {
            **store.profile,
            **{column: getattr(store, column) for column in _COLUMNS},
            "name": name("stores", store.uid),
            "merchant": name("merchants", merchants[store.merchant_id]),
            "create_time": store.create_time,
            "update_time": store.update_time,
            "etag": str(store.version),
        }
        for store in stores
    ]
