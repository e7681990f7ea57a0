"""Merchants: who owns what, under which name, in which currency."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.chassis import database, errors
from services.chassis.call import Call
from services.chassis.mask import apply_mask
from services.chassis.names import name, new_uid
from services.entry.domain import revisions, versions
from services.entry.domain.checks import check_filled
from services.entry.domain.listing import listed
from services.schema import access, replay
from services.schema.tables import Merchant, locked

Plain = Mapping[str, Any]


def create_merchant(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Create a merchant that the caller owns, or that `owner` owns if an operator asks; in the shape of Merchant."""
    given = plain["merchant"]
    check_filled(given, ("display_name", "currency"), "merchant")

    def command() -> str:
        merchant = Merchant.create(
            uid=new_uid(),
            owner=_owner(call, given["owner"]),
            display_name=given["display_name"],
            currency=given["currency"],
            create_time=now,
        )
        return str(merchant.uid)

    with database.write():
        uid, _ = replay.once(call, "", command, now)
    return _view(call, Merchant.get(Merchant.uid == uid))


def get_merchant(call: Call, plain: Plain) -> dict[str, Any]:
    """The merchant in the shape of Merchant; NotFound if it is not the caller's."""
    return _view(call, access.merchant(call, plain["name"]))


def list_merchants(call: Call, plain: Plain) -> dict[str, Any]:
    """The caller's merchants, or all for an operator, newest first, in the shape of ListMerchantsResponse."""
    rows = Merchant.select()
    if not access.sees_all(call):
        rows = rows.where(Merchant.id << access.merchant_ids(call))
    found, token = listed(rows, call, plain, {})
    return {"merchants": [_view(call, merchant) for merchant in found], "next_page_token": token}


def update_merchant(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Change display_name; in the shape of Merchant. Errors: NotFound, Conflict(ETAG_MISMATCH), Invalid."""
    patch, paths = plain["merchant"], plain.get("update_mask", {}).get("paths", [])

    def command() -> str:
        merchant = locked(Merchant.select().where(Merchant.uid == mine.uid)).get()
        versions.check_etag(patch["etag"], merchant)
        updated = apply_mask({"display_name": merchant.display_name}, patch, paths, ("display_name",))
        check_filled(updated, ("display_name",), "merchant")
        if updated["display_name"] != merchant.display_name:
            versions.change(merchant, display_name=updated["display_name"])
            revisions.changed_merchant(merchant, call, now)
        return str(merchant.uid)

    with database.write():
        mine = access.merchant(call, patch["name"], "merchant.name")
        uid, _ = replay.once(call, mine.uid, command, now)
    return _view(call, Merchant.get(Merchant.uid == uid))


def _owner(call: Call, given: str) -> str:
    if call.principal.role == "MERCHANT":
        if given:
            raise errors.invalid_field(
                "merchant.owner", errors.Words("只有平台运营才能指定所有者", "only an operator names an owner")
            )
        return call.principal.subject
    if not given:
        raise errors.invalid_field("merchant.owner", errors.Words("请指定商户的所有者", "an operator names the owner"))
    return given


def _view(call: Call, merchant: Merchant) -> dict[str, Any]:
    return {
        "name": name("merchants", merchant.uid),
        "display_name": merchant.display_name,
        "currency": merchant.currency,
        "create_time": merchant.create_time,
        "etag": str(merchant.version),
        "owner": merchant.owner if access.sees_all(call) else None,
    }
