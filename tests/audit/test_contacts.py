import pytest

from services.audit import contacts
from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.audit.matcher import Matcher

# Contacts are told by code: any lexicon will do.
MATCHER = Matcher(Lexicon.of([Term("冰毒", "drugs", "reject", False, (), "禁毒法", LocalizedText("改写", "rewrite"))]))


def found(text: str) -> list[tuple[str, str]]:
    """The kinds of contacts in a text with their words."""
    findings = (finding for finding in MATCHER.find(text) if finding.category == contacts.CATEGORY)
    return [(finding.term, text[finding.start : finding.end]) for finding in findings]


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("订座13800001234。", "手机号", "13800001234"),
        ("订座138 0000 1234。", "手机号", "138 0000 1234"),
        ("订座 +86-138-0000-1234", "手机号", "+86-138-0000-1234"),
        ("订座１３８００００１２３４", "手机号", "１３８００００１２３４"),
        ("订座①③⑧〇〇〇〇一二三四", "手机号", "①③⑧〇〇〇〇一二三四"),
        ("订座1\u200b3800001234", "手机号", "1\u200b3800001234"),
        ("订座138OOOO1234", "手机号", "138OOOO1234"),
        ("座机0571-00012345", "固定电话", "0571-00012345"),
        ("QQ：9000012345", "QQ号", "QQ：9000012345"),
        ("扣扣9000012345", "QQ号", "扣扣9000012345"),
        ("进群号900001234", "群号", "群号900001234"),
        ("微信：demo_shop01", "微信号码", "微信：demo_shop01"),
        ("VX: demo_shop01", "微信号码", "VX: demo_shop01"),
        ("Telegram：demo_shop", "其他账号", "Telegram：demo_shop"),
        ("官网 shop-demo.example", "网址", "shop-demo.example"),
        ("写信 demo@shop.example", "邮箱", "demo@shop.example"),
        ("复制￥dEm0AbC0￥", "口令", "￥dEm0AbC0￥"),
    ],
)
def test_a_contact_is_told_by_how_it_is_written(text: str, name: str, words: str) -> None:
    assert (name, words) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "储值1380元送120元，有效期至2026.12.31",
        "床垫尺寸1500×2000×220mm",
        "快递单号13800001234567",
        "食品经营许可证编号JY13301050000123",
        "订单编号13800001234可查",
        "营业9:00-21:00，周五10:00-22:00",
        "AV转HDMI高清线、Type-C数据线、USB延长线",
        "48V20A电池，2.4GHz无线",
        "Brunch 9:00–14:00，Latte 28元",
        "微信支付满30减5",
        "WiFi名 demo-cafe",
        "满群人数5000人",
    ],
)
def test_a_number_or_a_name_that_leads_nowhere_is_none(text: str) -> None:
    assert found(text) == []
