"""What is wrong with a benefit, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.chassis.errors import Words
from services.ledger.benefits import KINDS, Plain

# (field path, what is wrong there)
Found = Iterator[tuple[str, Words]]

MOST_UNITS = 10_000
REQUIRED = Words("请填写此项", "is required")


def check_benefit(content: Plain) -> Found:
    """What is wrong with the kind, the required parts and the counts of the terms' benefit."""
    benefit = content.get("benefit") or {}
    if len(benefit) != 1 or not set(benefit) <= set(KINDS):
        yield "benefit", Words("请选择且只选择一种优惠", f"choose exactly one of {', '.join(KINDS)}")
        return
    kind, part = next(iter(benefit.items()))
    for key, words in _PARTS[kind](part):
        yield f"benefit.{kind}{key}", words
    items = (content.get("scope") or {}).get("items")
    if kind == "trial_price" and items and part.get("item") not in items:
        yield (
            "benefit.trial_price.item",
            Words("体验商品必须在适用商品之内", "the trial item must be one of scope.items, or scope.items be empty"),
        )


def _amount_off(part: Plain) -> Found:
    tiers = part.get("tiers", ())
    if not tiers:
        yield ".tiers", Words("至少设置一档满减", "give at least one tier")
    for position, tier in enumerate(tiers):
        yield from needs(tier, "threshold", "off", at=f".tiers[{position}]")
    if any("threshold" not in tier or "off" not in tier for tier in tiers):
        return
    for position, tier in enumerate(tiers):
        before = tiers[position - 1] if position else None
        if tier["off"]["minor"] > tier["threshold"]["minor"]:
            yield (
                f".tiers[{position}].off",
                Words("优惠金额不能超过门槛金额", "no more can come off than the threshold"),
            )
        for key in ("threshold", "off"):
            if before and tier[key]["minor"] <= before[key]["minor"]:
                yield f".tiers[{position}].{key}", Words("必须高于前一档", "must be higher than in the tier before")


def _percent_off(part: Plain) -> Found:
    if not 1 <= part.get("percent", 0) <= 99:
        yield ".percent", Words("减免的百分比应在 1 到 99 之间", "the percentage taken off must be from 1 to 99")


def _fixed_price(part: Plain) -> Found:
    yield from needs(part, "price")
    yield from _counts(part, "quantity", least=0)


def _gift(part: Plain) -> Found:
    yield from needs(part, "item", "value")


def _buy_get(part: Plain) -> Found:
    yield from _counts(part, "buy", "get", least=1)
    yield from _counts(part, "max_sets", least=0)


def _new_customer(part: Plain) -> Found:
    yield from needs(part, "off")


def _trial_price(part: Plain) -> Found:
    yield from needs(part, "price", "item")


_PARTS: dict[str, Callable[[Plain], Found]] = {
    "amount_off": _amount_off,
    "percent_off": _percent_off,
    "fixed_price": _fixed_price,
    "gift": _gift,
    "buy_get": _buy_get,
    "new_customer": _new_customer,
    "trial_price": _trial_price,
}


def needs(part: Plain, *keys: str, at: str = "") -> Found:
    """The keys that the part lacks, as field paths below `at`."""
    return ((f"{at}.{key}", REQUIRED) for key in keys if not part.get(key))


def between(least: object, most: object) -> Words:
    """What is told of a value that lies outside of these bounds."""
    return Words(f"应在 {least} 到 {most} 之间", f"must be from {least} to {most}")


def _counts(part: Plain, *keys: str, least: int) -> Found:
    for key in keys:
        if not least <= part.get(key, 0) <= MOST_UNITS:
            yield f".{key}", between(least, MOST_UNITS)
