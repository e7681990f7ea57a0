"""Finds the terms of a lexicon and the contacts in a text, however they are written."""

import re
from collections.abc import Collection, Iterator, Sequence

from services.audit import contacts, evidence, patterns
from services.audit.evidence import Finding
from services.audit.lexicon import FOLD, Lexicon
from services.audit.reading import steps
from services.audit.reading.forms import BREAK, Fold, Form
from services.audit.reading.restore import Cell, Reading, Restorer, merged
from services.audit.reading.scan import Scan
from services.audit.reading.sounds import Vocabulary
from services.audit.reading.words import ordinary
from services.audit.search import Hit, Search
from services.audit.yielding import gently

# Words that forbid what follows them in the same clause, so many characters before it at most.
_FORBIDS = re.compile(
    "禁止|严禁|禁售|不得(?!不)|不准|不许|不卖(?!关子)|不售|不做|不提供|不接受|谢绝|拒绝|杜绝|抵制|请勿|切勿|远离|防范|打击|"
    "举报|不含|并非|绝非"
)
# The same behind it: an act, or the shop itself that has none.
_FORBIDDEN = re.compile(
    "(?:不得|禁止|严禁|请勿|谢绝)(?:带|携|入|进|售|卖|采|摘|触)(?![^,]{0,2}(?:手机|快递|他人))|"
    "(?:我们?|俺|咱们?|小店|本店|店里|锅里|这里)[^,定订押证费钱]{0,3}"
    "(?:(?<!有)没有|不碰|不卖|不做|[1一][概律]不[写做卖碰售接])(?:的|了|哦|哈|呢)?(?=,|$)"
)
# Who offers forbids nothing, whatever words he has for it: 拒绝中间商，一手货源.
_OFFERS = re.compile("只[卖做]|现货|货源|[1一]手|还价|中间商|包邮|面交|发货|备用网址|[1一]比[1一]")
_NEAR = 12
# Whoever warns of others who lead customers away does not do it.
_WARNS = re.compile(
    "(?:谨防|严防|警惕|当心|小心)[^,]{0,8}(?:冒名|冒充|假冒|索要|诱导|诈骗|骗子)|"
    "(?:如遇|遇到|遇上|若有|凡有)[^,]{0,8}(?:自称|冒充|声称|要求|索要|诱导|冒名|假冒)"
)
# The same with nothing between: 不会让您加微信.
_NEVER_ASKS = re.compile(
    "不(?:会|曾)?(?:主动)?(?:要求|让|向|索要|请)(?:您|你|客人|顾客|家长|会员|学员|用户)[加添扫个人私的]{0,5}$"
)
# Whoever tells of a fraud does not commit it. Each takes two things, of which the second leaves no room for an offer:
# 小心 alone is said before anything, and 亏了就是骗人 or 零套路 is how an offer boasts.
_TOLD = (contacts.CATEGORY, "financial_promise")
_POSES = re.compile(
    "(?:谨防|严防|警惕|当心|小心)[^,]{0,8}(?:冒名|冒充|诱导|骗子|诈骗)[^,我咱本没]{1,8}(?:推销|兜售|推荐|说|称|承诺)"
    "[^,我咱本没]{0,4}$"
)
_EXPOSES = re.compile("(?:认清|识破|看穿|辨别|警惕|谨防|严防|当心|小心(?![肝机])|提防|防范)[^,]{0,8}$")
_TRICK = re.compile(
    "(?:不[赔亏])?(?:[的等类式型]|理财|投资|项目|广告|宣传){0,3}(?:套路|骗局|陷阱|话术|诈骗|骗术|圈套)(?![不没无险])"
)
_WHOEVER = re.compile("凡[^,]{0,4}(?:说|称|承诺|保证|推荐)|(?:如遇|遇到|遇上)[^,]{0,8}(?:说|称|承诺|保证|推荐)")
_IS_FRAUD = re.compile(
    "(?:(?!不(?![赔亏])|没|假|别|其他)[^,]){0,8}(?:"
    ",?(?:都|全|均|[1一]律)(?:是|为|属于?)(?:诈骗|骗局|骗人的?|骗子|圈套|陷阱)|"
    "(?:请|要|应|立即|马上)[^,]{0,4}(?:挂断|报警|举报))(?=,|$)"
)
_FAR = 24
_LISTS = "、/"
# Of what a contact is told by; a disguise undone may bring more of them.
_CONTACT = re.compile(f"微信|vx|wx|v信|qq|扣扣|抖音|快手|小红书|电报|飞机|群|{'|'.join(contacts.WORDS)}")
_SHORT = 3
# To the compiler `str` means that very type; whoever calls may have a kind of his own.
_Text = str


class Matcher:
    """A lexicon made ready for search; immutable, so that any number of threads may share one."""

    def __init__(self, lexicon: Lexicon, enabled: Collection[str] = steps.ALL) -> None:
        self.lexicon = lexicon
        self._fold = FOLD if {*enabled} == {*steps.ALL} else Fold(enabled)
        phrases: list[str] = []
        self._search = Search(lexicon, self._fold, phrases)
        self._restorer = Restorer(_vocabulary(lexicon, self._fold), self._fold, phrases)

    def find(self, text: _Text) -> list[Finding]:
        """Every finding, ordered by place; nested and overlapping ones are all there. Never raises."""
        text = str(text)
        found: dict[tuple[int, int, str, str], Finding] = {}
        for finding in self._every(text):
            # The first reading of the same words comes first and stays.
            found.setdefault((finding.start, finding.end, finding.term, finding.category), finding)
        return [found[key] for key in sorted(found)] if found else []

    def _every(self, text: str) -> Iterator[Finding]:
        plain = self._restorer.scanner.scan(self._fold.text(text))
        if hits := self._search.hits(plain):
            yield from self._plain(text, hits)
        readings = self._restorer.readings(text, plain)
        for reading in readings:
            if hits := [hit for hit in self._search.hits(reading.scan) if reading.is_other(hit.start, hit.end)]:
                yield from self._restored(text, reading, hits)
        kinds = contacts.possible(text, plain)
        if kinds:
            yield from self._contacts(text, plain, readings, kinds)

    def _plain(self, text: str, hits: Sequence[Hit]) -> Iterator[Finding]:
        form = self._fold.form(text)
        for hit in hits:
            start, end = form.original_span(*_trimmed(form.text, hit))
            worn = frozenset({steps.BORDER}) if _is_at_a_border(form, hit) else frozenset[str]()
            if not _is_forbidden(text, form.text, form.starts, hit):
                yield evidence.finding(text, start, end, hit.term, self._fold, worn)

    def _restored(self, text: str, restored: Reading, hits: Sequence[Hit]) -> Iterator[Finding]:
        """Those of another reading that the first does not have."""
        cells = self._restorer.cells(text, restored)
        reading = "".join(cell.text for cell in cells)
        origins = [cell.start for cell in cells]
        for hit in hits:
            first, last = _trimmed(reading, hit)
            part = cells[first:last]
            worn = frozenset[str]().union(*(cell.steps for cell in part))
            # Characters that are put together by chance are many; that they make a word as well, few.
            is_chance = len(part) == 1 and worn & steps.DOUBTFUL
            if worn and not is_chance and not _is_forbidden(text, reading, origins, hit):
                yield self._of_cells(text, part, hit, worn)

    def _of_cells(self, text: str, cells: Sequence[Cell], hit: Hit, worn: frozenset[str]) -> Finding:
        start, end = min(cell.start for cell in cells), max(cell.end for cell in cells)
        restored = {place for cell in cells if cell.steps for place in range(cell.start, cell.end)}
        return evidence.finding(text, start, end, hit.term, self._fold, worn, restored)

    def _contacts(
        self, text: str, plain: Scan, readings: Sequence[Reading], kinds: contacts.Kinds
    ) -> Iterator[Finding]:
        found = [*contacts.find(self._fold.entities(text), kinds)]
        if found:
            form = self._fold.entities_form(text)
            for contact in found:
                start, end = form.original_span(contact.start, contact.end)
                yield evidence.finding(text, start, end, contact.term, self._fold)
        elif readings:
            told = len(_CONTACT.findall(plain.text))
            for reading in readings:
                if len(_CONTACT.findall(reading.scan.text)) > told:
                    yield from self._restored_contacts(text, reading, kinds)
                    break

    def _restored_contacts(self, text: str, reading: Reading, kinds: contacts.Kinds) -> Iterator[Finding]:
        """Those in whose words something had to be put back: 微亻言号demo_00."""
        cells = merged(text, self._restorer.cells(text, reading))
        form = self._fold.entities_form("".join(cell.text for cell in cells))
        origin = [cell for cell in cells for _ in cell.text]
        for contact in contacts.find(form.text, kinds):
            start, end = form.original_span(contact.start, contact.end)
            part = origin[start:end]
            worn = frozenset[str]().union(*(cell.steps for cell in part))
            yield self._of_cells(text, part, Hit(start, end, contact.term), worn)


def _trimmed(text: str, hit: Hit) -> tuple[int, int]:
    """The span without the ends of clauses that a pattern may begin or end with."""
    start, end = hit.start, hit.end
    while end - start > 1 and text[start] == BREAK:
        start += 1
    while end - start > 1 and text[end - 1] == BREAK:
        end -= 1
    return start, end


def _is_forbidden(text: str, folded: str, origins: Sequence[int], hit: Hit) -> bool:
    """Whether a text forbids what it names there, itself or in a list, or warns of it; `origins` are the folded
    characters' places."""

    def is_one(start: int, end: int) -> bool:
        """Whether only a list's separators are between."""
        return all(folded[place] != BREAK or text[origins[place]] in _LISTS for place in range(start, end))

    first, last = max(0, hit.start - _FAR), hit.end + _FAR
    before: list[re.Match[str]] = []
    behind: list[re.Match[str]] = []
    if hit.term.category == contacts.CATEGORY:
        if _NEVER_ASKS.search(folded[first : hit.start]):
            return True
        before += _WARNS.finditer(folded, first, hit.start)
    if hit.term.category in _TOLD and _is_told_as_fraud(text, folded, origins, hit):
        return True
    clause = folded[max(0, hit.start - _NEAR) : hit.start].rpartition(BREAK)[2] + folded[hit.start : hit.end]
    clause += folded[hit.end : hit.end + _NEAR].partition(BREAK)[0]
    if hit.term.unless_forbidden and not _OFFERS.search(clause):
        before += _FORBIDS.finditer(folded, first, hit.start)
        # One that only seems to end its clause, because the search ends there, does not count.
        behind += (match for match in _FORBIDDEN.finditer(folded, hit.end, last + 1) if match.end() <= last)
    return any(is_one(match.end(), hit.start) for match in before) or any(
        is_one(hit.end, match.start()) for match in behind
    )


def _is_told_as_fraud(text: str, folded: str, origins: Sequence[int], hit: Hit) -> bool:
    """Whether a text tells of a fraud by what it names there."""
    before = folded[max(0, hit.start - _FAR) : hit.start].rpartition(BREAK)[2]
    if _POSES.search(before) or (_EXPOSES.search(before) and _TRICK.match(folded, hit.end)):
        return True
    told = _IS_FRAUD.match(folded, hit.end)
    if not told or not _WHOEVER.search(before):
        return False
    # Who asks whether all is a fraud denies it.
    return told.end() == len(folded) or text[origins[told.end()]] not in "?？"


def _is_at_a_border(form: Form, hit: Hit) -> bool:
    """Whether a word of two characters has a gap in it, and one of them is half of an ordinary word: 个头大 麻辣."""
    first, last = hit.start, hit.end - 1
    if hit.term.pattern or last - first != 1 or form.starts[last] == form.ends[first]:
        return False
    is_joined = [first > 0 and form.ends[first - 1] == form.starts[first]]
    is_joined.append(hit.end < len(form.text) and form.ends[last] == form.starts[hit.end])
    words = form.text[first - 1 : first + 1], form.text[last : last + 2]
    return any(joined and word in ordinary() for joined, word in zip(is_joined, words, strict=True))


def _vocabulary(lexicon: Lexicon, fold: Fold) -> Vocabulary:
    """The words that disguises may hide, and those of them that homophones may stand for."""
    every: set[str] = {*contacts.WORDS}
    sounding: set[str] = set()
    innocent: set[str] = set()
    for term in gently(lexicon.terms):
        folded = fold.text(term.text)
        told = {*map(fold.text, term.words)}
        words = patterns.facts(term.pattern).words if term.pattern else (folded,)
        every |= {*words, *told}
        if term.homophones:
            sounding |= told | {word for word in words if not term.pattern or len(word) >= _SHORT}
        if not term.pattern:
            innocent |= {phrase for phrase in map(fold.text, term.exceptions) if folded not in phrase}
    terms = {fold.text(term.text) for term in gently(lexicon.terms) if not term.pattern}
    return Vocabulary(every, sounding, innocent, terms)
