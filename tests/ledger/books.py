"""Whether the ledger's books agree with each other: every invariant of the design, asked of the rows themselves."""

from collections import Counter
from collections.abc import Iterator

from services.ledger import rows, schedule
from services.ledger.promises import promise
from services.schema.tables import (
    Coupon,
    CouponEvent,
    Customer,
    CustomerCounter,
    DayStock,
    Publication,
    RedeemedCoupon,
    Redemption,
    Reward,
    Share,
    Supply,
)


def wrongs() -> list[str]:
    """What does not agree, one sentence each; an empty list means that the books are right."""
    coupons, supplies = list(Coupon.select()), list(Supply.select())
    standing = list(RedeemedCoupon.select().where(RedeemedCoupon.standing == 1))
    return [
        *_histories(coupons),
        *_columns(coupons),
        *_supplies(supplies, coupons, standing),
        *_days(supplies, coupons),
        *_customers(coupons),
        *_uses(coupons, standing),
        *_rewards(supplies, standing),
    ]


def _histories(coupons: list[Coupon]) -> Iterator[str]:
    """Each coupon's events chain from "" to its state, by moves that the table knows."""
    histories: dict[int, list[CouponEvent]] = {coupon.id: [] for coupon in coupons}
    for event in CouponEvent.select().order_by(CouponEvent.id):
        histories[event.coupon_id].append(event)
    for coupon in coupons:
        state = ""
        for event in histories[coupon.id]:
            if event.from_state != state or event.to_state not in rows.COUPON[state]:
                yield f"coupon {coupon.id}: {event.from_state} -> {event.to_state} follows {state}"
            state = event.to_state
        if state != coupon.state:
            yield f"coupon {coupon.id} is {coupon.state}, its last event says {state}"


def _columns(coupons: list[Coupon]) -> Iterator[str]:
    for coupon in coupons:
        promised = (coupon.customer, coupon.publication_id, coupon.claim_time, coupon.start_time, coupon.expire_time)
        is_claimed = coupon.state in ("CLAIMED", "REDEEMED") or (coupon.state == "VOID" and coupon.customer)
        if any((value is not None) != bool(is_claimed) for value in promised):
            yield f"coupon {coupon.id} is {coupon.state} with {promised}"
        held = {value is not None for value in (coupon.hold, coupon.hold_store_id, coupon.hold_until)}
        if len(held) != 1 or (True in held and coupon.state != "CLAIMED"):
            yield f"coupon {coupon.id} is {coupon.state} and half held"


def _supplies(supplies: list[Supply], coupons: list[Coupon], standing: list[RedeemedCoupon]) -> Iterator[str]:
    given = Counter(coupon.activity_id for coupon in coupons if coupon.customer)
    used = Counter(part.activity_id for part in standing)
    reserved: Counter[int] = Counter()
    for coupon in coupons:
        reserved[coupon.activity_id] += coupon.reserved
    for one in supplies:
        key = one.activity_id
        if not one.taken == given[key] <= one.stock:
            yield f"activity {key}: taken {one.taken}, coupons given {given[key]}, stock {one.stock}"
        if one.redeemed != used[key]:
            yield f"activity {key}: redeemed {one.redeemed}, standing redemptions {used[key]}"
        if one.committed != reserved[key] or (one.budget is not None and one.committed > one.budget):
            yield f"activity {key}: committed {one.committed}, reserved {reserved[key]}, budget {one.budget}"


def _days(supplies: list[Supply], coupons: list[Coupon]) -> Iterator[str]:
    given: Counter[tuple[int, str]] = Counter()
    for coupon in coupons:
        if coupon.customer and coupon.publication_id:
            zone = promise(coupon.publication_id).terms.zone
            given[coupon.activity_id, schedule.local_date(coupon.claim_time, zone)] += 1
    taken = {(day.activity_id, day.date): day.taken for day in DayStock.select()}
    limits = {one.activity_id: one.day_stock for one in supplies}
    for key in given.keys() | taken.keys():
        limit = limits[key[0]]
        if taken.get(key, 0) != given[key] or (limit and given[key] > limit):
            yield f"day {key}: taken {taken.get(key, 0)}, coupons given {given[key]}, limit {limit}"


def _customers(coupons: list[Coupon]) -> Iterator[str]:
    """Everything that was claimed is counted once: for its customer, or, if erased, for who comes back or may."""
    limits: dict[int, int] = {}
    for row in Publication.select():
        per_customer = promise(row.id).terms.per_customer
        limits[row.activity_id] = max(per_customer, limits.get(row.activity_id, 0))
    given = Counter((coupon.activity_id, coupon.customer) for coupon in coupons if coupon.customer)
    counted = Counter({(row.activity_id, row.customer): row.claims for row in CustomerCounter.select()})
    known = {row.pseudonym for row in Customer.select()}
    for key in given.keys() | counted.keys():
        # Activity 0 counts one visit from before an erasure.
        limit = limits.get(key[0], 1)
        if counted[key] > limit or given[key] > limit or (key[1] in known and counted[key] < given[key]):
            yield f"customer {key}: counted {counted[key]}, coupons {given[key]}, limit {limit}"
    for activity_id in limits:
        claimed, claims = (sum(n for key, n in those.items() if key[0] == activity_id) for those in (given, counted))
        if claimed != claims:
            yield f"activity {activity_id}: coupons claimed {claimed}, claims counted {claims}"


def _uses(coupons: list[Coupon], standing: list[RedeemedCoupon]) -> Iterator[str]:
    """At most one standing redemption a coupon, and the coupon knows which."""
    uses = {(part.coupon_id, part.redemption_id) for part in standing}
    known = {(coupon.id, coupon.redemption_id) for coupon in coupons if coupon.redemption_id is not None}
    redeemed = {coupon.id for coupon in coupons if coupon.state == "REDEEMED"}
    if not (len(uses) == len(standing) == len(redeemed) and uses == known and redeemed == {use[0] for use in uses}):
        yield f"standing uses {sorted(uses)}, coupons know {sorted(known)}, redeemed are {sorted(redeemed)}"
    parts: dict[int, list[RedeemedCoupon]] = {}
    for part in RedeemedCoupon.select():
        parts.setdefault(part.redemption_id, []).append(part)
    for redemption in Redemption.select():
        its = parts.pop(redemption.id, [])
        stands = {part.standing == 1 for part in its}
        if stands != {redemption.reverse_time is None}:
            yield f"redemption {redemption.id}: its parts stand {stands}, reversed {redemption.reverse_time}"
        if redemption.discount != sum(part.discount for part in its) or redemption.discount > redemption.order_amount:
            yield f"redemption {redemption.id}: {redemption.discount} off {redemption.order_amount}"
    if parts:
        yield f"uses without a redemption: {sorted(parts)}"


def _rewards(supplies: list[Supply], standing: list[RedeemedCoupon]) -> Iterator[str]:
    """Rewards are held for standing uses through the sharer's own share, within the cap and the budget."""
    sharers = {share.id: share for share in Share.select()}
    uses = Counter((part.redemption_id, part.share_id) for part in standing)
    held = list(Reward.select().where(Reward.state == "HELD"))
    for key, number in Counter((reward.redemption_id, reward.share_id) for reward in held).items():
        share = sharers[key[1]]
        if number > uses[key] or share.sharer_role != "CUSTOMER":
            yield f"{number} rewards for redemption, share {key} by {share.sharer_role}, standing uses {uses[key]}"
    for one in supplies:
        reward = promise(one.publication_id).terms.reward
        its = [row for row in held if row.activity_id == one.activity_id]
        total = sum(row.amount for row in its)
        most = max(Counter(row.sharer for row in its).values(), default=0)
        if one.rewarded != total:
            yield f"activity {one.activity_id}: rewarded {one.rewarded}, held {total}"
        if reward and (most > reward.cap_per_sharer or (reward.budget is not None and total > reward.budget)):
            yield f"activity {one.activity_id}: {most} rewards for one sharer, {total} in all"
