"""What is wrong with a benefit, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.ledger.benefits import KINDS, Plain

# (field path, description)
Found = Iterator[tuple[str, str]]

MOST_UNITS = 10_000


def check_benefit(content: Plain) -> Found:
    """What is wrong with the kind, the required parts and the counts of the terms' benefit."""
    benefit = content.get("benefit") or {}
    if len(benefit) != 1 or not set(benefit) <= set(KINDS):
        yield "benefit", f"choose exactly one of {', '.join(KINDS)}"
        return
    kind, part = next(iter(benefit.items()))
    for key, description in _PARTS[kind](part):
        yield f"benefit.{kind}{key}", description
    items = (content.get("scope") or {}).get("items")
    if kind == "trial_price" and items and part.get("item") not in items:
        yield "benefit.trial_price.item", "the trial item must be one of scope.items, or scope.items be empty"


def _amount_off(part: Plain) -> Found:
    tiers = part.get("tiers", ())
    if not tiers:
        yield ".tiers", "give at least one tier"
    for position, tier in enumerate(tiers):
        yield from needs(tier, "threshold", "off", at=f".tiers[{position}]")
    if any("threshold" not in tier or "off" not in tier for tier in tiers):
        return
    for position, tier in enumerate(tiers):
        before = tiers[position - 1] if position else None
        if tier["off"]["minor"] > tier["threshold"]["minor"]:
            yield f".tiers[{position}].off", "no more can come off than the threshold"
        for key in ("threshold", "off"):
            if before and tier[key]["minor"] <= before[key]["minor"]:
                yield f".tiers[{position}].{key}", "must be higher than in the tier before"


def _percent_off(part: Plain) -> Found:
    if not 1 <= part.get("percent", 0) <= 99:
        yield ".percent", "the percentage taken off must be from 1 to 99"


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
    return ((f"{at}.{key}", "is required") for key in keys if not part.get(key))


def _counts(part: Plain, *keys: str, least: int) -> Found:
    for key in keys:
        if not least <= part.get(key, 0) <= MOST_UNITS:
            yield f".{key}", f"must be from {least} to {MOST_UNITS}"
