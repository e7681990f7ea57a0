"""Terms and baskets for the tests of the ledger's arithmetic."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from services.ledger.basket import Line
from services.ledger.terms import Terms

ITEMS = ("noodles", "tea", "cake", "soup")


def yuan(amount: float) -> dict[str, Any]:
    return {"currency": "CNY", "minor": round(amount * 100)}


def content(benefit: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The plain form of terms that `check` finds nothing wrong with."""
    return {
        "benefit": benefit or {"amount_off": {"tiers": [{"threshold": yuan(100), "off": yuan(20)}]}},
        "zone": "Asia/Shanghai",
        "claim_period": {"start_date": "2026-03-01", "end_date": "2026-03-31"},
        "validity": {"days_after_claim": 7},
        "windows": [],
        "blackout_dates": [],
        "stock": 100,
        "day_stock": 0,
        "per_customer": 1,
        "scope": {"stores": ["stores/abc"], "items": []},
        "stacking": {"mode": "ANY", "max_codes": 10},
        "reversal_window": 3600,
    } | changes


def terms(kind: str, items: tuple[str, ...] = (), mode: str = "ANY", **part: Any) -> Terms:
    scope = {"stores": ["stores/abc"], "items": list(items)}
    return Terms.of(content({kind: part}, scope=scope, stacking={"mode": mode, "max_codes": 10}))


def _money(most: int = 30_000) -> st.SearchStrategy[dict[str, Any]]:
    return st.integers(1, most).map(lambda minor: {"currency": "CNY", "minor": minor})


def _tiers(steps: list[tuple[int, int]]) -> dict[str, Any]:
    tiers, threshold, off = [], 0, 0
    for up, more in steps:
        threshold, off = threshold + up + more, off + more
        tiers.append({"threshold": yuan(threshold / 100), "off": yuan(off / 100)})
    return {"amount_off": {"tiers": tiers}}


def _part(kind: str, required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({kind: st.fixed_dictionaries(required, optional=optional)})


ITEM = st.sampled_from(ITEMS)
BENEFITS = st.one_of(
    st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 5_000)), min_size=1, max_size=3).map(_tiers),
    _part("percent_off", {"percent": st.integers(1, 99)}, {"cap": _money(), "threshold": _money()}),
    _part("fixed_price", {"price": _money(3_000)}, {"quantity": st.integers(0, 30), "cap": _money()}),
    _part("gift", {"item": ITEM, "value": _money(3_000)}, {"threshold": _money()}),
    _part(
        "buy_get",
        {"buy": st.integers(1, 4), "get": st.integers(1, 3)},
        {"max_sets": st.integers(0, 20), "cap": _money()},
    ),
    _part("new_customer", {"off": _money()}, {"threshold": _money()}),
    _part("trial_price", {"item": ITEM, "price": _money(3_000)}, {"cap": _money()}),
)


@st.composite
def offers(draw: st.DrawFn) -> Terms:
    items = draw(st.lists(ITEM, unique=True, max_size=3))
    mode = draw(st.sampled_from(("ANY", "ANY", "OTHER_ACTIVITIES", "NONE")))
    scope = {"stores": ["stores/abc"], "items": items}
    return Terms.of(content(draw(BENEFITS), scope=scope, stacking={"mode": mode, "max_codes": 0}))


LINES = st.builds(
    Line,
    item=ITEM,
    quantity=st.one_of(st.integers(1, 8), st.integers(1, 10_000)),
    unit_price=st.one_of(st.integers(0, 5_000), st.integers(0, 10**7)),
)
BASKETS = st.lists(LINES, max_size=6)
COUPONS = st.lists(st.tuples(offers(), st.sampled_from("ABC")), min_size=1, max_size=5)
