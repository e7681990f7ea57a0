"""Changing a row only as it was read: the etag that a caller gives, and the version that every change counts up."""

from typing import Any

from services.chassis import errors
from services.schema.tables import Row


def check_etag(etag: str, row: Any) -> None:
    """Raise Conflict(ETAG_MISMATCH) unless the etag is the row's or is not given."""
    if etag and etag != str(row.version):
        raise errors.Conflict("ETAG_MISMATCH")


def change(row: Any, **changes: Any) -> None:
    """Write the changes and the next version; raises Conflict(TRY_AGAIN) when the row is no longer as it was read."""
    table: type[Row] = type(row)
    changes["version"] = row.version + 1
    changed = table.update(**changes).where(table.id == row.id, table.version == row.version).execute()  # type: ignore[attr-defined]
    if changed != 1:
        raise errors.Conflict("TRY_AGAIN")
    for column, value in changes.items():
        setattr(row, column, value)
