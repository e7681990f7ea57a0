"""Which RPCs may be sent again after a failure: what the contract's idempotency levels say."""

from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2

# A write is IDEMPOTENT because its request_id is required: whoever sends it again gets the first outcome.
REPEATABLE = (MethodOptions.IDEMPOTENT, MethodOptions.NO_SIDE_EFFECTS)

_CONTRACTS: dict[str, ServiceDescriptor] = {
    "entry": entry_pb2.DESCRIPTOR.services_by_name["EntryService"],
    "publish": publish_pb2.DESCRIPTOR.services_by_name["PublishService"],
    "audit": audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    "share": share_pb2.DESCRIPTOR.services_by_name["ShareService"],
    "redeem": redeem_pb2.DESCRIPTOR.services_by_name["RedeemService"],
}
# The services of the mesh by their names in Consul.
SERVICES = tuple(_CONTRACTS)


@dataclass(frozen=True)
class Method:
    """One RPC; `path` is "/sharemesh.v1.RedeemService/RedeemCoupon".

    A stream that may be retried is opened again only while it has brought nothing, not even its headers: from then on
    a break is its caller's to see, who resumes with the cursor that he was given last.
    """

    path: str
    is_retryable: bool
    is_streaming: bool


def service_of(name: str) -> str:
    """The full name, "sharemesh.v1.RedeemService", of "redeem"; KeyError for a service that is not of the mesh."""
    return _CONTRACTS[name].full_name


@cache
def methods_of(name: str) -> tuple[Method, ...]:
    """The RPCs of a service of the mesh ("redeem") in the contract's order; KeyError for one that is not."""
    service = _CONTRACTS[name]
    return tuple(
        Method(
            path=f"/{service.full_name}/{method.name}",
            is_retryable=method.GetOptions().idempotency_level in REPEATABLE,
            is_streaming=method.server_streaming or method.client_streaming,
        )
        for method in service.methods
    )
