"""What a sidecar must know of the contracts; their stubs would take three more megabytes of its memory.

tests/monitoring/test_contracts.py compares.
"""

SERVICES = ("entry", "publish", "audit", "share", "redeem")
# RPCs as the services count them, that last for as long as their callers like.
STREAMS = frozenset({"PublishService.WatchActivity"})


def contract_of(service: str) -> str:
    """The full name of a service's contract, which its health is reported by: "sharemesh.v1.RedeemService"."""
    return f"sharemesh.v1.{service.capitalize()}Service"
