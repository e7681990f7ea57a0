"""What a merchant may do with an activity once it is entered: submit, withdraw, raise its supply, read its history."""

from datetime import datetime
from typing import Any

from services.chassis import database, errors, paging
from services.chassis.call import Call
from services.chassis.names import uid_of
from services.ledger import checks, customers, schedule, supply
from services.ledger.terms import Terms
from services.publish.pending import Pending, lease_from
from services.publish.views import publication_view, supply_view, transition_view
from services.schema import access, lifecycle, replay
from services.schema.activity_view import activity_view
from services.schema.lifecycle import Actor, Why
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, Coupon, Merchant, Publication, Transition


def submit_activity(call: Call, plain: dict[str, Any], now: datetime) -> Pending | None:
    """Freeze what customers would see and let it wait for its audit, which the caller then asks for.

    Returns what to ask about; None for a replay, whose audit was asked for already. Raises NotFound; Conflict
    (ETAG_MISMATCH); FailedPrecondition: ACTIVITY_STATE, ACTIVITY_ENDED; Invalid for content that became invalid.
    """
    found = access.activity(call, plain["name"])

    def command() -> str:
        activity = lifecycle.lock(found.uid)
        if plain.get("etag") and plain["etag"] != str(activity.version):
            raise errors.Conflict("ETAG_MISMATCH")
        if activity.state != "DRAFT":
            raise errors.FailedPrecondition("ACTIVITY_STATE", state=activity.state)
        _check(activity, now)
        snapshot = snapshot_of(activity)
        changes = {"snapshot": snapshot, "digest": lifecycle.digest_of(snapshot), "lease_until": lease_from(now)}
        lifecycle.move(activity, "PENDING_AUDIT", Why(Actor.of(call), now), **changes)
        return str(activity.uid)

    with database.write():
        _, is_replay = replay.once(call, _tenant(found), command, now)
        return None if is_replay else Pending.of(Activity.get_by_id(found.id))


def _check(activity: Activity, now: datetime) -> None:
    """What held when it was entered may hold no more: zones change, and so do the rules."""
    found = [errors.Violation(f"terms.{path}", told) for path, told in checks.check(activity.content["terms"])]
    if not activity.content["title"].strip():
        found.append(errors.Violation("title", errors.Words("请填写此项", "is required")))
    if found:
        raise errors.Invalid("INVALID_FIELD", violations=found)
    if schedule.phase(Terms.of(activity.content["terms"]), now) == "ENDED":
        raise errors.FailedPrecondition("ACTIVITY_ENDED")


def activity_of(call: Call, plain: dict[str, Any]) -> dict[str, Any]:
    """The Activity of plain["name"] as it is now; NotFound if it is not the caller's."""
    return activity_view(access.activity(call, plain["name"]))


def withdraw_activity(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Take back a submission that waits for its decision, and the publication that customers see, with
    plain["reason"]. Returns the Activity. Raises NotFound; FailedPrecondition(ACTIVITY_STATE) if there is neither."""
    found = access.activity(call, plain["name"])

    def command() -> str:
        activity = lifecycle.lock(found.uid)
        why = Why(Actor.of(call), now, plain["reason"])
        publication = lifecycle.publication_of(activity)
        waits = activity.state in ("PENDING_AUDIT", "IN_REVIEW")
        is_shown = publication is not None and "WITHDRAWN" in lifecycle.PUBLICATION[publication.state]
        if not (waits or is_shown):
            raise errors.FailedPrecondition("ACTIVITY_STATE", state=activity.state)
        if waits:
            lifecycle.revise(activity, why)
        if publication is not None and is_shown:
            supply.follow(lifecycle.move_publication(activity, publication, "WITHDRAWN", why))
        return str(activity.uid)

    with database.write():
        replay.once(call, _tenant(found), command, now)
    return activity_of(call, plain)


def adjust_supply(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Raise stock, day stock or budget, or stop and resume issuing; what `plain` lacks stays. Returns the Supply.

    Raises NotFound; Invalid: CURRENCY_MISMATCH, INVALID_FIELD; FailedPrecondition: ACTIVITY_NOT_PUBLISHED,
    SUPPLY_CANNOT_SHRINK, SUPPLY_NOT_LIMITED.
    """
    activity = access.activity(call, plain["name"])
    merchant = Merchant.get_by_id(activity.merchant_id)
    budget = plain.get("budget")
    if budget is not None and budget["currency"] != merchant.currency:
        raise errors.Invalid("CURRENCY_MISMATCH", currency=budget["currency"])
    if budget is not None and budget["minor"] < 0:
        raise errors.invalid_field("budget", errors.Words("不能为负数", "must not be negative"))

    def command() -> str:
        supply.adjust(
            activity.id,
            stock=plain.get("stock"),
            day_stock=plain.get("day_stock"),
            budget=None if budget is None else budget["minor"],
            is_stopped=plain.get("is_issuing_stopped"),
        )
        return str(activity.uid)

    with database.write():
        replay.once(call, merchant.uid, command, now)
    return supply_view(supply.of(activity.id), activity.uid, merchant.currency)


def list_transitions(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A page of an activity's history, the oldest first. Raises NotFound."""
    activity = access.activity(call, plain["activity"], "activity")
    asked = {"activity": plain["activity"]}
    page = paging.page_of(plain.get("page_token", ""), plain.get("page_size", 0), call, asked)
    rows = transitions_after(activity.id, page.after or 0, page.size + 1)
    shown = rows[: page.size]
    after = shown[-1]["sequence"] if len(rows) > page.size else None
    return {"transitions": shown, "next_page_token": paging.token_of(after, call, asked)}


def transitions_after(activity_id: int, sequence: int, limit: int) -> list[dict[str, Any]]:
    """The transitions of an activity behind that number, in order."""
    rows = Transition.select().where(Transition.activity_id == activity_id, Transition.sequence > sequence)
    return [transition_view(row) for row in rows.order_by(Transition.sequence).limit(limit)]


def get_publication(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A Publication: any to its merchant and the platform, a LIVE one to everybody, and one that is no longer LIVE to
    holders of its coupons, unless its words were suspended; else NotFound."""
    uid = uid_of("publications", plain["name"])
    publication = Publication.get_or_none(Publication.uid == uid)
    is_mine = publication is not None and (access.sees_all(call) or access.owns(call, publication.merchant_id))
    if publication is None or not (is_mine or publication.state == "LIVE" or _holds_coupon(call, publication)):
        raise access.not_found("publications", uid)
    return publication_view(publication, with_audit=is_mine)


def _holds_coupon(call: Call, publication: Publication) -> bool:
    """Whether the caller has a coupon that is honoured by this publication, and may read where and when."""
    if call.principal.role != "CUSTOMER" or publication.state == "SUSPENDED":
        return False
    customer = customers.find(publication.merchant_id, call.principal.subject)
    held = Coupon.select().where(Coupon.customer == customer, Coupon.publication_id == publication.id)
    return customer is not None and held.exists()


def _tenant(activity: Activity) -> str:
    return str(Merchant.get_by_id(activity.merchant_id).uid)
