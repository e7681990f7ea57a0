"""How right the audit is must not become less: `python -m tests.audit.report --write-floors` keeps what is measured."""

from collections.abc import Sequence
from functools import cache

import pytest

from services.audit import lexicon
from services.audit.lexicon import CATEGORIES
from services.audit.matcher import Matcher
from tests.audit import corpora
from tests.audit.corpora import BARS, SETS, WORKED_WITH, Outcome

FEWEST_OF_OUR_OWN = 600


@cache
def made(name: str) -> Sequence[Outcome]:
    return corpora.outcomes(corpora.read(name), Matcher(lexicon.load()))


@pytest.mark.parametrize("name", SETS)
def test_every_line_is_labelled_as_the_rules_say(name: str) -> None:
    lines = corpora.read(name)
    assert len({line.id for line in lines}) == len({line.text for line in lines}) == len(lines)
    for line in lines:
        assert line.label in line.wanted <= {"pass", "review", "reject"}, line.id
        assert line.span in line.text, line.id
        if line.kind == "benign":
            assert not line.category + line.evasion + line.span, line.id
        else:
            assert line.category in CATEGORIES, line.id
            assert line.span, line.id


def test_the_lines_of_our_own_are_many_and_none_is_from_the_other_set() -> None:
    own, given = corpora.read("corpus"), corpora.read("dev")
    assert len(own) >= FEWEST_OF_OUR_OWN
    assert not {line.text for line in own} & {line.text for line in given}
    assert {line.evasion for line in own} == {line.evasion for line in given}
    assert {line.category for line in own} == {*CATEGORIES, ""}


@pytest.mark.parametrize("kind", BARS)
@pytest.mark.parametrize("name", WORKED_WITH)
def test_the_audit_is_as_right_as_it_was_asked_to_be(name: str, kind: str) -> None:
    figure = corpora.figures(made(name))[f"right on {kind}"]
    wrong = [one.line.text for one in made(name) if one.line.kind == kind and not one.is_right]
    assert figure.value >= BARS[kind], wrong


@pytest.mark.parametrize("name", SETS)
def test_no_figure_is_lower_than_it_was(name: str) -> None:
    assert [*corpora.dropped(corpora.figures(made(name)), corpora.floors()[name])] == []
