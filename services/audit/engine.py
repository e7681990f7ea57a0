"""The lexicon that judges now, made ready for search once and swapped whole while the service serves."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from services.audit import gauges, lexicon, releases
from services.audit.judge import Judgement, decision, judge
from services.audit.lexicon import Lexicon
from services.audit.matcher import Matcher
from services.audit.pictures import payloads
from services.audit.pictures.readings import Gallery
from services.audit.texts import texts
from services.audit.yielding import lasting, yielding
from services.schema.tables import Ruling

Judge = Callable[[Sequence[tuple[str, str]], Matcher, Collection[str]], Judgement]


class Engine:
    """Decides by the head of the database, whichever that is at the moment; many threads may share one.

    follow() goes over to a new head beside the calls that are served meanwhile. What is only asked (judge_text) is
    answered by the lexicon that is here; what is decided (judge_snapshot) waits for the head.

    `paths` and `pictures` are the audited texts and pictures of a snapshot, as texts.texts() takes them; `reader` is
    the name of what reads pictures here, "" where nothing does: then what others read is judged.
    """

    def __init__(
        self,
        paths: Sequence[str],
        built_in: Callable[[], Lexicon] = lexicon.load,
        judge: Judge = judge,
        pictures: Sequence[str] = (),
        reader: str = "",
    ) -> None:
        self._paths = paths
        self._pictures = pictures
        self.reader = reader
        self._built_in = built_in
        self._judge = judge
        self._matcher: Matcher | None = None
        self._candidate: Matcher | None = None
        # One at a time makes a lexicon ready: that takes seconds and memory.
        self._turn = threading.Lock()

    def start(self, now: datetime) -> None:
        """Adopt the built-in lexicon and load the release that decides now; once is enough."""
        terms = self._built_in()
        releases.adopt(terms, now)
        self.follow(now, terms)

    def follow(self, now: datetime, brought: Lexicon | None = None) -> Matcher:
        """Load the head unless it is here already; returns its matcher. Takes as long as making it ready takes.

        `brought` is a lexicon that need not be read. Raises FailedPrecondition(LEXICON_UNREADABLE).
        """
        head = releases.head()
        if head is None:
            releases.adopt(self._built_in(), now)
            head = str(releases.head())
        matcher = self._matcher
        if matcher is not None and matcher.lexicon.release == head:
            return matcher
        with self._turn:
            # Who waited for the turn may find another head by now, and ready.
            head, matcher = str(releases.head()), self._matcher
            if matcher is None or matcher.lexicon.release != head:
                began = time.monotonic()
                matcher = self._loaded(head, brought)
                self._matcher, self._candidate = matcher, None
                gauges.tell(head, len(matcher.lexicon.terms), time.monotonic() - began)
        return matcher

    def candidate(self, release: str) -> Matcher:
        """The matcher of a lexicon that may become the head; the one asked for last is kept. Raises as follow()."""
        with self._turn:
            matcher = self._loaded(release)
            if matcher is not self._matcher:
                self._candidate = matcher
        return matcher

    def _loaded(self, release: str, brought: Lexicon | None = None) -> Matcher:
        for matcher in (self._matcher, self._candidate):
            if matcher is not None and matcher.lexicon.release == release:
                return matcher
        self._candidate = None
        with yielding(), lasting():
            terms = brought if brought is not None and brought.release == release else releases.read(release)
            return Matcher(terms)

    def judge_text(self, text: str, now: datetime) -> Judgement:
        """What a single text would come to."""
        return self._judge([("", text)], self._matcher or self.follow(now), ())

    def judge_snapshot(
        self,
        snapshot: dict[str, Any],
        digest: str,
        now: datetime,
        passed: Collection[str] = (),
        by: Matcher | None = None,
        gallery: Gallery | None = None,
    ) -> Judgement:
        """What a snapshot comes to, without the terms that people passed on this very digest, and without `passed`.

        Judges by the head, or by another lexicon's matcher, and by what is known of the pictures.
        """
        rulings = {row.term for row in Ruling.select(Ruling.term).where(Ruling.digest == digest)} | set(passed)
        pages = (gallery or self.gallery(snapshot)).pages
        fields = texts(snapshot, self._paths) + [(path, page.text) for path, page in pages.items() if page.text]
        judgement = self._judge(fields, by or self.follow(now), rulings)
        more = [one for path, page in pages.items() for one in payloads.findings(path, page) if one.term not in rulings]
        if not more:
            return judgement
        findings = (*judgement.findings, *more)
        return replace(judgement, decision=decision(findings), findings=findings)

    def gallery(self, snapshot: dict[str, Any]) -> Gallery:
        """What is known of the pictures of a snapshot."""
        return Gallery.of(snapshot, self._pictures, self.reader)

    def words(self, snapshot: dict[str, Any], gallery: Gallery | None = None) -> dict[str, str]:
        """The audited texts of a snapshot by their field paths, and those in its pictures."""
        pages = (gallery or self.gallery(snapshot)).pages
        return {**dict(texts(snapshot, self._paths)), **{path: page.text for path, page in pages.items()}}
