"""Pages of rows in the order they were made, by keyset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peewee import Field, ModelSelect

from services.chassis import paging
from services.chassis.call import Call
from services.schema import pages


def listed(
    rows: ModelSelect[Any],
    call: Call,
    plain: Mapping[str, Any],
    query: Mapping[str, Any],
    *,
    is_oldest_first: bool = False,
    weighed: Field | None = None,
) -> tuple[list[Any], str]:
    """The page of `rows` that a list request asks for, and the token of the next one ("" on the last).

    `plain` has page_token and page_size; `query` is what the token is bound to besides the caller. Of
    rows that can be large `weighed` is the column that makes them so, see pages.page(). Raises
    Invalid(INVALID_PAGE_TOKEN).
    """
    page = paging.page_of(plain["page_token"], plain["page_size"], call, query)
    key: Any = rows.model.id
    if page.after is not None:
        rows = rows.where(key > page.after if is_oldest_first else key < page.after)
    rows = rows.order_by(key if is_oldest_first else key.desc())
    if weighed is None:
        found = list(rows.limit(page.size + 1))
        shown = found[: page.size]
        after = shown[-1].id if len(found) > page.size else None
    else:
        shown, after = pages.page(rows, page.size, weighed)
    return shown, paging.token_of(after, call, query)
