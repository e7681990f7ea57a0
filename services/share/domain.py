"""The rules of what comes after sharing: what became of a share, and who gets a coupon through it."""

from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.chassis import database, errors
from services.chassis.call import ANONYMOUS, Call, Principal, note
from services.chassis.names import name, uid_of
from services.chassis.paging import page_of, token_of
from services.ledger import customers
from services.schema import access, replay
from services.schema.tables import Activity, Merchant, Share, Visit
from services.share.codes import ShareCodes, Visitors
from services.share.views import activity_name, share_view, share_views

Plain = dict[str, Any]


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
    device = call._replace(principal=Principal(ANONYMOUS, visitors.mark(plain["visitor_id"])))

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


def _share_of(code: str, codes: ShareCodes) -> Share:
    """The share of a code; an authentic code that names none is answered like a forged one."""
    share = Share.get_or_none(Share.code == codes.read(code))
    if share is None:
        raise errors.Invalid("SHARE_CODE_INVALID")
    return share
