"""The built-in templates are sound, and answers that do not fit one are told so that a merchant can act."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from services.entry.templates import check_fields, check_template, load
from services.ledger.benefits import KINDS
from services.ledger.checks import check

BUILT_IN = {template["uid"]: template for template in load()}
each_template = pytest.mark.parametrize("template", BUILT_IN.values(), ids=BUILT_IN.keys())


def answers(template: dict[str, Any], language: str) -> dict[str, Any]:
    """What a merchant would enter who copies every example."""
    read: dict[str, Callable[[str], object]] = {
        "NUMBER": float,
        "BOOLEAN": {"是": True, "yes": True, "否": False, "no": False}.__getitem__,
    }
    return {f["key"]: read.get(f["kind"], str)(f["example"][language]) for f in template["fields"]}


def small(**changes: Any) -> dict[str, Any]:
    """A sound template with one question."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": {"type": "string", "maxLength": 5.0}},
    }
    label = {"zh_cn": "名称", "en": "Name"}
    field = {"key": "name", "label": label, "hint": label, "example": {"zh_cn": "茶", "en": "Tea"}, "kind": "TEXT"}
    return {"benefit": "gift", "fields": [field | {"is_required": True}], "schema": schema} | changes


def test_every_kind_of_benefit_has_a_built_in_template() -> None:
    assert sorted(template["benefit"] for template in BUILT_IN.values()) == sorted(KINDS)


@each_template
def test_a_built_in_templates_questions_and_schema_agree(template: dict[str, Any]) -> None:
    assert check_template(template) == []
    assert [field["key"] for field in template["fields"]] == list(template["schema"]["properties"])


@each_template
@pytest.mark.parametrize("language", ["zh_cn", "en"])
def test_the_examples_of_a_built_in_template_are_good_answers(template: dict[str, Any], language: str) -> None:
    texts = [template["title"], template["description"]]
    texts += [field[part] for field in template["fields"] for part in ("label", "hint", "example")]
    assert all(text[language].strip() for text in texts)
    assert check_fields(template, answers(template, language)) == []


@each_template
def test_the_defaults_of_a_built_in_template_are_a_sound_offer(template: dict[str, Any]) -> None:
    period = {"start_date": "2026-03-01", "end_date": "2026-03-31"}
    budget = {"currency": "CNY", "minor": 1_000_000}
    offer = template["defaults"] | {"claim_period": period, "scope": {"stores": ["stores/a"], "items": []}}
    assert list(offer["benefit"]) == [template["benefit"]]
    assert check(offer | {"budget": budget}) == []


@each_template
def test_every_missing_answer_is_told_at_its_own_field(template: dict[str, Any]) -> None:
    required = [field["key"] for field in template["fields"] if field["is_required"]]
    assert [path for path, _ in check_fields(template, {})] == sorted(required)


@pytest.mark.parametrize(
    ("key", "answer", "told"),
    [
        ("headline", " ", '"Headline" is empty or not in the expected form, for example: 20 off 100, 50 off 200'),
        ("headline", "x" * 61, '"Headline" is too long: at most 60 characters'),
        ("dining", "IN_BED", '"Dining" must be one of: DINE_IN, TAKE_OUT, BOTH'),
        ("guests", 51.0, '"Number of guests" must be at most 50'),
        ("guests", 0, '"Number of guests" must be at least 1'),
        ("guests", 1.5, '"Number of guests" must be of type integer, for example: 4'),
        ("guests", True, '"Number of guests" must be of type integer, for example: 4'),
        ("guests", None, '"Number of guests" must be of type integer, for example: 4'),
        ("appointment_needed", "no", '"Appointment needed" must be of type boolean, for example: no'),
        ("colour", "red", "the template has no such field; remove it"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_with_what_would(key: str, answer: object, told: str) -> None:
    template = BUILT_IN["amount-off"]
    assert check_fields(template, answers(template, "en") | {key: answer}) == [(key, told)]


def test_a_merchant_is_told_in_chinese_when_asked_so() -> None:
    assert check_fields(small(), {}, "zh-CN") == [("name", "请填写“名称”，例如：茶")]
    assert check_fields(small(), {"name": 5}, "zh-CN") == [("name", "“名称”的类型应为 文字，例如：茶")]
    assert check_fields(small(), {"name": "123456"}, "zh-CN") == [("name", "“名称”太长，最多 5 个字符")]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_hold_is_refused(number: float) -> None:
    template = small()
    template["schema"]["properties"]["name"] = {"type": "number"}
    assert [path for path, _ in check_fields(template, {"name": number})] == ["name"]


def changed(path: str, value: object) -> dict[str, Any]:
    """The small template with one part of its schema set to something else."""
    template = copy.deepcopy(small())
    *parents, last = path.split("/")
    part = template["schema"]
    for parent in parents:
        part = part[parent]
    part[last] = value
    return template


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (small(benefit="lottery"), "benefit"),
        (small(schema={}, fields=[]), "schema"),
        (changed("type", "thing"), "schema"),
        (changed("properties/name/maxLength", -1), "schema"),
        (changed("properties/name/pattern", "("), "schema"),
        (changed("$schema", "http://json-schema.org/draft-07/schema#"), "schema.$schema"),
        (changed("additionalProperties", True), "schema"),
        (changed("allOf", [{"$ref": "https://example.com/schema.json"}]), "schema.allOf[0].$ref"),
        (changed("allOf", [{"$ref": "file:///etc/passwd"}]), "schema.allOf[0].$ref"),
        (changed("allOf", [{"$ref": "#"}]), "schema.allOf[0].$ref"),
        (changed("allOf", [{"$ref": "#/$defs/none"}]), "schema.allOf[0].$ref"),
        (changed("$defs", {"a": {"$ref": "#/$defs/a"}}), "schema.$defs.a.$ref"),
        (changed("allOf", [{"$dynamicRef": "#a"}]), "schema.allOf[0].$dynamicRef"),
        (changed("$id", "https://example.com/"), "schema.$id"),
        (changed("properties/extra", {"type": "boolean"}), "schema.properties.extra"),
        (changed("properties", {}), "fields[0].key"),
        (changed("properties/name", {"type": "string"}), "fields[0].key"),
        (changed("properties/name", {"type": "boolean"}), "fields[0].kind"),
        (changed("properties/name/enum", ["a"]), "fields[0].kind"),
        (changed("required", []), "fields[0].is_required"),
        (small(fields=small()["fields"] * 2), "fields"),
    ],
)
def test_a_template_that_is_not_sound_is_refused(template: dict[str, Any], path: str) -> None:
    assert check_template(small()) == []
    assert [found for found, _ in check_template(template)] == [path]


def test_a_schema_may_use_its_own_definitions() -> None:
    template = changed("allOf", [{"properties": {"name": {"$ref": "#/$defs/short"}}}])
    template["schema"]["$defs"] = {"short": {"minLength": 2}}
    assert check_template(template) == []
    assert check_fields(template, {"name": "a"}) == [("name", '"Name" is too short: at least 2 characters')]
