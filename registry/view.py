"""What the control plane knows of a service, and of who asks for it: plain values, from which resources are made."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from registry.instance import Instance
from registry.routes import Route, canaries

# Who asks: a gRPC client tells the first as its node's cluster, Envoy the second.
MESH = "mesh"
GATEWAY = "gateway"


@dataclass(frozen=True)
class View:
    """One service as it is to be shown."""

    service: str
    # None: not known yet, which is not the same as none.
    instances: tuple[Instance, ...] | None = None
    route: Route | None = None
    # The versions that have a cluster of their own, "redeem/v2", and those of them that calls may be sent to.
    clusters: frozenset[str] = field(default=frozenset())
    routed: frozenset[str] = field(default=frozenset())

    @property
    def canaries(self) -> dict[str, int]:
        """Percent of each version that has a share of its own."""
        return canaries(self.instances or (), self.route)

    def cluster_of(self, version: str) -> str:
        """The name of a version's own cluster."""
        return f"{self.service}/{version}"


@dataclass(frozen=True)
class Caller:
    """Whom resources are made for; callers that are equal here get the same ones."""

    zone: str = ""
    is_gateway: bool = False
    # The folder with an Envoy's certificates on its own machine (sockets.SECRETS); "" for gRPC.
    secrets: str = ""


def versions_of(instances: Iterable[Instance] | None) -> frozenset[str]:
    """The versions among these instances."""
    return frozenset(instance.version for instance in instances or ())
