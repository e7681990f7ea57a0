import re

import pytest

from services.audit import lexicon, patterns

BUILT_IN = [term for term in lexicon.load().terms if term.pattern]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("全国", {"全国"}),
        ("(?:全国|全网)[^,]{0,4}最低", {"全国", "全网", "最低"}),
        ("[全整]城", {"全城", "整城"}),
        ("全[0-9]{1,3}城", set()),
        ("转发(?:给)?好友", {"转发好友", "转发给好友"}),
    ],
)
def test_the_words_of_an_expression_are_those_a_disguise_may_hide(expression: str, words: set[str]) -> None:
    assert {word for word in patterns.facts(expression).words if len(word) > 1} == words


@pytest.mark.parametrize("expression", ["[^,]{0,4}", "[0-9]{3}", "(?:全国|[^,])", "(?:全国)?"])
def test_an_expression_that_needs_no_words_has_no_anchors(expression: str) -> None:
    assert patterns.facts(expression).ways == ()


def test_each_alternative_has_words_of_its_own_however_they_are_put_together() -> None:
    ways = patterns.facts("(?:全国[^,]{0,4}最低|扫码[^,]{0,9}(?:进|加)群)|返现").ways
    assert [({*way.anchors.words}, way.others and {*way.others.words}) for way in ways] == [
        ({"全国"}, {"最低"}),
        ({"扫码"}, {"进群", "加群"}),
        ({"返现"}, None),
    ]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("(?:全国|全网)[^,]{0,4}最低", "我们全网都最低"),
        ("[^,]{0,3}最低(?:价|的)", "店里最低价"),
        ("(?:投|存)[0-9]{1,3}万返", "存20万返"),
    ],
)
def test_an_anchor_stands_where_the_expression_says(expression: str, text: str) -> None:
    match = re.search(expression, text)
    facts = patterns.facts(expression)
    assert match is not None
    (way,) = facts.ways
    for one in filter(None, (way.anchors, way.others)):
        places = [match[0].find(word) for word in one.words if word in match[0]]
        assert any(one.least <= place <= one.most for place in places)


def test_every_expression_of_the_built_in_lexicon_has_anchors_and_matches_within_a_bound() -> None:
    for term in BUILT_IN:
        assert patterns.facts(term.pattern).ways, term.text
        assert re.compile(term.pattern).match("") is None, term.text
