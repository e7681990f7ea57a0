"""Partial updates by AIP-134: which fields of a patch replace those of the current resource."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

from services.chassis.errors import Invalid


def apply_mask(
    current: Mapping[str, Any], patch: Mapping[str, Any], paths: Collection[str], allowed: Collection[str]
) -> dict[str, Any]:
    """The resource after the update; neither argument is changed.

    Each path, dotted where it lies deeper (`profile.phone`), must be one of `allowed`. No paths: every allowed field
    that is populated in the patch. `*`: every allowed field. A named field is replaced whole, repeated ones and
    messages too, and one that the patch lacks is cleared. Raises Invalid(INVALID_UPDATE_MASK, path=...).
    """
    if list(paths) == ["*"]:
        chosen = list(allowed)
    elif paths:
        chosen = [_checked(path, allowed) for path in paths]
    else:
        chosen = [path for path in allowed if _get(patch, path)]
    updated = copy.deepcopy(dict(current))
    for path in chosen:
        _put(updated, path, _get(patch, path))
    return updated


def _checked(path: str, allowed: Collection[str]) -> str:
    if path not in allowed:
        raise Invalid("INVALID_UPDATE_MASK", path=path)
    return path


def _get(plain: Mapping[str, Any], path: str) -> Any:
    value: Any = plain
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _put(plain: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if not isinstance(plain.get(parent), dict):
            plain[parent] = {}
        plain = plain[parent]
    if value is None:
        plain.pop(last, None)
    else:
        plain[last] = copy.deepcopy(value)
