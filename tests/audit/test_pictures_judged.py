"""Whether posters are judged as a person would judge them."""

import pytest

from services.audit import lexicon
from services.audit.judge import judge
from services.audit.matcher import Matcher
from services.audit.pictures.passages import Page
from services.audit.pictures.payloads import findings
from services.audit.pictures.reader import Reader
from tests.audit.posters import BLACK, WHITE, jpeg, poster, qr, with_code

READER = Reader()
MATCHER = Matcher(lexicon.load())
TITLE = ("开业大酬宾", 80)
SIZE = (720, 720)


def judged(content: bytes) -> tuple[str, set[str]]:
    """The gravest action, "pass" without any, and the categories."""
    page = Page.of(READER.read(content))
    found = [*judge([("images[0]", page.text)], MATCHER).findings, *findings("images[0]", page)]
    for one in found:
        assert page.box(one.start, one.end) is not None
    actions = {one.action for one in found}
    decision = next((action for action in ("reject", "review") if action in actions), "pass")
    return decision, {one.category for one in found}


@pytest.mark.parametrize(
    "lines",
    [
        ["全场八折", "满100减20", "招牌牛肉面 原价38元 现价26元", "活动时间：11月1日至11月30日"],
        ["今日菜单", "宫保鸡丁 38元", "鱼香肉丝 32元", "酸菜鱼 68元", "米饭 2元", "营业时间 10:00-22:00"],
        ["双十一狂欢", "最后三天", "第二件半价", "扫码点餐 支持微信支付", "每人限领一张"],
        ["地址：杭州市西湖区文三路0号", "地铁2号线市政府站B口", "顾客第一 服务至上", "未满18周岁不售酒"],
        ["药膳鸡汤", "糖尿病患者请酌情食用", "最佳赏味期三天", "特级初榨橄榄油"],
    ],
)
@pytest.mark.parametrize("turn", [2])
def test_honest_posters_pass(lines: list[str], turn: int) -> None:
    picture = poster([TITLE, *lines], SIZE).rotate(turn, fillcolor=(200, 30, 40))
    assert judged(jpeg(picture, 75)) == ("pass", set())


@pytest.mark.parametrize("payload", ["A12号桌", "WIFI:S:Cafe;T:WPA;P:88880000;;", "券码：9000000000000000"])
def test_a_poster_with_a_harmless_code_passes(payload: str) -> None:
    assert judged(jpeg(with_code(poster([TITLE, "到店出示"], SIZE), qr(payload), (200, 300)))) == ("pass", set())


@pytest.mark.parametrize(
    ("line", "category"),
    [
        ("全省第一百年老店", "absolute_claim"),
        ("國家級大師親自掌勺", "absolute_claim"),
        ("全城最★低★价", "absolute_claim"),
        ("根治糖尿病 无效退款", "medical_claim"),
        ("稳赚不赔 月月返利", "financial_promise"),
        ("订餐热线 13800000000", "off_platform_contact"),
        ("加薇❤信 abc_000000", "off_platform_contact"),
        ("138-0000-0000", "off_platform_contact"),
        ("加 店 主 微 信", "off_platform_contact"),
        ("转发朋友圈集赞30个免单", "induced_sharing"),
    ],
)
def test_posters_with_a_violation_are_rejected(line: str, category: str) -> None:
    decision, categories = judged(jpeg(poster([TITLE, "满100减20", (line, 44), "每人限领一张"], SIZE)))
    assert decision == "reject"
    assert category in categories


def test_the_fine_print_counts() -> None:
    lines: list[str | tuple[str, int]] = [TITLE, "满100减20", ("图片仅供参考，详情加微信13800000000", 14)]
    assert judged(jpeg(poster(lines, SIZE, WHITE, BLACK)))[0] == "reject"


@pytest.mark.parametrize("payload", ["https://u.wechat.com/EAAAAABBBB", "加微信：13800000000", "www.example.com"])
@pytest.mark.parametrize("turn", [0, 20])
def test_a_code_that_invites_elsewhere_is_rejected(payload: str, turn: float) -> None:
    picture = with_code(poster([TITLE, "扫码进群"], SIZE), qr(payload, 4, "#07c160"), (200, 300), turn)
    decision, categories = judged(jpeg(picture))
    assert decision == "reject"
    assert "off_platform_contact" in categories
