"""docs/openapi.yaml, which `make openapi` writes, says what the contracts say."""

import re
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from openapi_spec_validator import validate
from openapi_spec_validator.readers import read_from_filename

from gateway.descriptors import SERVICES
from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2

ROOT = Path(__file__).resolve().parent.parent.parent
VERBS = ("get", "put", "post", "patch", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content, _ = read_from_filename(str(ROOT / "docs" / "openapi.yaml"))
    return dict(content)


def methods() -> list[MethodDescriptor]:
    """Every RPC with an address."""
    found = [
        method
        for module in (audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    return [method for method in found if not method.server_streaming]


def rule_of(method: MethodDescriptor) -> Any:
    extension: Any = annotations_pb2.http  # Its own stubs do not say what it extends.
    return method.GetOptions().Extensions[extension]


def address_of(method: MethodDescriptor) -> tuple[str, str]:
    """(verb, path), with one place for each variable's segment: /v1/{name=stores/*}:verify is /v1/stores/{}:verify."""
    rule = rule_of(method)
    verb = str(rule.WhichOneof("pattern"))
    path = re.sub(r"\{[^={}]+=([^}]*)\}", lambda match: match[1], getattr(rule, verb))
    return verb, path.replace("*", "{}")


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (verb, re.sub(r"\{[^}]*\}", "{}", path)): operation
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if verb in VERBS
    }


def messages(method: MethodDescriptor) -> dict[str, Descriptor]:
    """Those of ours that the answers and bodies of an RPC are made of, by name."""
    found: dict[str, Descriptor] = {}
    body = rule_of(method).body
    waiting: list[Descriptor | None] = [method.output_type]
    if body == "*":
        waiting.append(method.input_type)
    elif body:
        waiting.append(method.input_type.fields_by_name[body].message_type)
    while waiting:
        message = waiting.pop()
        if message is None or message.file.package != "sharemesh.v1" or message.full_name in found:
            continue
        found[message.full_name] = message
        waiting += [field.message_type for field in message.fields]
    return {name: message for name, message in found.items() if not message.GetOptions().map_entry}


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.")


def test_every_unary_rpc_is_in_it_at_its_address_and_nothing_else(document: dict[str, Any]) -> None:
    expected = {address_of(method): f"{method.containing_service.name}_{method.name}" for method in methods()}
    assert len(expected) == 62
    assert {place: operation["operationId"] for place, operation in operations(document).items()} == expected
    assert {method.containing_service.full_name for method in methods()} == set(SERVICES)


def test_it_is_not_behind_the_contracts(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    wanted: dict[str, Descriptor] = {}
    for method in methods():
        wanted |= messages(method)
    missing = []
    for name, message in wanted.items():
        schema = schemas.get(name.removeprefix("sharemesh.v1.").replace(".", "_"))
        missing += [f"{name}.{field.json_name}" for field in message.fields if not _has(schema, field)]
    assert missing == []


def _has(schema: dict[str, Any] | None, field: FieldDescriptor) -> bool:
    """Whether the schema has the field, and an enum's every value. What is in the path is in no body."""
    if schema is None or field.json_name not in schema["properties"]:
        return False
    told = schema["properties"][field.json_name]
    values = told.get("items", told).get("enum")
    return field.enum_type is None or values == [value.name for value in field.enum_type.values]


def test_what_can_be_asked_is_what_the_request_has(document: dict[str, Any]) -> None:
    """Parameters of the query: every field of the request that is neither in the path nor the body."""
    known = operations(document)
    for method in methods():
        asked = {one["name"] for one in known[address_of(method)].get("parameters", ()) if one["in"] == "query"}
        rule = rule_of(method)
        in_path = {name.split(".")[0] for name in re.findall(r"\{([^={}]+)=", getattr(rule, address_of(method)[0]))}
        fields = method.input_type.fields
        plain = {field.json_name for field in fields if field.message_type is None and field.name not in in_path}
        assert rule.body == "*" or plain - {rule.body} <= asked, method.full_name


def test_it_tells_of_errors_and_tokens(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert all("default" in operation["responses"] for operation in operations(document).values())
