"""The words of a snapshot that customers read, each with the path that a finding names it by."""

from collections.abc import Iterator, Sequence
from typing import Any


def texts(snapshot: dict[str, Any], paths: Sequence[str]) -> list[tuple[str, str]]:
    """Every text at `paths`, as (field path, text), such as ("stores[0].hot_items[2].title", "招牌鱼头").

    A path is dotted, with [] behind what repeats: "stores[].hot_items[].title". Where it leads to an object or a list,
    every text in it counts, at any depth. Empty texts are left out.
    """
    return [found for path in paths for found in _at("", snapshot, path.split("."))]


def _at(place: str, value: Any, steps: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not steps:
        yield from _within(place, value)
        return
    name = steps[0].removesuffix("[]")
    part = value.get(name) if isinstance(value, dict) else None
    below = f"{place}.{name}" if place else name
    if steps[0].endswith("[]"):
        for index, item in enumerate(part or ()):
            yield from _at(f"{below}[{index}]", item, steps[1:])
    else:
        yield from _at(below, part, steps[1:])


def _within(place: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case str() if value:
            yield place, value
        case dict():
            for name in sorted(value):
                yield from _within(f"{place}.{name}", value[name])
        case list():
            for index, item in enumerate(value):
                yield from _within(f"{place}[{index}]", item)
