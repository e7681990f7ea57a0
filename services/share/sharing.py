"""Sharing itself: who may share what, from which parent, and what the platform said of it."""

from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.chassis import database, errors, parameters
from services.chassis.call import Call
from services.chassis.names import new_uid, uid_of
from services.ledger import coupons, customers, rules
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.ledger.promises import promise
from services.schema import access, replay
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Activity, Merchant, PublicationStore, Share, StaffBinding, Supply
from services.share.codes import ShareCodes
from services.share.views import share_view

Plain = dict[str, Any]


def create_share(
    call: Call, plain: Plain, now: datetime, codes: ShareCodes, coupon_codes: CouponCodes, tags: Tags
) -> Plain:
    """Share an activity and mint the share's first coupons. Errors: as the contract of CreateShare says."""
    parent_code = codes.read(plain["parent_code"]) if plain["parent_code"] else ""
    activity = _shareable_by(call, uid_of("activities", plain["activity"], "activity"))
    sharer = customers.pseudonym(activity.merchant_id, call.principal.subject, tags, now)

    def share_it() -> str:
        supply = _open_supply(activity, now)
        parent = _parent(activity, parent_code) if parent_code else None
        share = _enter(call, supply, parent, plain["channel"], sharer, codes.new(), now)
        why = Why(Actor.of(call), now)
        block = parameters.current().share_block_size
        coupons.mint(activity.id, activity.merchant_id, share.id, block, coupon_codes, why)
        return str(share.uid)

    with database.write():
        uid, _ = replay.once(call, Merchant.get_by_id(activity.merchant_id).uid, share_it, now)
    return share_view(Share.get(Share.uid == uid), codes, now)


def _shareable_by(call: Call, uid: str) -> Activity:
    """The activity, if it was published once and the caller may share it."""
    activity = Activity.get_or_none(Activity.uid == uid)
    if activity is None or activity.publication_id is None:
        raise access.not_found("activities", uid)
    if call.principal.role == "MERCHANT" and not access.owns(call, activity.merchant_id):
        raise access.not_found("activities", uid)
    if call.principal.role == "STAFF":
        _check_staff(call, activity)
    return activity


def _check_staff(call: Call, activity: Activity) -> None:
    """Refuse staff whom no store that shows the activity lets share it."""
    stores = PublicationStore.select(PublicationStore.store_id).where(
        PublicationStore.publication_id == activity.publication_id
    )
    bindings = StaffBinding.select().where(
        StaffBinding.subject == call.principal.subject, StaffBinding.store_id.in_(stores)
    )
    rights = [binding.rights for binding in bindings]
    if not rights:
        raise access.not_found("activities", activity.uid)
    if not any("SHARE" in granted for granted in rights):
        raise errors.Denied("RIGHT_MISSING", right="SHARE")


def _open_supply(activity: Activity, now: datetime) -> Supply:
    # Not locked: a share that slips in beside a suspension gives nothing away, for every claim asks the ledger.
    supply = Supply.get_by_id(activity.id)
    closed = rules.why_closed(supply, promise(supply.publication_id).terms, now)
    if closed is not None:
        raise closed.error()
    return supply


def _parent(activity: Activity, code: str) -> Share:
    """The share that the sharer came by; one of another activity is no parent."""
    parent = Share.get_or_none(Share.code == code, Share.activity_id == activity.id)
    if parent is None:
        raise errors.Invalid("SHARE_CODE_INVALID")
    if parent.state == "FAILED":
        raise errors.FailedPrecondition("SHARE_CLOSED")
    return parent


def _enter(
    call: Call, supply: Supply, parent: Share | None, channel: str, sharer: str, code: str, now: datetime
) -> Share:
    try:
        return Share.create(
            uid=new_uid(),
            code=code,
            activity_id=supply.activity_id,
            merchant_id=supply.merchant_id,
            publication_id=supply.publication_id,
            parent_id=None if parent is None else parent.id,
            channel=channel,
            sharer_role=call.principal.role,
            sharer=sharer,
            state="CREATED",
            create_time=now,
        )
    except IntegrityError as error:
        # One new code in 10^12 / shares is in use already: the caller's retry draws another.
        raise errors.Conflict("TRY_AGAIN") from error


def report_share(call: Call, plain: Plain, now: datetime, codes: ShareCodes) -> Plain:
    """Record whether the platform took a share; the first report stands. Raises NotFound, SHARE_REPORTED."""
    uid = uid_of("shares", plain["name"])
    share = Share.get_or_none(Share.uid == uid)
    if share is None or customers.find(share.merchant_id, call.principal.subject) != share.sharer:
        raise access.not_found("shares", uid)

    def report() -> str:
        changed = (
            Share.update(state=plain["state"], report=plain["report"], report_time=now)
            .where(Share.id == share.id, Share.state == "CREATED")
            .execute()
        )
        if not changed and Share.get_by_id(share.id).state != plain["state"]:
            raise errors.FailedPrecondition("SHARE_REPORTED")
        return uid

    with database.write():
        replay.once(call, Merchant.get_by_id(share.merchant_id).uid, report, now)
    return share_view(Share.get_by_id(share.id), codes, now)
