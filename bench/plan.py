"""Which rows are measured, in groups whose slices are interleaved."""

from collections.abc import Sequence

from bench.slices import Cell
from bench.subjects import ECHO, FASTAPI, OURS, RAW, SINGLE
from bench.traffic import CLAIMS, HOT, MIXED, MY_OFFER, OFFER, OFFERS, REDEEM, SPREAD

LONE, MANY = 1, 64
SLOW_MS = 1.0
SMALL, MIDDLE, BIG = 10_000, 1_000_000, 5_000_000
_FEW, _ALL = (LONE, MANY), (LONE, 8, MANY, 256)
# Threads in place of callers: as many as are best.
_BEST = (0,)

# Who, does what, for how many callers.
Lines = Sequence[tuple[str, str, Sequence[int]]]

# What the goals need, and a little around it.
_REDEEM: Lines = (
    (ECHO, REDEEM, _ALL),
    (OURS, REDEEM, _ALL),
    (OURS, MIXED, (MANY,)),
    (SINGLE, REDEEM, _FEW),
    (RAW, REDEEM, _BEST),
    (FASTAPI, REDEEM, _FEW),
)
_CLAIM: Lines = (
    (ECHO, HOT, _FEW),
    (OURS, HOT, _FEW),
    (OURS, SPREAD, (MANY,)),
    (SINGLE, HOT, _FEW),
    (RAW, HOT, _BEST),
    (FASTAPI, HOT, (MANY,)),
)
_READ: Lines = (
    (ECHO, OFFER, _FEW),
    (OURS, OFFER, _FEW),
    (OURS, MY_OFFER, (MANY,)),
    (ECHO, OFFERS, (MANY,)),
    (OURS, OFFERS, (MANY,)),
)
_SLOW: Lines = (
    (OURS, REDEEM, _FEW),
    (SINGLE, REDEEM, _FEW),
    (RAW, REDEEM, _BEST),
    (FASTAPI, REDEEM, (MANY,)),
    (OURS, HOT, (MANY,)),
    (SINGLE, HOT, (MANY,)),
)
# The rest, by hand.
_EVERY_REDEEM: Lines = tuple(
    (who, work, _BEST if who == RAW else _ALL)
    for work in (REDEEM, MIXED)
    for who in (ECHO, OURS, SINGLE, RAW, FASTAPI)
    if who != ECHO or work != MIXED
)
_EVERY_CLAIM: Lines = tuple(
    (who, work, _BEST if who == RAW else _ALL)
    for work in (HOT, SPREAD)
    for who in (ECHO, OURS, SINGLE, RAW, FASTAPI)
    if who != ECHO or work == HOT
)
_EVERY_READ: Lines = (
    (ECHO, OFFER, _ALL),
    (ECHO, OFFERS, _ALL),
    *((OURS, work, _ALL) for work in (OFFER, MY_OFFER, OFFERS)),
)
_EVERY_SLOW: Lines = tuple(
    (who, work, _BEST if who == RAW else _ALL) for work in (REDEEM, HOT) for who in (OURS, SINGLE, RAW, FASTAPI)
)


def service_of(work: str) -> str:
    """The service that does this work."""
    return "share" if work in CLAIMS else "redeem"


def groups(is_full: bool) -> dict[str, list[Cell]]:
    """The cells by group; the full plan has those too that no goal needs."""
    sizes = (SMALL, MIDDLE, BIG) if is_full else (SMALL, BIG)
    writes = (REDEEM, HOT)
    found = {
        "redeem": _cells("redeem", _EVERY_REDEEM if is_full else _REDEEM),
        "claim": _cells("claim", _EVERY_CLAIM if is_full else _CLAIM),
        "read": _cells("read", _EVERY_READ if is_full else _READ),
        "slow disk": [
            *_cells("slow disk", [(ECHO, REDEEM, (MANY,))]),
            *_cells("slow disk", _EVERY_SLOW if is_full else _SLOW, SLOW_MS),
        ],
        "volume": [Cell("volume", OURS, work, MANY, coupons=coupons) for coupons in sizes for work in writes],
    }
    if is_full:
        found["processes"] = _cells("processes", [(ECHO, REDEEM, (MANY,)), (ECHO, HOT, (MANY,))])
        found["processes"] += [
            Cell("processes", OURS, work, MANY, processes=count) for count in (1, 2, 3) for work in writes
        ]
    return found


def _cells(group: str, lines: Lines, sync_ms: float = 0.0) -> list[Cell]:
    return [Cell(group, who, work, count, sync_ms) for who, work, callers in lines for count in callers]
