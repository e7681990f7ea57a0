"""Activities: entering, changing, showing and deleting promotions before customers see them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.chassis import call as calls
from services.chassis import database, errors
from services.chassis.call import Call
from services.chassis.mask import apply_mask
from services.chassis.names import new_uid, uid_of
from services.entry.domain import content, templates, versions
from services.entry.domain.listing import listed
from services.schema import access, lifecycle, replay
from services.schema.activity_view import activity_view, activity_views
from services.schema.lifecycle import Actor, Why
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, ActivityStore, Audit, Merchant, Transition, locked, without

Plain = Mapping[str, Any]

# order_by of ListActivities: whether the oldest come first.
_ORDERS = {"": False, "create_time desc": False, "create_time": True}


def create_activity(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Enter an activity from a template, in DRAFT; in the shape of Activity.

    Errors: NotFound for a template, store or image that is not the caller's to use, and content.check_content()'s.
    """
    given = plain["activity"]

    def command() -> str:
        # Who renames the merchant locks it too, so that no activity is entered unseen meanwhile.
        list(locked(Merchant.select(Merchant.id).where(Merchant.id == merchant.id)))
        template = templates.named(uid_of("templates", given["template"], "activity.template"))
        entered = content.content_of(given)
        content.check_content(merchant, template, entered, call.locale)
        stores = content.locked_stores_of(merchant, entered, set())
        activity = Activity(
            uid=new_uid(),
            merchant_id=merchant.id,
            template=template.uid,
            content=entered,
            create_time=now,
            update_time=now,
        )
        lifecycle.enter(activity, Why(Actor.of(call), now, "entered"))
        _show_in(activity, stores)
        return str(activity.uid)

    with database.write():
        merchant = access.merchant(call, given["merchant"], "activity.merchant")
        uid, _ = replay.once(call, merchant.uid, command, now)
    return _present(uid)


def get_activity(call: Call, plain: Plain) -> dict[str, Any]:
    """The activity in the shape of Activity; NotFound if it is not the caller's."""
    return activity_view(access.activity(call, plain["name"]))


def list_activities(call: Call, plain: Plain) -> dict[str, Any]:
    """The activities that the caller may see, in the shape of ListActivitiesResponse. Invalid(INVALID_ORDER_BY)."""
    query = {key: plain[key] for key in ("merchant", "state", "order_by")}
    if query["order_by"] not in _ORDERS:
        raise errors.Invalid("INVALID_ORDER_BY")
    rows = Activity.select(*without(Activity, Activity.snapshot))
    if query["merchant"]:
        rows = rows.where(Activity.merchant_id == access.merchant(call, query["merchant"], "merchant").id)
    elif not access.sees_all(call):
        rows = rows.where(Activity.merchant_id << access.merchant_ids(call))
    if query["state"]:
        rows = rows.where(Activity.state == query["state"])
    is_oldest_first = _ORDERS[query["order_by"]]
    found, token = listed(rows, call, plain, query, is_oldest_first=is_oldest_first, weighed=Activity.content)
    return {"activities": activity_views(found), "next_page_token": token}


def update_activity(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Change what an activity says; in the shape of Activity. One that is no DRAFT goes back to DRAFT.

    Errors: create_activity()'s, and Conflict(ETAG_MISMATCH).
    """
    patch, paths = plain["activity"], plain.get("update_mask", {}).get("paths", [])
    calls.note(activity=patch["name"])

    def command() -> str:
        activity = lifecycle.lock(mine.uid)
        versions.check_etag(patch["etag"], activity)
        updated = content.content_of(apply_mask(activity.content, patch, paths, content.PARTS))
        merchant = Merchant.get_by_id(activity.merchant_id)
        content.check_content(merchant, templates.named(activity.template), updated, call.locale)
        shown = set(content.stores_of(merchant, activity.content))
        stores = content.locked_stores_of(merchant, updated, shown)
        if updated != activity.content:
            _change(activity, updated, Why(Actor.of(call), now, "edited"))
            _show_in(activity, stores)
        return str(activity.uid)

    with database.write():
        mine = access.activity(call, patch["name"], "activity.name")
        uid, _ = replay.once(call, Merchant.get_by_id(mine.merchant_id).uid, command, now)
    return _present(uid)


def delete_activity(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Delete a draft that was never published, with its history and audits; in the shape of Empty.

    Errors: NotFound, Conflict(ETAG_MISMATCH), FailedPrecondition(ACTIVITY_NOT_DRAFT).
    """

    def command() -> str:
        activity = lifecycle.lock(access.activity(call, plain["name"]).uid)
        versions.check_etag(plain["etag"], activity)
        if activity.state != "DRAFT" or activity.publication_id is not None:
            raise errors.FailedPrecondition("ACTIVITY_NOT_DRAFT")
        # Its audits refused it or became stale: they tell of nothing that anybody ever saw.
        for table in (ActivityStore, Transition, Audit):
            table.delete().where(table.activity_id == activity.id).execute()
        activity.delete_instance()
        return ""

    with database.write():
        # A replay finds no activity any more, so no merchant either: the subject alone is the scope.
        replay.once(call, "", command, now)
    return {}


def preview_activity(call: Call, plain: Plain) -> dict[str, Any]:
    """The activity as a customer would see it, in the shape of Snapshot; NotFound if it is not the caller's."""
    return snapshot_of(access.activity(call, plain["name"]))


def _change(activity: Activity, updated: dict[str, Any], why: Why) -> None:
    if activity.state == "DRAFT":
        versions.change(activity, content=updated, update_time=why.now)
        return
    lifecycle.revise(activity, why, content=updated)


def _show_in(activity: Activity, stores: list[int]) -> None:
    """Keep the rows by which a store finds its activities in step with the scope."""
    ActivityStore.delete().where(ActivityStore.activity_id == activity.id).execute()
    ActivityStore.insert_many([{"activity_id": activity.id, "store_id": store} for store in stores]).execute()


def _present(uid: str) -> dict[str, Any]:
    """The activity as it is now; NotFound when it was deleted since the request was first made."""
    activity = Activity.get_or_none(Activity.uid == uid)
    if activity is None:
        raise access.not_found("activities", uid)
    return activity_view(activity)
