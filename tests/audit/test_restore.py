from collections.abc import Collection

import pytest

from services.audit.evidence import Finding
from services.audit.lexicon import FOLD, Lexicon, LocalizedText, Term
from services.audit.matcher import Matcher
from services.audit.reading import steps
from services.audit.reading.components import Components
from services.audit.reading.edits import Edit
from services.audit.reading.scan import Scanner
from services.audit.reading.shapes import Shapes

REWRITE = LocalizedText("改写", "rewrite")
WORDS = ("加微", "国家级", "治愈", "冰毒", "weixin", "top1", "casino", "年化收益", "点赞", "稳赚不赔", "天天返现")


def matcher(*words: str, enabled: Collection[str] = steps.ALL, homophones: bool = True) -> Matcher:
    terms = [Term(word, "drugs", "reject", False, (), "禁毒法", REWRITE, homophones=homophones) for word in words]
    return Matcher(Lexicon.of(terms), enabled)


ALL = matcher(*WORDS)


def found(text: str, search: Matcher = ALL) -> list[tuple[str, str]]:
    return [(finding.term, text[finding.start : finding.end]) for finding in search.find(text)]


def one(text: str) -> Finding:
    [finding] = ALL.find(text)
    return finding


@pytest.mark.parametrize(
    ("text", "term", "words", "step"),
    [
        ("本店国国家家家级级手艺", "国家级", "国国家家家级", steps.REPEAT),
        ("店里请稳，赚，不，赔哦", "稳赚不赔", "稳，赚，不，赔", steps.SYMBOLS),
        ("扫w3ix1n领券", "weixin", "w3ix1n", steps.LEET),
        ("开c@s1n0场", "casino", "c@s1n0", steps.LEET),
        ("店内t0p1单品", "top1", "t0p1", steps.LEET),
        ("本店guo jia ji手艺", "国家级", "guo jia ji", steps.PINYIN),
        ("本店guo家级手艺", "国家级", "guo家级", steps.PINYIN),
        ("本店国嘉级手艺", "国家级", "国嘉级", steps.HOMOPHONE),
        ("三天氵台愈", "治愈", "氵台愈", steps.SPLIT),
        ("请➕微领券", "加微", "➕微", steps.EMOJI_WORD),
        ("集30个点👍", "点赞", "点👍", steps.EMOJI_WORD),
    ],
)
def test_a_word_written_in_another_way_is_put_back(text: str, term: str, words: str, step: str) -> None:
    finding = one(text)
    assert finding.term == term
    # What repeats at the end of a word may belong to it or not.
    assert text[finding.start : finding.end].startswith(words)
    assert step in finding.steps


@pytest.mark.parametrize("text", ["招👨\u200d🎓兼职", "招👩🎓兼职", "招👨\u200b\u200d\u200b🎓兼职", "招👨★🎓兼职"])
def test_a_joined_emoji_stands_for_its_word_in_pieces_too(text: str) -> None:
    [finding] = matcher("学生兼职").find(text)
    assert (text[finding.start : finding.end], finding.steps[-1]) == (text[1:], steps.EMOJI_WORD)


@pytest.mark.parametrize("text", ["🇨🇳龙虾", "🇨\u200b🇳龙虾"])
def test_a_flag_stands_for_its_country(text: str) -> None:
    [finding] = matcher("中国龙虾").find(text)
    assert text[finding.start : finding.end] == text


@pytest.mark.parametrize("text", ["🇨🇭🇳🇱龙虾", "👨兼职🎓", "👨\u200d👩\u200d👦🎓兼职", "\ud83d👨\ud800兼职"])
def test_emoji_that_only_stand_beside_each_other_are_no_word(text: str) -> None:
    assert matcher("中国龙虾", "学生兼职").find(text) == []


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (steps.REPEAT, "本店国国家家家级级手艺"),
        (steps.LEET, "扫w3ix1n领券"),
        (steps.PINYIN, "本店guo jia ji手艺"),
        (steps.HOMOPHONE, "本店国嘉级手艺"),
        (steps.SPLIT, "三天氵台愈"),
        (steps.EMOJI_WORD, "请➕微领券"),
    ],
)
def test_without_a_step_its_words_are_not_put_back(step: str, text: str) -> None:
    assert found(text)
    assert found(text, matcher(*WORDS, enabled=frozenset(steps.ALL) - {step})) == []


@pytest.mark.parametrize("text", ["本店国嘉级手艺", "三天氵台愈"])
def test_what_only_sounds_or_looks_like_a_word_is_for_a_person_to_judge(text: str) -> None:
    assert one(text).action == "review"


@pytest.mark.parametrize("text", ["本店国国家家家级级手艺", "扫w3ix1n领券", "本店guo jia ji手艺", "请➕微领券"])
def test_what_nobody_writes_by_chance_is_rejected(text: str) -> None:
    assert one(text).action == "reject"


def test_a_group_may_forbid_homophones_of_its_words() -> None:
    assert found("本店国嘉级手艺", matcher("国家级", homophones=False)) == []
    assert found("本店guo jia ji手艺", matcher("国家级", homophones=False)) == [("国家级", "guo jia ji")]


def test_an_ordinary_word_is_no_homophone() -> None:
    assert found("大妈跳舞", matcher("大麻")) == []
    assert found("大唛跳舞", matcher("大麻")) == [("大麻", "大唛")]


def test_a_character_of_an_ordinary_word_is_no_other_that_looks_like_it() -> None:
    search = matcher("年入百万")
    assert found("每年人百万", search) == [("年入百万", "年人百万")]
    assert found("成年人百万", search) == []


def test_there_may_be_any_number_of_sounds() -> None:
    """Characters without a sound are each their own: more than two bytes tell apart."""
    points = [*range(0xAC00, 0xD7A4), *range(0x20000, 0x31350)]
    characters = [character for character in map(chr, points) if FOLD.text(character) == character]
    assert len(characters) > 0xFFFF
    terms = ["".join(characters[place : place + 100]) for place in range(0, len(characters), 100)]
    assert [term for term, _ in found(terms[-1], matcher(*terms))] == [terms[-1]]


def test_a_word_with_a_real_double_letter_is_found_plain_and_repeated() -> None:
    assert found("会员天天返现") == [("天天返现", "天天返现")]
    assert [term for term, _ in found("会员天天天返返现现")] == ["天天返现"]


def test_what_may_be_two_words_is_the_same_one_in_whatever_order_they_come() -> None:
    def edits(order: int) -> list[list[Edit]]:
        repeated: list[str] = []
        doubled = ["加加微", "加微微"][::order]
        components = Components(doubled, doubled, {steps.REPEAT}, repeated)
        replaced: list[str] = []
        shapes = Shapes(["未土", "末士"][::order], (), replaced)
        return [
            components.edits(Scanner((), repeated).scan("加加微微")),
            shapes.edits(Scanner((), replaced).scan("末土")),
        ]

    assert all(edits(1))
    assert edits(1) == edits(-1)


def test_two_disguises_in_one_word_are_both_named() -> None:
    assert {steps.PINYIN, steps.TRADITIONAL} <= set(one("本店guo家級手艺").steps)


def test_no_word_is_made_where_none_was_disguised() -> None:
    assert found("全场满100减20，牛油果吐司48元，Latte28元") == []
