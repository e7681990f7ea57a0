"""Whose rows a caller may touch: ownership and staff bindings are data, and what is not the caller's is NOT_FOUND."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from services.chassis import errors
from services.chassis.call import Call, Principal
from services.chassis.names import name, uid_of
from services.schema.tables import Activity, Merchant, StaffBinding, Store

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


@dataclass(frozen=True, slots=True)
class Admission:
    """A store and whom it admits: its merchant, and the rights of its staff by subject."""

    store: Store
    merchant: Merchant
    rights: Mapping[str, Collection[str]]

    def check(self, principal: Principal, right: str) -> None:
        """Raises NotFound to whom the store is none of the business of, and Denied(RIGHT_MISSING) to staff who are
        bound but without the right; "" asks for any binding."""
        if principal.role == "STAFF":
            held = self.rights.get(principal.subject)
            if held is None:
                raise not_found("stores", self.store.uid)
            if right and right not in held:
                raise errors.Denied("RIGHT_MISSING", right=right)
        elif principal.role not in _PLATFORM and not (
            principal.role == "MERCHANT" and self.merchant.owner == principal.subject
        ):
            raise not_found("stores", self.store.uid)


def admissions(uids: Collection[str], subject: str | None = None) -> dict[str, Admission]:
    """The admissions of those of these stores that there are, by uid, with three queries whatever their number; with a
    subject no other's rights."""
    stores = list(Store.select().where(Store.uid.in_(list(uids))))
    merchants = {
        row.id: row for row in Merchant.select().where(Merchant.id.in_([store.merchant_id for store in stores]))
    }
    bindings = StaffBinding.select().where(StaffBinding.store_id.in_([store.id for store in stores]))
    if subject is not None:
        bindings = bindings.where(StaffBinding.subject == subject)
    rights: dict[int, dict[str, Collection[str]]] = {store.id: {} for store in stores}
    for row in bindings:
        rights[row.store_id][row.subject] = row.rights
    return {store.uid: Admission(store, merchants[store.merchant_id], rights[store.id]) for store in stores}


def admission(call: Call, wire_name: str, right: str = "", field: str = "store") -> Admission:
    """The store of that name with its merchant, if it admits the caller; errors as in store()."""
    uid = uid_of("stores", wire_name, field)
    found = admissions([uid], call.principal.subject).get(uid)
    if found is None:
        raise not_found("stores", uid)
    found.check(call.principal, right)
    return found


def store(call: Call, wire_name: str, right: str = "", field: str = "store") -> Store:
    """The store of that name, for its owner, for staff bound to it with `right`, and for the platform.

    `right` is a StaffRight's name without its prefix; "" asks for any binding. Raises NotFound to anybody else, and
    Denied(RIGHT_MISSING) to staff who are bound but without the right.
    """
    return admission(call, wire_name, right, field).store


def bound_stores(call: Call, right: str = "") -> list[int]:
    """The ids of the stores that bind the calling member of staff, with `right` if one is named."""
    return [store_id for store_id, held in rights(call).items() if not right or right in held]


def rights(call: Call) -> dict[int, list[str]]:
    """What the calling member of staff may do, by the ids of the stores that bind them; empty for any other role."""
    if call.principal.role != "STAFF":
        return {}
    rows = StaffBinding.select().where(StaffBinding.subject == call.principal.subject)
    return {row.store_id: row.rights for row in rows}
