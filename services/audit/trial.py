"""What a lexicon would change if it were the head: judged by both, with nothing written."""

import time
from collections import Counter
from datetime import datetime
from typing import Any

from services.audit import walk
from services.audit.cases import Case
from services.audit.engine import Engine
from services.audit.judge import PASS, REJECT, REVIEW
from services.audit.matcher import Matcher
from services.audit.rollouts import known
from services.audit.views import finding_views
from services.audit.yielding import yielding
from services.chassis import paging, parameters
from services.chassis.call import Call
from services.chassis.names import name
from services.schema.tables import canonical

_COUNTS = {PASS: "pass_count", REVIEW: "review_count", REJECT: "reject_count"}
_BATCH = 50
# A page ends here at the latest, well before its caller's patience; what is left is the next page's.
_SECONDS = 2.0


def test_lexicon(call: Call, plain: dict[str, Any], engine: Engine, now: datetime) -> dict[str, Any]:
    """A page of what the lexicon plain["name"] would decide otherwise than the head, in the shape of
    TestLexiconResponse; the counts go on from page to page. Raises NotFound."""
    release = known(plain["name"])
    asked = {"name": plain["name"]}
    page = paging.page_of(plain.get("page_token", ""), plain.get("page_size", 0), call, asked)
    trial = _Trial(engine, engine.follow(now), engine.candidate(release), now)
    with yielding():
        trial.go_on(page.after or {"stage": walk.STAGES[0], "id": 0, "counts": {}}, page.size)
    return {
        "effects": trial.effects,
        "next_page_token": paging.token_of(trial.after, call, asked),
        "head": name("lexicons", trial.head.lexicon.release),
        **trial.counts,
    }


class _Trial:
    """A walk over what would be judged again; `after` is where the next page goes on, None at the end."""

    def __init__(self, engine: Engine, head: Matcher, candidate: Matcher, now: datetime) -> None:
        self.engine = engine
        self.head = head
        self.candidate = candidate
        self.now = now
        self.counts: Counter[str] = Counter()
        self.effects: list[dict[str, Any]] = []
        self.after: dict[str, Any] | None = None
        self._room = parameters.current().page_bytes

    def go_on(self, after: dict[str, Any], size: int) -> None:
        """From there on, until the page is full, the time is up or all was judged."""
        self.counts.update(after["counts"])
        end = time.monotonic() + _SECONDS
        stage, done = after["stage"], after["id"]
        while True:
            ids = walk.next_ids(stage, done, _BATCH, self.now)
            for row_id in ids:
                if len(self.effects) == size or self._room <= 0 or time.monotonic() > end:
                    self.after = {"stage": stage, "id": done, "counts": dict(self.counts)}
                    return
                case = walk.case_of(stage, row_id)
                if case is not None:
                    self._judge(case)
                done = row_id
            if not ids:
                left = walk.STAGES[walk.STAGES.index(stage) + 1 :]
                if not left:
                    return
                stage, done = left[0], 0

    def _judge(self, case: Case) -> None:
        snapshot, digest = case.snapshot, case.digest
        gallery = self.engine.gallery(snapshot)
        before = self.engine.judge_snapshot(snapshot, digest, self.now, by=self.head, gallery=gallery)
        after = self.engine.judge_snapshot(snapshot, digest, self.now, by=self.candidate, gallery=gallery)
        self.counts["judged_count"] += 1
        if case.publication_id is not None:
            self.counts["suspended_count"] += case.publication_state == "LIVE" and after.decision == REJECT
            self.counts["restored_count"] += case.publication_state == "SUSPENDED" and after.decision != REJECT
        if before.decision == after.decision:
            return
        self.counts[_COUNTS[after.decision]] += 1
        words = self.engine.words(snapshot, gallery)
        publication = walk.publication_name(case)
        effect = {
            "activity": name("activities", case.activity),
            "publication": publication and name("publications", publication),
            "before": before.decision,
            "after": after.decision,
            "findings_before": finding_views(before.findings, words, gallery.pages),
            "findings_after": finding_views(after.findings, words, gallery.pages),
        }
        self.effects.append(effect)
        self._room -= len(canonical(effect).encode())
