"""The ledger's statements: rows locked in one order, history written beside every change, row counts looked at.

The order is supplies, then customers and their counters, each in key order; coupons only under their supply's lock.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from peewee import Expression, IntegrityError

from services.chassis import database, errors
from services.chassis.drivers import played
from services.chassis.script import Script
from services.schema.lifecycle import Why
from services.schema.tables import (
    Coupon,
    CouponEvent,
    Customer,
    CustomerCounter,
    RedeemedCoupon,
    Redemption,
    Replay,
    Store,
    Supply,
    locked,
)

T = TypeVar("T")

# A request that another process commits between our look and our write is found at the next try.
_TRIES = 3

# Which state a coupon may go to; hold and release leave it CLAIMED. EXPIRED is read off the clock, never stored.
COUPON: dict[str, frozenset[str]] = {
    "": frozenset({"AVAILABLE"}),
    "AVAILABLE": frozenset({"CLAIMED", "VOID"}),
    "CLAIMED": frozenset({"CLAIMED", "REDEEMED", "VOID"}),
    "REDEEMED": frozenset({"CLAIMED"}),
    "VOID": frozenset(),
}


def settled(script: Callable[[], Script[T]]) -> T:
    """The result of a script, played in this thread in a transaction of its own; again if the same request was
    committed elsewhere meanwhile.

    Raises Conflict(TRY_AGAIN) if the same requests keep being committed elsewhere.
    """
    return _settled(lambda: played(script()))


def written(decide: Callable[[], T]) -> T:
    """What `decide` returns, in a write() of its own; again as settled() does, and with its errors."""

    def once() -> T:
        with database.write():
            return decide()

    return _settled(once)


def _settled(transaction: Callable[[], T]) -> T:
    for _ in range(_TRIES):
        try:
            return transaction()
        except IntegrityError:
            continue
    raise errors.Conflict("TRY_AGAIN")


def lock_supplies(activity_ids: Collection[int]) -> dict[int, Supply]:
    """The supplies of these activities, locked; an activity that was never published has none."""
    query = Supply.select().where(Supply.activity_id.in_(sorted(activity_ids))).order_by(Supply.activity_id)
    return {row.activity_id: row for row in locked(query)}


def lock_customers(pseudonyms: Collection[str]) -> dict[str, Customer]:
    """Those of these customers who are known, locked: nobody is erased while claiming."""
    query = Customer.select().where(Customer.pseudonym.in_(sorted(pseudonyms))).order_by(Customer.pseudonym)
    return {row.pseudonym: row for row in locked(query)}


def lock_counters(keys: Collection[tuple[int, str]]) -> dict[tuple[int, str], CustomerCounter]:
    """The counters of these (activity, customer) pairs, made if missing, locked."""
    # An upsert locks a row that is there for writing. INSERT IGNORE would lock it for reading, and two that did so and
    # then wait for each other to write are a deadlock. MariaDB will not be told which key, SQLite must be.
    target = () if database.dialect() == "mysql" else (CustomerCounter.activity_id, CustomerCounter.customer)
    for activity_id, customer in sorted(keys):
        CustomerCounter.insert(activity_id=activity_id, customer=customer).on_conflict(
            update={CustomerCounter.claims: CustomerCounter.claims}, conflict_target=target
        ).execute()
    pairs = [
        (CustomerCounter.activity_id == activity_id) & (CustomerCounter.customer == customer)
        for activity_id, customer in keys
    ]
    query = CustomerCounter.select().where(_any(pairs)).order_by(CustomerCounter.activity_id, CustomerCounter.customer)
    return {(row.activity_id, row.customer): row for row in locked(query)}


def lock_coupons(ids: Collection[int]) -> dict[int, Coupon]:
    """These coupons, locked."""
    query = Coupon.select().where(Coupon.id.in_(sorted(ids))).order_by(Coupon.id)
    return {row.id: row for row in locked(query)}


def move_coupon(coupon: Coupon, to: str, why: Why, **changes: Any) -> None:
    """Move a locked coupon, with its history; Conflict(TRY_AGAIN) if it is no longer as it was read."""
    before = coupon.state
    if to not in COUPON[before]:
        raise errors.FailedPrecondition("COUPON_STATE", state=before)
    changes = {"state": to, **changes}
    if Coupon.update(**changes).where(Coupon.id == coupon.id, Coupon.state == before).execute() != 1:
        raise errors.Conflict("TRY_AGAIN")
    for column, value in changes.items():
        setattr(coupon, column, value)
    remember([coupon], before, why)


def remember(coupons: Iterable[Coupon], before: str, why: Why) -> None:
    """The history rows of coupons that went from `before` to their present state."""
    CouponEvent.insert_many(
        {
            "coupon_id": coupon.id,
            "merchant_id": coupon.merchant_id,
            "from_state": before,
            "to_state": coupon.state,
            "time": why.now,
            "actor_role": why.actor.role,
            "actor": why.actor.who,
            "reason": why.reason,
        }
        for coupon in coupons
    ).execute()


def uses(redemptions: Iterable[int | None]) -> dict[int | None, tuple[datetime, str]]:
    """When each of these redemptions was made, and the zone of its store; None is no redemption."""
    wanted = [key for key in redemptions if key is not None]
    made = list(Redemption.select().where(Redemption.id.in_(wanted))) if wanted else []
    stores = Store.select(Store.id, Store.zone).where(Store.id.in_([row.store_id for row in made])) if made else ()
    zones = {store.id: store.zone for store in stores}
    return {row.id: (row.use_time, zones[row.store_id]) for row in made}


def old_customers(customers: Collection[str]) -> set[str]:
    """Those of these customers who have a standing redemption, or are marked for one from before they were erased."""
    wanted = sorted(customers)
    used = RedeemedCoupon.select(RedeemedCoupon.customer).where(
        RedeemedCoupon.customer.in_(wanted), RedeemedCoupon.standing == 1
    )
    marked = CustomerCounter.select(CustomerCounter.customer).where(
        CustomerCounter.activity_id == 0, CustomerCounter.customer.in_(wanted), CustomerCounter.claims > 0
    )
    return {row.customer for row in used | marked}


def mark_old(customer: str) -> None:
    """Keep in the counters that the customer has redeemed here."""
    lock_counters({(0, customer)})
    CustomerCounter.update(claims=1).where(
        CustomerCounter.activity_id == 0, CustomerCounter.customer == customer
    ).execute()


def replays(keys: Collection[str]) -> dict[str, Replay]:
    """Those of these requests that were committed."""
    return {row.key: row for row in Replay.select().where(Replay.key.in_(sorted(keys)))}


def keep_replays(rows: Sequence[tuple[str, str, str]], now: datetime) -> None:
    """Remember committed outcomes: (key, digest, outcome). IntegrityError if another process was first."""
    Replay.insert_many(
        {"key": key, "digest": digest, "outcome": outcome, "create_time": now} for key, digest, outcome in rows
    ).execute()


def _any(conditions: Sequence[Expression]) -> Expression:
    either = conditions[0]
    for condition in conditions[1:]:
        either |= condition
    return either
