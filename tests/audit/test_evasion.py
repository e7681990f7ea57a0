"""Whatever the audit claims to undo, undone: plain violations evaded by machine, and honest copy with the same signs.

docs/audit.md says in words what is claimed; here it is in code.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.audit import contacts, lexicon
from services.audit.judge import PASS, judge
from services.audit.matcher import Matcher
from tests.audit import corpora, disguises, spellings
from tests.audit.corpora import WORKED_WITH, Line, Outcome
from tests.audit.disguises import Disguise
from tests.audit.spellings import Vocabulary

LEXICON = lexicon.load()
MATCHER = Matcher(LEXICON)
VOCABULARY = Vocabulary(LEXICON)
# The lines that are evaded. Of those that the lexicon has yet to learn from, some are caught by a word so short, or a
# pattern so narrow, that another way of writing it hides it.
EVADED = (*WORKED_WITH, "unseen")
# As many times is each line evaded in each way, besides what hypothesis thinks of.
TRIES = 3
# Of any text, at any place.
ANYWHERE: dict[str, Disguise] = {
    "wide": disguises.wide,
    "traditional": disguises.traditional,
    "case": disguises.case,
    "styled": disguises.styled,
    "lookalike": disguises.lookalike,
    "digits": disguises.digits,
    "zero_width": disguises.between(disguises.ZERO_WIDTH),
    "emoji": disguises.between(disguises.EMOJI),
}
# Of words, and of numbers, but not between the letters of an address or an id.
IN_WORDS: dict[str, Disguise] = {
    "spaces": disguises.between(disguises.SPACES),
    "symbols": disguises.between(disguises.SYMBOLS),
    "repeated": disguises.repeated,
}
# Of one word of the lexicon.
OF_A_WORD: dict[str, Callable[[str, int, int, Vocabulary, Random], str | None]] = {
    "homophone": spellings.homophone,
    "pinyin": spellings.pinyin,
    "split": spellings.split,
    "emoji_word": spellings.emoji,
}
# What leads to an address or an id; numbers may be written with anything between.
ADDRESSES = {"固定电话", "网址", "邮箱", "口令", "账号", "其他账号", "微信号码"}
# Between the characters of honest copy; what spells letters, such as a keycap or a flag, would write other words.
SIGNS = disguises.ZERO_WIDTH + disguises.SPACES + disguises.SYMBOLS + disguises.EMOJI
CHANCE = st.randoms(use_true_random=False)
DISGUISES = st.sampled_from([*ANYWHERE.values()])


def decision(text: str) -> str:
    return judge([("", text)], MATCHER).decision


@cache
def plain() -> Sequence[Outcome]:
    """Every plain violation that is caught."""
    return corpora.plainly_caught([one for name in EVADED for one in corpora.outcomes(corpora.read(name), MATCHER)])


@cache
def honest() -> Sequence[Line]:
    """Every honest line that passes."""
    lines = [line for name in EVADED for line in corpora.read(name)]
    return [line for line in lines if line.kind == "benign" and decision(line.text) == PASS]


def places(outcome: Outcome) -> list[tuple[int, int]]:
    """The spans of all findings, last first, those that touch made one."""
    spans: list[tuple[int, int]] = []
    for finding in sorted(outcome.findings, key=lambda one: one.start):
        if spans and finding.start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], finding.end)
        else:
            spans.append((finding.start, finding.end))
    return spans[::-1]


def evaded(outcome: Outcome, disguise: Disguise, chance: Random) -> str:
    text = outcome.line.text
    for start, end in places(outcome):
        text = text[:start] + disguise(text[start:end], chance) + text[end:]
    return text


def respelt(outcome: Outcome, disguise: str, chance: Random) -> str | None:
    """The line with one word of each finding written in another way; None if one has no such word."""
    text = outcome.line.text
    for start, end in places(outcome):
        words = VOCABULARY.within(outcome.line.text, start, end)
        made = OF_A_WORD[disguise](text, *chance.choice(words), VOCABULARY, chance) if words else None
        if made is None:
            return None
        text = made
    return text


def has_address(outcome: Outcome) -> bool:
    return any(finding.category == contacts.CATEGORY and finding.term in ADDRESSES for finding in outcome.findings)


def has_double(outcome: Outcome) -> bool:
    """Whether a character stands twice in its words already: a pattern knows no more how often it should."""
    return any(one == other for start, end in places(outcome) for one, other in pairwise(outcome.line.text[start:end]))


def test_there_are_violations_to_evade_and_honest_lines_to_disturb() -> None:
    assert len(plain()) > 200
    assert len(honest()) > 300


@pytest.mark.parametrize("name", ANYWHERE)
def test_no_line_passes_with_its_words_disguised(name: str) -> None:
    texts = [evaded(one, ANYWHERE[name], Random(seed)) for one in plain() for seed in range(TRIES)]
    assert [text for text in texts if decision(text) == PASS] == []


@pytest.mark.parametrize("name", IN_WORDS)
def test_no_line_passes_with_signs_or_repeats_in_its_words(name: str) -> None:
    lines = [one for one in plain() if not has_address(one) and not (name == "repeated" and has_double(one))]
    texts = [evaded(one, IN_WORDS[name], Random(seed)) for one in lines for seed in range(TRIES)]
    assert [text for text in texts if decision(text) == PASS] == []


@pytest.mark.parametrize("name", OF_A_WORD)
def test_no_line_passes_with_a_word_written_in_another_way(name: str) -> None:
    made = [respelt(one, name, Random(seed)) for one in plain() for seed in range(TRIES * 2)]
    texts = [text for text in made if text is not None]
    assert len(texts) > 50
    assert [text for text in texts if decision(text) == PASS] == []


def test_no_line_passes_with_its_words_in_pieces() -> None:
    lines = [one for one in plain() if all(is_spreadable(one, *span) for span in places(one))]
    assert len(lines) > 50
    texts = [evaded(one, disguises.spread, Random(seed)) for one in lines for seed in range(TRIES)]
    assert [text for text in texts if decision(text) == PASS] == []


def is_spreadable(outcome: Outcome, start: int, end: int) -> bool:
    """Whether it is a word of three characters or more: of two it might be 最新：好吃."""
    words = outcome.line.text[start:end]
    return len(words) > 2 and words.isalpha() and not has_address(outcome)


@given(st.deferred(lambda: st.sampled_from(plain())), DISGUISES, DISGUISES, CHANCE)
def test_one_disguise_over_another_hides_nothing(
    outcome: Outcome, one: Disguise, other: Disguise, chance: Random
) -> None:
    assert decision(evaded(outcome, lambda words, chance: other(one(words, chance), chance), chance)) != PASS


@given(st.deferred(lambda: st.sampled_from(plain())), DISGUISES, st.sampled_from([*OF_A_WORD]), CHANCE)
def test_a_word_written_in_another_way_is_not_hidden_by_a_disguise(
    outcome: Outcome, disguise: Disguise, way: str, chance: Random
) -> None:
    text = respelt(outcome, way, chance)
    assume(text is not None and decision(text) != PASS)
    assert decision(disguise(str(text), chance)) != PASS


@pytest.mark.parametrize("signs", [disguises.ZERO_WIDTH, disguises.SPACES, disguises.SYMBOLS, disguises.EMOJI, SIGNS])
def test_every_honest_line_passes_with_signs_in_it(signs: str) -> None:
    disguise = disguises.between(signs)
    texts = [disguise(line.text, Random(seed)) for line in honest() for seed in range(TRIES)]
    assert [text for text in texts if decision(text) != PASS] == []


@pytest.mark.parametrize("name", ["wide", "case", "styled", "lookalike"])
def test_every_honest_line_passes_in_other_letters(name: str) -> None:
    texts = [ANYWHERE[name](line.text, Random(seed)) for line in honest() for seed in range(TRIES)]
    assert [text for text in texts if decision(text) != PASS] == []


@given(st.deferred(lambda: st.sampled_from(honest())), st.lists(st.tuples(st.floats(0, 1), st.text(SIGNS, max_size=3))))
def test_signs_anywhere_in_an_honest_line_do_not_make_it_fail(line: Line, signs: list[tuple[float, str]]) -> None:
    text = line.text
    for where, sign in signs:
        place = round(where * len(text))
        text = text[:place] + sign + text[place:]
    assert decision(text) == PASS
