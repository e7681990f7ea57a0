"""The lexicon release that judges now, made ready for search once and swapped whole."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from services.audit import lexicon, releases
from services.audit.judge import Judgement, judge
from services.audit.lexicon import Lexicon
from services.audit.matcher import Matcher
from services.audit.texts import texts
from services.schema.tables import Ruling

Judge = Callable[[Sequence[tuple[str, str]], Matcher, Collection[str]], Judgement]


class Engine:
    """Judges by the head release of the database, whichever that is at the moment; many threads may share one."""

    def __init__(
        self, paths: Sequence[str], built_in: Callable[[], Lexicon] = lexicon.load, judge: Judge = judge
    ) -> None:
        self._paths = paths
        self._built_in = built_in
        self._judge = judge
        self._matcher: Matcher | None = None

    def start(self, now: datetime) -> None:
        """Adopt the built-in lexicon and load the release that decides now; once is enough."""
        terms = self._built_in()
        releases.adopt(terms, now)
        self._at_head(now)

    def judge_text(self, text: str, now: datetime) -> Judgement:
        """What a single text would come to."""
        return self._judge([("", text)], self._at_head(now), ())

    def judge_snapshot(
        self, snapshot: dict[str, Any], digest: str, now: datetime, passed: Collection[str] = ()
    ) -> Judgement:
        """What a snapshot comes to, without the terms that people passed on this very digest, and without `passed`."""
        rulings = {row.term for row in Ruling.select(Ruling.term).where(Ruling.digest == digest)}
        return self._judge(texts(snapshot, self._paths), self._at_head(now), rulings | set(passed))

    def words(self, snapshot: dict[str, Any]) -> dict[str, str]:
        """The audited texts of a snapshot by their field paths."""
        return dict(texts(snapshot, self._paths))

    def _at_head(self, now: datetime) -> Matcher:
        """The matcher of the head release; a release that another instance brought is read from the database."""
        release = releases.head()
        if release is None:
            releases.adopt(self._built_in(), now)
            release = releases.head()
        matcher = self._matcher
        if matcher is None or matcher.lexicon.release != release:
            matcher = self._matcher = Matcher(releases.read(str(release)))
        return matcher
