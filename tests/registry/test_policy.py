"""Each of the contract's RPCs, and whether it may be sent again."""

import re
from pathlib import Path

import pytest

from registry import policy

ROOT = Path(__file__).resolve().parent.parent.parent
RPC = re.compile(r"^  rpc (\w+)\(\w+\) returns \((stream )?[\w.]+\) \{(.*?)^  \}", re.MULTILINE | re.DOTALL)
COUNTS = {"entry": 22, "publish": 6, "audit": 15, "share": 7, "redeem": 13}


def declared(service: str) -> dict[str, tuple[bool, bool]]:
    """What the .proto file says, read as text: by path, whether it is declared repeatable, and whether it streams."""
    text = (ROOT / f"protos/sharemesh/v1/{service}.proto").read_text()
    return {
        f"/sharemesh.v1.{service.title()}Service/{name}": (
            "idempotency_level = IDEMPOTENT;" in body or "idempotency_level = NO_SIDE_EFFECTS;" in body,
            bool(stream),
        )
        for name, stream, body in RPC.findall(text)
    }


def test_the_mesh_has_the_five_services_of_the_contract() -> None:
    assert {name: len(policy.methods_of(name)) for name in policy.SERVICES} == COUNTS


@pytest.mark.parametrize("service", COUNTS)
def test_every_rpc_is_retried_exactly_where_its_idempotency_level_allows(service: str) -> None:
    told = {method.path: (method.is_retryable, method.is_streaming) for method in policy.methods_of(service)}
    assert told == declared(service)


def test_every_rpc_of_the_contract_may_be_retried_and_one_streams() -> None:
    methods = [method for name in policy.SERVICES for method in policy.methods_of(name)]
    assert len(methods) == 63
    assert all(method.is_retryable for method in methods)
    assert [method.path for method in methods if method.is_streaming] == ["/sharemesh.v1.PublishService/WatchActivity"]


def test_a_service_is_known_by_its_full_name() -> None:
    assert policy.service_of("redeem") == "sharemesh.v1.RedeemService"
    with pytest.raises(KeyError):
        policy.methods_of("control-plane")
