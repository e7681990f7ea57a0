"""Pages that a message can hold: a list ends a page early rather than answer more than clients take."""

from typing import Any

from peewee import Field, ModelSelect, fn

from services.chassis import database, parameters


def page(rows: "ModelSelect[Any]", size: int, weighed: Field) -> tuple[list[Any], int | None]:
    """The first of the ordered `rows`, at most `size`, and the id that the next page is after; None on the last.

    It ends before the texts of the column `weighed`, which make up nearly all of such a row on the wire, come to more
    than parameters.page_bytes; at least one row is shown. Only the rows of the page are read; one that is none of
    `rows` any more by then is left out.
    """
    key: Any = rows.model.id
    ids: list[int] = []
    room, after = parameters.current().page_bytes, None
    for row_id, weight in rows.select(key, _bytes(weighed)).limit(size + 1).tuples():
        room -= weight
        if len(ids) == size or (ids and room < 0):
            after = ids[-1]
            break
        ids.append(row_id)
    return (list(rows.where(key << ids)) if ids else []), after


def _bytes(column: Field) -> Any:
    # SQLite counts a text's characters, MariaDB its bytes.
    text = column.cast("BLOB") if database.dialect() == "sqlite" else column
    return fn.LENGTH(text).python_value(int)
