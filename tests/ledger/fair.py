"""The offers that the model is tried on: of everything that can run out there is little."""

from datetime import date, timedelta
from typing import Any

from services.schema.tables import Activity
from tests.ledger.model import Offer, Reward
from tests.ledger.offers import yuan
from tests.ledger.world import World

PEOPLE = ("ann", "bob", "cat", "dan")
END = date(2026, 3, 12)

OFFERS = (
    Offer(4, 2, END, 2_000, 10_000, reward=Reward(300, 2, 700)),
    Offer(100, 100, END, 2_000, 10_000, day_stock=3, window=timedelta(days=1)),
    Offer(100, 5, END, 1_000, percent=10, budget=9_500, reward=Reward(300, 9, 700)),
    Offer(100, 2, END, 500, 1_000, is_for_new=True, days=0),
    Offer(1_000, 50, date(2026, 3, 31), 500, 1_000, is_for_new=True, days=7, window=timedelta(0)),
    Offer(
        1_000,
        50,
        date(2026, 3, 31),
        2_000,
        10_000,
        days=7,
        window=timedelta(days=7),
        reward=Reward(300, 2, 1_000),
    ),
)


def published(world: World, offer: Offer) -> Activity:
    money: dict[str, Any] = {"off": {"currency": "CNY", "minor": offer.off}}
    threshold = {"threshold": {"currency": "CNY", "minor": offer.threshold}}
    if offer.percent:
        benefit: dict[str, Any] = {"percent_off": {"percent": offer.percent, "cap": money["off"]}}
    else:
        benefit = (
            {"new_customer": money | threshold} if offer.is_for_new else {"amount_off": {"tiers": [money | threshold]}}
        )
    terms: dict[str, Any] = {
        "claim_period": {"start_date": "2026-03-01", "end_date": offer.last_day.isoformat()},
        "validity": {"days_after_claim": offer.days},
        "stock": offer.stock,
        "day_stock": offer.day_stock,
        "per_customer": offer.per_customer,
        "reversal_window": int(offer.window.total_seconds()),
    }
    if offer.budget is not None:
        terms["budget"] = {"currency": "CNY", "minor": offer.budget}
    if offer.reward is not None:
        amount, cap, budget = offer.reward
        terms["reward"] = {
            "amount": yuan(amount / 100),
            "cap_per_sharer": cap,
            "hold_days": 7,
            "budget": yuan(budget / 100),
        }
    return world.publish(benefit, **terms)
