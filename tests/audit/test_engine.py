from pathlib import Path

import opencc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit import lexicon
from services.audit.judge import PASS, REJECT, REVIEW, judge
from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.audit.matcher import Finding, Matcher
from services.audit.normalise import normalise

MATCHER = Matcher(lexicon.load())
WORDS = [term for term in MATCHER.lexicon.terms if not term.pattern]
HONEST_COPY = Path(__file__).with_name("honest_copy.txt").read_text(encoding="utf-8").splitlines()
REWRITE = LocalizedText("改写", "rewrite")
TO_TRADITIONAL = opencc.OpenCC("s2t")
ANY_TEXT = st.text(st.characters())
# Terms strung together with anything between, so that generated texts hit, nest and overlap.
LOADED_TEXT = st.lists(
    st.one_of(
        st.sampled_from(WORDS).map(lambda term: term.text),
        st.sampled_from([phrase for term in WORDS for phrase in term.exceptions]),
        st.text(st.characters(), max_size=4),
    ),
    max_size=12,
).map("".join)


def matcher(*terms: Term) -> Matcher:
    return Matcher(Lexicon.of(terms))


def term(text: str, *, action: str = "reject", boundary: bool = False, exceptions: tuple[str, ...] = ()) -> Term:
    return Term(text, "drugs", action, boundary, exceptions, "禁毒法", REWRITE)


def found(findings: list[Finding], text: str) -> list[str]:
    return [text[finding.start : finding.end] for finding in findings]


def fullwidth(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in text)


@pytest.mark.parametrize("text", HONEST_COPY)
def test_honest_copy_passes(text: str) -> None:
    assert judge([("title", text)], MATCHER).findings == ()


@pytest.mark.parametrize(
    ("text", "category", "decision"),
    [
        ("全省口碑第一的酸菜鱼", "absolute_claim", REJECT),
        ("整条街最香的烧饼", "absolute_claim", REVIEW),
        ("一个疗程见效，告别痛风", "medical_claim", REJECT),
        ("一杯下肚，增强免疫力", "medical_claim", REVIEW),
        ("投5万每月返利，收益率12%", "financial_promise", REJECT),
        ("预计八个月收回成本，八个月回本", "financial_promise", REVIEW),
        ("世界杯赌球找柜台", "gambling", REJECT),
        ("深夜裸聊专线", "pornography", REJECT),
        ("包厢里有冰毒", "drugs", REJECT),
        ("新到甩棍与电击棒", "weapons", REJECT),
        ("代开发票，当场取", "counterfeit", REJECT),
        ("机关内部特供茶", "state_symbols", REJECT),
        ("订座请拨 138-0000-1234", "off_platform_contact", REJECT),
        ("菜单见 menu-demo.example", "off_platform_contact", REJECT),
        ("详情私信", "off_platform_contact", REVIEW),
        ("转发到三个群，送可乐一瓶", "induced_sharing", REJECT),
        ("嫌贵的都是穷光蛋", "abuse", REJECT),
        ("大师看面相，五十一次", "superstition", REJECT),
        ("未满16岁也可以纹", "minors", REJECT),
    ],
)
def test_each_category_is_caught(text: str, category: str, decision: str) -> None:
    judgement = judge([("title", text)], MATCHER)
    assert judgement.decision == decision
    assert category in {finding.category for finding in judgement.findings}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("LSD邮票", ()),
        ("ＬＳＤ邮票", ("nfkc",)),
        ("lsd邮票", ("case",)),
        ("LSD郵票", ("traditional",)),
        ("ｌＳＤ郵票", ("nfkc", "case", "traditional")),
    ],
)
def test_a_finding_names_exactly_the_steps_that_exposed_it(text: str, steps: tuple[str, ...]) -> None:
    [finding] = matcher(term("LSD邮票")).find(f"送{text}。")
    assert finding.steps == steps
    assert (finding.start, finding.end) == (1, 1 + len(text))


def test_a_disguise_that_two_steps_undo_names_both() -> None:
    [finding] = matcher(term("lsd")).find("lſd")  # both NFKC and case folding read ſ as s
    assert finding.steps == ("nfkc", "case")


@given(st.sampled_from(WORDS), st.sampled_from([fullwidth, str.upper, TO_TRADITIONAL.convert]))
def test_disguising_a_term_by_width_case_or_script_does_not_hide_it(entry: Term, disguise: object) -> None:
    assert callable(disguise)
    words = disguise(entry.text)
    if normalise(words).text != normalise(entry.text).text:
        return  # the converter chose another word, not another spelling
    [finding] = [finding for finding in MATCHER.find(f"，{words}。") if finding.term == entry.text]
    expected = {fullwidth: "nfkc", str.upper: "case"}.get(disguise, "traditional")
    assert finding.steps == (() if entry.text in words else (expected,))


@given(st.one_of(ANY_TEXT, LOADED_TEXT))
def test_any_text_can_be_searched_and_findings_lie_inside_it(text: str) -> None:
    patterns = {entry.text for entry in MATCHER.lexicon.terms if entry.pattern}
    for finding in MATCHER.find(text):
        assert 0 <= finding.start < finding.end <= len(text)
        if finding.term not in patterns:
            assert normalise(finding.term).text in normalise(text[finding.start : finding.end]).text


@given(LOADED_TEXT)
def test_findings_come_in_order_and_once(text: str) -> None:
    places = [(finding.start, finding.end, finding.term) for finding in MATCHER.find(text)]
    assert places == sorted(set(places))


def test_an_exception_excuses_the_hit_inside_it_and_no_other() -> None:
    search = matcher(term("大麻", exceptions=("大麻花", "大麻烦")))
    assert search.find("大麻花和大麻煩") == []
    text = "大麻花大麻大麻烦"
    assert [(finding.start, finding.end) for finding in search.find(text)] == [(3, 5)]


def test_an_exception_excuses_only_its_own_term() -> None:
    search = matcher(term("大麻", exceptions=("大麻花",)), term("麻花"))
    assert found(search.find("大麻花"), "大麻花") == ["麻花"]


def test_nested_and_overlapping_terms_are_all_found() -> None:
    text = "全城最低价"
    assert found(matcher(term("最低"), term("最低价"), term("城最")).find(text), text) == ["城最", "最低", "最低价"]


@pytest.mark.parametrize(("text", "count"), [("CBD油", 1), ("abcbd", 0), ("cbd2", 0), ("㎏cbd", 0), ("用cbd，", 1)])
def test_a_bounded_term_is_not_found_inside_another_latin_word(text: str, count: int) -> None:
    assert len(matcher(term("CBD", boundary=True)).find(text)) == count


def test_one_original_character_holding_a_term_twice_is_one_finding() -> None:
    [finding] = matcher(term("=")).find("a\u2a75b")  # U+2A75 is == in one character
    assert (finding.start, finding.end) == (1, 2)


def test_a_hostile_text_costs_one_finding_a_place_and_no_more() -> None:
    # Structure, not time: hits grow with the text, and every pattern is bounded (see test_lexicon).
    search = matcher(term("大麻", exceptions=("大麻花",)))
    assert len(search.find("大麻" * 2_000 + "大麻花" * 2_000)) == 2_000
    assert len(search.find("大" * 10_000)) == 0


def test_the_gravest_finding_decides_and_findings_carry_their_field() -> None:
    search = matcher(term("甲", action="review"), term("乙"))
    assert judge([("title", "丙")], search).decision == PASS
    assert judge([("title", "甲")], search).decision == REVIEW
    judgement = judge([("title", "甲"), ("store.name", "乙甲")], search)
    assert judgement.decision == REJECT
    assert [(finding.field, finding.term) for finding in judgement.findings] == [
        ("title", "甲"),
        ("store.name", "乙"),
        ("store.name", "甲"),
    ]
    assert judgement.release == search.lexicon.release


def test_a_ruling_silences_its_term_and_no_other() -> None:
    search = matcher(term("甲", action="review"), term("乙"))
    assert judge([("title", "甲乙")], search, rulings={"乙"}).decision == REVIEW
    assert judge([("title", "甲乙")], search, rulings={"甲", "乙"}).decision == PASS


def test_a_finding_says_why_and_what_to_write_instead() -> None:
    [finding] = judge([("title", "包厢里有冰毒")], MATCHER).findings
    assert "禁毒法" in finding.basis
    assert finding.rewrite.zh_cn
    assert finding.rewrite.en
