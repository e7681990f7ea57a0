from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from peewee import ModelSelect

from services.audit import domain as audits
from services.audit import releases
from services.audit.engine import Engine
from services.audit.evidence import Finding
from services.audit.lexicon import Lexicon, LocalizedText
from services.audit.servicer import audited_paths
from services.audit.texts import texts
from services.audit.views import finding_views
from services.chassis import errors
from services.chassis.database import Database
from services.schema.tables import Activity, Audit, Ruling, Supply, Transition
from sharemesh.v1 import promotion_pb2
from tests.publish.scene import LEXICON, NOW, PATHS, STRICTER, Scene, call, check_publications, term


@pytest.fixture
def scene(db: Database) -> Scene:
    return Scene(db)


def refused(reason: str) -> Any:
    return pytest.raises(errors.Error, match=f"^{reason}")


def test_words_that_pass_are_published_with_their_supply(scene: Scene) -> None:
    name = scene.published("春季新茶满百减二十")
    assert scene.states(name) == ("APPROVED", "LIVE")
    assert scene.run(check_publications) == 1
    assert scene.run(lambda: Supply.get().state) == "LIVE"


def test_words_that_break_the_law_are_rejected_with_their_evidence(scene: Scene) -> None:
    name = scene.draft("全城最强奶茶")
    scene.submit(name)
    audit = scene.audit(name)
    assert scene.states(name) == ("REJECTED", None)
    assert (audit["decision"], audit["state"]) == ("REJECT", "DECIDED")
    finding = audit["findings"][0]
    assert {key: finding[key] for key in ("field", "start", "end", "text", "term", "action", "basis")} == {
        "field": "title",
        "start": 2,
        "end": 4,
        "text": "最强",
        "term": "最强",
        "action": "REJECT",
        "basis": "广告法第九条",
    }
    last = scene.run(lambda: Transition.select().order_by(Transition.sequence.desc()).first())
    assert (last.to_state, last.reason) == ("REJECTED", "absolute_claim: 最强")


def test_a_person_decides_what_the_machine_only_suspects(scene: Scene) -> None:
    name = scene.draft("凉茶包治上火")
    scene.submit(name)
    audit = scene.audit(name)
    assert scene.states(name) == ("IN_REVIEW", None)
    assert audit["state"] == "OPEN"
    resolved = scene.resolve(audit, "PASS")
    assert (resolved["decision"], resolved["state"], resolved["resolution"]) == ("PASS", "RESOLVED", "看过了")
    assert scene.states(name) == ("APPROVED", "LIVE")
    assert scene.run(check_publications) == 1
    assert scene.run(lambda: [row.term for row in Ruling.select()]) == ["包治"]
    with refused("AUDIT_NOT_OPEN"):
        scene.resolve(audit, "REJECT")
    with refused("AUDIT_NOT_OPEN"):
        scene.appeal(audit)


def test_what_a_person_passed_passes_again(scene: Scene) -> None:
    name = scene.draft("凉茶包治上火")
    scene.submit(name)
    scene.resolve(scene.audit(name), "PASS")
    assert scene.audit(name)["decision"] == "PASS"
    assert scene.states(name) == ("APPROVED", "LIVE")


def test_a_rejection_is_appealed_once_and_a_persons_decision_is_final(scene: Scene) -> None:
    name = scene.draft("最强汽修")
    scene.submit(name)
    audit = scene.audit(name)
    mine = call()
    appealed = scene.appeal(audit, mine)
    assert (appealed["state"], appealed["appeal"]) == ("OPEN", "是店名")
    assert scene.appeal(audit, mine) == appealed
    assert scene.states(name) == ("IN_REVIEW", None)
    with refused("AUDIT_NOT_OPEN"):
        scene.appeal(audit)
    scene.resolve(audit, "REJECT")
    assert scene.states(name) == ("REJECTED", None)
    with refused("AUDIT_NOT_OPEN"):
        scene.appeal(audit)


def test_a_stranger_sees_no_audit(scene: Scene) -> None:
    audit = scene.audit(scene.published("春季新茶"))
    for who in (call(subject="stranger"), call("OPERATOR", "operator")):
        listed = scene.run(audits.list_audits, who, {}, NOW)["audits"]
        assert bool(listed) == (who.principal.role == "OPERATOR")
    with refused("RESOURCE_NOT_FOUND"):
        scene.run(audits.get_audit, call(subject="stranger"), {"name": audit["name"]}, NOW)
    with refused("RESOURCE_NOT_FOUND"):
        scene.appeal(audit, call(subject="stranger"))
    assert scene.run(audits.get_audit, call(), {"name": audit["name"]}, NOW) == audit


def test_a_live_publication_is_suspended_by_a_new_release_and_comes_back_by_appeal(scene: Scene) -> None:
    name = scene.published("春季新茶")
    scene.run(releases.adopt, STRICTER, NOW)
    audit = scene.audit(name)
    assert scene.states(name) == ("APPROVED", "SUSPENDED")
    assert scene.run(lambda: Supply.get().state) == "SUSPENDED"
    last = scene.run(lambda: Transition.select().order_by(Transition.sequence.desc()).first())
    assert (last.subject, last.reason) == ("PUBLICATION", "absolute_claim: 新茶")
    with refused("ACTIVITY_STATE"):
        scene.audit(name)
    scene.appeal(audit)
    assert scene.states(name) == ("APPROVED", "SUSPENDED")
    scene.resolve(audit, "PASS")
    assert scene.states(name) == ("APPROVED", "LIVE")
    assert scene.run(lambda: Supply.get().state) == "LIVE"
    assert scene.audit(name)["decision"] == "PASS"


def test_an_edit_makes_the_open_audit_stale(scene: Scene) -> None:
    name = scene.draft("凉茶包治上火")
    scene.submit(name)
    audit = scene.audit(name)
    scene.edit(name, "凉茶")
    assert scene.run(lambda: (Audit.get().state, Audit.get().stale_time)) == ("STALE", NOW)
    with refused("AUDIT_STALE"):
        scene.resolve(audit, "PASS")


def test_a_decision_names_the_digest_that_was_looked_at(scene: Scene) -> None:
    name = scene.draft("凉茶包治上火")
    scene.submit(name)
    with refused("AUDIT_STALE"):
        scene.resolve(scene.audit(name), "PASS", digest="0" * 64)
    assert scene.states(name) == ("IN_REVIEW", None)


def test_a_pass_does_not_cover_what_a_newer_release_finds_and_a_new_audit_does(scene: Scene) -> None:
    name = scene.draft("新茶包治上火")
    scene.submit(name)
    first = scene.audit(name)
    scene.run(releases.adopt, STRICTER, NOW)
    with refused("AUDIT_STALE"):
        scene.resolve(first, "PASS")
    second = scene.audit(name)
    assert scene.run(audits.get_audit, call(), {"name": first["name"]}, NOW)["state"] == "STALE"
    assert (second["state"], len(second["findings"])) == ("OPEN", 2)
    assert scene.audit(name) == second
    scene.resolve(second, "PASS")
    assert scene.states(name) == ("APPROVED", "LIVE")
    assert scene.run(check_publications) == 1


def test_the_queue_is_worked_off_from_its_oldest_end(scene: Scene) -> None:
    names = [scene.draft(f"包治{number}") for number in range(3)]
    for name in names:
        scene.submit(name)
        scene.audit(name)
    operator = call("OPERATOR", "operator")

    def listed(**plain: Any) -> list[str]:
        found, token = [], ""
        while True:
            page = scene.run(audits.list_audits, operator, {"page_size": 2, "page_token": token, **plain}, NOW)
            found += [audit["activity"] for audit in page["audits"]]
            token = page["next_page_token"]
            if not token:
                return found

    assert listed(state="OPEN") == names
    assert listed() == names[::-1]
    assert listed(category="medical_claim", activity=names[1]) == [names[1]]
    assert listed(category="absolute_claim") == []
    assert listed(category="medical") == []
    assert listed(activity="activities/nobody") == []


def test_the_queue_is_searched_by_how_long_its_audits_have_waited(scene: Scene) -> None:
    old, appealed, new = (scene.draft(title) for title in ("包治一", "最强一", "包治二"))
    for name in (old, appealed, new):
        scene.submit(name)
        scene.audit(name)

    def at(name: str, ago: timedelta, **columns: Any) -> None:
        mine = Audit.activity_id << Activity.select(Activity.id).where(Activity.uid == name.removeprefix("activities/"))
        Audit.update(create_time=NOW - ago, **columns).where(mine).execute()

    scene.run(at, old, timedelta(days=3))
    # Rejected long ago, and waiting for a person since an hour.
    hour = timedelta(hours=1)
    scene.run(at, appealed, timedelta(days=9), appeal_time=NOW - hour, state="OPEN")

    def listed(**plain: Any) -> list[str]:
        found = scene.run(audits.list_audits, call("OPERATOR", "operator"), plain, NOW)["audits"]
        return [audit["activity"] for audit in found]

    queue: dict[str, Any] = {"state": "OPEN"}
    assert listed(**queue, min_age=0) == [old, appealed, new]
    assert listed(**queue, min_age=3600) == [old, appealed]
    assert listed(**queue, min_age=3601) == listed(**queue, min_age=3 * 86_400) == [old]
    assert listed(**queue, min_age=3 * 86_400 + 1) == []
    assert listed(**queue, max_age=3600) == [appealed, new]
    assert listed(**queue, min_age=60, max_age=86_400) == [appealed]
    assert listed(**queue, order="NEWEST_FIRST") == [new, appealed, old]
    assert listed(order="OLDEST_FIRST") == [old, appealed, new]
    assert listed(decision="REVIEW", order="OLDEST_FIRST") == [old, new]
    assert listed(lexicon_release=LEXICON.release) == [new, appealed, old]
    assert listed(lexicon_release="0" * 64) == []


def test_a_page_whose_audits_are_decided_while_it_is_read_is_empty_and_leads_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [scene.draft(f"包治{number}") for number in range(2)]
    for name in names:
        scene.submit(name)
        scene.audit(name)
    weigh = ModelSelect.tuples

    def weigh_and_decide(query: Any) -> Any:
        found = list(weigh(query))
        Audit.update(state="DECIDED").where(Audit.id == found[0][0]).execute()
        return found

    operator, queue = call("OPERATOR", "operator"), {"state": "OPEN", "page_size": 1}
    monkeypatch.setattr(ModelSelect, "tuples", weigh_and_decide)
    page = scene.run(audits.list_audits, operator, queue, NOW)
    monkeypatch.undo()
    assert page["audits"] == []
    page = scene.run(audits.list_audits, operator, queue | {"page_token": page["next_page_token"]}, NOW)
    assert [audit["activity"] for audit in page["audits"]] == names[1:]


def test_the_same_request_gets_the_same_audit(scene: Scene) -> None:
    name = scene.draft("全城最强奶茶")
    scene.submit(name)
    asking = call("SERVICE", "publish")
    first = scene.audit(name, asking)
    scene.edit(name, "奶茶")
    assert scene.audit(name, asking) == first
    assert scene.states(name) == ("DRAFT", None)


def test_words_are_checked_while_they_are_typed(scene: Scene) -> None:
    found = scene.run(audits.check_text, call(), {"text": "本店最強"}, scene.engine, NOW)
    assert (found["decision"], found["lexicon_release"]) == ("REJECT", LEXICON.release)
    assert [(one["text"], one["steps"]) for one in found["findings"]] == [("最強", ["traditional"])]


def found_at(start: int, end: int) -> Finding:
    return Finding(
        start, end, "off_platform_contact", "手机号", "reject", (), "basis", LocalizedText("改写", "rewrite"), "title"
    )


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("13800138000", "*********00"),
        ("138 0013-8000", "*** ****-**00"),
        ("１３８００１３８０００", "*********００"),
        ("①③⑧００138⁰𝟎0", "*********𝟎0"),
        ("010-62345678", "***-******78"),
    ],
)
def test_a_finding_shows_where_a_phone_stands_and_not_the_phone(phone: str, shown: str) -> None:
    found = finding_views([found_at(0, 3 + len(phone))], {"title": f"手机 {phone}"})
    assert [(one["text"], one["start"], one["end"]) for one in found] == [(f"手机 {shown}", 0, 3 + len(phone))]


def test_fewer_digits_than_a_phone_has_are_shown() -> None:
    assert finding_views([found_at(0, 10)], {"title": "2026全国第1名 满100"})[0]["text"] == "2026全国第1名 "


def test_another_instance_follows_a_new_head_and_a_known_release_is_not_adopted_again(scene: Scene) -> None:
    other = Engine(PATHS, lambda: STRICTER)
    scene.run(other.start, NOW)
    assert scene.run(scene.engine.judge_text, "新茶", NOW).release == LEXICON.release
    scene.run(scene.engine.follow, NOW)
    assert scene.run(scene.engine.judge_text, "新茶", NOW).release == STRICTER.release
    scene.run(scene.engine.start, NOW)
    assert scene.run(scene.engine.judge_text, "新茶", NOW).decision == "REJECT"


def test_every_audited_text_of_a_snapshot_is_found() -> None:
    snapshot = {
        "merchant_display_name": "林记",
        "title": "标题",
        "description": "",
        "fields": {"headline": "标语", "dishes": [{"name": "鱼", "price": 3}], "is_new": True},
        "images": ["images/abc"],
        "terms": {"benefit": {"gift": {"title": "赠品", "item": "tea"}}},
        "stores": [
            {"display_name": "一店", "images": ["images/abc"], "staff": []},
            {"display_name": "二店", "hot_items": [{"title": "茶"}, {"title": "面", "image": "images/abc"}]},
        ],
    }
    assert texts(snapshot, [*audited_paths(promotion_pb2.Snapshot.DESCRIPTOR)]) == [
        ("merchant_display_name", "林记"),
        ("title", "标题"),
        ("fields.dishes[0].name", "鱼"),
        ("fields.headline", "标语"),
        ("terms.benefit.gift.item", "tea"),
        ("terms.benefit.gift.title", "赠品"),
        ("stores[0].display_name", "一店"),
        ("stores[1].display_name", "二店"),
        ("stores[1].hot_items[0].title", "茶"),
        ("stores[1].hot_items[1].title", "面"),
    ]


def strings(message: Descriptor, above: str = "") -> Iterator[str]:
    """The paths of everything in a message that can hold words, as texts.texts() takes them."""
    for field in message.fields:
        path = f"{above}{field.name}{'[]' if field.is_repeated else ''}"
        if field.message_type is None:
            if field.type == FieldDescriptor.TYPE_STRING:
                yield path
        elif field.message_type.full_name == "google.protobuf.Struct":
            yield path
        elif field.message_type.full_name.startswith("sharemesh."):
            yield from strings(field.message_type, f"{path}.")


def test_every_word_of_a_snapshot_is_audited_but_names_and_numbers() -> None:
    snapshot = promotion_pb2.Snapshot.DESCRIPTOR
    assert {*strings(snapshot)} - {*audited_paths(snapshot)} == {
        # Names of resources and zones of the IANA database: checked when they are entered.
        "template",
        "images[]",
        "stores[].name",
        "stores[].zone",
        "stores[].images[]",
        "stores[].hot_items[].image",
        "terms.zone",
        "terms.scope.stores[]",
        # A pattern in the contract leaves digits only.
        "stores[].phone",
    }


def test_a_live_publication_that_is_only_suspected_stays_until_a_person_rejects_it(scene: Scene) -> None:
    name = scene.published("春季新茶")
    scene.run(releases.adopt, Lexicon.of([term("新茶", "review")]), NOW)
    audit = scene.audit(name)
    assert (audit["state"], scene.states(name)) == ("OPEN", ("APPROVED", "LIVE"))
    scene.resolve(audit, "REJECT")
    assert scene.states(name) == ("APPROVED", "SUSPENDED")
    with refused("AUDIT_NOT_OPEN"):
        scene.appeal(audit)


def test_a_withdrawn_publications_audit_is_stale(scene: Scene) -> None:
    name = scene.published("春季新茶")
    scene.run(releases.adopt, STRICTER, NOW)
    audit = scene.audit(name)
    scene.appeal(audit)
    scene.withdraw(name)
    with refused("AUDIT_STALE"):
        scene.resolve(audit, "PASS")
    assert scene.states(name) == ("APPROVED", "WITHDRAWN")


def test_a_long_list_of_terms_fits_the_history_and_repetitions_are_cut(scene: Scene) -> None:
    words = [f"坏词{number}号" for number in range(200)]
    scene.run(releases.adopt, Lexicon.of(map(term, words)), NOW)
    name = scene.draft("".join(words) * 30)
    scene.submit(name)
    audit = scene.audit(name)
    assert len(audit["findings"]) == 1000  # Of one term twenty.
    last = scene.run(lambda: Transition.select().order_by(Transition.sequence.desc()).first())
    assert len(last.reason) == 500
    assert last.reason.endswith("…")
