"""Keeps the documents true: diagrams against tables, names against contracts, commands against the Makefile."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor

import services.__main__ as command_line
from services.chassis import settings
from services.ledger import rows
from services.schema import lifecycle, tables
from sharemesh.v1 import (
    audit_pb2,
    entry_pb2,
    error_reason_pb2,
    options_pb2,
    promotion_pb2,
    publish_pb2,
    redeem_pb2,
    share_pb2,
)

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CONTRACTS = (audit_pb2, entry_pb2, error_reason_pb2, options_pb2, promotion_pb2, publish_pb2, redeem_pb2, share_pb2)
RPCS = {
    service.name: {method.name for method in service.methods}
    for contract in CONTRACTS
    for service in contract.DESCRIPTOR.services_by_name.values()
}
# The states that only the clock knows; "by the clock" marks them in the diagrams.
DERIVED = {"Coupon": {"EXPIRED"}, "Reward": {"GRANTED"}}
PERSONAL = re.compile(r"subject|owner|customer|sharer|visitor|operator|actor|resolver|pseudonym")

Edges = set[tuple[str, str]]


def diagram_of(heading: str) -> tuple[Edges, Edges]:
    """The edges that are stored and those by the clock; "" stands for the beginning, the end is left out."""
    text = (ROOT / "docs" / "states.md").read_text()
    section = re.search(rf"^## {heading}\n.*?```mermaid\nstateDiagram-v2\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert section, f"docs/states.md has no diagram under {heading}"
    stored: Edges = set()
    clock: Edges = set()
    for line in section[1].splitlines():
        edge = re.fullmatch(r" {4}(\[\*\]|[A-Z_]+) --> (\[\*\]|[A-Z_]+)(?: : (.+))?", line)
        assert edge, f"{heading}: not an edge: {line}"
        before, after = ("" if end == "[*]" else end for end in edge.group(1, 2))
        if after:
            (clock if (edge[3] or "").startswith("by the clock") else stored).add((before, after))
    return stored, clock


def edges_of(table: dict[str, frozenset[str]]) -> Edges:
    return {(before, after) for before, afters in table.items() for after in afters}


def states_of(enum: EnumDescriptor) -> set[str]:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    return {name.removeprefix(prefix) for name in enum.values_by_name} - {"UNSPECIFIED"}


@pytest.mark.parametrize(
    ("heading", "table"),
    [("Activity", lifecycle.ACTIVITY), ("Publication", lifecycle.PUBLICATION), ("Coupon", rows.COUPON)],
)
def test_a_diagram_shows_every_move_of_its_table_and_no_other(heading: str, table: dict[str, frozenset[str]]) -> None:
    stored, clock = diagram_of(heading)
    assert stored == edges_of(table)
    assert {after for _, after in clock} == DERIVED.get(heading, set())


@pytest.mark.parametrize(
    ("heading", "enum"),
    [
        ("Activity", entry_pb2.ActivityState.DESCRIPTOR),
        ("Publication", entry_pb2.PublicationState.DESCRIPTOR),
        ("Coupon", redeem_pb2.CouponState.DESCRIPTOR),
        ("Share", share_pb2.ShareState.DESCRIPTOR),
        ("Audit", audit_pb2.AuditState.DESCRIPTOR),
        ("Rollout", audit_pb2.RolloutState.DESCRIPTOR),
    ],
)
def test_a_diagram_shows_every_state_of_the_contract_and_no_other(heading: str, enum: EnumDescriptor) -> None:
    stored, clock = diagram_of(heading)
    assert {state for edge in stored | clock for state in edge if state} == states_of(enum)


def test_a_reward_is_held_granted_or_revoked() -> None:
    assert diagram_of("Reward") == ({("", "HELD"), ("HELD", "REVOKED")}, {("HELD", "GRANTED")})


@pytest.mark.parametrize("service", sorted(RPCS))
def test_the_readme_lists_every_rpc_of_a_service_and_no_other(service: str) -> None:
    section = re.search(rf"^### {service}\n(.*?)(?=^#)", README.read_text(), re.DOTALL | re.MULTILINE)
    assert section, f"README.md has no section {service}"
    listed = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == RPCS[service]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_rpc_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    qualified = re.findall(r"\b([A-Z]\w+Service)[./]([A-Z]\w+)", text)
    assert [f"{service}.{rpc}" for service, rpc in qualified if rpc not in RPCS.get(service, ())] == []
    everything = {rpc for rpcs in RPCS.values() for rpc in rpcs}
    messages = {name for contract in CONTRACTS for name in contract.DESCRIPTOR.message_types_by_name}
    verbs = "|".join(sorted({re.findall("[A-Z][a-z]+", rpc)[0] for rpc in everything}))
    # Services and their stubs, and the outer classes of Java, begin with the same words.
    named = set(re.findall(rf"\b(?:{verbs})(?!Service|OuterClass)[A-Z][A-Za-z]+\b", text))
    assert named - everything - messages == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    code = "\n".join([*re.findall(r"```.*?```", text, re.DOTALL), *re.findall(r"`[^`\n]+`", text)])
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) - targets == set()
    commands = {
        name.replace("-", "_") for name in re.findall(r"(?:^|[`/])sharemesh ([a-z][a-z-]*)", code, re.MULTILINE)
    }
    assert {command for command in commands if not callable(getattr(command_line, command, None))} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_lists_every_setting_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `(--[a-z-]+)` \| (?:`([^`]*)`)?", README.read_text(), re.MULTILINE))
    defaults = {one.name: one.metadata["default"].format(var="<var>") for one in fields(settings.Settings)}
    # The registry's default is five addresses: told in words.
    del defaults["registry"]
    assert listed.pop("--registry") == ""
    assert listed == {"--" + name.replace("_", "-"): default for name, default in defaults.items()}


def test_the_privacy_document_names_every_column_that_tells_of_a_person() -> None:
    text = (ROOT / "docs" / "privacy.md").read_text()
    columns = {
        f"{table.__name__}.{column}" for table in tables.ALL for column in table._meta.fields if PERSONAL.search(column)
    }
    assert {column for column in columns if f"`{column}`" not in text} == set()
