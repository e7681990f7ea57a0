"""Lexicons made, tested and released, with who and why."""

from typing import Any

import protovalidate
import pytest
from peewee import Value

from services.audit import imports, lexicon, releases, rollouts, trial
from services.audit.engine import Engine
from services.audit.lexicon import Lexicon
from services.chassis import errors
from services.chassis.database import Database
from services.chassis.wire import to_message, to_plain
from services.schema.tables import Activity, Audit, LexiconRelease, Publication, Transition
from sharemesh.v1 import audit_pb2
from tests.audit.office import BUILT_IN, OPERATOR, Office, wire_term
from tests.publish.scene import LEXICON, NOW, PATHS, call, term


@pytest.fixture
def office(db: Database) -> Office:
    return Office(db)


def refused(reason: str) -> Any:
    return pytest.raises(errors.Error, match=f"^{reason}")


def test_a_lexicon_is_made_of_the_head_with_who_and_why(office: Office) -> None:
    changed, removed = wire_term("包治", "REJECT", "medical_claim"), {"category": "absolute_claim", "text": "最强"}
    made = office.bring(terms=[wire_term("新茶"), changed], removals=[removed], reason="投诉三起")
    told = ("base", "term_count", "added_count", "changed_count", "removed_count", "actor", "reason", "is_head")
    assert tuple(made[key] for key in told) == (BUILT_IN, 2, 1, 1, 1, "olga", "投诉三起", False)
    assert office.run(imports.get_lexicon, call(*OPERATOR), {"name": made["name"]}, NOW) == made
    listed = office.run(imports.list_lexicons, call(*OPERATOR), {}, NOW)["lexicons"]
    assert [one["name"] for one in listed if not one["is_head"]] == [made["name"]]
    terms = office.run(imports.list_terms, call(*OPERATOR), {"lexicon": made["name"]}, NOW)["terms"]
    assert terms == [wire_term("新茶"), changed]
    assert office.run(releases.read, made["name"].removeprefix("lexicons/")).terms == (
        term("新茶"),
        term("包治", "reject", "medical_claim"),
    )


def test_what_does_not_fit_in_one_request_goes_on_in_the_next(office: Office) -> None:
    first = office.add("新茶")
    second = office.add("老茶", base=first)
    assert office.add("新茶", "老茶") == second


def test_a_large_lexicon_is_kept_and_read_as_it_is(office: Office) -> None:
    large = Lexicon.of(term(f"词{number:05}条", "review") for number in range(777))
    release, text = releases.named(large.terms)
    assert (release, text) == (large.release, large.to_json())
    office.run(releases.adopt, large, NOW)
    read = office.run(releases.read, release)
    assert (read, read.release) == (large, release)


def test_terms_are_listed_in_pages_and_by_category_and_text(office: Office) -> None:
    lexicon = office.add("新茶", "老茶", "好茶")

    def listed(**plain: Any) -> list[str]:
        found, token = [], ""
        while True:
            asked = {"lexicon": lexicon, "page_size": 2, "page_token": token, **plain}
            page = office.run(imports.list_terms, call(*OPERATOR), asked, NOW)
            found += [one["text"] for one in page["terms"]]
            if not (token := page["next_page_token"]):
                return found

    assert sorted(listed()) == sorted(["新茶", "老茶", "好茶", "最强", "包治"])
    assert listed(category="medical_claim") == ["包治"]
    assert sorted(listed(text="茶")) == sorted(["新茶", "老茶", "好茶"])


@pytest.mark.parametrize(
    ("plain", "fields"),
    [
        ({"terms": [wire_term("好"), wire_term("新茶", category="rumours"), wire_term("…")]}, ["terms[1]", "terms[2]"]),
        ({"terms": [wire_term("新茶", pattern="新.*茶")]}, ["terms[0]"]),
        ({"terms": [wire_term("新茶", pattern="新(茶")]}, ["terms[0]"]),
        ({"terms": [wire_term("新茶", pattern="{NOBODY}茶")]}, ["terms[0]"]),
        ({"terms": [wire_term("新茶", exceptions=["…"])]}, ["terms[0]"]),
        ({"terms": [wire_term("新茶"), wire_term("老茶"), wire_term("新茶")]}, ["terms[2]"]),
        # The traditional form of a term of the base is the same term.
        ({"terms": [wire_term("新茶"), wire_term("最強"), wire_term("老茶")]}, ["terms[1]"]),
        ({"removals": [{"category": "absolute_claim", "text": "包治"}]}, ["removals[0]"]),
        ({}, ["terms"]),
    ],
)
def test_bad_terms_are_told_by_their_place_and_make_no_lexicon(
    office: Office, plain: dict[str, Any], fields: list[str]
) -> None:
    before = office.run(LexiconRelease.select().count)
    with pytest.raises(errors.Invalid) as refusal:
        office.bring(**plain)
    assert [one.field for one in refusal.value.violations] == fields
    assert office.run(LexiconRelease.select().count) == before


@pytest.fixture(scope="module")
def built_in() -> Lexicon:
    return lexicon.load()


def test_every_term_of_the_programs_own_lexicon_can_be_read_and_imported_as_it_is(built_in: Lexicon) -> None:
    for known in built_in.terms:
        view = imports.term_view(known)
        message = to_message(audit_pb2.Term, view)
        assert protovalidate.collect_violations(message) == [], known.text
        assert to_plain(message) == view
        assert imports.term_of(view) == known


def test_a_pattern_is_kept_as_the_audit_reads_it(office: Office) -> None:
    lexicon = office.bring(terms=[wire_term("几天见效", pattern="{N}天見效", category="medical_claim")])["name"]
    office.release(lexicon)
    office.run(office.engine.follow, NOW)
    assert office.run(office.engine.judge_text, "三天见效", NOW).decision == "REJECT"
    kept = office.run(imports.list_terms, call(*OPERATOR), {"lexicon": lexicon, "text": "几天"}, NOW)["terms"]
    with refused("INVALID_FIELD"):
        office.bring(terms=[*kept, *kept])
    assert office.bring(base=lexicon, terms=kept)["name"] == lexicon


def test_a_lexicon_is_tested_before_it_changes_anything(office: Office) -> None:
    suspended = [office.published(f"春季新茶{number}") for number in range(3)]
    office.published("夏季凉茶")
    waiting = office.draft("凉茶包治上火")
    office.submit(waiting)
    office.audit(waiting)
    lexicon = office.bring(terms=[wire_term("新茶")], removals=[{"category": "medical_claim", "text": "包治"}])["name"]
    before = office.run(lambda: [list(table.select().tuples()) for table in (Audit, Activity, Publication, Transition)])
    pages: list[dict[str, Any]] = []
    token = ""
    while not pages or token:
        asked = {"name": lexicon, "page_size": 2, "page_token": token}
        page = office.run(trial.test_lexicon, call(*OPERATOR), asked, office.engine, NOW)
        token = page["next_page_token"]
        pages.append(page)
    effects = [effect for page in pages for effect in page["effects"]]
    changes = [(one["activity"], bool(one["publication"]), one["before"], one["after"]) for one in effects]
    live = [(name, True, "PASS", "REJECT") for name in suspended]
    assert changes == [*live, (waiting, False, "REVIEW", "PASS")]
    assert effects[0]["findings_before"] == []
    assert effects[0]["findings_after"][0]["term"] == "新茶"
    counts = {key: value for key, value in pages[-1].items() if key.endswith("count") and value}
    assert counts == {"judged_count": 5, "reject_count": 3, "pass_count": 1, "suspended_count": 3}
    assert pages[-1]["head"] == BUILT_IN
    after = office.run(lambda: [list(table.select().tuples()) for table in (Audit, Activity, Publication, Transition)])
    assert after == before
    office.release(lexicon)
    done = office.work()
    assert done is not None
    assert (done["suspended_count"], done["published_count"]) == (3, 1), "what the test foretold"


def test_a_test_tells_what_a_rollback_would_restore(office: Office) -> None:
    office.published("春季新茶")
    office.rolled_out("新茶")
    told = office.run(trial.test_lexicon, call(*OPERATOR), {"name": BUILT_IN}, office.engine, NOW)
    assert (told["restored_count"], told["pass_count"], told["judged_count"]) == (1, 1, 1)


def test_the_head_is_released_once_and_only_over_the_head_that_was_expected(office: Office) -> None:
    first, second = office.add("新茶"), office.add("老茶")
    with refused("LEXICON_NEVER_RELEASED"):
        office.roll_back(first)
    with refused("LEXICON_IS_HEAD"):
        office.release(BUILT_IN)
    office.release(first, head=BUILT_IN)
    with refused("ETAG_MISMATCH"):
        office.release(second, head=BUILT_IN)
    with refused("RESOURCE_NOT_FOUND"):
        office.release("lexicons/nobody")
    listed = office.run(rollouts.list_rollouts, call(*OPERATOR), {}, NOW)["rollouts"]
    assert [(one["kind"], one["lexicon"]) for one in listed] == [("RELEASE", first), ("ADOPTION", BUILT_IN)]
    page = office.run(rollouts.list_rollouts, call(*OPERATOR), {"page_size": 1}, NOW)
    asker = call(*OPERATOR)
    page = office.run(rollouts.list_rollouts, asker, {"page_size": 1}, NOW)
    page = office.run(rollouts.list_rollouts, asker, {"page_token": page["next_page_token"]}, NOW)
    assert [one["kind"] for one in page["rollouts"]] == ["ADOPTION"]


def test_a_lexicon_that_this_program_cannot_read_does_not_become_the_head(office: Office) -> None:
    made = office.add("新茶")
    text = '{"terms":[{"text":"新茶","meaning":"of another release"}]}'
    release = made.removeprefix("lexicons/")
    office.run(
        lambda: (
            LexiconRelease.update(terms=Value(text, converter=False)).where(LexiconRelease.release == release).execute()
        )
    )
    with refused("LEXICON_UNREADABLE"):
        office.release(made)
    with refused("LEXICON_UNREADABLE"):
        office.add("老茶", base=made)
    assert office.run(releases.head) == LEXICON.release


def test_the_same_request_releases_once(office: Office) -> None:
    asking = call(*OPERATOR)
    plain = {"name": office.add("新茶"), "reason": "新规"}
    first = office.run(rollouts.release_lexicon, asking, plain, office.engine, NOW)
    office.work()
    again = office.run(rollouts.release_lexicon, asking, plain, office.engine, NOW)
    assert (again["name"], again["state"]) == (first["name"], "DONE")


def test_a_program_that_brings_another_lexicon_does_not_undo_what_people_made(office: Office) -> None:
    name = office.published("春季新茶")
    brought = Lexicon.of([*LEXICON.terms, term("凉茶")])
    office.run(Engine(PATHS, lambda: brought).start, NOW)
    done = office.work()
    assert done is not None
    assert (done["kind"], done["lexicon"]) == ("ADOPTION", f"lexicons/{brought.release}")
    office.rolled_out("新茶")
    head = office.run(releases.head)
    next_one = Lexicon.of([*LEXICON.terms, term("热茶")])
    office.run(Engine(PATHS, lambda: next_one).start, NOW)
    assert office.run(releases.head) == head
    assert office.states(name) == ("APPROVED", "SUSPENDED")
    office.release(f"lexicons/{next_one.release}")
    office.work()
    assert office.states(name) == ("APPROVED", "LIVE")
