"""Whatever is written, the audit answers: no exception, spans inside the text, and no text that takes for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit import lexicon, patterns
from services.audit.evidence import Finding
from services.audit.lexicon import ACTIONS, CATEGORIES, FOLD
from services.audit.matcher import Matcher
from services.audit.reading import steps
from services.audit.reading.words import emoji_words, rows
from tests.audit import disguises

MATCHER = Matcher(lexicon.load())
TERMS = MATCHER.lexicon.terms
WORDS = [term.text for term in TERMS if not term.pattern]
PHRASES = [phrase for term in TERMS for phrase in term.exceptions]
CONTACTS = [
    "138",
    "0000",
    "1234",
    "qq",
    "微信",
    "VX",
    "@",
    "abc_123",
    "https://",
    ".com",
    "www.",
    "￥",
    "群号",
    "拨",
    "+86",
]
SIGNS = disguises.ZERO_WIDTH + disguises.SPACES + disguises.SYMBOLS + disguises.PUNCTUATION + disguises.EMOJI
SPELT = [
    "jia",
    "wei",
    "xin",
    "zui",
    "w3ix1n",
    "c@s1n0",
    "ｔｏｐ１",
    "氵台",
    "亻氐",
    "加加",
    "人人人",
    "🇨🇳",
    "1️⃣",
    "👍🏻",
    "㎏",
    "ﷺ",
]
# Lone surrogates too: a client can send what no encoder would write.
ANY_TEXT = st.text(st.characters())
# Terms strung together with anything between, so that generated texts hit, nest and overlap.
LOADED_TEXT = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(PHRASES),
        st.sampled_from(CONTACTS),
        st.sampled_from(SPELT),
        st.sampled_from([*emoji_words()]),
        st.sampled_from([row[0] for row in rows("splits.tsv")]),
        st.text(SIGNS, max_size=3),
        st.text(st.characters(), max_size=4),
    ),
    max_size=12,
).map("".join)
TEXT = st.one_of(ANY_TEXT, LOADED_TEXT)
# Linear work on so many characters is seconds. Quadratic work, 4e10 of the quickest steps, such as a regular
# expression's, and 5e9 of those that make findings, does not end within the tests' time limit, on any machine.
LONG = 300_000
LOADED_LONG = 100_000
SECONDS = 100


def key(finding: Finding) -> tuple[int, int, str, str]:
    return finding.start, finding.end, finding.term, finding.category


@given(TEXT)
def test_any_text_can_be_searched_and_findings_lie_inside_it(text: str) -> None:
    for finding in MATCHER.find(text):
        assert 0 <= finding.start < finding.end <= len(text)
        assert finding.category in CATEGORIES
        assert finding.action in ACTIONS
        assert set(finding.steps) <= set(steps.ALL)
        assert finding.basis
        assert finding.rewrite.zh_cn


@given(TEXT)
def test_findings_come_in_order_and_once(text: str) -> None:
    places = [key(finding) for finding in MATCHER.find(text)]
    assert places == sorted(set(places))


@given(TEXT)
def test_the_same_text_always_has_the_same_findings(text: str) -> None:
    assert MATCHER.find(text) == MATCHER.find(text)


@given(LOADED_TEXT)
def test_a_finding_that_wears_no_disguise_has_the_words_of_its_term(text: str) -> None:
    plain = {term.text: FOLD.text(term.text) for term in TERMS if not term.pattern}
    for finding in MATCHER.find(text):
        if finding.term in plain and not finding.steps:
            assert plain[finding.term] in FOLD.text(text[finding.start : finding.end])


@given(TEXT)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert FOLD.text(FOLD.text(text)) == FOLD.text(text)


@given(TEXT)
def test_every_character_of_a_form_knows_where_it_came_from(text: str) -> None:
    for form, expected in ((FOLD.form(text), FOLD.text(text)), (FOLD.entities_form(text), FOLD.entities(text))):
        assert form.text == expected
        assert len(form.text) == len(form.starts) == len(form.ends)
        assert all(0 <= start < end <= len(text) for start, end in zip(form.starts, form.ends, strict=True))
        assert list(form.starts) == sorted(form.starts)


# What costs nothing but reading it.
UNITS = {
    "one character": "好",
    "a letter": "a",
    "pinyin": "zui",
    "a syllable and none": "jiavvv",
    "digits": "1",
    "digits and letters": "a1",
    "signs between letters": "a@",
    "separators": "★",
    "clauses": "，",
    "spaces": " ",
    "combining marks": "\u0301\u0323",
    "emoji": "😀",
    "joined emoji": "👨\u200d👩\u200d",
    "flags": "🇨🇳",
    "dots": "a.",
    "hyphens": "a-",
    "decimals": "1.",
    "groups of digits": "138-",
    "tokens": "￥a",
    "names": "@a",
    "channels": "wx ",
    "ids": "qq ",
    "nothing at all": "\x00",
}
# What is found, or nearly, again and again.
LOADED_UNITS = {
    "a term": "国家级",
    "an exception": "大麻花",
    "homophones": "国嘉级",
    "pinyin between": "zui低价",
    "leet": "w3ix1n",
    "split characters": "氵台疒",
    "repeated characters": "加加加微微微",
    "characters in pieces": "方，圆，",
    "an emoji word": "➕",
    "phones": "13800001234，",
    "addresses": "a-b.com，",
    "every term": "，".join(WORDS),
    "every exception": "".join(PHRASES),
    "every word of patterns": "".join(
        sorted({word for term in TERMS if term.pattern for word in patterns.facts(term.pattern).words})
    ),
}


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS.keys())
def test_a_long_run_takes_linear_time(unit: str) -> None:
    text = "a，" + unit * (LONG // len(unit))
    for finding in MATCHER.find(text):
        assert finding.end <= len(text)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("unit", LOADED_UNITS.values(), ids=LOADED_UNITS.keys())
def test_a_long_text_full_of_findings_takes_linear_time(unit: str) -> None:
    text = unit * (LOADED_LONG // len(unit) + 1)
    for finding in MATCHER.find(text):
        assert finding.end <= len(text)
