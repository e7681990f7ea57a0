"""The rules of what comes after sharing: what can be shared, what became of it, and who gets a coupon through it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.chassis import database, errors
from services.chassis.call import ANONYMOUS, Call, Principal, note
from services.chassis.names import name, uid_of
from services.chassis.paging import page_of, token_of
from services.ledger import claims, customers
from services.ledger.codes import CouponCodes
from services.ledger.customers import Tags
from services.ledger.views import coupon_view
from services.schema import access, catalogue, replay
from services.schema.tables import Activity, Merchant, Replay, Share, Visit
from services.share.codes import ShareCodes, Visitors
from services.share.views import activity_name, share_view, share_views

Plain = dict[str, Any]


def list_shareable(call: Call, plain: Plain, now: datetime) -> Plain:
    """What can be shared now, newest first; reads the database each time, so it is never stale."""
    query = {key: plain[key] for key in ("store", "city", "category")}
    page = page_of(plain["page_token"], plain["page_size"], call, query)
    shown, more = catalogue.live(page, query, now)
    activities = catalogue.uids(Activity, (row.activity_id for row in shown))
    merchants = catalogue.uids(Merchant, (row.merchant_id for row in shown))
    shareables = [
        {
            "activity": name("activities", activities[row.activity_id]),
            "merchant": name("merchants", merchants[row.merchant_id]),
            "publication": name("publications", row.uid),
            "snapshot": row.snapshot,
        }
        for row in shown
    ]
    return {"shareables": shareables, "next_page_token": token_of(more, call, query)}


def get_share(call: Call, plain: Plain, now: datetime, codes: ShareCodes) -> Plain:
    """A share, for its sharer, its merchant and operators; else NotFound."""
    uid = uid_of("shares", plain["name"])
    share = Share.get_or_none(Share.uid == uid)
    if share is None or not (
        access.sees_all(call)
        or access.owns(call, share.merchant_id)
        or customers.find(share.merchant_id, call.principal.subject) == share.sharer
    ):
        raise access.not_found("shares", uid)
    return share_view(share, codes, now)


def list_shares(call: Call, plain: Plain, now: datetime, codes: ShareCodes) -> Plain:
    """The caller's own shares, or all of an activity that is the caller's; operators see everybody's."""
    query = {"activity": plain["activity"]}
    page = page_of(plain["page_token"], plain["page_size"], call, query)
    wanted = Share.select().where(*_listed(call, plain["activity"]))
    if page.after is not None:
        wanted = wanted.where(Share.id < page.after)
    found = list(wanted.order_by(Share.id.desc()).limit(page.size + 1))
    shown = found[: page.size]
    more = shown[-1].id if len(found) > page.size else None
    return {"shares": share_views(shown, codes, now), "next_page_token": token_of(more, call, query)}


def _listed(call: Call, activity: str) -> list[Any]:
    if activity and (access.sees_all(call) or call.principal.role == "MERCHANT"):
        return [Share.activity_id == access.activity(call, activity, "activity").id]
    if access.sees_all(call):
        return [Share.id > 0]
    own = Share.sharer.in_(customers.pseudonyms(call.principal.subject))
    if not activity:
        return [own]
    uid = uid_of("activities", activity, "activity")
    return [own, Share.activity_id.in_(Activity.select(Activity.id).where(Activity.uid == uid))]


def record_visit(call: Call, plain: Plain, now: datetime, codes: ShareCodes, visitors: Visitors) -> Plain:
    """Count a visitor once a share. Raises Invalid(SHARE_CODE_INVALID)."""
    share = _share_of(plain["share_code"], codes)
    mark = visitors.mark(plain["visitor_id"], share.uid)
    # Before and after signing in it is the same device that retries.
    device = replace(call, principal=Principal(ANONYMOUS, visitors.mark(plain["visitor_id"])))

    def visit() -> str:
        try:
            Visit.insert(share_id=share.id, visitor=mark, create_time=now).execute()
        except IntegrityError:
            return "AGAIN"
        return "FIRST"

    with database.write():
        outcome, _ = replay.once(device, Merchant.get_by_id(share.merchant_id).uid, visit, now)
    note(share=name("shares", share.uid))
    return {"activity": activity_name(share), "is_first": outcome == "FIRST"}


def claim_coupon(
    call: Call, plain: Plain, now: datetime, codes: ShareCodes, coupon_codes: CouponCodes, tags: Tags
) -> Plain:
    """Claim a coupon through a share or straight from an offer. Errors: as the contract of ClaimCoupon says."""
    share = _share_of(plain["share_code"], codes) if "share_code" in plain else None
    activity = _claimable(plain["activity"]) if share is None else Activity.get_by_id(share.activity_id)
    tenant = Merchant.get_by_id(activity.merchant_id).uid
    if share is not None and share.state == "FAILED" and not _is_replay(call, tenant):
        raise errors.FailedPrecondition("SHARE_CLOSED")
    customer = customers.pseudonym(activity.merchant_id, call.principal.subject, tags, now)
    command = claims.Claim(call, tenant, activity.id, share, customer)
    note(activity=name("activities", activity.uid), share="" if share is None else name("shares", share.uid))
    (outcome,) = claims.claim([command], coupon_codes, now)
    if isinstance(outcome, errors.Error):
        raise outcome
    # A replay from before the customer was erased finds the coupon of a person whom nobody knows any more.
    return coupon_view(outcome, now, with_code=outcome.customer == customer)


def _claimable(activity: str) -> Activity:
    """The activity, if customers can know of it: it was published once."""
    uid = uid_of("activities", activity, "activity")
    row = Activity.get_or_none(Activity.uid == uid)
    if row is None or row.publication_id is None:
        raise access.not_found("activities", uid)
    return row


def _share_of(code: str, codes: ShareCodes) -> Share:
    """The share of a code; an authentic code that names none is answered like a forged one."""
    share = Share.get_or_none(Share.code == codes.read(code))
    if share is None:
        raise errors.Invalid("SHARE_CODE_INVALID")
    return share


def _is_replay(call: Call, tenant: str) -> bool:
    """Whether the claim was committed while the share was open: then its outcome stands."""
    return bool(Replay.select().where(Replay.key == replay.key(call, tenant)).exists())
