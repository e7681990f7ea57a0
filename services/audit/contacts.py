"""Numbers, names and addresses that lead a customer out of the platform, told by how they are written."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit.lexicon import LocalizedText, Term
from services.audit.reading.letters import Marks
from services.audit.reading.scan import Scan
from services.audit.reading.words import emoji_words, rows

# What may be written with digits for letters.
WORDS = ("weixin", "wechat", "telegram", "whatsapp")
CATEGORY = "off_platform_contact"
_BASIS = "平台规则：活动文案不得引导至站外联系或交易"
_REWRITE = LocalizedText(
    "删去站外联系方式，请顾客在平台内预约或咨询",
    "Remove the outside contact; ask customers to book or ask inside the platform",
)
# On the telephone 一 is 幺, which ordinary copy has in names alone, and among other digits more are read so.
_READ_DIGITS = "幺洞两拐勾"
_READ_DIGIT = re.compile(f"[{_READ_DIGITS}]")
_READ_OUT = re.compile(f"幺|[0-9{_READ_DIGITS}]{{3,}}")
_READ_AS = str.maketrans(_READ_DIGITS, "10279")
# In clauses: how many digits numbers and those of telephones need at least, with gaps no wider than these.
_DIGITS = f"0123456789oil{_READ_DIGITS}"
_SOME_DIGITS, _NARROW = 5, 1
_MANY_DIGITS, _WIDE = 9, 3
# And what names need.
_SPELT_OUT = ("com", "cn", "net", "org")
_SOME_LETTERS = re.compile(f"[a-z](?:[a-z0-9]{{3}}|{'|'.join(f'(?<={word[0]}){word[1:]}' for word in _SPELT_OUT)})")
# Numbers that nobody calls, by the words before them; a mobile's eleven digits by fewer: 代办许可证，13800001234.
_NO_NUMBER = re.compile(
    r"(?:(?:单号|(?<!下)订单|编号|条码|条形码|批号|货号|券码|券号|卡号|型号|流水号|序列号|证号|许可证?|备案|备案号)[a-z]{0,4}|"
    r"(?<![a-z])(?:isbn|sku|no))$"
)
_NO_MOBILE = re.compile("(?:单号|(?<!下)订单|编号|条码|条形码|批号|货号|券码|券号|流水号|序列号)[a-z]{0,4}$")
_CALL = re.compile(r"(?:电话?|手机号?|号码?|专线|热线|客服|致电|拨打?|联系)[^\w.。]{0,3}$")
_BEFORE = 24
# Digits of a landline stand together in so many at least, or all apart.
_GROUP = 3
# What separates the digits of a number: no word, no colon of a clock, nothing that parts a list, and no sign of a size.
_GAP = r"[^\w:,;、。!?×￥¥$]{0,3}"
_DIGIT_BEFORE = re.compile(rf"[0-9]{_GAP}$")
_DIGIT_BEHIND = re.compile(rf"{_GAP}[0-9]")
# Of a mobile's eleven; the others may be written as letters.
_FEWEST_DIGITS = 6
_TOP_LEVEL = (
    "com|cn|net|org|top|vip|shop|xyz|cc|me|io|info|site|club|link|app|store|online|wang|tv|co|example|test|invalid"
)
# A name that somebody chose: with a digit, a dot, a dash or an underscore in it, or long.
_NAME = r"[a-z](?=[a-z0-9]{0,19}[-_.0-9]|[a-z]{5})[-_.a-z0-9]{4,19}(?<!\.)"
# One that surely nobody finds in a dictionary.
_CHOSEN = r"(?=[a-z]{1,19}[-_0-9])[a-z][-_a-z0-9]{4,19}"


@dataclass(frozen=True, slots=True)
class Contact:
    """A kind of contact in a text, from `start` to `end` (exclusive)."""

    start: int
    end: int
    term: Term


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of contact: its expression, what is looked at besides, and what a text must have of it at least.

    It has characters with all of `marks`, of `words` one if there are some, and what `told` looks for.
    """

    term: Term
    expression: re.Pattern[str]
    is_one: Callable[[re.Match[str]], bool]
    marks: int = 0
    words: tuple[str, ...] = ()
    told: re.Pattern[str] | None = None


Kinds = Sequence[Kind]


@cache
def _read_as(character: str) -> str:
    """The characters that are read as this one is."""
    sounds = {row[0]: row[3] for row in rows("syllables.tsv")}
    return "".join(other for other, sound in sounds.items() if sound == sounds[character])


def _alike(word: str) -> str:
    """An expression for characters that are read as the word is."""
    return "".join(f"[{_read_as(character)}]" for character in word)


def _alone(first: str, never: str) -> str:
    """An expression for one of the characters `first` behind none of the others: re looks for those first, quickly."""
    return f"[{first}](?<![{never}][{first}])"


def _mobile() -> str:
    digit = "[0-9oil]"
    code = rf"(?<=\+)86{_GAP}1|(?<=8)6{_GAP}1|(?<=1)"
    return rf"{_alone('+81', '0-9.')}(?:{code}){_GAP}[3-9]{_GAP}(?:{digit}{_GAP}){{8}}{digit}(?![0-9a-z])"


def _landline() -> str:
    area = r"10|2[0-9]|[3-9][0-9]{2}"
    return rf"{_alone('0', '0-9-')}(?:{area}){_GAP}(?:[0-9]{_GAP}){{6,7}}[0-9](?![0-9])"


def _number(words: str, least: int) -> str:
    number = rf"(?<![糖果币人])[1-9](?:{_GAP}[0-9]){{{least - 1},11}}(?![0-9a-z])(?! ?[元块斤克人位名包个箱只件份积%])"
    return rf"(?:{words})[^0-9a-z,]{{0,6}}{number}"


# What a name is called by, and what says which it is.
_TITLE = "(?:(?:账|帐)?号码?|id|群|同号|用户名|昵称|名字?|主页|频道|搜索?)(?:是|为|叫)?"


def _named(words: str, between: str) -> str:
    """A name behind a word for where it is one."""
    return rf"(?:{words})我? ?(?:{_TITLE})?(?:{between})@?{_NAME}"


# What parts a word from a name; Latin ones would be one word without it.
_APART = r"[^\w,.。@+]{1,4}|(?<=[号群搜码是为叫名])|@"
_CALLED = r"[^\w,.。@+ ]{1,4}|(?<=[号群搜码是为叫名页])|@"
_CLOSE = r"[^\w,.。@+]{0,4}|@"
_WECHAT = r"[微薇徽葳威]信|v信|v❤|微号|微x"
_WECHAT_LATIN = r"weixin|wechat|(?<![a-z0-9])(?:wx|vx)"
_OTHER = (
    "tg|telegram|line|whatsapp|kakao(?:talk)?|skype|signal|zalo|viber|ins|ig|instagram|facebook|fb|twitter|discord|"
    "电报|纸飞机|飞机|小红书|抖音|快手|微博|闲鱼|b站|知乎|陌陌|探探|钉钉|旺旺|飞书|视频号"
)
_OTHERS = tuple(_OTHER.replace("(?:talk)?", "").split("|"))


def _is_number(match: re.Match[str], otherwise: re.Pattern[str] = _NO_NUMBER) -> bool:
    """Whether it is a number to call: none that a text names otherwise, and no part of a longer one."""
    before = match.string[max(0, match.start() - _BEFORE) : match.start()]
    if otherwise.search(re.sub(r"\W", "", before)):
        return False
    # Of a number whose digits stand apart, more may stand beside it.
    is_apart = all(len(group) == 1 for group in re.findall("[0-9]+", match[0]))
    behind = match.string[match.end() : match.end() + 4]
    return not (is_apart and (_DIGIT_BEFORE.search(before) or _DIGIT_BEHIND.match(behind)))


def _is_called(match: re.Match[str]) -> bool:
    """Whether a text says that a number is one to call, which a list of prices or points might be else."""
    return _CALL.search(match.string[max(0, match.start() - _BEFORE) : match.start()]) is not None and _is_number(match)


def _is_mobile(match: re.Match[str]) -> bool:
    return sum(map(str.isdigit, match[0])) >= _FEWEST_DIGITS and _is_number(match, _NO_MOBILE)


def _is_landline(match: re.Match[str]) -> bool:
    """Whether its groups are those of a number, and no longer number, nor a date, goes on beside it."""
    lengths = {*map(len, re.findall("[0-9]+", match[0]))}
    before = match.string[max(0, match.start() - _BEFORE) : match.start()]
    behind = match.string[match.end() : match.end() + 4]
    is_whole = not (_DIGIT_BEFORE.search(before) or _DIGIT_BEHIND.match(behind))
    return (min(lengths) >= _GROUP or lengths == {1}) and "." not in match[0] and is_whole and _is_number(match)


# The emoji that stand for where a contact is.
_PICTURES = frozenset(emoji for emoji, word in emoji_words().items() if word in ("qq", "微信", "飞机", "群"))
# Marks of characters: those emoji, digits and what may stand between them, and a set of which a kind has one.
_PICTURE, _DIGIT, _BETWEEN_DIGITS = 1, 2, 4
_MARK_OF = {
    _PICTURES: _PICTURE,
    frozenset(_DIGITS): _DIGIT,
    frozenset(".,-"): _BETWEEN_DIGITS,
}


def _kind(
    name: str,
    expression: str,
    *characters: str,
    is_one: Callable[[re.Match[str]], bool] = lambda match: True,
    words: tuple[str, ...] = (),
    told: str = "",
) -> Kind:
    term = Term(name, CATEGORY, "reject", False, (), _BASIS, _REWRITE)
    marks = sum({_MARK_OF.setdefault(frozenset(one), 1 << len(_MARK_OF)) for one in characters})
    return Kind(term, re.compile(expression), is_one, marks, words, re.compile(told) if told else None)


_TELEPHONES: Kinds = (
    _kind("手机号", _mobile(), "1幺", is_one=_is_mobile),
    _kind("手机号", rf"{_alone('1', '0-9')}([,:;、])[3-9](?:\1[0-9]){{9}}(?![0-9])", "1", is_one=_is_number),
    _kind(
        "手机号",
        rf"{_alone('1', '0-9')}[3-9][0-9]([,:;、])[0-9]{{4}}\1[0-9]{{4}}(?![0-9])",
        "1",
        is_one=_is_called,
    ),
    _kind("固定电话", _landline(), "0", is_one=_is_landline),
    _kind("固定电话", rf"{_alone('48', '0-9-')}00-?[0-9]{{3,4}}-?[0-9]{{3,4}}(?![0-9])", "48", is_one=_is_number),
    _kind("固定电话", rf"{_alone('48', '0-9-')}00 [0-9]{{3,4}} [0-9]{{3,4}}(?![0-9])", "48", is_one=_is_called),
)
_NUMBERS: Kinds = (
    _kind(
        "其他账号",
        rf"(?<![a-z])(?:{_OTHER}) ?(?:账?号|群号|搜|id)(?:是|为)?[^\w,.。]{{0,3}}[0-9]{{6,12}}(?![0-9])",
        words=_OTHERS,
    ),
    _kind("QQ号", _number(rf"(?<![a-z])q{{1,2}}|扣|球球|企鹅|{_alike('扣扣')}", 5), f"q球鹅{_read_as('扣')}"),
    _kind("群号", _number(r"群|群号|群聊号", 6), "群"),
)
_NAMES: Kinds = (
    _kind(
        "微信号码",
        _named(rf"{_WECHAT}|{_alike('微信')}", _CLOSE),
        f"v徽{_read_as('微')}",
        f"号x❤{_read_as('信')}",
    ),
    _kind("微信号码", _named(_WECHAT_LATIN, _APART), words=("weixin", "wechat", "wx", "vx")),
    _kind("微信号码", rf"(?<![^\s㐀-鿿,:;!。])[vw] ?: ?{_NAME}", "vw", ":：﹕"),
    # Whoever puts a heart for 信 has written the name's own 微 or one that looks or sounds so; a heart is dropped here.
    _kind(
        "微信号码",
        rf"[微薇葳徽](?:号码?)? ?: ?{_CHOSEN}|[微薇葳徽围威维唯]号[^\w,.。@+]{{0,3}}{_CHOSEN}",
        "微薇葳徽围威维唯",
    ),
    _kind(
        "微信号码",
        rf"(?:\+|{_alike('加')})[^\w,.。]{{0,2}}(?:[vw]x?|q|{_alike('微')})(?:❤?{_alike('信')})?[^\w,.。@+]{{0,4}}{_CHOSEN}",
        f"+＋﹢{_read_as('加')}",
        f"vwq{_read_as('微')}",
    ),
    _kind("其他账号", _named(rf"(?<![a-z])(?:{_OTHER})", _CALLED), words=_OTHERS),
    _kind(
        "其他账号",
        rf"(?<![a-z])(?:{_OTHER})(?:(?:联系|联络|添?加|找|聊|私信|咨询)(?:我们?|店长|客服)?|(?=[,:; ]{{0,2}}{_TITLE}))"
        rf"[,:; ]{{0,2}}(?:{_TITLE})?[^\w,.。@+]{{0,3}}@?{_CHOSEN}",
        words=_OTHERS,
    ),
    _kind("其他账号", rf"(?<![a-z])(?!钉钉|旺旺|ig)(?:{_OTHER}) {{1,2}}{_CHOSEN}", words=_OTHERS),
    _kind(
        "账号",
        rf"加(?:我|好友|老板娘?|店长|店主|掌柜|客服|群主)[^\w,.。@+]{{0,4}}(?=[a-z]{{1,19}}[_0-9]){_CHOSEN}",
        "加",
    ),
    _kind("账号", r"(?<![\w.\-])@[a-z][a-z0-9]{0,18}[_0-9][a-z0-9_]{1,18}", "@＠﹫"),
    _kind(
        "网址",
        r"(?:https?:/{1,2}|(?<![a-z0-9])www\.)[a-z0-9][a-z0-9._/?=&%\-]{2,80}|(?<![a-z0-9@.])[a-z0-9][a-z0-9\-]{1,40}"
        rf"(?:\.[a-z0-9\-]{{1,30}}){{0,3}}\.(?:{_TOP_LEVEL})(?![a-z0-9])|"
        # Shortened.
        r"(?<![a-z0-9@.])[a-z0-9\-]{0,20}[a-z][a-z0-9\-]{0,20}\.[a-z]{2,3}/(?=[a-z]*[0-9])(?=[0-9]*[a-z][0-9]*[a-z])[a-z0-9]{4,12}",
        ".．․/／",
        # Most dots are those of prices.
        told=r"\.[a-z]|www\.|:/",
    ),
    # As people write who know that addresses are looked for.
    _kind(
        "网址",
        rf"(?<![a-z0-9@.])[a-z0-9\-]{{0,20}}[a-z][a-z0-9\-]{{0,20}}[点。](?:{'|'.join(_SPELT_OUT)})(?![a-z0-9])",
        words=_SPELT_OUT,
    ),
    _kind("邮箱", r"[a-z0-9][a-z0-9._\-]{1,30}(?:@|艾特)[a-z0-9\-]{2,30}(?:\.|点)[a-z]{2,8}", "@＠﹫艾"),
    _kind("口令", r"([￥¥$€])[a-z0-9]{8,13}\1", "￥¥$€"),
)


_EVERY = (*_NUMBERS, *_TELEPHONES, *_NAMES)
# Each once, and looked for in one pass.
_EVERY_WORD = [*dict.fromkeys(word for kind in _EVERY for word in kind.words)]
_FOUND = CharwiseDoubleArrayAhoCorasick(_EVERY_WORD)


def _marks() -> Marks:
    marked: dict[str, int] = {}
    for characters, mark in _MARK_OF.items():
        for character in characters:
            marked[character] = marked.get(character, 0) | mark
    return Marks(marked)


_MARKS = _marks()


def possible(text: str, plain: Scan) -> Kinds:
    """The kinds that a text whose clauses are scanned may hold; quick, and for most texts none."""
    kinds: list[Kind] = []
    clauses = plain.text
    if _MARKS.longest(clauses, _DIGIT, _BETWEEN_DIGITS, _NARROW) >= _SOME_DIGITS:
        kinds += _NUMBERS
        if _MARKS.longest(clauses, _DIGIT, _BETWEEN_DIGITS, _WIDE) >= _MANY_DIGITS:
            kinds += _TELEPHONES
    if plain.has_letters and _SOME_LETTERS.search(clauses):
        kinds += _NAMES
    if not kinds:
        return ()
    told = _MARKS.of(text) | _MARKS.of(clauses)
    if told & _PICTURE:
        return kinds
    named = {_EVERY_WORD[index] for _, _, index in _FOUND.find_overlapping(clauses)}
    return [kind for kind in kinds if not kind.marks & ~told and (not kind.words or not named.isdisjoint(kind.words))]


def find(entities: str, kinds: Kinds) -> Iterator[Contact]:
    """The contacts of such kinds in a text as Fold.entities() writes it."""
    if _READ_DIGIT.search(entities):
        entities = _READ_OUT.sub(lambda match: match[0].translate(_READ_AS), entities)
    for kind in kinds:
        if kind.told and not kind.told.search(entities):
            continue
        for match in kind.expression.finditer(entities):
            if kind.is_one(match):
                yield Contact(match.start(), match.end(), kind.term)
