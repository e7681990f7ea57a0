"""Templates of activities: the built-in ones, what makes one sound, and whether a merchant's answers fit one."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend
from referencing.jsonschema import EMPTY_REGISTRY

from services.ledger.benefits import KINDS

Plain = Mapping[str, Any]
Found = Iterator[tuple[str, str]]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {
    "TEXT": ("string",),
    "LONG_TEXT": ("string",),
    "NUMBER": ("number", "integer"),
    "BOOLEAN": ("boolean",),
    "CHOICE": ("string",),
}
TYPE_WORDS = {"string": "文字", "number": "数字", "integer": "整数", "boolean": "是或否"}
# They would let a schema point outside itself, or round in circles.
REFUSED_KEYWORDS = frozenset({"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$vocabulary"})

# What to tell a merchant, by the keyword of the schema that an answer does not satisfy.
SAYINGS: dict[str, dict[str, str]] = {
    "en": {
        "required": '"{label}" must be answered, for example: {example}',
        "additionalProperties": "the template has no such field; remove it",
        "type": '"{label}" must be of type {limit}, for example: {example}',
        "maxLength": '"{label}" is too long: at most {limit} characters',
        "minLength": '"{label}" is too short: at least {limit} characters',
        "maximum": '"{label}" must be at most {limit}',
        "minimum": '"{label}" must be at least {limit}',
        "enum": '"{label}" must be one of: {limit}',
        "pattern": '"{label}" is empty or not in the expected form, for example: {example}',
        "": '"{label}" is not acceptable, for example: {example}',
    },
    "zh-CN": {
        "required": "请填写“{label}”，例如：{example}",
        "additionalProperties": "模板没有这一项，请删除",
        "type": "“{label}”的类型应为 {limit}，例如：{example}",
        "maxLength": "“{label}”太长，最多 {limit} 个字符",
        "minLength": "“{label}”太短，至少 {limit} 个字符",
        "maximum": "“{label}”不能大于 {limit}",
        "minimum": "“{label}”不能小于 {limit}",
        "enum": "“{label}”只能是：{limit}",
        "pattern": "“{label}”为空或格式不对，例如：{example}",
        "": "“{label}”不符合要求，例如：{example}",
    },
}


def _is_number(_: object, value: object) -> bool:
    # A Struct can carry NaN and infinities, which pass every bound and cannot be stored as JSON.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_TYPE_CHECKER = Draft202012Validator.TYPE_CHECKER.redefine("number", _is_number)
_Validator = extend(Draft202012Validator, type_checker=_TYPE_CHECKER)  # type: ignore[no-untyped-call]


def load() -> list[dict[str, Any]]:
    """The built-in templates, by uid: the contract's Template as a plain dict with `uid` for its name and `defaults`,
    a plain part of Terms that an app can begin with. Raises ValueError naming a file that is not sound."""
    templates = []
    for path in sorted((Path(__file__).parent / "templates").glob("*.json")):
        template: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found := check_template(template):
            raise ValueError(f"{path.name}: {found}")
        templates.append(template)
    return templates


def check_template(template: Plain) -> list[tuple[str, str]]:
    """What makes a template unusable, as (field path, description): a benefit there is none of, a schema that is not
    JSON Schema 2020-12 or refers outside itself, questions and schema that do not agree."""
    found = [("benefit", f"must be one of {', '.join(KINDS)}")] if template.get("benefit") not in KINDS else []
    wrong = list(_schema(template.get("schema") or {}))
    return [*found, *(wrong or _agreement(template))]


def check_fields(template: Plain, fields: Plain, locale: str = "en") -> list[tuple[str, str]]:
    """Where a merchant's answers do not satisfy a sound template, as (path below `fields`, what to do about it).

    `locale` is zh-CN or en; any other reads English. Paths look like `headline` or `dishes[0].name`.
    """
    validator = _Validator(template["schema"], registry=EMPTY_REGISTRY)
    sayings, language = (SAYINGS["zh-CN"], "zh_cn") if locale == "zh-CN" else (SAYINGS["en"], "en")
    asked = {field["key"]: field for field in template["fields"]}
    found = []
    for error in validator.iter_errors(fields):
        for path, key in _places(error):
            field = asked.get(key, {})
            saying = sayings.get(str(error.validator), sayings[""])
            label = field.get("label", {}).get(language) or path
            example = field.get("example", {}).get(language) or "-"
            found.append((path, saying.format(label=label, example=example, limit=_written(error, locale))))
    return sorted(set(found))


def _written(error: ValidationError, locale: str) -> str:
    """The bound that an answer misses, as a person writes it; numbers of a Struct are floats."""
    limit = error.validator_value
    if error.validator == "type" and locale == "zh-CN":
        return TYPE_WORDS.get(str(limit), str(limit))
    if isinstance(limit, list):
        return ", ".join(map(str, limit))
    return str(int(limit)) if isinstance(limit, float) and limit.is_integer() else str(limit)


def _places(error: ValidationError) -> list[tuple[str, str]]:
    """The paths that an error is about, each with the key of its question; a missing answer has its own path."""
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)[1:]
    names: set[str] = set()
    answers = cast("Plain", error.instance)
    if error.validator == "required":
        names = set(cast("list[str]", error.validator_value)) - set(answers)
    elif error.validator == "additionalProperties":
        names = set(answers) - set(cast("Plain", error.schema).get("properties", {}))
    paths = [f"{at}.{name}" if at else name for name in sorted(names)] or [at]
    return [(path, path.split(".")[0].split("[")[0]) for path in paths]


def _schema(schema: Plain) -> Found:
    if schema.get("$schema", DRAFT) != DRAFT:
        yield "schema.$schema", f"must be {DRAFT}"
        return
    try:
        Draft202012Validator.check_schema(dict(schema), format_checker=Draft202012Validator.FORMAT_CHECKER)
    except SchemaError as error:
        yield "schema", f"is not JSON Schema at {error.json_path}: {error.message[:200]}"
        return
    yield from _references("schema", schema, {f"#/$defs/{name}" for name in schema.get("$defs", {})})


def _references(path: str, schema: object, definitions: set[str]) -> Found:
    """Objects to any reference but one to a definition of the schema's own that refers no further."""
    if isinstance(schema, list):
        for position, part in enumerate(schema):
            yield from _references(f"{path}[{position}]", part, definitions)
    if not isinstance(schema, Mapping):
        return
    for key, part in schema.items():
        if key in REFUSED_KEYWORDS:
            yield f"{path}.{key}", "is not allowed in a template"
        elif key == "$ref" and part not in definitions:
            yield f"{path}.$ref", "must name a definition of this schema: #/$defs/name"
        elif path.startswith("schema.$defs") and key == "$ref":
            yield f"{path}.$ref", "a definition must not refer to another"
        else:
            yield from _references(f"{path}.{key}", part, definitions)


def _agreement(template: Plain) -> Found:
    """Where the questions ask for something else than the schema takes."""
    schema, fields = template.get("schema") or {}, template.get("fields", ())
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        yield "schema", "must be of type object with additionalProperties false"
    for key, times in Counter(field["key"] for field in fields).items():
        if times > 1:
            yield "fields", f"{key} is asked for twice"
    for key in sorted(set(properties) - {field["key"] for field in fields}):
        yield f"schema.properties.{key}", "has no question in fields"
    for position, field in enumerate(fields):
        rule = properties.get(field["key"])
        if isinstance(rule, Mapping):
            required = field["key"] in schema.get("required", ())
            yield from ((f"fields[{position}].{key}", told) for key, told in _question(field, rule, required))
        else:
            yield f"fields[{position}].key", "has no rule in schema.properties"


def _question(field: Plain, rule: Plain, required: bool) -> Found:
    kind = rule.get("type")
    if kind not in TYPES.get(field.get("kind") or "", ()):
        yield "kind", f"does not fit the schema's type {kind}"
    if (field.get("kind") == "CHOICE") != ("enum" in rule):
        yield "kind", "is CHOICE exactly when the schema has an enum"
    if kind == "string" and not {"enum", "maxLength"} & set(rule):
        yield "key", "names a text that has no maxLength in the schema"
    if field.get("is_required", False) != required:
        yield "is_required", "does not agree with the schema's required"
