"""Canary rules: which part of the calls of a service each of its versions gets."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from registry.instance import Instance

PREFIX = "sharemesh/routes/"
# It becomes a tag, part of a cluster's name and a header's value.
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


@dataclass(frozen=True)
class Route:
    """Percent by version, 100 together at most; all other versions share the rest."""

    canary: Mapping[str, int]

    def __post_init__(self) -> None:
        for version, percent in self.canary.items():
            if not VERSION.fullmatch(version):
                raise ValueError(f"{version!r} is not a version: letters, digits, . _ -, 32 at most")
            if not 0 <= percent <= 100:
                raise ValueError(f"{percent} % for {version} is not from 0 to 100")
        if sum(self.canary.values()) > 100:
            raise ValueError(f"the versions get {sum(self.canary.values())} % together: more than 100")

    def text(self) -> str:
        """The value under the key of its service; parse() reads it back."""
        return json.dumps({"canary": dict(sorted(self.canary.items()))})


def key_of(service: str) -> str:
    """The key that the route of a service stands under."""
    return PREFIX + service


def parse(text: str) -> Route:
    """The route in {"canary": {"v2": 10}}; ValueError says what is wrong with it."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    canary = told.get("canary") if isinstance(told, dict) else None
    if not isinstance(canary, dict) or any(type(percent) is not int for percent in canary.values()):
        raise ValueError('is not of the form {"canary": {"v2": 10}}')
    return Route(canary)


def of_flag(text: str) -> Route:
    """The route in "v2=10%", or "v2=10%,v3=5%"; ValueError says what is wrong with it."""
    canary: dict[str, int] = {}
    for part in text.split(","):
        version, _, percent = (side.strip() for side in part.partition("="))
        number = percent.removesuffix("%").strip()
        if not version or not re.fullmatch(r"[0-9]{1,3}", number):
            raise ValueError(f"{part!r} is not version=percent, as in v2=10%")
        if version in canary:
            raise ValueError(f"{version} is listed twice")
        canary[version] = int(number)
    return Route(canary)


def canaries(instances: Iterable[Instance], route: Route | None) -> dict[str, int]:
    """Percent of each version that has a share of its own; the other versions' instances share the rest equally.

    The route wins over the instances' own tags (of a version's differing tags the lowest counts: caution). What cannot
    be kept is not: a version without instances gets nothing, and where all versions have shares, or tags sum up to
    more than 100, the shares are scaled to 100. {}: all instances are equal.
    """
    present = list(instances)
    asked = route.canary if route is not None else _tagged(present)
    versions = {instance.version for instance in present}
    found = {version: asked[version] for version in sorted(versions) if version in asked}
    total = sum(found.values())
    if total <= 100 and len(found) < len(versions):
        return found
    if len(found) == 1 or not total:
        return {}
    return _scaled(found, total)


def shares(instances: Iterable[Instance], route: Route | None) -> dict[str, float]:
    """Percent of the calls that each version gets, 100 together; {} without instances."""
    present = list(instances)
    own = canaries(present, route)
    counts = Counter(instance.version for instance in present)
    others = sum(count for version, count in counts.items() if version not in own)
    rest = 100 - sum(own.values())
    return {
        version: float(own[version]) if version in own else rest * count / others
        for version, count in sorted(counts.items())
    }


def _tagged(instances: Iterable[Instance]) -> dict[str, int]:
    asked: dict[str, int] = {}
    for instance in instances:
        if instance.canary is not None:
            asked[instance.version] = min(instance.canary, asked.get(instance.version, 100))
    return asked


def _scaled(found: Mapping[str, int], total: int) -> dict[str, int]:
    """To 100 together: rounded down, what is left goes to the largest."""
    scaled = {version: percent * 100 // total for version, percent in found.items()}
    scaled[max(scaled, key=lambda version: scaled[version])] += 100 - sum(scaled.values())
    return scaled
