"""Whether the ledger's rows and the model agree."""

from services.schema.tables import (
    Coupon,
    Customer,
    CustomerCounter,
    DayStock,
    RedeemedCoupon,
    Redemption,
    Reward,
    Supply,
)
from tests.ledger import books
from tests.ledger.fair import PEOPLE
from tests.ledger.model import Model
from tests.ledger.world import TAGS


def check(model: Model, merchant_id: int) -> None:
    """Every row is what the model says, and the books agree with themselves."""
    assert books.wrongs() == []
    _check_supplies(model)
    _check_people(model, merchant_id)
    _check_coupons(model)
    _check_uses(model)


def _check_supplies(model: Model) -> None:
    kept = {row.activity_id: row for row in Supply.select()}
    for key, offer in model.offers.items():
        row = kept[key]
        columns = (row.state, row.stock, row.taken, row.committed, row.redeemed, row.rewarded)
        given = (offer.state, offer.stock, offer.taken, offer.taken * offer.off, offer.redeemed, offer.rewarded)
        assert columns == given
    days = {(row.activity_id, row.date): row.taken for row in DayStock.select()}
    assert days == {
        (key, day.isoformat()): taken
        for key, offer in model.offers.items()
        for day, taken in offer.by_day.items()
        if taken
    }


def _check_people(model: Model, merchant_id: int) -> None:
    known = {row.subject: row.pseudonym for row in Customer.select()}
    assert known.keys() == model.known
    names = {who: known.get(who) or TAGS.of(merchant_id, who) for who in PEOPLE}
    counted = {(row.activity_id, row.customer): row.claims for row in CustomerCounter.select() if row.claims}
    marks = {(0, names[who]): 1 for who in model.marked}
    assert counted == marks | {(key, names[who]): n for (key, who), n in model.claims.items() if n}


def _check_coupons(model: Model) -> None:
    given = {row.uid: row for row in Coupon.select().where(Coupon.customer.is_null(False))}
    assert {uid: row.state for uid, row in given.items()} == {slip.uid: slip.state for slip in model.slips}
    # The same pseudonym on coupons if and only if it was the same customer between two erasures.
    pairs = {(given[slip.uid].customer, slip.holder) for slip in model.slips}
    assert len(pairs) == len({real for real, _ in pairs}) == len({holder for _, holder in pairs})


def _check_uses(model: Model) -> None:
    standing: dict[str, set[str]] = {}
    uids = {row.id: row.uid for row in Coupon.select()}
    redeemed = {row.id: row.uid for row in Redemption.select()}
    assert {*redeemed.values()} == {use.uid for use in model.uses}
    for part in RedeemedCoupon.select().where(RedeemedCoupon.standing == 1):
        standing.setdefault(redeemed[part.redemption_id], set()).add(uids[part.coupon_id])
    uses = [use for use in model.uses if not use.is_reversed]
    assert standing == {use.uid: {slip.uid for slip in use.slips} for use in uses}
    held = sorted((row.activity_id, row.amount) for row in Reward.select().where(Reward.state == "HELD"))
    assert held == sorted((offer, amount) for use in uses for offer, _, amount in use.earned)
