import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from services.audit import releases
from services.audit.engine import Engine
from services.audit.judge import Judgement
from services.audit.judge import judge as by_lexicon
from services.audit.lexicon import Lexicon
from services.audit.matcher import Matcher
from services.chassis import errors
from services.chassis.database import Database
from services.schema.tables import Activity, Audit, LexiconHead, Publication, Ruling, Transition
from tests.publish.scene import LEXICON, NOW, PATHS, STRICTER, Scene, call, check_publications


@pytest.fixture
def scene(db: Database) -> Scene:
    return Scene(db)


def meanwhile(*happenings: Callable[[], object]) -> Engine:
    """An engine during whose first judgements, after the words were read, these things happen, one at each."""
    left = list(happenings)

    def judge(fields: Sequence[tuple[str, str]], matcher: Matcher, rulings: Collection[str] = ()) -> Judgement:
        judgement = by_lexicon(fields, matcher, rulings)
        if left:
            left.pop(0)()
        return judgement

    return Engine(PATHS, lambda: LEXICON, judge)


def at_once(*commands: Callable[[], object]) -> list[object]:
    """What each command returned or refused, all of them begun at the same time."""
    gate = threading.Barrier(len(commands))

    def run(command: Callable[[], object]) -> object:
        gate.wait()
        try:
            return command()
        except errors.Error as refusal:
            return refusal.reason

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))


def test_an_edit_during_the_audit_leaves_a_draft(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    scene.submit(name)
    with pytest.raises(errors.FailedPrecondition, match="ACTIVITY_STATE"):
        scene.audit(name, engine=meanwhile(lambda: scene.edit(name, "最强新茶")))
    assert scene.states(name) == ("DRAFT", None)
    assert scene.run(lambda: (Audit.select().count(), Publication.select().count())) == (0, 0)


def test_an_edit_and_a_new_submission_during_the_audit_are_judged_by_their_own_words(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    scene.submit(name)

    def edit_and_submit() -> None:
        scene.edit(name, "最强新茶")
        scene.submit(name)

    assert scene.audit(name, engine=meanwhile(edit_and_submit))["decision"] == "REJECT"
    assert scene.states(name) == ("REJECTED", None)
    assert scene.run(check_publications) == 0


def test_an_activity_that_never_rests_is_not_decided(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    scene.submit(name)

    def edit_and_submit() -> None:
        scene.edit(name, f"新茶{random.random()}")
        scene.submit(name)

    with pytest.raises(errors.Conflict, match="TRY_AGAIN"):
        scene.audit(name, engine=meanwhile(*[edit_and_submit] * 10))
    assert scene.states(name) == ("PENDING_AUDIT", None)


def test_a_lexicon_change_during_the_audit_makes_the_decision_again(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    scene.submit(name)
    audit = scene.audit(name, engine=meanwhile(lambda: scene.run(releases.adopt, STRICTER, NOW)))
    assert (audit["decision"], audit["lexicon_release"]) == ("REJECT", STRICTER.release)
    assert scene.states(name) == ("REJECTED", None)
    assert scene.run(lambda: Audit.select().count()) == 1


def test_a_lexicon_change_during_a_persons_decision_stops_it(scene: Scene) -> None:
    name = scene.draft("新茶包治上火")
    scene.submit(name)
    audit = scene.audit(name)
    scene.engine = meanwhile(lambda: scene.run(releases.adopt, STRICTER, NOW))
    with pytest.raises(errors.FailedPrecondition, match="AUDIT_STALE"):
        scene.resolve(audit, "PASS")
    assert scene.states(name) == ("IN_REVIEW", None)


def test_a_withdrawal_during_the_audit_of_a_live_publication_stands(scene: Scene) -> None:
    name = scene.published("春季新茶")
    scene.run(releases.adopt, STRICTER, NOW)
    with pytest.raises(errors.FailedPrecondition, match="ACTIVITY_STATE"):
        scene.audit(name, engine=meanwhile(lambda: scene.withdraw(name)))
    assert scene.states(name) == ("APPROVED", "WITHDRAWN")


def test_a_decision_about_words_that_were_replaced_is_stale(scene: Scene) -> None:
    name = scene.draft("凉茶包治上火")
    scene.submit(name)
    old = scene.audit(name)
    scene.edit(name, "最强凉茶包治上火")
    scene.submit(name)
    for decision in ("PASS", "REJECT"):
        with pytest.raises(errors.FailedPrecondition, match="AUDIT_STALE"):
            scene.resolve(old, decision)
    assert scene.states(name) == ("PENDING_AUDIT", None)
    scene.audit(name)
    with pytest.raises(errors.FailedPrecondition, match="AUDIT_STALE"):
        scene.resolve(old, "PASS")
    assert scene.states(name) == ("REJECTED", None)


def test_a_decision_and_an_edit_at_once_never_publish_what_was_not_decided(scene: Scene) -> None:
    for number in range(5):
        name = scene.draft(f"凉茶包治{number}")
        scene.submit(name)
        audit = scene.audit(name)

        def resolve(audit: dict[str, object] = audit) -> object:
            return scene.resolve(audit, "PASS")["state"]

        def edit(name: str = name) -> None:
            scene.edit(name, "最强凉茶")

        resolved, _ = at_once(resolve, edit)
        state, publication = scene.states(name)
        assert state == "DRAFT"
        assert (resolved, publication) in (("RESOLVED", "LIVE"), ("AUDIT_STALE", None))
    scene.run(check_publications)


def test_of_two_submissions_at_once_one_counts(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    outcomes = at_once(lambda: scene.submit(name), lambda: scene.submit(name))
    assert sorted(outcome == "ACTIVITY_STATE" for outcome in outcomes) == [False, True]
    assert scene.run(lambda: Transition.select().where(Transition.to_state == "PENDING_AUDIT").count()) == 1


def test_the_same_submission_twice_at_once_is_one(scene: Scene) -> None:
    name, mine = scene.draft("春季新茶"), call()
    outcomes = at_once(lambda: scene.submit(name, mine), lambda: scene.submit(name, mine))
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    assert scene.run(lambda: Transition.select().where(Transition.to_state == "PENDING_AUDIT").count()) == 1


def test_the_same_audit_twice_at_once_is_one(scene: Scene) -> None:
    name, asking = scene.draft("春季新茶"), call("SERVICE", "publish")
    scene.submit(name)
    first, second = at_once(lambda: scene.audit(name, asking), lambda: scene.audit(name, asking))
    assert first == second
    assert scene.run(check_publications) == 1


def test_nobody_ever_sees_words_that_were_not_audited(scene: Scene) -> None:
    """Merchants, auditors, people and a changing lexicon, all at once for a while; then the rows are looked at."""
    names = [scene.draft(f"奶茶{number}") for number in range(3)]
    titles = ("新茶", "奶茶", "最强奶茶", "包治奶茶")
    lexicons = (LEXICON, STRICTER)
    for lexicon in lexicons:
        scene.run(releases.adopt, lexicon, NOW)
    end = time.monotonic() + 3

    def merchant(random: random.Random) -> None:
        name = random.choice(names)
        scene.edit(name, random.choice(titles))
        scene.submit(name)

    def auditor(random: random.Random) -> None:
        audit = scene.audit(random.choice(names))
        if audit["state"] == "OPEN":
            scene.resolve(audit, random.choice(("PASS", "REJECT")))

    def editor(random: random.Random) -> None:
        scene.run(lambda: LexiconHead.update(release=random.choice(lexicons).release).execute())

    def work(part: Callable[[random.Random], None], seed: int) -> int:
        chance, done = random.Random(seed), 0
        while time.monotonic() < end:
            with suppress(errors.Error):
                part(chance)
                done += 1
            time.sleep(0.001)
        return done

    with ThreadPoolExecutor(6) as pool:
        parts = (merchant, merchant, auditor, auditor, auditor, editor)
        done = list(pool.map(work, parts, range(6)))
    assert all(done)
    assert scene.run(check_publications) > 0
    scene.run(check_words, {lexicon.release: lexicon for lexicon in lexicons})


def check_words(lexicons: dict[str, Lexicon]) -> None:
    """That nothing was published which the release that passed it refuses, and that each history is without a gap."""
    for publication in Publication.select():
        audit = Audit.get_by_id(publication.audit_id)
        passed = {row.term for row in Ruling.select().where(Ruling.digest == publication.digest)}
        judged = by_lexicon(
            [("title", publication.snapshot["title"])], Matcher(lexicons[audit.lexicon_release]), passed
        )
        assert judged.decision == "PASS"
        assert "最强" not in publication.snapshot["title"]
    for activity in Activity.select():
        rows = Transition.select().where(Transition.activity_id == activity.id).order_by(Transition.sequence)
        assert [row.sequence for row in rows] == list(range(1, activity.sequence + 1))
