"""Shares in the shape of the message, with what became of them, in a fixed number of queries a page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from peewee import Case, fn

from services.chassis.names import name
from services.schema.catalogue import uids
from services.schema.tables import Activity, Coupon, Merchant, RedeemedCoupon, Reward, Share, Visit
from services.share.codes import ShareCodes

# What grouped queries count, by share id.
Counts = dict[int, tuple[int, ...]]


def share_views(shares: Sequence[Share], codes: ShareCodes, now: datetime) -> list[dict[str, Any]]:
    """The shares with their visits, claims, redemptions and rewards as they stand at `now`."""
    ids = [share.id for share in shares]
    activities = uids(Activity, {share.activity_id for share in shares})
    parents = uids(Share, {share.parent_id for share in shares})
    merchant_ids = {share.merchant_id for share in shares}
    merchants = {row.id: row for row in Merchant.select().where(Merchant.id.in_(merchant_ids))}
    visits, uses, rewards = _visits(ids), _uses(ids), _rewards(ids, now)
    waiting, claimed, voided = _coupons(shares)
    views = []
    for share in shares:
        merchant = merchants[share.merchant_id]
        held, granted = rewards.get(share.id, (0, 0))
        views.append(
            {
                "name": name("shares", share.uid),
                "activity": name("activities", activities[share.activity_id]),
                "merchant": name("merchants", merchant.uid),
                "code": codes.signed(share.code),
                "channel": share.channel,
                "parent": name("shares", parents[share.parent_id]) if share.parent_id else "",
                "sharer_role": share.sharer_role,
                "state": share.state,
                "available": waiting.get(share.id, (0,))[0],
                "visits": visits.get(share.id, (0,))[0],
                "claims": claimed.get(share.id, (0,))[0] + voided.get(share.id, (0,))[0],
                "redemptions": uses.get(share.id, (0,))[0],
                "rewards_held": {"currency": merchant.currency, "minor": held},
                "rewards_granted": {"currency": merchant.currency, "minor": granted},
                "create_time": share.create_time,
                "report": share.report,
            }
        )
    return views


def share_view(share: Share, codes: ShareCodes, now: datetime) -> dict[str, Any]:
    """One share."""
    return share_views([share], codes, now)[0]


def activity_name(share: Share) -> str:
    """The name of the activity that was shared."""
    return name("activities", Activity.get_by_id(share.activity_id).uid)


def _visits(ids: list[int]) -> Counts:
    return _counts(Visit.select(Visit.share_id, fn.COUNT(Visit.visitor)).where(Visit.share_id.in_(ids)), Visit.share_id)


def _coupons(shares: Sequence[Share]) -> tuple[Counts, Counts, Counts]:
    """Coupons that wait, that are somebody's or used, and that were somebody's and are void.

    All but the few void ones are counted in the index of the pools, without a look at the coupons.
    """
    pools = (
        Coupon.activity_id.in_({share.activity_id for share in shares}),
        Coupon.share_id.in_([share.id for share in shares]),
    )
    query = Coupon.select(Coupon.share_id, fn.COUNT(Coupon.id)).where(*pools)
    return (
        _counts(query.where(Coupon.state == "AVAILABLE"), Coupon.share_id),
        _counts(query.where(Coupon.state.in_(["CLAIMED", "REDEEMED"])), Coupon.share_id),
        _counts(query.where(Coupon.state == "VOID", Coupon.customer.is_null(False)), Coupon.share_id),
    )


def _uses(ids: list[int]) -> Counts:
    standing = (RedeemedCoupon.share_id.in_(ids), RedeemedCoupon.standing == 1)
    query = RedeemedCoupon.select(RedeemedCoupon.share_id, fn.COUNT(RedeemedCoupon.id)).where(*standing)
    return _counts(query, RedeemedCoupon.share_id)


def _rewards(ids: list[int], now: datetime) -> Counts:
    """Minor units held and granted: a reward that was not revoked counts as granted from its grant_time on."""
    held = Case(None, [(Reward.grant_time > now, Reward.amount)], 0)
    granted = Case(None, [(Reward.grant_time > now, 0)], Reward.amount)
    query = Reward.select(Reward.share_id, fn.SUM(held), fn.SUM(granted))
    return _counts(query.where(Reward.share_id.in_(ids), Reward.state == "HELD"), Reward.share_id)


def _counts(query: Any, key: Any) -> Counts:
    # MariaDB sums to Decimal.
    return {share_id: tuple(int(count) for count in counts) for share_id, *counts in query.group_by(key).tuples()}
