"""Pages that a message can hold: a list ends a page early rather than answer more than clients take."""

from typing import Any

from peewee import Field, ModelSelect, fn

from services.chassis import database, parameters


def page(rows: "ModelSelect[Any]", size: int, weighed: Field) -> tuple[list[Any], bool]:
    """The first of the ordered `rows`, at most `size`, and whether there are more.

    It ends before the texts of the column `weighed`, which make up nearly all of such a row on the wire, come to more
    than parameters.page_bytes; at least one row is shown. Only the rows of the page are read.
    """
    key: Any = rows.model.id
    ids: list[int] = []
    room, is_more = parameters.current().page_bytes, False
    for row_id, weight in rows.select(key, _bytes(weighed)).limit(size + 1).tuples():
        room -= weight
        if len(ids) == size or (ids and room < 0):
            is_more = True
            break
        ids.append(row_id)
    return (list(rows.where(key << ids)) if ids else []), is_more


def _bytes(column: Field) -> Any:
    # SQLite counts a text's characters, MariaDB its bytes.
    text = column.cast("BLOB") if database.dialect() == "sqlite" else column
    return fn.LENGTH(text).python_value(int)
