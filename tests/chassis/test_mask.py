from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.chassis.mask import apply_mask

STORE = {"name": "stores/a", "title": "Old", "tags": ["a", "b"], "profile": {"phone": "1", "city": "X"}}
ALLOWED = ("title", "tags", "profile.phone", "cover")


def masked(patch: dict[str, Any], *paths: str) -> dict[str, Any]:
    return apply_mask(STORE, patch, paths, ALLOWED)


def test_only_the_named_fields_change() -> None:
    assert masked({"title": "New", "tags": ["z"]}, "title") == STORE | {"title": "New"}


def test_repeated_fields_are_replaced_whole() -> None:
    assert masked({"tags": ["z"]}, "tags")["tags"] == ["z"]


def test_a_named_field_that_the_patch_lacks_is_cleared() -> None:
    assert "cover" not in apply_mask(STORE | {"cover": {"hash": "1"}}, {}, ["cover"], ALLOWED)
    assert masked({"title": ""}, "title")["title"] == ""


def test_a_deeper_path_leaves_its_neighbours_alone() -> None:
    assert masked({"profile": {"phone": "2", "city": "Y"}}, "profile.phone")["profile"] == {"phone": "2", "city": "X"}


def test_an_empty_mask_means_every_populated_field_that_may_change() -> None:
    patch = {"name": "stores/b", "title": "New", "tags": [], "profile": {"city": "Y"}}
    assert masked(patch) == STORE | {"title": "New"}


def test_a_star_replaces_everything_that_may_change() -> None:
    assert masked({"title": "New", "tags": []}, "*") == {
        "name": "stores/a",
        "title": "New",
        "tags": [],
        "profile": {"city": "X"},
    }


@pytest.mark.parametrize("path", ["name", "nonsense", "", "title.x", "profile", "profile.city", "tags.0", "."])
def test_a_path_that_may_not_change_is_refused_by_name(path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        masked({"title": "New"}, "title", path)
    assert (refusal.value.reason, refusal.value.metadata) == ("INVALID_UPDATE_MASK", {"path": path})


def test_a_star_stands_alone() -> None:
    with pytest.raises(Invalid):
        masked({"title": "New"}, "*", "title")


def test_nothing_that_was_given_is_changed() -> None:
    patch = {"tags": ["z"], "profile": {"phone": "2"}}
    updated = masked(patch, "tags", "profile.phone")
    updated["tags"].append("later")
    updated["profile"]["city"] = "later"
    assert patch == {"tags": ["z"], "profile": {"phone": "2"}}
    assert STORE["profile"] == {"phone": "1", "city": "X"}
