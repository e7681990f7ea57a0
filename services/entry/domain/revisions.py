"""What follows for activities when a word changes that they show."""

from collections.abc import Callable
from datetime import datetime

from services.chassis.call import Call
from services.chassis.names import name
from services.schema import lifecycle
from services.schema.lifecycle import Actor, Why
from services.schema.snapshot import store_profile
from services.schema.tables import Activity, ActivityStore, Merchant, Store, locked, without


def changing_store(store: Store, change: Callable[[], object], call: Call, now: datetime) -> None:
    """Run `change`, and begin a new revision of the activities that show a word of the store which it changed.

    An APPROVED one begins a new revision while its publication stays, a PENDING_AUDIT one is withdrawn. One IN_REVIEW
    is decided as it was submitted: people are reading that very snapshot. One REJECTED may still be appealed as it was.
    The caller holds the store's lock, which everyone who adds the store to an activity takes too.
    """
    before = store_profile(store)
    change()
    if store_profile(store) != before:
        showing = ActivityStore.select(ActivityStore.activity_id).where(ActivityStore.store_id == store.id)
        why = Why(Actor.of(call), now, f"{name('stores', store.uid)} changed")
        _revise([row.activity_id for row in showing], why)


def changed_merchant(merchant: Merchant, call: Call, now: datetime) -> None:
    """Begin a new revision of the activities of a merchant whose display name changed, as changing_store() does."""
    activities = Activity.select(Activity.id).where(Activity.merchant_id == merchant.id)
    why = Why(Actor.of(call), now, f"{name('merchants', merchant.uid)} changed")
    _revise([row.id for row in activities], why)


def _revise(ids: list[int], why: Why) -> None:
    """Lock the activities, whatever their state, so that one being submitted meanwhile is seen as it ends up."""
    if ids:
        columns = without(Activity, Activity.snapshot, Activity.content)
        for activity in locked(Activity.select(*columns).where(Activity.id << ids).order_by(Activity.id)):
            if activity.state in ("APPROVED", "PENDING_AUDIT"):
                lifecycle.revise(activity, why)
