"""What a picture comes to beside its words: what its QR codes do when they are scanned."""

import re
from collections.abc import Iterator

from services.audit.evidence import Finding
from services.audit.lexicon import LocalizedText, Term
from services.audit.pictures.passages import QR, Page

_CATEGORY = "off_platform_contact"
_LINK = Term(
    "二维码",
    _CATEGORY,
    "reject",
    False,
    (),
    "平台规则：活动图片不得以二维码引导至站外联系或交易",
    LocalizedText(
        "删去图片中的二维码，请顾客在平台内领取或预约",
        "Remove the QR code; let customers claim and book inside the platform",
    ),
)
_PAYMENT = Term(
    "收款码",
    _CATEGORY,
    "review",
    False,
    (),
    "平台规则：活动图片中的收款码须经人工确认",
    LocalizedText("删去收款码，请顾客到店后付款", "Remove the payment code; customers pay at the till"),
)
# What is not read may say anything, and most of what must not be said in pictures are contacts.
_UNREAD = Term(
    "图片未能全部识别",
    _CATEGORY,
    "review",
    False,
    (),
    "平台规则：图片文字过多、无法全部识别的，须经人工确认",
    LocalizedText("减少图片中的文字", "Put fewer words into the picture"),
)
# Asks for money: WeChat Pay, Alipay and UnionPay.
_PAYS = re.compile(
    r"wxp://|(?:https?://)?(?:qr\.alipay\.com|wx\.tenpay\.com|payapp\.weixin\.qq\.com|qr\.95516\.com)(?:[/?#]|$)",
    re.IGNORECASE,
)
# Leads away: an address of any scheme, a number to call or to write to, a card of contacts, or a bare host.
_LEADS = re.compile(
    r"[a-z][a-z0-9+.\-]{1,30}://|(?:tel|sms|smsto|mms|mmsto|mailto|matmsg|mecard|bizcard|xmpp|sip|facetime|weixin|intent|market):|"
    r"begin:vcard|(?:[a-z0-9](?:[a-z0-9\-]{0,62})\.){1,8}[a-z]{2,18}(?::[0-9]{1,5})?(?:[/?#]|$)",
    re.IGNORECASE,
)


def findings(field: str, page: Page) -> Iterator[Finding]:
    """What is wrong with a picture beside its words: codes that lead away (rejected) or ask for money, and more words
    than could be read (both for a person to look at).

    What any other code says, such as a coupon's number, a table's or a WiFi network, is judged as the words that it is.
    """
    for start, end, passage in page.parts:
        if passage.kind == QR:
            payload = passage.text.strip()
            if _PAYS.match(payload):
                yield _finding(field, start, end, _PAYMENT)
            elif _LEADS.match(payload):
                yield _finding(field, start, end, _LINK)
    if not page.is_whole:
        start, end, _ = page.parts[-1] if page.parts else (0, 0, None)
        yield _finding(field, start, end, _UNREAD)


def _finding(field: str, start: int, end: int, term: Term) -> Finding:
    return Finding(start, end, term.category, term.text, term.action, (), term.basis, term.rewrite, field)
