"""Whose rows a caller may touch: ownership and staff bindings are data, and what is not the caller's is NOT_FOUND."""

from collections.abc import Collection
from typing import TypeAlias

from services.chassis import errors
from services.chassis.call import Call, Principal
from services.chassis.names import name, uid_of
from services.schema.tables import Activity, Merchant, Publication, StaffBinding, Store

# Who asks for a store, its name, and the right to do what.
Asked: TypeAlias = tuple[Principal, str, str]

# The roles that see every tenant.
_PLATFORM = frozenset({"OPERATOR", "SERVICE"})


def not_found(collection: str, uid: str) -> errors.NotFound:
    """The one answer for what is not there and for what is another's."""
    return errors.NotFound("RESOURCE_NOT_FOUND", resource=name(collection, uid))


def sees_all(call: Call) -> bool:
    """Whether the caller works for the platform."""
    return call.principal.role in _PLATFORM


def owns(call: Call, merchant_id: int) -> bool:
    """Whether the caller is the merchant's owner."""
    return call.principal.role == "MERCHANT" and bool(
        Merchant.select(Merchant.id)
        .where(Merchant.id == merchant_id, Merchant.owner == call.principal.subject)
        .exists()
    )


def merchant(call: Call, wire_name: str, field: str = "name") -> Merchant:
    """The merchant of that name, if the caller owns it or works for the platform; else NotFound."""
    uid = uid_of("merchants", wire_name, field)
    row = Merchant.get_or_none(Merchant.uid == uid)
    if row is None or not (
        sees_all(call) or (call.principal.role == "MERCHANT" and row.owner == call.principal.subject)
    ):
        raise not_found("merchants", uid)
    return row


def merchant_ids(call: Call) -> list[int]:
    """The ids of the merchants that the caller owns."""
    if call.principal.role != "MERCHANT":
        return []
    return [row.id for row in Merchant.select(Merchant.id).where(Merchant.owner == call.principal.subject)]


def activity(call: Call, wire_name: str, field: str = "name") -> Activity:
    """The activity of that name, if the caller owns its merchant or works for the platform; else NotFound."""
    uid = uid_of("activities", wire_name, field)
    row = Activity.get_or_none(Activity.uid == uid)
    if row is None or not (sees_all(call) or owns(call, row.merchant_id)):
        raise not_found("activities", uid)
    return row


def store(call: Call, wire_name: str, right: str = "", field: str = "store") -> Store:
    """The store of that name, for its owner, for staff bound to it with `right`, and for the platform.

    `right` is a StaffRight's name without its prefix; "" asks for any binding. Raises NotFound to anybody else, and
    Denied(RIGHT_MISSING) to staff who are bound but without the right.
    """
    uid = uid_of("stores", wire_name, field)
    row = Store.get_or_none(Store.uid == uid)
    if row is None:
        raise not_found("stores", uid)
    if call.principal.role == "STAFF":
        bound = StaffBinding.get_or_none(
            StaffBinding.store_id == row.id, StaffBinding.subject == call.principal.subject
        )
        if bound is None:
            raise not_found("stores", uid)
        if right and right not in bound.rights:
            raise errors.Denied("RIGHT_MISSING", right=right)
    elif not (sees_all(call) or owns(call, row.merchant_id)):
        raise not_found("stores", uid)
    return row


def stores(asked: Collection[Asked]) -> dict[Asked, Store]:
    """Those of these stores that store() would not refuse, with three queries whatever their number."""
    found = {name("stores", row.uid): row for row in Store.select().where(Store.uid.in_([_uid(one) for one in asked]))}
    merchants = Merchant.select(Merchant.id, Merchant.owner).where(
        Merchant.id.in_([row.merchant_id for row in found.values()])
    )
    owners = {row.id: row.owner for row in merchants}
    bindings = StaffBinding.select().where(
        StaffBinding.store_id.in_([row.id for row in found.values()]),
        StaffBinding.subject.in_([principal.subject for principal, _, _ in asked]),
    )
    rights = {(row.store_id, row.subject): row.rights for row in bindings}

    def may(principal: Principal, row: Store, right: str) -> bool:
        if principal.role == "STAFF":
            held = rights.get((row.id, principal.subject))
            return held is not None and (not right or right in held)
        is_owner = principal.role == "MERCHANT" and owners[row.merchant_id] == principal.subject
        return is_owner or principal.role in _PLATFORM

    return {one: found[one[1]] for one in asked if one[1] in found and may(one[0], found[one[1]], one[2])}


def _uid(asked: Asked) -> str:
    return asked[1].partition("/")[2]


def bound_stores(call: Call, right: str = "") -> list[int]:
    """The ids of the stores that bind the calling member of staff, with `right` if one is named."""
    return [store_id for store_id, held in rights(call).items() if not right or right in held]


def rights(call: Call) -> dict[int, list[str]]:
    """What the calling member of staff may do, by the ids of the stores that bind them; empty for any other role."""
    if call.principal.role != "STAFF":
        return {}
    rows = StaffBinding.select().where(StaffBinding.subject == call.principal.subject)
    return {row.store_id: row.rights for row in rows}


def live_publication(activity_uid: str) -> Publication:
    """The LIVE publication of an activity, which anybody may see; else NotFound."""
    row: Publication | None = (
        Publication.select()
        .join(Activity, on=(Activity.publication_id == Publication.id))
        .where(Activity.uid == activity_uid, Publication.state == "LIVE")
        .first()
    )
    if row is None:
        raise not_found("activities", activity_uid)
    return row
