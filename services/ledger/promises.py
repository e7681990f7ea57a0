"""What a publication promises: its terms, read once, because a publication never changes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.chassis import database
from services.ledger.terms import Terms
from services.schema.tables import Publication


@dataclass(frozen=True)
class Promise:
    """The part of a publication that coupons live by; `benefit` is in the shape of the message."""

    publication_id: int
    publication: str
    title: str
    benefit: dict[str, Any]
    terms: Terms


def promise(publication_id: int) -> Promise:
    """The promise of a publication; raises DoesNotExist for an id that no row ever had."""
    return _promise(database.proxy.obj, publication_id)


# Keyed by the bound store as well: ids mean nothing in another database.
@lru_cache(maxsize=4096)
def _promise(store: object, publication_id: int) -> Promise:
    row = Publication.get_by_id(publication_id)
    terms = row.snapshot["terms"]
    return Promise(row.id, row.uid, row.snapshot["title"], terms["benefit"], Terms.of(terms))
