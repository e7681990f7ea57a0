"""The books: final uses, what an activity came to, and forgetting whose a pseudonym was."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import JOIN, Expression, fn

from services.chassis import database, errors
from services.chassis.call import Call
from services.chassis.names import name, uid_of
from services.chassis.paging import page_of, token_of
from services.ledger import customers
from services.ledger.customers import Tags
from services.ledger.views import redemption_view, redemption_views
from services.schema import access, catalogue, replay
from services.schema.tables import Activity, Coupon, Merchant, RedeemedCoupon, Redemption, Reward, Share, Store, Visit

Plain = dict[str, Any]
_DIRECT = "DIRECT"


def get_redemption(call: Call, plain: Plain) -> Plain:
    """A redemption, for its merchant, operators, and staff of its store with the right to report.

    Raises NotFound, and Denied(RIGHT_MISSING) to staff of the store without that right.
    """
    uid = uid_of("redemptions", plain["name"])
    row = Redemption.get_or_none(Redemption.uid == uid)
    if row is None:
        raise access.not_found("redemptions", uid)
    if (
        access.sees_all(call)
        or access.owns(call, row.merchant_id)
        or row.store_id in access.bound_stores(call, "REPORT")
    ):
        return redemption_view(row)
    if row.store_id in access.bound_stores(call):
        raise errors.Denied("RIGHT_MISSING", right="REPORT")
    raise access.not_found("redemptions", uid)


def list_redemptions(call: Call, plain: Plain) -> Plain:
    """The merchant's redemptions, or those of one store, the latest use first; staff must name the store.

    Raises Invalid(INVALID_FIELD), NotFound, Denied(RIGHT_MISSING).
    """
    query = {key: plain.get(key) for key in ("store", "order_id", "start_time", "end_time")}
    page = page_of(plain["page_token"], plain["page_size"], call, query)
    wanted = Redemption.select()
    if plain["store"]:
        store = access.store(call, plain["store"], "REPORT")
        wanted = wanted.where(Redemption.store_id == store.id)
        if plain["order_id"]:
            # That is how orders are found. Without one, uses are found by their store alone.
            wanted = wanted.where(Redemption.merchant_id == store.merchant_id)
    elif call.principal.role == "STAFF":
        raise errors.invalid_field("store", errors.Words("请选择门店", "is required for staff"))
    elif not access.sees_all(call):
        wanted = wanted.where(Redemption.merchant_id.in_(access.merchant_ids(call)))
    if plain["order_id"]:
        wanted = wanted.where(Redemption.order_id == plain["order_id"])
    if "start_time" in plain:
        wanted = wanted.where(Redemption.use_time >= plain["start_time"])
    if "end_time" in plain:
        wanted = wanted.where(Redemption.use_time < plain["end_time"])
    if page.after is not None:
        wanted = wanted.where(_is_behind(*page.after))
    found = list(wanted.order_by(Redemption.use_time.desc(), Redemption.id.desc()).limit(page.size + 1))
    shown = found[: page.size]
    more = [shown[-1].use_time.isoformat(), shown[-1].id] if len(found) > page.size else None
    return {"redemptions": redemption_views(shown), "next_page_token": token_of(more, call, query)}


def _is_behind(use_time: str, redemption_id: int) -> Expression:
    time = datetime.fromisoformat(use_time)
    # Said so that the first half alone tells an index where to begin.
    return (Redemption.use_time <= time) & ((Redemption.use_time < time) | (Redemption.id < redemption_id))


@dataclass
class _Sums:
    """One row of a report; the discount in minor units."""

    shares: int = 0
    visits: int = 0
    claims: int = 0
    redemptions: int = 0
    discount: int = 0

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.shares + other.shares,
            self.visits + other.visits,
            self.claims + other.claims,
            self.redemptions + other.redemptions,
            self.discount + other.discount,
        )

    def row(self, key: str, currency: str) -> Plain:
        return {**vars(self), "key": key, "discount": {"currency": currency, "minor": self.discount}}


def get_activity_report(call: Call, plain: Plain) -> Plain:
    """What an activity of the caller's came to; only uses that were not reversed count. Raises NotFound."""
    activity = access.activity(call, plain["activity"], "activity")
    currency = Merchant.get_by_id(activity.merchant_id).currency
    channels, stores = _by_channel(activity), _by_store(activity)
    return {
        "activity": name("activities", activity.uid),
        "total": sum(channels.values(), _Sums()).row("", currency),
        "channels": [channels[key].row(key, currency) for key in sorted(channels)],
        "stores": [stores[key].row(key, currency) for key in sorted(stores)],
        "rewards": {"currency": currency, "minor": _rewards(activity)},
    }


def _by_channel(activity: Activity) -> dict[str, _Sums]:
    channel = Share.channel
    shares = Share.select(channel, fn.COUNT(Share.id)).where(Share.activity_id == activity.id)
    visits = (
        Share.select(channel, fn.COUNT(Visit.visitor))
        .join(Visit, on=(Visit.share_id == Share.id))
        .where(Share.activity_id == activity.id)
    )
    claims = (
        Coupon.select(channel, fn.COUNT(Coupon.customer))
        .join(Share, JOIN.LEFT_OUTER, on=(Coupon.share_id == Share.id))
        .where(Coupon.activity_id == activity.id, Coupon.customer.is_null(False))
    )
    uses = (
        RedeemedCoupon.select(channel, fn.COUNT(RedeemedCoupon.id), fn.SUM(RedeemedCoupon.discount))
        .join(Share, JOIN.LEFT_OUTER, on=(RedeemedCoupon.share_id == Share.id))
        .where(RedeemedCoupon.activity_id == activity.id, RedeemedCoupon.standing == 1)
    )
    sums: dict[str, _Sums] = {}
    counted = ((shares, ("shares",)), (visits, ("visits",)), (claims, ("claims",)), (uses, ("redemptions", "discount")))
    for query, columns in counted:
        for key, counts in _grouped(query, channel):
            part = _Sums(**dict(zip(columns, counts, strict=True)))
            sums[key or _DIRECT] = sums.get(key or _DIRECT, _Sums()) + part
    return sums


def _by_store(activity: Activity) -> dict[str, _Sums]:
    uses = (
        RedeemedCoupon.select(Redemption.store_id, fn.COUNT(RedeemedCoupon.id), fn.SUM(RedeemedCoupon.discount))
        .join(Redemption, on=(RedeemedCoupon.redemption_id == Redemption.id))
        .where(RedeemedCoupon.activity_id == activity.id, RedeemedCoupon.standing == 1)
    )
    grouped = _grouped(uses, Redemption.store_id)
    uids = catalogue.uids(Store, (store_id for store_id, _ in grouped))
    return {name("stores", uids[key]): _Sums(redemptions=count, discount=sum_) for key, (count, sum_) in grouped}


def _grouped(query: Any, key: Any) -> list[tuple[Any, list[int]]]:
    """The groups of a query that selects `key` and numbers; MariaDB sums to Decimal, which a message does not take."""
    return [(value, [int(number) for number in numbers]) for value, *numbers in query.group_by(key).tuples()]


def _rewards(activity: Activity) -> int:
    """Minor units of the rewards that are held or granted."""
    total = (
        Reward.select(fn.SUM(Reward.amount)).where(Reward.activity_id == activity.id, Reward.state == "HELD").scalar()
    )
    return int(total or 0)


def erase_customer(call: Call, plain: Plain, now: datetime, tags: Tags) -> Plain:
    """Forget whose a customer's pseudonyms are: the caller's own, or for operators the named subject's.

    Raises Invalid(INVALID_FIELD) for a customer who names a subject and for an operator who names none.
    """
    if call.principal.role == "CUSTOMER":
        if plain["subject"]:
            raise errors.invalid_field(
                "subject",
                errors.Words("顾客只能注销自己，无需填写此项", "is for operators: customers erase themselves"),
            )
        subject = call.principal.subject
    elif plain["subject"]:
        subject = plain["subject"]
    else:
        raise errors.invalid_field("subject", errors.Words("请填写此项", "is required"))
    with database.write():
        replay.once(call, "", lambda: str(customers.erase(subject, tags)), now)
    return {}
