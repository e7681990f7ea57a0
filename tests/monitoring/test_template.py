"""Keeps the rules of the template, by its text alone."""

import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import catalogue, gateways, heartbeat
from monitoring.sql import link

ROOT = Path(__file__).resolve().parent.parent.parent
EXPORT = yaml.safe_load((ROOT / "monitoring" / "template.yaml").read_text())["zabbix_export"]
TEMPLATES = {one["template"]: one for one in EXPORT["templates"]}
# What a number without a unit counts, as the items' names say it, or a ratio.
COUNTED = (
    "number|open|values|threads|connections|nodes|queue|instances|servers|missed|publications|activities|rows|length|now|"
    "load|cores|waiting|lost|refused|definitions|"
    "given|claims|miscounted|supply|twice|match|history"
)

Node = Mapping[str, Any]


def rules_of(template: Node) -> list[Node]:
    return list(template["discovery_rules"])


def items_of(template: Node) -> list[Node]:
    return [*template["items"], *(item for rule in rules_of(template) for item in rule["item_prototypes"])]


def triggers_of(template: Node) -> list[Node]:
    return [
        one for item in items_of(template) for kind in ("triggers", "trigger_prototypes") for one in item.get(kind, ())
    ]


def graphs_of(template: Node) -> list[Node]:
    own = [one for one in EXPORT["graphs"] if one["graph_items"][0]["item"]["host"] == template["template"]]
    return [*own, *(graph for rule in rules_of(template) for graph in rule.get("graph_prototypes", ()))]


def walk(node: Any) -> Iterator[Node]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from walk(one)


@pytest.fixture(params=TEMPLATES)
def template(request: pytest.FixtureRequest) -> Node:
    found: Node = TEMPLATES[request.param]
    return found


def test_uuids_have_the_form_of_version_4_and_none_comes_twice() -> None:
    found = [node["uuid"] for node in walk(EXPORT) if "uuid" in node]
    assert [one for one in found if uuid.UUID(one).hex != one or uuid.UUID(one).version != 4] == []
    assert [one for one, count in Counter(found).items() if count > 1] == []


def test_no_key_and_no_name_comes_twice(template: Node) -> None:
    for nodes, by in (
        ([*items_of(template), *rules_of(template)], "key"),
        (items_of(template), "name"),
        (triggers_of(template), "name"),
        (graphs_of(template), "name"),
        (template["macros"], "macro"),
    ):
        assert [name for name, count in Counter(node[by] for node in nodes).items() if count > 1] == []


def test_every_item_has_a_unit_or_says_what_its_value_means(template: Node) -> None:
    unclear = [
        item["key"]
        for item in items_of(template)
        if not (item.get("units") or item.get("valuemap") or item.get("value_type") in ("CHAR", "TEXT"))
        and not re.search(COUNTED, item["name"], re.IGNORECASE)
    ]
    assert unclear == []


def test_every_item_waits_for_the_sidecar_or_is_worked_out(template: Node) -> None:
    assert {item["type"] for item in items_of(template)} <= {"TRAP", "CALCULATED"}
    assert {rule["type"] for rule in rules_of(template)} == {"TRAP"}
    assert [item["key"] for item in items_of(template) if not item["key"].startswith("sharemesh.")] == []


def test_value_maps_are_there_and_used(template: Node) -> None:
    used = {item["valuemap"]["name"] for item in items_of(template) if "valuemap" in item}
    assert used == {one["name"] for one in template["valuemaps"]}


def test_every_item_and_trigger_has_its_tag(template: Node) -> None:
    assert [item["key"] for item in items_of(template) if "component" not in {tag["tag"] for tag in item["tags"]}] == []
    assert {tag["value"] for trigger in triggers_of(template) for tag in trigger["tags"] if tag["tag"] == "scope"} <= {
        "availability",
        "capacity",
        "notice",
        "performance",
        "security",
    }


def test_all_macros_are_defined_used_and_described(template: Node) -> None:
    used = {name for trigger in triggers_of(template) for name in re.findall(r"\{\$([A-Z0-9.]+)", str(trigger))}
    assert used == {re.findall(r"\{\$([A-Z0-9.]+)", macro["macro"])[0] for macro in template["macros"]}
    # One without a context, which holds for whatever has none of its own.
    assert used == {macro["macro"][2:-1] for macro in template["macros"] if ":" not in macro["macro"]}
    assert [macro["macro"] for macro in template["macros"] if not macro["description"]] == []


def test_triggers_ask_for_items_of_their_template_alone(template: Node) -> None:
    keys = {f"/{template['template']}/{item['key']}" for item in items_of(template)}
    for trigger in triggers_of(template):
        for expression in (trigger["expression"], trigger.get("recovery_expression", "")):
            named = re.findall(r"\((/[^/]+/sharemesh\.[a-z0-9.]+(?:\[[^\]]*\])?)", expression)
            assert set(named) <= keys
            assert named or not expression


def test_a_dependency_is_a_trigger_that_may_be_depended_on(template: Node) -> None:
    triggers = {one["name"]: one for one in triggers_of(template)}
    rule_of = {
        trigger["name"]: rule["key"]
        for rule in rules_of(template)
        for item in rule["item_prototypes"]
        for trigger in item.get("trigger_prototypes", ())
    }
    for trigger in triggers.values():
        for master in trigger.get("dependencies", ()):
            found = triggers[master["name"]]
            assert {name: found.get(name) for name in master} == master
            # One of a prototype is of the same rule's, or no prototype's.
            assert rule_of.get(found["name"], rule_of.get(trigger["name"])) == rule_of.get(trigger["name"])


def test_nobody_waits_for_himself(template: Node) -> None:
    masters = {one["name"]: {m["name"] for m in one.get("dependencies", ())} for one in triggers_of(template)}
    while masters:
        free = {name for name, others in masters.items() if not others & masters.keys()}
        assert free, f"these depend on each other: {masters}"
        masters = {name: others for name, others in masters.items() if name not in free}


def test_every_trigger_has_a_severity_and_says_what_to_do(template: Node) -> None:
    severities = {"INFO", "WARNING", "AVERAGE", "HIGH", "DISASTER"}
    assert [one["name"] for one in triggers_of(template) if one["priority"] not in severities] == []
    assert [one["name"] for one in triggers_of(template) if len(one["description"]) < 40] == []


def test_prototypes_have_the_macros_of_their_rule(template: Node) -> None:
    for rule in rules_of(template):
        for node in (*rule["item_prototypes"], *rule.get("graph_prototypes", ())):
            assert "{#" in node["name"]
        # What differs between two rows is in the key, else both had the same.
        parameters = {tuple(re.findall(r"\{#[A-Z]+\}", item["key"])) for item in rule["item_prototypes"]}
        assert len(parameters) == 1
        assert parameters != {()}


def test_what_is_shown_is_there(template: Node) -> None:
    keys = {item["key"] for item in items_of(template)}
    graphs = {graph["name"] for graph in graphs_of(template)}
    assert {item["item"]["key"] for graph in graphs_of(template) for item in graph["graph_items"]} <= keys
    shown: dict[str, set[str]] = {"ITEM": set(), "GRAPH": set(), "GRAPH_PROTOTYPE": set()}
    for node in walk(template["dashboards"]):
        if node.get("type") in shown and isinstance(node.get("value"), dict):
            shown[node["type"]].add(node["value"].get("key") or node["value"]["name"])
    assert shown["ITEM"] <= keys
    assert shown["GRAPH"] | shown["GRAPH_PROTOTYPE"] == graphs


def test_the_document_has_every_trigger_with_its_severity_and_every_macro_with_its_default(template: Node) -> None:
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split(" | "))
        for line in (ROOT / "docs" / "monitoring.md").read_text().splitlines()
        if line.startswith("| ")
    }
    severities = {"INFO": "information"}
    for one in triggers_of(template):
        priority = one["priority"]
        assert (one["name"], severities.get(priority, priority.lower()), one["description"].replace("|", "\\|")) in rows
    for macro in template["macros"]:
        assert (f"`{macro['macro']}`", f"`{macro['value']}`", macro["description"]) in rows


def test_a_latency_is_told_before_its_reader_gives_up() -> None:
    defaults = {macro["macro"]: macro["value"] for one in TEMPLATES.values() for macro in one["macros"]}
    assert float(defaults["{$SHAREMESH.CHECK}"]) < min(heartbeat.CHECK_SECONDS, gateways.CHECK_SECONDS)
    assert float(defaults["{$SHAREMESH.CONSUL.LATENCY}"]) < catalogue.ASK_SECONDS
    assert float(defaults["{$SHAREMESH.DB.LATENCY}"]) < link.LIMIT_SECONDS


def test_what_left_is_forgotten_within_an_hour() -> None:
    lifetimes = {rule["key"]: rule["lifetime"] for one in TEMPLATES.values() for rule in rules_of(one)}
    assert lifetimes["sharemesh.instance.discovery"] == lifetimes["sharemesh.gateway.discovery"] == "1h"
