"""Whether the database agrees with itself, and holds exactly what the callers were told, each of it once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chaos.load import Answers
from services.chassis import database
from services.chassis.names import name
from services.schema.tables import Coupon, Merchant, Redemption, Share, Store
from tests.ledger import books

# The rows that an answer of this RPC names, with the collection of their names.
_ROWS: dict[str, tuple[str, Callable[[], Iterable[Any]]]] = {
    "CreateMerchant": ("merchants", Merchant.select),
    "CreateStore": ("stores", Store.select),
    "CreateShare": ("shares", Share.select),
    "ClaimCoupon": ("coupons", lambda: Coupon.select().where(Coupon.claim_time.is_null(False))),
    "RedeemCoupon": ("redemptions", Redemption.select),
    "ReverseRedemption": ("redemptions", lambda: Redemption.select().where(Redemption.reverse_time.is_null(False))),
}
_STATEMENT_SECONDS = 60


def disagreements(url: str, answers: Answers) -> list[str]:
    """What does not agree, in words; the load has ended by now."""
    db = database.bind(url, pool=1, statement_seconds=_STATEMENT_SECONDS)
    try:
        return [*answers.wrongs, *db.run_here(lambda: [*books.wrongs(), *_compared(answers)])]
    finally:
        db.close()


def _compared(answers: Answers) -> Iterator[str]:
    for rpc, (collection, rows) in _ROWS.items():
        told = list(answers.made[rpc].values())
        held = {name(collection, row.uid) for row in rows()}
        if len(told) != len({*told}):
            yield f"{rpc}: two requests were answered with the same name"
        if lost := {*told} - held:
            yield f"{rpc}: {len(lost)} of {len(told)} answers left no trace, such as {min(lost)}"
        if more := held - {*told}:
            yield f"{rpc}: {len(more)} exist that nobody was told of, such as {min(more)}"
