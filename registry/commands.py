"""The commands of whoever runs the mesh: `sharemesh route` and `sharemesh mesh status`."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from registry import config, consul, routes
from registry.consul import RegistryAway
from registry.instance import CONTROL_PLANE, PASSING, Instance
from registry.routes import Route

# What a log or a pipe gets, which has no width of its own.
WIDTH = 120
STATES = {PASSING: "green", "warning": "yellow"}
# Exit codes: what was asked cannot be, and Consul cannot be asked.
REFUSED, AWAY = 2, 1


@dataclass(frozen=True)
class Place:
    """The registry that a command speaks to, and as whom; the services that there are."""

    registry: config.Static | config.Consul
    services: Sequence[str]
    # The file of the ACL token, and the folder of one's own certificate.
    token: Path | None = None
    tls: Path | None = None


def route(place: Place, service: str = "", canary: str = "", is_clear: bool = False) -> int:
    """Show the canary rules of one or all services, or set or clear one's; returns the exit code."""
    try:
        new = _asked(place, service, canary, is_clear)
    except ValueError as error:
        return _refuse(str(error))

    async def act(registry: consul.Consul) -> None:
        if new is not None:
            await registry.put(routes.key_of(service), new.text())
        if is_clear:
            await registry.delete(routes.key_of(service))
        await _show_routes(registry, [service] if service else place.services)

    return _with(place, act)


def status(place: Place) -> int:
    """Show every instance with its health and its part of the traffic; returns the exit code."""
    return _with(place, lambda registry: _show_instances(registry, place.services))


def _asked(place: Place, service: str, canary: str, is_clear: bool) -> Route | None:
    """The rule to be set, if one is; ValueError says what is wrong and what to do."""
    if service and service not in place.services:
        raise ValueError(f"no service is named {service}: give one of {', '.join(place.services)}")
    if not service and (canary or is_clear):
        raise ValueError(f"--canary and --clear are for one service: name one of {', '.join(place.services)}")
    if canary and is_clear:
        raise ValueError("--canary sets a rule and --clear removes it: give one of them")
    try:
        return routes.of_flag(canary) if canary else None
    except ValueError as error:
        raise ValueError(f"--canary: {error}; give for example --canary v2=10%") from error


def _refuse(complaint: str) -> int:
    sys.stderr.write(f"sharemesh: {complaint}\n")
    return REFUSED


def _with(place: Place, act: Callable[[consul.Consul], Awaitable[None]]) -> int:
    if isinstance(place.registry, config.Static):
        return _refuse("--registry lists addresses and has no rules or health: give --registry consul://host:8500")
    registry = place.registry

    async def run() -> None:
        token = config.token_in(place.token) if place.token else None
        async with consul.Consul(registry, token, place.tls) as opened:
            await act(opened)

    try:
        asyncio.run(run())
    except RegistryAway as error:
        sys.stderr.write(f"sharemesh: {error}\nsharemesh: is that where Consul is? See --registry.\n")
        return AWAY
    return 0


async def _show_routes(registry: consul.Consul, services: Sequence[str]) -> None:
    told = await registry.values(routes.PREFIX)
    table = _table("service", "rule", "traffic now")
    for service in services:
        text = told.get(routes.key_of(service))
        passing = [one for one in await registry.instances(service) if one.state == PASSING]
        rule, route = _rule(text)
        table.add_row(service, rule, _traffic(passing, route))
    _print(table)


async def _show_instances(registry: consul.Consul, services: Sequence[str]) -> None:
    told = await registry.values(routes.PREFIX)
    table = _table("service", "instance", "address", "zone", "version", "health", "traffic")
    zones = set()
    for service in (*services, CONTROL_PLANE):
        found = await registry.instances(service)
        parts = _parts(found, _rule(told.get(routes.key_of(service)))[1])
        zones |= {one.zone for one in found}
        if not found:
            table.add_row(service, Text("none is registered", "dim" if service == CONTROL_PLANE else "red"))
        for one in found:
            state = Text(one.state, STATES.get(one.state, "red"))
            # Whoever wants a control plane names it: none gets a part of the traffic.
            part = "" if service == CONTROL_PLANE else f"{parts.get(one.id, 0.0):.1f} %"
            table.add_row(service, one.id, one.address, one.zone, one.version, state, part)
    _print(table)
    if len(zones) > 1:
        _print("Callers prefer the instances of their own zone; the traffic shown is that of callers without one.")


def _rule(text: str | None) -> tuple[Text, Route | None]:
    """The rule in words, and itself; None for a broken one, of which nobody here knows what it was before."""
    if text is None:
        return Text("none", "dim"), None
    try:
        route = routes.parse(text)
    except ValueError as error:
        return Text(f"broken, the last good one counts: {error}", "red"), None
    return Text(", ".join(f"{version} {percent} %" for version, percent in route.canary.items()) or "all equal"), route


def _traffic(passing: Sequence[Instance], route: Route | None) -> Text:
    shares = routes.shares(passing, route)
    missing = [version for version in (route.canary if route else ()) if version not in shares]
    words = [f"{version} {share:.1f} %" for version, share in shares.items()]
    words += [f"{version} 0 %: none is passing" for version in missing]
    return Text(", ".join(words) or "no instance is passing", "" if shares and not missing else "red")


def _parts(found: Sequence[Instance], route: Route | None) -> Mapping[str, float]:
    """Percent of the traffic by instance."""
    passing = [one for one in found if one.state == PASSING]
    shares = routes.shares(passing, route)
    counts = Counter(one.version for one in passing)
    return {one.id: shares[one.version] / counts[one.version] for one in passing}


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _print(shown: Table | str) -> None:
    # What stands in the registry is text, not rich's markup.
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(shown)
