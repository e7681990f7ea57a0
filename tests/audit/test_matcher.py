from dataclasses import replace
from pathlib import Path

import pytest

from services.audit import contacts, lexicon
from services.audit.evidence import Finding
from services.audit.judge import PASS, REJECT, REVIEW, judge
from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.audit.matcher import Matcher

MATCHER = Matcher(lexicon.load())
HONEST_COPY = Path(__file__).with_name("honest_copy.txt").read_text(encoding="utf-8").splitlines()
REWRITE = LocalizedText("改写", "rewrite")


def matcher(*terms: Term) -> Matcher:
    return Matcher(Lexicon.of(terms))


def term(
    text: str,
    *,
    action: str = "reject",
    boundary: bool = False,
    exceptions: tuple[str, ...] = (),
    pattern: str = "",
    unless_forbidden: bool = False,
) -> Term:
    return Term(
        text, "drugs", action, boundary, exceptions, "禁毒法", REWRITE, pattern, unless_forbidden=unless_forbidden
    )


def found(findings: list[Finding], text: str) -> list[str]:
    return [text[finding.start : finding.end] for finding in findings]


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
        ("lsd邮票", ()),
        ("LSD郵票", ("traditional",)),
        ("ＬЅD 郵\u200b票", ("nfkc", "traditional", "lookalike", "zero_width", "spaces")),
    ],
)
def test_a_finding_names_exactly_the_steps_that_exposed_it(text: str, steps: tuple[str, ...]) -> None:
    [finding] = matcher(term("LSD邮票")).find(f"送{text}。")
    assert finding.steps == steps
    assert (finding.start, finding.end) == (1, 1 + len(text))


def test_capitals_are_named_where_the_term_has_none() -> None:
    [finding] = matcher(term("lsd")).find("LsD")
    assert finding.steps == ("case",)


def test_an_exception_excuses_the_hit_inside_it_and_no_other() -> None:
    search = matcher(term("大麻", exceptions=("大麻花", "大麻烦")))
    assert search.find("大麻花和大麻煩") == []
    text = "大麻花大麻大麻烦"
    assert [(finding.start, finding.end) for finding in search.find(text)] == [(3, 5)]


def test_an_exception_excuses_only_its_own_term() -> None:
    search = matcher(term("大麻", exceptions=("大麻花",)), term("麻花"))
    assert found(search.find("大麻花"), "大麻花") == ["麻花"]


def test_nested_and_overlapping_terms_are_all_found() -> None:
    text = "送甲乙丙"
    assert found(matcher(term("甲乙"), term("乙丙"), term("甲乙丙")).find(text), text) == ["甲乙", "甲乙丙", "乙丙"]


@pytest.mark.parametrize(("text", "count"), [("CBD油", 1), ("abcbd", 0), ("cbd2", 0), ("㎏cbd", 0), ("用cbd，", 1)])
def test_a_bounded_term_is_not_found_inside_another_latin_word(text: str, count: int) -> None:
    assert len(matcher(term("CBD", boundary=True)).find(text)) == count


def test_one_original_character_holding_a_term_is_one_finding() -> None:
    [finding] = matcher(term("kg")).find("一㎏装")
    assert (finding.start, finding.end) == (1, 2)


@pytest.mark.parametrize(("text", "count"), [("看18片", 1), ("看118片", 0), ("看１８片", 1), ("看18 1片", 0)])
def test_a_number_is_not_found_inside_another(text: str, count: int) -> None:
    assert len(matcher(term("18"), term("看18片")).find(text)) == 2 * count


def test_a_pattern_runs_within_clauses_and_an_exception_that_overlaps_it_excuses() -> None:
    search = matcher(term("现金返还", pattern="返[^,]{0,3}现金", exceptions=("现金红包",)))
    assert found(search.find("满百返10元现金，多返多得，现金"), "满百返10元现金，多返多得，现金") == ["返10元现金"]
    assert search.find("返10元现金红包") == []


def test_a_pattern_is_found_by_every_one_of_its_words() -> None:
    search = matcher(term("范围", pattern="(?:全国|全网)[^,]{0,4}(?:最低|第1)"))
    text = "全国最低、全网最低、全国都第一、全网真第①"
    assert found(search.find(text), text) == ["全国最低", "全网最低", "全国都第一", "全网真第①"]


@pytest.mark.parametrize(
    ("pattern", "text", "matched"),
    [
        ("[^,]{0,3}乙.{0,2}[12,]|甲乙丙|乙丙", "送甲乙丙", "甲乙丙"),
        ("乙丙|甲乙丙|[^,]{0,3}乙.{0,2}[12,]", "送甲乙丙", "甲乙丙"),
        ("[^,]{0,3}乙.{0,2}丁|甲乙丙|乙丙", f"送甲乙丙{'啊' * 8}丁", "甲乙丙"),
        ("[^,]{0,3}乙.{0,2}丁|甲乙丙|乙丙", f"送甲乙丙{'啊' * 8}丁{'好' * 1000}", "甲乙丙"),
        ("乙丙|[^,]{0,3}乙丙.{0,5}1", "送甲乙丙1", "送甲乙丙1"),
    ],
)
def test_what_a_pattern_matches_within_another_match_of_it_is_neither_told_nor_left_when_that_is_excused(
    pattern: str, text: str, matched: str
) -> None:
    """Whichever of its alternatives have to be tried, and in whatever order."""
    assert found(matcher(term("p", pattern=pattern)).find(text), text) == [matched]
    assert matcher(term("p", pattern=pattern, exceptions=("送甲",))).find(text) == []


@pytest.mark.parametrize("gap", [0, 1, 7, 15, 16, 17, 30])
def test_a_pattern_is_found_wherever_it_stands_and_however_far_apart_its_words_are(gap: int) -> None:
    search = matcher(term("返利", pattern="(?:存钱|入会)[^,]{0,30}返利|[^,]{0,30}抽头[^,]{0,30}分红"))
    for before in range(40):
        for one in ("存钱" + "好" * gap + "返利", "好" * gap + "抽头" + "好" * gap + "分红"):
            text = "客人，" * before + one + "，客人" * before
            assert found(search.find(text), text) == [one]


def test_who_forbids_a_thing_does_not_offer_it() -> None:
    search = matcher(term("冰毒", unless_forbidden=True), term("K粉"))
    assert found(search.find("本店禁止吸食冰毒、K粉"), "本店禁止吸食冰毒、K粉") == ["K粉"]
    assert found(search.find("禁止吸烟，包厢有冰毒"), "禁止吸烟，包厢有冰毒") == ["冰毒"]
    assert search.find("管制刀具、冰毒、玻璃瓶不得带入。") == []
    assert search.find("冰毒那号东西俺店里没有，抽检单贴墙上。") == []
    assert len(search.find("冰毒没有副作用，不卖给外人，冰毒、不得外传")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "不会让您失望的冰毒",
        "谨防掉线冰毒",
        "冰毒现货定金一分不收",
        "买冰毒证件不用",
        "冰毒别家没有",
        "我家冰毒有没有？我有",
        "冰毒禁止拍照",
        "冰毒请勿使用快递名",
        "冰毒现货本店不做",
        "拒绝中间商冰毒一手货源",
        "谢绝还价、冰毒现货",
        "不提供发票的冰毒现货",
        "不卖假货只卖冰毒",
    ],
)
def test_who_offers_a_thing_forbids_nothing_whatever_words_he_has_for_it(text: str) -> None:
    assert found(matcher(term("冰毒", unless_forbidden=True)).find(text), text) == ["冰毒"]


@pytest.mark.parametrize(
    "text",
    [
        "谨防他人冒名索要微信转账。",
        "本店不会让您加微信转账，也不在平台以外收定金。",
        "如遇自称我司人员加您微信、要求转账的，请在平台内举报。",
    ],
)
def test_who_warns_of_a_thing_does_not_do_it(text: str) -> None:
    contact = contacts.CATEGORY
    assert (
        matcher(*(replace(term(one), category=contact) for one in ("加微信", "加您微信", "微信转账"))).find(text) == []
    )
    assert matcher(term("加微信"), term("加您微信"), term("微信转账")).find(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "谨防错过，加微信",
        "不会让您失望，加微信",
        "警惕涨价，马上加微信",
        "谨防错过加微信领券",
        "不会让你后悔加微信领红包",
    ],
)
def test_a_warning_of_something_else_is_none(text: str) -> None:
    assert len(matcher(replace(term("加微信"), category=contacts.CATEGORY)).find(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "教老人认清稳赚不赔的套路，免费听",
        "凡是说稳赚的电话都请先挂断",
        "反诈进社区：凡说带你稳赚的都是骗局",
        "凡说带你稳赚的都是骗子",
        "凡承诺稳赚的，一律是诈骗",
        "谨防有人冒充银行推销稳赚理财",
        "小心稳赚陷阱",
    ],
)
def test_who_tells_of_a_fraud_does_not_commit_it(text: str) -> None:
    assert matcher(replace(term("稳赚"), category="financial_promise")).find(text) == []
    assert len(matcher(term("稳赚")).find(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "稳赚不是骗局",
        "认清形势，稳赚套路教给你",
        "稳赚套路教给你",
        "凡是老客都稳赚",
        "凡是说好的客人都稳赚，有问题请举报",
        "凡推荐好友稳赚可举报",
        "凡说稳赚都是骗局？我们签合同",
        "凡说亏的都是外行我们稳赚别信谣言",
        "别家都是骗局，我们稳赚",
        "都说稳赚都是骗局，我们不是",
        "小心错过稳赚项目",
        "小心骗子稳赚就找老张",
        "谨防假冒稳赚项目官方直营",
        "谨防假冒、稳赚理财",
        "遇到冒充的稳赚项目",
        "远离打工稳赚零套路",
        "警惕亏损稳赚杜绝骗局",
        "警惕亏损稳赚诈骗险送你",
        "谨防骗子别处推荐我们推荐稳赚",
        "认清趋势稳赚不赔没有套路",
        "不得不说稳赚",
        "拒绝亏损稳赚",
        "稳赚亏一分就是骗人的",
        "稳赚，说我假的都是骗子",
        "稳赚，都是骗不了人的真本事",
        "稳赚，都是真的，骗子绕行",
    ],
)
def test_who_talks_of_fraud_may_commit_it(text: str) -> None:
    assert len(matcher(replace(term("稳赚"), category="financial_promise")).find(text)) == 1


@pytest.mark.parametrize("text", ["不得不尝的大麻糖", "不卖关子的大麻糖", "谨防骗子大麻到付", "大麻不纯就是骗人"])
def test_who_only_seems_to_forbid_offers(text: str) -> None:
    assert len(matcher(term("大麻", unless_forbidden=True)).find(text)) == 1


def test_a_syllable_beside_a_latin_letter_is_none_within_a_foreign_word() -> None:
    search = matcher(term("打K"))
    assert search.find("Dakota风味烤肉，dakflfafob") == []
    assert len(search.find("包厢能 da K，懂的来")) == 1


def test_a_word_that_ends_one_and_begins_another_is_none() -> None:
    assert matcher(term("假货")).find("春节放假货运停发") == []
    assert len(matcher(term("假货")).find("卖假货")) == 1


def test_a_hostile_text_costs_one_finding_a_place_and_no_more() -> None:
    # Structure, not time: hits grow with the text, and every pattern is bounded (see test_lexicon and test_fuzz).
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


def test_a_match_that_is_excused_hides_none_behind_it() -> None:
    search = matcher(term("赞换礼", pattern="点[0-9]赞|[0-9]{1,4}赞[^,]{0,8}送|1赞[^,]{0,3},", exceptions=("加点",)))
    text = "加点1赞就加转发送咖啡"
    assert found(search.find(text), text) == ["1赞就加转发送"]


def test_of_matches_within_each_other_the_first_is_told() -> None:
    search = matcher(term("集赞", pattern="[0-9]{1,4}赞[^,]{0,8}送"))
    text = "1234赞就送"
    assert found(search.find(text), text) == [text]


def test_a_pattern_and_a_term_of_one_name_in_two_categories_are_both_told() -> None:
    search = matcher(term("来刷单", action="review"), replace(term("来刷单", pattern="来.?刷单"), category="gambling"))
    judgement = judge([("title", "我来刷单吧")], search)
    assert [(finding.category, finding.action) for finding in judgement.findings] == [
        ("drugs", "review"),
        ("gambling", "reject"),
    ]


def test_a_text_may_be_of_a_kind_of_its_own() -> None:
    class Title(str):
        __slots__ = ()

    assert judge([("title", Title("包厢里有冰毒"))], MATCHER).decision == REJECT
