"""Rewards: what the direct sharer gets when a friend redeems; capped, budgeted, taken back on reversal."""

from datetime import datetime, timedelta

from services.chassis import errors
from services.ledger.terms import Terms
from services.schema.tables import Coupon, Reward, Share, Supply


def hold(coupon: Coupon, terms: Terms, supply: Supply, redemption_id: int, now: datetime) -> None:
    """Hold the sharer's reward for a redeemed coupon, under the supply's lock; nothing where none is due.

    Only customers earn: merchants and their staff share as their work. It is held at least as long as the redemption
    can be reversed.
    """
    reward = terms.reward
    if reward is None or coupon.share_id == 0:
        return
    share = Share.get_by_id(coupon.share_id)
    if share.sharer_role != "CUSTOMER" or share.sharer == coupon.customer:
        return
    earned = (
        Reward.select()
        .where(Reward.activity_id == coupon.activity_id, Reward.sharer == share.sharer, Reward.state == "HELD")
        .count()
    )
    if earned >= reward.cap_per_sharer:
        return
    if reward.budget is not None and supply.rewarded + reward.amount > reward.budget:
        return
    supply.rewarded += reward.amount
    Supply.update(rewarded=supply.rewarded).where(Supply.activity_id == supply.activity_id).execute()
    Reward.create(
        merchant_id=coupon.merchant_id,
        activity_id=coupon.activity_id,
        share_id=share.id,
        sharer=share.sharer,
        redemption_id=redemption_id,
        amount=reward.amount,
        state="HELD",
        grant_time=now + max(timedelta(days=reward.hold_days), timedelta(seconds=terms.reversal_window_seconds)),
        create_time=now,
    )


def revoke(redemption_id: int, now: datetime) -> None:
    """Take the rewards of a redemption back, under the supplies' locks; Conflict(TRY_AGAIN) if one is gone already."""
    for reward in Reward.select().where(Reward.redemption_id == redemption_id, Reward.state == "HELD"):
        revoked = Reward.update(state="REVOKED", revoke_time=now).where(Reward.id == reward.id, Reward.state == "HELD")
        if revoked.execute() != 1:
            raise errors.Conflict("TRY_AGAIN")
        Supply.update(rewarded=Supply.rewarded - reward.amount).where(
            Supply.activity_id == reward.activity_id
        ).execute()
