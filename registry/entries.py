"""What stands in Consul's catalogue and key-value store, as registry.consul reads it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from registry.instance import CRITICAL, PASSING, Instance, of_tags

_WORST_FIRST = ("maintenance", CRITICAL, "warning", PASSING)


class Lock(NamedTuple):
    """A key that one session at a time may hold; both are "" while nobody does."""

    value: str = ""
    session: str = ""


def instances_of(nodes: Iterable[Mapping[str, Any]]) -> list[Instance]:
    """In order; one that several agents know is there once, in its best state."""
    best: dict[str, Instance] = {}
    for node in nodes:
        service = node["Service"]
        instance = of_tags(
            service=service["Service"],
            id=service["ID"],
            host=service["Address"] or node["Node"]["Address"],
            port=service["Port"],
            tags=service["Tags"] or (),
            metrics=(service["Meta"] or {}).get("metrics", ""),
            state=state_of(node["Checks"]),
        )
        known = best.setdefault(instance.id, instance)
        if _WORST_FIRST.index(instance.state) > _WORST_FIRST.index(known.state):
            best[instance.id] = instance
    return sorted(best.values(), key=lambda instance: (instance.service, instance.id))


def state_of(checks: Iterable[Mapping[str, Any]]) -> str:
    """The worst of all checks, as Consul itself sums them up; none at all is passing."""
    states = {"maintenance" if "_maintenance" in check["CheckID"] else check["Status"] for check in checks}
    return next((state for state in _WORST_FIRST if state in states), PASSING)


def values_of(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """The keys with what they are set to."""
    return {entry["Key"]: text_of(entry["Value"]) for entry in entries or ()}


def text_of(value: bytes | None) -> str:
    """A key's value; nobody has to put text there, so anything becomes some."""
    return (value or b"").decode(errors="replace")


def lock_of(entry: Mapping[str, Any] | None) -> Lock:
    """Who holds the key of this entry; what it is set to without a lock does not count."""
    session = str((entry or {}).get("Session", ""))
    return Lock(text_of(entry["Value"]), session) if entry and session else Lock()
