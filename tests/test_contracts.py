"""What must hold for every RPC and every reason of the contracts."""

from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import EnumDescriptor, EnumValueDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from sharemesh.v1 import entry_pb2, error_reason_pb2, options_pb2, promotion_pb2, redeem_pb2
from sharemesh.v1.options_pb2 import Role
from tests.contracts import Rpc, rpcs

# These may be called without a token; whoever adds one here has decided that anybody may call it.
OPEN = {"GetImage", "GetPublication", "ListShareable", "RecordVisit", "ListOffers", "GetOffer"}

every_rpc = pytest.mark.parametrize("rpc", [pytest.param(rpc, id=name) for name, rpc in rpcs().items()])


def roles_of(rpc: Rpc) -> list[str]:
    return [Role.Name(role) for role in rpc.descriptor.GetOptions().Extensions[options_pb2.roles]]


@every_rpc
def test_an_rpc_names_the_roles_it_serves(rpc: Rpc) -> None:
    roles = roles_of(rpc)
    assert roles
    assert "ROLE_UNSPECIFIED" not in roles
    assert len(roles) == len(set(roles))


def test_no_rpc_is_open_to_anybody_by_accident() -> None:
    assert {name for name, rpc in rpcs().items() if "ROLE_ANONYMOUS" in roles_of(rpc)} == OPEN


@every_rpc
def test_an_rpc_tells_whether_it_may_be_retried(rpc: Rpc) -> None:
    assert rpc.descriptor.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN


def http_of(rpc: Rpc) -> Any:
    extension: Any = annotations_pb2.http  # Its own stubs do not say what it extends.
    return rpc.descriptor.GetOptions().Extensions[extension]


@every_rpc
def test_a_unary_rpc_has_an_address_for_the_gateway(rpc: Rpc) -> None:
    if not rpc.descriptor.server_streaming:
        assert http_of(rpc).WhichOneof("pattern")


def names_of(enum: EnumDescriptor) -> set[str]:
    """The names of an enum's values, without its prefix."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix) for value in enum.values[1:]}


def test_no_two_rpcs_have_the_same_address() -> None:
    rules = [http_of(rpc) for rpc in rpcs().values()]
    addresses = [(verb, getattr(rule, verb)) for rule in rules if (verb := rule.WhichOneof("pattern"))]
    assert len(addresses) == len(set(addresses))


@every_rpc
def test_an_rpc_has_a_comment(rpc: Rpc) -> None:
    assert rpc.comment.endswith("."), rpc.comment


@every_rpc
def test_every_write_requires_a_request_id(rpc: Rpc) -> None:
    is_write = rpc.descriptor.GetOptions().idempotency_level == MethodOptions.IDEMPOTENT
    field = rpc.descriptor.input_type.fields_by_name.get("request_id")
    assert is_write == (field is not None)


STATES = entry_pb2.ActivityState.DESCRIPTOR, entry_pb2.PublicationState.DESCRIPTOR


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("RIGHT_MISSING", names_of(entry_pb2.StaffRight.DESCRIPTOR)),
        ("BENEFIT_NOT_ALLOWED", {field.name for field in promotion_pb2.Benefit.DESCRIPTOR.fields}),
        ("ACTIVITY_STATE", set().union(*map(names_of, STATES))),
        ("COUPON_STATE", names_of(redeem_pb2.CouponState.DESCRIPTOR)),
    ],
)
def test_a_reason_has_words_for_every_value_that_it_names(reason: str, values: set[str]) -> None:
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    words = value.GetOptions().Extensions[options_pb2.words]
    assert sorted(word.value for word in words) == sorted(values)
    assert all(word.zh_cn and word.en for word in words)


@pytest.mark.parametrize("value", list(error_reason_pb2.ErrorReason.DESCRIPTOR.values), ids=lambda value: value.name)
def test_every_reason_can_be_told_in_both_languages(value: EnumValueDescriptor) -> None:
    message = value.GetOptions().Extensions[options_pb2.message]
    assert message.zh_cn
    assert message.en
    placeholders = [sorted(part.split("}")[0] for part in text.split("{")[1:]) for text in (message.zh_cn, message.en)]
    assert placeholders[0] == placeholders[1] or not placeholders[0], "a translation may be vaguer, not more telling"
