"""What an activity has left to give: the row that the ledger locks first, kept in step with the publication."""

from typing import Any

from services.chassis import errors
from services.ledger.terms import Terms
from services.schema import catalogue
from services.schema.tables import Publication, Supply, locked


def of(activity_id: int) -> Supply:
    """The supply of an activity that was published once; FailedPrecondition(ACTIVITY_NOT_PUBLISHED) before that."""
    row = Supply.get_or_none(Supply.activity_id == activity_id)
    if row is None:
        raise errors.FailedPrecondition("ACTIVITY_NOT_PUBLISHED")
    return row


def follow(publication: Publication) -> None:
    """Bring the supply in line with a publication that was just approved or moved, in the same transaction.

    A new publication brings the stock, day stock and budget that its merchant changed in it; what was not changed keeps
    the amount it was raised to meanwhile. Nothing falls below what was taken already. A budget that a later revision
    brings counts earlier coupons at what they reserved: nothing, if their benefit had no worst case.
    """
    row: Supply | None = locked(Supply.select().where(Supply.activity_id == publication.activity_id)).first()
    amounts = _amounts(publication)
    if row is None:
        Supply.create(
            activity_id=publication.activity_id,
            merchant_id=publication.merchant_id,
            publication_id=publication.id,
            state=publication.state,
            **amounts,
        )
        return
    changes: dict[str, Any] = {"state": publication.state, "publication_id": publication.id}
    if row.publication_id != publication.id:
        before = _amounts(Publication.get_by_id(row.publication_id))
        changes |= {column: amount for column, amount in amounts.items() if amount != before[column]}
        changes["stock"] = max(changes.get("stock", row.stock), row.taken)
        if changes.get("budget") is not None:
            changes["budget"] = max(changes["budget"], row.committed)
    Supply.update(**changes).where(Supply.activity_id == publication.activity_id).execute()


def adjust(
    activity_id: int,
    *,
    stock: int | None = None,
    day_stock: int | None = None,
    budget: int | None = None,
    is_stopped: bool | None = None,
) -> Supply:
    """Raise what an activity gives, or stop and resume its issuing; None leaves as it is, day stock 0 lifts the limit.

    Call it inside a write(). Raises FailedPrecondition: ACTIVITY_NOT_PUBLISHED, SUPPLY_CANNOT_SHRINK and,
    for a limit where there is none, SUPPLY_NOT_LIMITED.
    """
    row: Supply | None = locked(Supply.select().where(Supply.activity_id == activity_id)).first()
    if row is None or row.state == "WITHDRAWN":
        raise errors.FailedPrecondition("ACTIVITY_NOT_PUBLISHED")
    if stock is not None:
        _must_not_shrink("stock", row.stock, stock)
        row.stock = stock
    if day_stock is not None:
        # 0 is no limit.
        _must_not_shrink("day_stock", row.day_stock or None, day_stock or float("inf"))
        row.day_stock = day_stock
    if budget is not None:
        _must_not_shrink("budget", row.budget, budget)
        row.budget = budget
    if is_stopped is not None:
        row.is_stopped = is_stopped
    row.save(only=[Supply.stock, Supply.day_stock, Supply.budget, Supply.is_stopped])
    catalogue.change()
    return row


def _must_not_shrink(field: str, present: float | None, wanted: float) -> None:
    """Refuse a limit below the present one, and one where there is none."""
    if present is None and wanted != float("inf"):
        raise errors.FailedPrecondition("SUPPLY_NOT_LIMITED", field=field)
    if present is not None and wanted < present:
        raise errors.FailedPrecondition("SUPPLY_CANNOT_SHRINK", field=field)


def _amounts(publication: Publication) -> dict[str, int | None]:
    terms = Terms.of(publication.snapshot["terms"])
    return {"stock": terms.stock, "day_stock": terms.day_stock or 0, "budget": terms.budget}
