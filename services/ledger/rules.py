"""What a claim and a coupon are refused for: pure rules of rows, terms and the time, in the order they are told."""

from datetime import datetime
from typing import NamedTuple, Protocol

from services.ledger import schedule
from services.ledger.benefits import NewCustomer
from services.ledger.discount import worst_case
from services.ledger.refusal import Refusal
from services.ledger.terms import Terms

_CLOSED = {
    "SUSPENDED": "ACTIVITY_SUSPENDED",
    "WITHDRAWN": "ACTIVITY_WITHDRAWN",
}


class Shelf(Protocol):
    """What a Supply row says, whoever holds it."""

    state: str
    stock: int
    day_stock: int
    taken: int
    budget: int | None
    committed: int
    is_stopped: bool


class Claimant(NamedTuple):
    """What counts of the one who claims: earlier claims in the activity, whether this is the first visit, whether the
    share is their own."""

    claims: int
    is_new: bool
    is_sharer: bool = False


def why_closed(shelf: Shelf, terms: Terms, now: datetime) -> Refusal | None:
    """Why nothing of the activity is shared or claimed at this time; None if it is open."""
    if shelf.state != "LIVE":
        return Refusal(_CLOSED.get(shelf.state, "ACTIVITY_NOT_PUBLISHED"))
    if schedule.phase(terms, now) == "ENDED":
        return Refusal("ACTIVITY_ENDED")
    return Refusal("ISSUING_STOPPED") if shelf.is_stopped else None


def why_no_claim(shelf: Shelf, terms: Terms, taken_today: int, claimant: Claimant, now: datetime) -> Refusal | None:
    """Why this customer gets no coupon now; None if one is theirs. The offer and the claim both ask this."""
    closed = why_closed(shelf, terms, now)
    if closed is not None:
        return closed
    if schedule.phase(terms, now) == "SCHEDULED":
        return Refusal("ACTIVITY_NOT_STARTED")
    if schedule.validity(terms, now)[1] <= now:
        return Refusal("ACTIVITY_ENDED")
    if claimant.is_sharer:
        return Refusal("SELF_REFERRAL")
    if is_for_new_customers(terms) and not claimant.is_new:
        return Refusal("NEW_CUSTOMERS_ONLY")
    if claimant.claims >= terms.per_customer:
        return Refusal("CUSTOMER_LIMIT_REACHED")
    if shelf.taken >= shelf.stock:
        return Refusal("STOCK_EXHAUSTED")
    if shelf.day_stock and taken_today >= shelf.day_stock:
        return Refusal("DAY_STOCK_EXHAUSTED")
    if shelf.budget is not None and shelf.committed + reserve(terms) > shelf.budget:
        return Refusal("BUDGET_EXHAUSTED")
    return None


def reserve(terms: Terms) -> int:
    """What a claim takes of the budget: the most the coupon can come to, so that the shop never refuses it for money.

    Terms with a budget always have a worst case (BUDGET_NEEDS_CAP); without a budget nothing is reckoned.
    """
    return worst_case(terms) or 0


def is_for_new_customers(terms: Terms) -> bool:
    """Whether only a customer without a standing redemption at the merchant may claim and use it."""
    return isinstance(terms.benefit, NewCustomer)


class Presented(NamedTuple):
    """A coupon as it lies on the counter; `use` is when it was redeemed and the zone of the store that did."""

    state: str
    start_time: datetime
    expire_time: datetime
    use: tuple[datetime, str] | None
    hold: str | None
    hold_until: datetime | None
    hold_store_id: int | None
    is_new_customer: bool


def redeemed(time: datetime, zone: str) -> Refusal:
    """The refusal of a coupon that was redeemed at this time, as the clock of that store showed it."""
    told = {"time": schedule.shown(time, zone), "redeem_time": time.isoformat(timespec="seconds")}
    return Refusal("COUPON_REDEEMED", told)


def why_not_usable(
    coupon: Presented, terms: Terms, store: tuple[int, str, str], hold: str, now: datetime
) -> Refusal | None:
    """Why a claimed coupon is not taken in this store now, whatever the basket; None if it is.

    `store` is (id, name, zone); `hold` names the hold that the till has on its coupons, "" for none.
    """
    store_id, store_name, zone = store
    if coupon.state == "VOID":
        return Refusal("COUPON_VOID")
    if coupon.use is not None:
        return redeemed(*coupon.use)
    if coupon.state != "CLAIMED":
        return Refusal("COUPON_STATE", {"state": coupon.state})
    if now < coupon.start_time:
        start = coupon.start_time
        told = {"time": schedule.shown(start, zone), "start_time": start.isoformat(timespec="seconds")}
        return Refusal("COUPON_NOT_YET_VALID", told)
    if now >= coupon.expire_time:
        return Refusal("COUPON_EXPIRED")
    is_held = coupon.hold is not None and coupon.hold_until is not None and now < coupon.hold_until
    if hold and not (is_held and coupon.hold == hold and coupon.hold_store_id == store_id):
        return Refusal("HOLD_NOT_FOUND")
    if is_held and coupon.hold != hold:
        return Refusal("COUPON_HELD")
    if store_name not in terms.stores:
        return Refusal("STORE_NOT_IN_SCOPE")
    if is_for_new_customers(terms) and not coupon.is_new_customer:
        return Refusal("NEW_CUSTOMERS_ONLY")
    return schedule.usable_at(terms, now, zone, coupon.expire_time)
