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
        # As radio operators read digits.
        ("当面付，幺八六洞洞洞洞五五拐拐", "手机号", "幺八六洞洞洞洞五五拐拐"),
        ("电话一三八，零零零零，一二三四", "手机号", "一三八，零零零零，一二三四"),
        ("客服专线400 000 1234", "固定电话", "400 000 1234"),
        ("网址demo点com", "网址", "demo点com"),
        ("上demo-shop。com下单", "网址", "demo-shop。com"),
        ("t.cn/A6demo领券", "网址", "t.cn/A6demo"),
        ("demo艾特shop点com", "邮箱", "demo艾特shop点com"),
        ("小红书ID 9000012345", "其他账号", "小红书ID 9000012345"),
        ("陌陌号900001234", "其他账号", "陌陌号900001234"),
        ("Line id：demo_tour00", "其他账号", "Line id：demo_tour00"),
        ("请LINE联络，ID是demo_tour00。", "其他账号", "LINE联络，ID是demo_tour00"),
        ("IG搜demo_shop_01", "其他账号", "IG搜demo_shop_01"),
        ("facebook主页：demoshop00", "其他账号", "facebook主页：demoshop00"),
        ("飞书号demo-shop加一下", "其他账号", "飞书号demo-shop"),
        ("直接Skype我：demo.trade00，起批", "其他账号", "Skype我：demo.trade00"),
        ("修图找🐧9000024680", "QQ号", "🐧9000024680"),
        ("看款💚demo_shop01", "微信号码", "💚demo_shop01"),
        ("请以LINE联络我们：demo_dining", "其他账号", "LINE联络我们：demo_dining"),
        ("KakaoTalk ID：demo_beauty", "其他账号", "KakaoTalk ID：demo_beauty"),
        ("代办各类许可证，13800001234", "手机号", "13800001234"),
        ("domino 13800001234", "手机号", "13800001234"),
        ("电话1370/0001两34", "手机号", "1370/0001两34"),
        ("徽信demo_001", "微信号码", "徽信demo_001"),
        ("微信 a_b_12", "微信号码", "微信 a_b_12"),
        ("邮件至demo﹫shop.example", "邮箱", "demo﹫shop.example"),
        ("vx号码是demo_123", "微信号码", "vx号码是demo_123"),
        ("薇❤：demo_123", "微信号码", "薇❤：demo_123"),
        ("围❤号demo_123", "微信号码", "围❤号demo_123"),
        ("加店长 demo_123 聊", "账号", "加店长 demo_123"),
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
        "山洞密室8人起，洞洞鞋可穿，拐角第二家",
        "充400 800 1000分别送礼，电话预约",
        "口味：a-zone，座位号vip-001，单位：kg-1234",
        "LINE FRIENDS主题蛋糕，写ID或名字",
        "10点vip专场，下午3点shop开门",
        "WIFI账号为shop_guest",
        "抖音粉丝破100000，比分138，1200，1345",
        "ID是会员卡背面的数字，报给前台即可",
        "加芝士 demo_latte 冰",
        "Net.wt/500g，sku.abc/12345",
        "钉钉 d1-pro 考勤机，旺旺 xs-100",
        "加老板娘pizza-9寸",
        "粉丝群满 100000 人即抽奖，QQ糖 100000 包",
    ],
)
def test_a_number_or_a_name_that_leads_nowhere_is_none(text: str) -> None:
    assert found(text) == []
