"""The wallet: the coupons that a customer has claimed, at whichever merchant."""

from datetime import datetime
from typing import Any

from peewee import Expression

from services.chassis.call import Call
from services.chassis.names import uid_of
from services.chassis.paging import page_of, token_of
from services.ledger import customers
from services.ledger.views import coupon_view, coupon_views
from services.schema import access
from services.schema.tables import Coupon

Plain = dict[str, Any]


def list_coupons(call: Call, plain: Plain, now: datetime) -> Plain:
    """The caller's coupons with their codes, the latest claim first."""
    query = {"state": plain["state"]}
    page = page_of(plain["page_token"], plain["page_size"], call, query)
    wanted = Coupon.select().where(Coupon.customer.in_(customers.pseudonyms(call.principal.subject)))
    if plain["state"] is not None:
        wanted = wanted.where(_is_in(plain["state"], now))
    if page.after is not None:
        wanted = wanted.where(_is_behind(*page.after))
    # A share's coupons are minted long before they are claimed, so ids do not tell the order of claims.
    found = list(wanted.order_by(Coupon.claim_time.desc(), Coupon.id.desc()).limit(page.size + 1))
    shown = found[: page.size]
    more = [shown[-1].claim_time.isoformat(), shown[-1].id] if len(found) > page.size else None
    return {"coupons": coupon_views(shown, now, with_code=True), "next_page_token": token_of(more, call, query)}


def _is_in(state: str, now: datetime) -> Expression:
    """The condition for a state as it shows at `now`: the clock alone makes a CLAIMED coupon an EXPIRED one."""
    match state:
        case "EXPIRED":
            return (Coupon.state == "CLAIMED") & (Coupon.expire_time <= now)
        case "CLAIMED":
            return (Coupon.state == "CLAIMED") & (Coupon.expire_time > now)
        case _:
            return Coupon.state == state


def _is_behind(claim_time: str, coupon_id: int) -> Expression:
    time = datetime.fromisoformat(claim_time)
    return (Coupon.claim_time < time) | ((Coupon.claim_time == time) & (Coupon.id < coupon_id))


def get_coupon(call: Call, plain: Plain, now: datetime) -> Plain:
    """A coupon, for its holder, and without its code for its merchant and operators; else NotFound."""
    uid = uid_of("coupons", plain["name"])
    coupon = Coupon.get_or_none(Coupon.uid == uid)
    if coupon is None:
        raise access.not_found("coupons", uid)
    if access.sees_all(call) or access.owns(call, coupon.merchant_id):
        return coupon_view(coupon, now, with_code=False)
    if coupon.customer is None or coupon.customer != customers.find(coupon.merchant_id, call.principal.subject):
        raise access.not_found("coupons", uid)
    return coupon_view(coupon, now, with_code=True)
