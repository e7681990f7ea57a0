"""One process of a service as the registry knows it."""

import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from registry import config

PERCENT = re.compile(r"100|[0-9]{1,2}")
PASSING = "passing"
CRITICAL = "critical"
# What the control planes themselves are registered as.
CONTROL_PLANE = "control-plane"


@dataclass(frozen=True, order=True)
class Instance:
    """Where one process serves, what it is, and how it does."""

    service: str
    id: str
    host: str
    port: int
    zone: str = ""
    version: str = "v1"
    # Percent of the calls that all instances of this version together get; None: an equal part.
    canary: int | None = None
    # host:port of /metrics, if it has one.
    metrics: str = ""
    # "passing", "warning", "critical" or "maintenance".
    state: str = PASSING
    # Whose health the registry asks for, such as "sharemesh.v1.RedeemService"; empty: the whole server's. With a name,
    # another service that later gets the port of a dead instance does not pass for it. Not told by the registry.
    health: str = ""

    @property
    def address(self) -> str:
        """host:port, an IPv6 host in brackets."""
        return config.joined(self.host, self.port)

    @property
    def is_tellable(self) -> bool:
        """Whether xDS clients can be told of it: they take IP addresses and real ports, and all instances or none."""
        try:
            host = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        # A scope such as %eth0 is of one machine, and Envoy refuses it.
        return 0 < self.port < 65536 and not host.is_unspecified and "%" not in self.host

    @property
    def tags(self) -> list[str]:
        """Zone, version and canary as the registry's tags."""
        tags = [f"zone={self.zone}"] if self.zone else []
        tags.append(f"version={self.version}")
        return tags if self.canary is None else [*tags, f"canary={self.canary}"]


def new_id(service: str) -> str:
    """A name that no other instance has, such as redeem-3fa91c."""
    return f"{service}-{secrets.token_hex(3)}"


def of_tags(
    service: str, id: str, host: str, port: int, tags: Iterable[str], metrics: str = "", state: str = PASSING
) -> Instance:
    """The instance that carries these tags; foreign ones, and a canary that is no percentage, are passed over."""
    told = dict(tag.partition("=")[::2] for tag in tags)
    canary = told.get("canary", "")
    is_percent = PERCENT.fullmatch(canary) is not None
    return Instance(
        service=service,
        id=id,
        host=host,
        port=port,
        zone=told.get("zone", ""),
        version=told.get("version") or Instance.version,
        canary=int(canary) if is_percent else None,
        metrics=metrics,
        state=state,
    )
