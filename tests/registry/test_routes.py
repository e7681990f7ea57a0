import pytest

from registry import routes
from registry.instance import Instance, new_id, of_tags
from registry.routes import Route


def some(*versions: str, canary: int | None = None) -> list[Instance]:
    return [Instance("redeem", new_id("redeem"), "a", 1, version=version, canary=canary) for version in versions]


def test_a_rule_reads_back_what_it_wrote() -> None:
    for route in (Route({}), Route({"v2": 10}), Route({"v3": 0, "v2": 100})):
        assert routes.parse(route.text()) == route
    assert Route({"v2": 10}).text() == '{"canary": {"v2": 10}}'


@pytest.mark.parametrize(
    ("text", "canary"),
    [
        ("v2=10%", {"v2": 10}),
        ("v2=10", {"v2": 10}),
        (" v2 = 10 % , v3=90%", {"v2": 10, "v3": 90}),
        ("v2=0%", {"v2": 0}),
    ],
)
def test_a_flag_names_versions_and_percentages(text: str, canary: dict[str, int]) -> None:
    assert routes.of_flag(text) == Route(canary)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not version=percent, as in v2=10%"),
        ("v2", "'v2' is not version=percent"),
        ("v2=", "'v2=' is not version=percent"),
        ("=10%", "'=10%' is not version=percent"),
        ("v2=ten", "'v2=ten' is not version=percent"),
        ("v2=-1%", "'v2=-1%' is not version=percent"),
        ("v2=1.5%", "'v2=1.5%' is not version=percent"),
        ("v2=10%%", "'v2=10%%' is not version=percent"),
        ("v2=10%,", "'' is not version=percent"),
        ("v2=101%", "101 % for v2 is not from 0 to 100"),
        ("v2=60%,v3=41%", "the versions get 101 % together: more than 100"),
        ("v2=1%,v2=2%", "v2 is listed twice"),
        ("v/2=1%", "'v/2' is not a version"),
        ("v2=99999999999999999999", "is not version=percent"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        routes.of_flag(text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"canary": []}',
        '{"canary": {"v2": "10"}}',
        '{"canary": {"v2": true}}',
        '{"canary": {"v2": 1.5}}',
        '{"canary": {"v2": -1}}',
        '{"canary": {"v2": 101}}',
        '{"canary": {"v2": 60, "v3": 60}}',
        '{"canary": {"": 1}}',
        "[" * 100_000,
    ],
)
def test_a_broken_value_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        routes.parse(text)


def test_without_a_rule_all_instances_are_equal() -> None:
    assert routes.canaries(some("v1", "v1", "v2"), None) == {}
    assert routes.shares(some("v1", "v1", "v1", "v2"), None) == {"v1": 75.0, "v2": 25.0}
    assert routes.shares([], None) == {}
    assert routes.shares([], Route({"v2": 10})) == {}


def test_a_canary_gets_its_percentage_however_many_instances_it_has() -> None:
    for canaries in (["v2"], ["v2"] * 5):
        assert routes.shares(some("v1", *canaries), Route({"v2": 10})) == {"v1": 90.0, "v2": 10.0}


def test_all_versions_without_a_percentage_share_the_rest_by_their_instances() -> None:
    found = some("v1", "v1", "v1", "v2", "v3")
    assert routes.shares(found, Route({"v2": 20})) == {"v1": 60.0, "v2": 20.0, "v3": 20.0}


def test_a_version_without_instances_gets_nothing() -> None:
    assert routes.canaries(some("v1"), Route({"v2": 10})) == {}
    assert routes.shares(some("v1"), Route({"v2": 100})) == {"v1": 100.0}


def test_a_canary_that_is_alone_gets_everything() -> None:
    assert routes.shares(some("v2"), Route({"v2": 10})) == {"v2": 100.0}
    assert routes.shares(some("v2"), Route({"v2": 0})) == {"v2": 100.0}
    assert routes.canaries(some("v2", "v3", "v3"), Route({"v2": 10, "v3": 30})) == {"v2": 25, "v3": 75}
    assert routes.canaries(some("v2", "v3", "v4"), Route({"v2": 1, "v3": 1, "v4": 1})) == {"v2": 34, "v3": 33, "v4": 33}


def test_a_canary_of_nothing_and_one_of_everything_are_kept() -> None:
    assert routes.shares(some("v1", "v2"), Route({"v2": 0})) == {"v1": 100.0, "v2": 0.0}
    assert routes.shares(some("v1", "v2"), Route({"v2": 100})) == {"v1": 0.0, "v2": 100.0}


def test_the_instances_own_tags_count_until_there_is_a_rule() -> None:
    found = some("v1") + some("v2", canary=10)
    assert routes.shares(found, None) == {"v1": 90.0, "v2": 10.0}
    assert routes.shares(found, Route({"v2": 50})) == {"v1": 50.0, "v2": 50.0}
    assert routes.shares(found, Route({})) == {"v1": 50.0, "v2": 50.0}


def test_of_a_versions_differing_tags_the_lowest_counts() -> None:
    found = some("v1") + some("v2", canary=50) + some("v2", canary=5) + some("v2")
    assert routes.canaries(found, None) == {"v2": 5}


def test_tags_over_a_hundred_percent_together_are_scaled_down() -> None:
    found = some("v1") + some("v2", canary=90) + some("v3", canary=90)
    assert routes.canaries(found, None) == {"v2": 50, "v3": 50}
    assert routes.shares(found, None) == {"v1": 0.0, "v2": 50.0, "v3": 50.0}


def test_tags_tell_an_instances_zone_version_and_canary() -> None:
    told = Instance("redeem", "redeem-1", "::1", 1, zone="west", version="v2", canary=7)
    assert told.tags == ["zone=west", "version=v2", "canary=7"]
    assert told.address == "[::1]:1"
    assert of_tags("redeem", "redeem-1", "::1", 1, told.tags) == told
    assert Instance("redeem", "redeem-1", "a", 1).tags == ["version=v1"]


@pytest.mark.parametrize("tags", [[], ["version="], ["urlprefix-/", "canary=ten", "=", ""], ["canary=101", "canary"]])
def test_tags_of_somebody_elses_are_passed_over(tags: list[str]) -> None:
    assert of_tags("redeem", "redeem-1", "a", 1, tags) == Instance("redeem", "redeem-1", "a", 1)
