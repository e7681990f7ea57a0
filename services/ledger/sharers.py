"""Who shared: the part of a share that never changes, read once."""

from collections import OrderedDict
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass

from services.chassis import database
from services.chassis.script import Row, Statement

_KEPT = 16_384
# By the bound store as well: ids mean nothing in another database.
_known: OrderedDict[tuple[object, int], "Sharer"] = OrderedDict()

_QUERY = "SELECT id, uid, sharer, sharer_role FROM share WHERE id IN ?"


@dataclass(frozen=True, slots=True)
class Sharer:
    """Whose a share is: its own uid, the sharer's pseudonym at the merchant, and the name of the sharer's role."""

    uid: str
    sharer: str
    role: str


def sharers(share_ids: Collection[int]) -> Generator[Sequence[Statement], Sequence[Sequence[Row]], dict[int, Sharer]]:
    """The part of a script that finds these shares' sharers; no round trip for those that are known."""
    store = database.proxy.obj
    # Looked up once each: another thread may drop one meanwhile.
    found = {one: kept for one in share_ids if (kept := _known.get((store, one))) is not None}
    missing = tuple(sorted(one for one in share_ids if one and one not in found))
    if missing:
        (rows,) = yield [Statement(_QUERY, (missing,))]
        for key, *facts in rows:
            found[key] = _known[store, key] = Sharer(*facts)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found
