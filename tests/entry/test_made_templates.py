import copy
from typing import Any

import pytest

from services.chassis import errors
from services.entry.domain import templates
from services.schema.tables import Template
from tests.entry.desk import NOW, Desk

TEXT = {"zh_cn": "标语", "en": "Headline"}
MADE: dict[str, Any] = {
    "name": "templates/opening",
    "title": {"zh_cn": "开业", "en": "Opening"},
    "benefit": "gift",
    "fields": [{"key": "headline", "label": TEXT, "kind": "TEXT", "is_required": True}],
    "schema": {
        "type": "object",
        "additionalProperties": False,
        "required": ["headline"],
        "properties": {"headline": {"type": "string", "maxLength": 30}},
    },
}


def test_the_built_in_templates_come_first_and_installing_again_changes_nothing(desk: Desk) -> None:
    before = desk.owner("ListTemplates")["templates"]
    desk.db.run_here(templates.install, NOW)
    assert desk.owner("ListTemplates")["templates"] == before
    assert {template["benefit"] for template in before} == {
        "amount_off", "percent_off", "fixed_price", "gift", "buy_get", "new_customer", "trial_price"
    }  # fmt: skip


def test_installing_brings_a_changed_template_up_to_this_release(desk: Desk) -> None:
    before = desk.owner("GetTemplate", name="templates/gift")
    desk.db.run_here(Template.update(content={"benefit": "gift", "fields": [], "schema": {}}).execute)
    desk.db.run_here(templates.install, NOW)
    assert desk.owner("GetTemplate", name="templates/gift") == before


def test_an_operators_template_is_kept_as_given_and_its_name_is_taken(desk: Desk) -> None:
    operator = desk.person("OPERATOR", "op")
    made = operator("CreateTemplate", template=MADE, request_id="create-1")
    assert operator("CreateTemplate", template=MADE, request_id="create-1") == made
    assert desk.owner("GetTemplate", name="templates/opening") == made
    assert (made["fields"][0]["label"], made["schema"]) == (TEXT, MADE["schema"])
    assert desk.owner("ListTemplates")["templates"][-1]["name"] == "templates/opening"
    with pytest.raises(errors.AlreadyExists) as refused:
        operator("CreateTemplate", template=MADE)
    assert refused.value.metadata["resource"] == "templates/opening"


def test_activities_are_entered_from_an_operators_template(desk: Desk) -> None:
    desk.person("OPERATOR", "op")("CreateTemplate", template=MADE)
    gift = {"gift": {"item": "tea", "title": "茶", "value": {"currency": "CNY", "minor": 500}}}
    draft = {"template": "templates/opening", "fields": {"headline": "开业送茶"}, "terms": desk.terms(benefit=gift)}
    assert desk.enter(**draft)["fields"] == {"headline": "开业送茶"}


@pytest.mark.parametrize(
    "path, value, field",
    [
        (("title", "en"), "", "template.title.en"),
        (("benefit",), "", "template.benefit"),
        (("schema", "type"), "nonsense", "template.schema"),
        (("schema", "properties"), {}, "template.fields[0].key"),
        (("schema", "$ref"), "https://example.com/schema", "template.schema.$ref"),
        (("fields", 0, "is_required"), False, "template.fields[0].is_required"),
    ],
)
def test_an_unsound_template_is_refused(desk: Desk, path: tuple[Any, ...], value: Any, field: str) -> None:
    template: Any = copy.deepcopy(MADE)
    part = template
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(errors.Invalid) as refused:
        desk.person("OPERATOR", "op")("CreateTemplate", template=template)
    assert refused.value.violations[0].field == field


def test_an_unknown_template_is_not_found(desk: Desk) -> None:
    with pytest.raises(errors.NotFound):
        desk.owner("GetTemplate", name="templates/nonsense")
