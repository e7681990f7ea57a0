"""What a publication promises: its terms, read once, because a publication never changes."""

import json
from collections import OrderedDict
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from services.chassis import database
from services.chassis.script import Row, Statement
from services.ledger.terms import Terms
from services.schema.tables import Activity, Publication

_KEPT = 4096
# By the bound store as well: ids mean nothing in another database.
_known: OrderedDict[tuple[object, int], "Promise"] = OrderedDict()

# Not the whole snapshot, which may be large. SQLite gives the two in the order asked for, MariaDB in the document's,
# whose keys are sorted (tables.canonical): here it is the same.
_QUERY = (
    "SELECT p.id, p.uid, JSON_EXTRACT(p.snapshot, '$.terms', '$.title'), a.uid FROM publication p "
    "JOIN activity a ON a.id = p.activity_id WHERE p.id IN ?"
)


@dataclass(frozen=True)
class Promise:
    """The part of a publication that coupons live by; `benefit` is in the shape of the message, the rest are uids."""

    publication_id: int
    publication: str
    activity: str
    title: str
    benefit: dict[str, Any]
    terms: Terms


def promise(publication_id: int) -> Promise:
    """The promise of a publication; raises DoesNotExist for an id that no row ever had."""
    known = _known.get((database.proxy.obj, publication_id))
    if known is None:
        row = Publication.get_by_id(publication_id)
        activity = Activity.select(Activity.uid).where(Activity.id == row.activity_id).get()
        known = _keep(row.id, row.uid, row.snapshot["title"], row.snapshot["terms"], activity.uid)
    return known


def promises(ids: Collection[int]) -> Generator[Sequence[Statement], Sequence[Sequence[Row]], dict[int, Promise]]:
    """The part of a script that finds these publications' promises; no round trip for those that are known."""
    store = database.proxy.obj
    # Looked up once each: another thread may drop one meanwhile.
    found = {one: kept for one in ids if (kept := _known.get((store, one))) is not None}
    missing = tuple(sorted(one for one in ids if one not in found))
    if missing:
        (rows,) = yield [Statement(_QUERY, (missing,))]
        for key, uid, kept, activity in rows:
            terms, title = json.loads(kept)
            found[key] = _keep(key, uid, title, terms, activity)
    return found


def _keep(publication_id: int, uid: str, title: str, terms: dict[str, Any], activity: str) -> Promise:
    kept = Promise(publication_id, uid, activity, title, terms["benefit"], Terms.of(terms))
    _known[database.proxy.obj, publication_id] = kept
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return kept
