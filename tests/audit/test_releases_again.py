"""What becomes of what was judged before, when another lexicon decides."""

from datetime import timedelta
from typing import Any

import pytest

from services.audit import domain as audits
from services.audit import reaudit, rollouts
from services.audit.judge import Judgement, judge
from services.chassis import parameters
from services.chassis.database import Database
from services.schema.tables import Publication, Rollout, Ruling, Supply
from tests.audit.office import BUILT_IN, OPERATOR, Office, wire_term
from tests.publish.scene import NOW, call, check_publications


@pytest.fixture
def office(db: Database) -> Office:
    return Office(db)


def test_a_release_suspends_what_now_fails_and_tells_the_merchant(office: Office) -> None:
    bad, good = office.published("春季新茶"), office.published("夏季凉茶")
    done = office.rolled_out("新茶")
    assert office.states(bad) == ("APPROVED", "SUSPENDED")
    assert office.states(good) == ("APPROVED", "LIVE")
    assert sorted(office.run(lambda: [row.state for row in Supply.select()])) == ["LIVE", "SUSPENDED"]
    assert office.history(bad)[-1] == ("PUBLICATION", "SUSPENDED", "absolute_claim: 新茶")
    audit = office.last(bad)
    assert (audit["decision"], audit["state"], audit["findings"][0]["term"]) == ("REJECT", "DECIDED", "新茶")
    assert {office.last(name)["lexicon_release"] for name in (bad, good)} == {done["lexicon"].removeprefix("lexicons/")}
    counts = {key: done[f"{key}_count"] for key in ("total", "judged", "suspended", "failed")}
    assert (done["state"], counts) == ("DONE", {"total": 2, "judged": 2, "suspended": 1, "failed": 0})
    assert (done["kind"], done["actor"], done["reason"], done["previous"]) == ("RELEASE", "olga", "新规", BUILT_IN)


def test_scheduled_publications_are_judged_again_and_ended_ones_are_left(office: Office) -> None:
    scheduled, ended = office.published("春季新茶"), office.published("老牌新茶")

    def shift() -> None:
        rows = {row.activity_id: row for row in Publication.select()}
        first, second = (rows[key] for key in sorted(rows))
        ahead, ago = NOW + timedelta(days=3), NOW - timedelta(days=3)
        Publication.update(claim_start=ahead).where(Publication.id == first.id).execute()
        Publication.update(claim_start=ago, claim_end=ago).where(Publication.id == second.id).execute()

    office.run(shift)
    assert office.rolled_out("新茶")["judged_count"] == 1
    assert [office.states(name)[1] for name in (scheduled, ended)] == ["SUSPENDED", "LIVE"]


def test_submissions_that_wait_are_judged_again_and_only_a_person_rejects_what_a_person_waits_for(
    office: Office,
) -> None:
    pending, doubtful, worse = (office.draft(title) for title in ("春季新茶", "凉茶包治上火", "新茶包治上火"))
    for name in (pending, doubtful, worse):
        office.submit(name)
    for name in (doubtful, worse):
        office.audit(name)
    done = office.rolled_out("新茶")
    assert [office.states(name)[0] for name in (pending, doubtful, worse)] == ["REJECTED", "IN_REVIEW", "IN_REVIEW"]
    assert (done["judged_count"], done["rejected_count"], done["review_count"]) == (3, 1, 2)
    assert [finding["term"] for finding in office.last(worse)["findings"]] == ["新茶", "包治"]
    gone = office.bring(removals=[{"category": "medical_claim", "text": "包治"}])["name"]
    office.release(gone)
    assert (office.work() or {})["published_count"] == 1
    assert [office.states(name)[0] for name in (doubtful, worse)] == ["APPROVED", "IN_REVIEW"]
    assert office.run(check_publications) == 1


def test_what_is_live_is_judged_although_another_revision_is_submitted(office: Office) -> None:
    name = office.published("春季新茶")
    office.edit(name, "凉茶包治上火")
    office.submit(name)
    office.audit(name)
    assert office.states(name) == ("IN_REVIEW", "LIVE")
    done = office.rolled_out("新茶")
    assert office.states(name) == ("IN_REVIEW", "SUSPENDED")
    assert (done["judged_count"], done["suspended_count"], done["review_count"]) == (2, 1, 1)


def test_a_rollback_restores_what_the_release_suspended(office: Office) -> None:
    name = office.published("春季新茶")
    office.rolled_out("新茶")
    office.roll_back(BUILT_IN)
    done = office.work()
    assert done is not None
    assert office.states(name) == ("APPROVED", "LIVE")
    assert office.run(lambda: Supply.get().state) == "LIVE"
    assert office.history(name)[-1] == ("PUBLICATION", "LIVE", "误伤")
    assert office.last(name)["decision"] == "PASS"
    assert (done["kind"], done["restored_count"], done["judged_count"]) == ("ROLLBACK", 1, 1)


def test_a_rollback_over_several_releases_restores_what_each_of_them_suspended(office: Office) -> None:
    names = [office.published("春季新茶"), office.published("陈年老茶")]
    office.rolled_out("新茶")
    office.rolled_out("老茶")
    assert [office.states(name)[1] for name in names] == ["SUSPENDED", "SUSPENDED"]
    office.roll_back(BUILT_IN)
    office.work()
    assert [office.states(name)[1] for name in names] == ["LIVE", "LIVE"]


def test_a_rollback_restores_only_what_the_lexicon_gone_back_to_would_not_suspend(office: Office) -> None:
    name = office.published("春季新茶")
    stricter = office.rolled_out("新茶")["lexicon"]
    office.rolled_out("老茶")
    office.roll_back(stricter)
    done = office.work()
    assert done is not None
    assert office.states(name) == ("APPROVED", "SUSPENDED")
    assert done["restored_count"] == 0


def test_an_appeal_that_waits_does_not_keep_a_rollback_from_restoring(office: Office) -> None:
    name = office.published("春季新茶")
    office.rolled_out("新茶")
    appealed = office.appeal(office.last(name))
    office.roll_back(BUILT_IN)
    office.work()
    assert office.states(name) == ("APPROVED", "LIVE")
    assert office.run(audits.get_audit, call(), {"name": appealed["name"]}, NOW)["state"] == "STALE"
    assert office.last(name)["appeal"] == "是店名"


@pytest.mark.parametrize("touched", ["rejected by a person", "withdrawn", "replaced"])
def test_a_rollback_leaves_alone_what_somebody_has_decided_since(office: Office, touched: str) -> None:
    name = office.published("春季新茶")
    office.rolled_out("新茶")
    if touched == "withdrawn":
        office.withdraw(name)
    elif touched == "replaced":
        office.edit(name, "春季凉茶")
        office.submit(name)
        office.audit(name)
    else:
        office.appeal(office.last(name))
        office.resolve(office.last(name), "REJECT")
    before, history = office.states(name), office.history(name)
    office.roll_back(BUILT_IN)
    office.work()
    assert (office.states(name), office.history(name)) == (before, history)


def test_a_persons_pass_survives_releases_and_binds_these_words_and_this_term_only(office: Office) -> None:
    passed, other = office.draft("凉茶包治上火"), office.draft("凉茶包治上火了")
    for name in (passed, other):
        office.submit(name)
        office.audit(name)
        office.resolve(office.last(name), "PASS")
    office.run(lambda: Ruling.delete().where(Ruling.digest == office.last(other)["digest"]).execute())
    stricter = wire_term("包治", "REJECT", "medical_claim")
    for reason in ("更严", "更严的第二次"):
        office.release(office.bring(terms=[stricter, wire_term(reason)])["name"])
        office.work()
        assert [office.states(name)[1] for name in (passed, other)] == ["LIVE", "SUSPENDED"]
        assert office.last(passed)["decision"] == "PASS"
    office.rolled_out("上火")
    assert office.states(passed) == ("APPROVED", "SUSPENDED")
    assert [finding["term"] for finding in office.last(passed)["findings"]] == ["上火"]


def test_every_decision_is_kept_with_the_release_that_made_it(office: Office) -> None:
    name = office.published("春季新茶")
    stricter = office.rolled_out("新茶")["lexicon"]
    office.roll_back(BUILT_IN)
    office.work()
    listed = office.run(audits.list_audits, call(), {"activity": name}, NOW)["audits"]
    told = [(audit["decision"], f"lexicons/{audit['lexicon_release']}") for audit in listed]
    assert told == [("PASS", BUILT_IN), ("REJECT", stricter), ("PASS", BUILT_IN)]


def test_a_rollout_goes_on_where_a_killed_worker_was_and_nothing_is_done_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [office.published(f"春季新茶{number}") for number in range(5)]
    office.release(office.add("新茶"))
    taken = office.run(reaudit.take, "first", NOW)
    judged: list[str] = []

    def killed_at_the_third(fields: Any, matcher: Any, rulings: Any) -> Judgement:
        judged.append(fields[0][1])
        if len(judged) == 3:
            raise KeyboardInterrupt
        return judge(fields, matcher, rulings)

    monkeypatch.setattr(office.engine, "_judge", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        office.run(reaudit.go_on, taken, "first", office.engine, NOW)
    monkeypatch.undo()
    assert [office.states(name)[1] for name in names] == ["SUSPENDED"] * 2 + ["LIVE"] * 3
    assert office.work("second") is None, "the first may still live"
    expired = timedelta(seconds=parameters.current().reaudit_lease_seconds + 1)
    done = office.work("second", expired)
    assert done is not None
    assert (done["state"], done["judged_count"], done["suspended_count"]) == ("DONE", 5, 5)
    assert [office.states(name)[1] for name in names] == ["SUSPENDED"] * 5
    assert [len([one for one in office.history(name) if one[1] == "SUSPENDED"]) for name in names] == [1] * 5
    assert not office.run(reaudit.go_on, taken, "first", office.engine, NOW), "it has lost its turn"


def test_a_worker_that_lost_its_turn_while_it_judged_writes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = office.published("春季新茶")
    office.release(office.add("新茶"))
    taken = office.run(reaudit.take, "first", NOW)

    def paused(fields: Any, matcher: Any, rulings: Any) -> Judgement:
        Rollout.update(worker="second").where(Rollout.id == taken).execute()
        return judge(fields, matcher, rulings)

    monkeypatch.setattr(office.engine, "_judge", paused)
    assert not office.run(reaudit.go_on, taken, "first", office.engine, NOW)
    assert office.states(name) == ("APPROVED", "LIVE")
    assert office.run(lambda: Rollout.get_by_id(taken).judged_count) == 0


def test_a_newer_release_supersedes_a_rollout_under_way_and_judges_all_itself(office: Office) -> None:
    names = [office.published("春季新茶"), office.published("陈年老茶")]
    first = office.release(office.add("新茶"))
    taken = office.run(reaudit.take, "first", NOW)
    office.release(office.add("老茶"))
    assert not office.run(reaudit.go_on, taken, "first", office.engine, NOW)
    office.work("second")
    assert [office.states(name)[1] for name in names] == ["SUSPENDED", "SUSPENDED"]
    before = office.run(rollouts.get_rollout, call(*OPERATOR), {"name": first["name"]}, NOW)
    assert (before["state"], before["end_time"], before["judged_count"]) == ("SUPERSEDED", NOW, 0)


def test_one_snapshot_that_cannot_be_judged_does_not_keep_the_others_waiting(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [office.published("怪字新茶"), office.published("春季新茶")]
    office.release(office.add("新茶"))

    def stumbling(fields: Any, matcher: Any, rulings: Any) -> Judgement:
        if any("怪" in text for _, text in fields):
            raise ZeroDivisionError
        return judge(fields, matcher, rulings)

    monkeypatch.setattr(office.engine, "_judge", stumbling)
    done = office.work()
    assert done is not None
    assert (done["state"], done["failed_count"], done["suspended_count"]) == ("DONE", 1, 1)
    assert [office.states(name)[1] for name in names] == ["LIVE", "SUSPENDED"]
