"""Rewards: what the direct sharer gets when a friend redeems; capped, budgeted, taken back on reversal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.chassis import errors
from services.chassis.script import Row, Statement
from services.ledger import statements
from services.ledger.promises import Promise
from services.ledger.records import CouponRow, Receipt, SupplyRow, microseconds
from services.ledger.sharers import Sharer
from services.ledger.terms import Terms
from services.schema.tables import Reward, Supply

_EARNED = (
    "SELECT activity_id, sharer, COUNT(*) FROM reward WHERE activity_id IN ? AND sharer IN ? AND state = 'HELD' "
    "GROUP BY activity_id, sharer"
)
_SUPPLY_REWARDED = "UPDATE supply SET rewarded = rewarded + CASE activity_id ? END WHERE activity_id IN ?"
_REWARD = "merchant_id, activity_id, share_id, sharer, redemption_id, amount, state, grant_time, create_time"


@dataclass
class Rewarding:
    """The rewards of one transaction's redemptions, decided under the supplies' locks.

    Only customers earn: merchants and their staff share as their work. A reward is held at least as long as the
    redemption can be reversed.
    """

    supplies: Mapping[int, SupplyRow]
    sharers: Mapping[int, Sharer]
    now: datetime
    _earned: Counter[tuple[int, str]] = field(default_factory=Counter)
    _amounts: Counter[int] = field(default_factory=Counter)
    _rewards: list[Row] = field(default_factory=list)

    def asked(self, coupons: Iterable[CouponRow], promises: Mapping[int, Promise]) -> list[Statement]:
        """What to ask: how often the sharers of these coupons have earned; nothing where nobody may earn."""
        wanted = [
            (coupon.activity_id, self.sharers[coupon.share_id].sharer)
            for coupon in coupons
            if coupon.publication_id is not None
            and promises[coupon.publication_id].terms.reward is not None
            and self._may_earn(coupon)
        ]
        activities, sharers = {activity for activity, _ in wanted}, {sharer for _, sharer in wanted}
        return [Statement(_EARNED, (tuple(sorted(activities)), tuple(sorted(sharers))))] if wanted else []

    def learn(self, answers: Sequence[Sequence[Row]]) -> None:
        """Take what was answered to asked()."""
        for activity_id, sharer, count in (row for some in answers for row in some):
            self._earned[activity_id, sharer] = count

    def hold(self, coupon: CouponRow, terms: Terms, receipt: Receipt) -> None:
        """Hold the sharer's reward for a redeemed coupon; nothing where none is due."""
        reward = terms.reward
        if reward is None or not self._may_earn(coupon):
            return
        sharer, supply = self.sharers[coupon.share_id].sharer, self.supplies[coupon.activity_id]
        if self._earned[coupon.activity_id, sharer] >= reward.cap_per_sharer:
            return
        if reward.budget is not None and supply.rewarded + reward.amount > reward.budget:
            return
        self._earned[coupon.activity_id, sharer] += 1
        self._amounts[coupon.activity_id] += reward.amount
        supply.rewarded += reward.amount
        granted = self.now + max(timedelta(days=reward.hold_days), timedelta(seconds=terms.reversal_window_seconds))
        about = (coupon.merchant_id, coupon.activity_id, coupon.share_id, sharer, receipt.id, reward.amount)
        self._rewards.append((*about, "HELD", microseconds(granted), microseconds(self.now)))

    def statements(self) -> list[Statement]:
        """The rewards and what they come to."""
        if not self._rewards:
            return []
        counted = Statement(_SUPPLY_REWARDED, (self._amounts, tuple(self._amounts)))
        return [counted, statements.insert("reward", _REWARD, self._rewards)]

    def _may_earn(self, coupon: CouponRow) -> bool:
        sharer = self.sharers.get(coupon.share_id)
        return sharer is not None and sharer.role == "CUSTOMER" and sharer.sharer != coupon.customer


def revoke(redemption_id: int, now: datetime) -> None:
    """Take the rewards of a redemption back, under the supplies' locks; Conflict(TRY_AGAIN) if one is gone already."""
    for reward in Reward.select().where(Reward.redemption_id == redemption_id, Reward.state == "HELD"):
        revoked = Reward.update(state="REVOKED", revoke_time=now).where(Reward.id == reward.id, Reward.state == "HELD")
        if revoked.execute() != 1:
            raise errors.Conflict("TRY_AGAIN")
        Supply.update(rewarded=Supply.rewarded - reward.amount).where(
            Supply.activity_id == reward.activity_id
        ).execute()
