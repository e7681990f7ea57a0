from typing import Any

import pytest

from services.chassis import errors
from services.schema.tables import ActivityStore, Audit, Store, Transition
from tests.entry.desk import FIELDS, Desk, png
from tests.ledger.offers import yuan


def histories(desk: Desk) -> list[tuple[str, str]]:
    return desk.db.run_here(
        lambda: [(row.from_state, row.to_state) for row in Transition.select().order_by(Transition.id)]
    )


def shown_in(desk: Desk) -> set[str]:
    rows = Store.select().join(ActivityStore, on=(ActivityStore.store_id == Store.id))
    return desk.db.run_here(lambda: {f"stores/{row.uid}" for row in rows})


def test_an_activity_is_entered_as_a_draft_with_its_history(desk: Desk) -> None:
    entered = desk.enter(description="到店即享")
    assert (entered["state"], entered["revision"], entered["publication"], entered["audit"]) == ("DRAFT", 1, "", "")
    assert (entered["title"], entered["description"], entered["fields"]) == ("满百减二十", "到店即享", FIELDS)
    assert entered["terms"]["benefit"] == desk.terms()["benefit"]
    assert histories(desk) == [("", "DRAFT")]
    assert shown_in(desk) == {desk.store}


@pytest.mark.parametrize(
    "changes, reason, field",
    [
        ({"title": " "}, "INVALID_FIELD", "activity.title"),
        ({"fields": {}}, "TEMPLATE_FIELDS_INVALID", "activity.fields.appointment_needed"),
        ({"fields": FIELDS | {"guests": 0}}, "TEMPLATE_FIELDS_INVALID", "activity.fields.guests"),
        ({"fields": FIELDS | {"colour": "red"}}, "TEMPLATE_FIELDS_INVALID", "activity.fields.colour"),
    ],
)
def test_content_that_does_not_fit_is_refused(desk: Desk, changes: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        desk.enter(**changes)
    assert (refused.value.reason, refused.value.violations[0].field) == (reason, field)
    assert histories(desk) == []


PERCENT = {"percent_off": {"percent": 20}}


@pytest.mark.parametrize(
    "template, terms, reason, field",
    [
        ("amount-off", {"benefit": PERCENT}, "BENEFIT_NOT_ALLOWED", "benefit"),
        ("percent-off", {"benefit": PERCENT, "budget": yuan(100)}, "BUDGET_NEEDS_CAP", "benefit.percent_off.cap"),
        (
            "percent-off",
            {"benefit": {"percent_off": {"percent": 20, "cap": yuan(0)}}},
            "INVALID_FIELD",
            "benefit.percent_off.cap",
        ),
        (
            "amount-off",
            {"claim_period": {"start_date": "2026-03-02", "end_date": "2026-03-01"}},
            "PERIOD_INVALID",
            "claim_period.end_date",
        ),
        (
            "amount-off",
            {"validity": {"period": {"start_date": "2026-03-02", "end_date": "2026-03-20"}}},
            "PERIOD_INVALID",
            "validity.period.end_date",
        ),
        ("amount-off", {"budget": {"currency": "USD", "minor": 10_000}}, "CURRENCY_MISMATCH", "budget"),
        ("amount-off", {"budget": yuan(-5)}, "INVALID_FIELD", "budget"),
        ("amount-off", {"zone": "Mars/Olympus"}, "INVALID_FIELD", "zone"),
        ("amount-off", {"day_stock": 101}, "INVALID_FIELD", "day_stock"),
        ("amount-off", {"scope": {"stores": []}}, "INVALID_FIELD", "scope.stores"),
    ],
)
def test_terms_that_cannot_be_offered_are_refused(
    desk: Desk, template: str, terms: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        desk.enter(template=f"templates/{template}", terms=desk.terms(**terms))
    assert (refused.value.reason, refused.value.violations[0].field) == (reason, f"activity.terms.{field}")


def test_terms_wrong_in_several_ways_are_told_all_of_them(desk: Desk) -> None:
    wrong = desk.terms(zone="Mars/Olympus", claim_period={"start_date": "2026-03-02", "end_date": "2026-03-01"})
    with pytest.raises(errors.Invalid) as refused:
        desk.enter(terms=wrong)
    fields = {violation.field for violation in refused.value.violations}
    assert refused.value.reason == "INVALID_FIELD"
    assert fields == {"activity.terms.zone", "activity.terms.claim_period.end_date"}


def test_an_activity_uses_known_templates_and_its_merchants_stores_and_images_only(desk: Desk) -> None:
    other = desk.person("MERCHANT", "wang")
    theirs = other("CreateMerchant", merchant={"display_name": "w", "currency": "CNY"})["name"]
    image = other.upload(png(), theirs)["name"]
    place = {"zone": "Asia/Shanghai", "city": "成都", "category": "餐饮"}
    store = other("CreateStore", store={"merchant": theirs, "display_name": "w", **place})["name"]
    foreign: list[tuple[dict[str, Any], str]] = [
        ({"template": "templates/nonsense"}, "templates/nonsense"),
        ({"images": [image]}, image),
        ({"terms": desk.terms(scope={"stores": [desk.store, store]})}, store),
    ]
    for changes, missing in foreign:
        with pytest.raises(errors.NotFound) as refused:
            desk.enter(**changes)
        assert refused.value.metadata["resource"] == missing
        if "template" not in changes:
            with pytest.raises(errors.NotFound):
                desk.update(desk.enter(), **changes)


def test_a_draft_is_changed_by_mask_and_stays_a_draft(desk: Desk) -> None:
    draft = desk.enter(description="旧")
    changed = desk.update(draft, "title", "description", title="新标题")
    assert (changed["title"], changed["description"], changed["fields"]) == ("新标题", "", FIELDS)
    assert (changed["state"], changed["revision"], changed["etag"] != draft["etag"]) == ("DRAFT", 1, True)
    answers = {**FIELDS, "notes": "可开发票"}
    assert desk.update(changed, fields=answers)["fields"] == answers
    assert histories(desk) == [("", "DRAFT")]


@pytest.mark.parametrize("path", ["terms.stock", "template", "merchant", "state", "nonsense"])
def test_a_path_that_cannot_be_changed_is_refused(desk: Desk, path: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        desk.update(desk.enter(), path, title="x")
    assert refused.value.reason == "INVALID_UPDATE_MASK"


def test_required_content_cannot_be_cleared(desk: Desk) -> None:
    draft = desk.enter()
    for path in ("title", "fields", "terms", "*"):
        with pytest.raises(errors.Invalid):
            desk.update(draft, path)
    assert desk.owner("GetActivity", name=draft["name"]) == draft


def test_a_stale_etag_is_refused_but_a_replayed_update_is_not(desk: Desk) -> None:
    draft = desk.enter()
    changed = desk.update(draft, title="新", request_id="update-1")
    assert desk.update(draft, title="新", request_id="update-1") == changed
    with pytest.raises(errors.Conflict) as refused:
        desk.update(draft, title="再新")
    assert refused.value.reason == "ETAG_MISMATCH"
    with pytest.raises(errors.Invalid) as reused:
        desk.update(draft, title="别的", request_id="update-1")
    assert reused.value.reason == "REQUEST_ID_REUSED"


def test_stores_find_their_activities_after_the_scope_changed(desk: Desk) -> None:
    draft = desk.enter()
    second = desk.new_store()["name"]
    desk.update(draft, terms=desk.terms(scope={"stores": [second, desk.store]}))
    assert shown_in(desk) == {desk.store, second}
    preview = desk.owner("PreviewActivity", name=draft["name"])
    assert [store["name"] for store in preview["stores"]] == [second, desk.store]


@pytest.mark.parametrize(
    "states, revision",
    [
        (["PENDING_AUDIT"], 1),
        (["PENDING_AUDIT", "IN_REVIEW"], 1),
        (["PENDING_AUDIT", "REJECTED"], 2),
        (["PENDING_AUDIT", "APPROVED"], 2),
    ],
)
def test_editing_takes_an_activity_back_to_draft(desk: Desk, states: list[str], revision: int) -> None:
    activity = desk.move(desk.enter(), *states)
    changed = desk.update(activity, title="新标题")
    assert (changed["state"], changed["revision"], changed["title"]) == ("DRAFT", revision, "新标题")
    assert changed["publication_state"] == ("LIVE" if states[-1] == "APPROVED" else None)
    assert histories(desk)[-1] == (states[-1], "DRAFT")


def test_an_update_that_changes_nothing_moves_nothing(desk: Desk) -> None:
    activity = desk.move(desk.enter(), "PENDING_AUDIT", "APPROVED")
    assert desk.update(activity, title=activity["title"]) == activity


def test_a_review_that_lost_its_submission_becomes_stale(desk: Desk) -> None:
    in_review = desk.move(desk.enter(), "PENDING_AUDIT", "IN_REVIEW")
    other = desk.move(desk.enter(), "PENDING_AUDIT", "IN_REVIEW")
    desk.update(in_review, title="新标题")
    states = desk.db.run_here(lambda: {f"audits/{audit.uid}": audit.state for audit in Audit.select()})
    assert states == {in_review["audit"]: "STALE", other["audit"]: "OPEN"}


def test_a_draft_is_deleted_with_all_that_hangs_on_it_and_the_replay_agrees(desk: Desk) -> None:
    rejected = desk.move(desk.enter(), "PENDING_AUDIT", "REJECTED")
    draft = desk.update(rejected, title="改过")
    for _ in range(2):
        assert desk.owner("DeleteActivity", name=draft["name"], etag=draft["etag"], request_id="delete-1") == {}
    assert (histories(desk), shown_in(desk), desk.db.run_here(Audit.select().count)) == ([], set(), 0)
    with pytest.raises(errors.NotFound):
        desk.owner("GetActivity", name=draft["name"])
    with pytest.raises(errors.NotFound):
        desk.owner("DeleteActivity", name=draft["name"])


def test_only_a_draft_that_was_never_published_is_deleted(desk: Desk) -> None:
    pending = desk.move(desk.enter(), "PENDING_AUDIT")
    published = desk.move(desk.enter(), "PENDING_AUDIT", "APPROVED")
    redrafted = desk.update(published, title="新标题")
    for activity in (pending, redrafted):
        with pytest.raises(errors.FailedPrecondition) as refused:
            desk.owner("DeleteActivity", name=activity["name"])
        assert refused.value.reason == "ACTIVITY_NOT_DRAFT"
    with pytest.raises(errors.Conflict):
        desk.owner("DeleteActivity", name=pending["name"], etag="99")


def test_entering_again_with_the_same_request_id_enters_one(desk: Desk) -> None:
    first = desk.owner("CreateActivity", activity=desk.draft(), request_id="create-1")
    assert desk.owner("CreateActivity", activity=desk.draft(), request_id="create-1") == first
    assert len(desk.owner("ListActivities")["activities"]) == 1


def test_activities_are_listed_by_state_and_order_in_pages(desk: Desk) -> None:
    entered = [desk.enter()["name"] for _ in range(3)]
    pending = desk.move({"name": entered[1]}, "PENDING_AUDIT")["name"]
    oldest_first = desk.owner("ListActivities", order_by="create_time", page_size=2)
    rest = desk.owner("ListActivities", order_by="create_time", page_size=2, page_token=oldest_first["next_page_token"])
    assert [one["name"] for one in [*oldest_first["activities"], *rest["activities"]]] == entered
    for order in ("", "create_time desc"):
        listed = desk.owner("ListActivities", order_by=order, merchant=desk.merchant)["activities"]
        assert [one["name"] for one in listed] == entered[::-1]
    assert [one["name"] for one in desk.owner("ListActivities", state="PENDING_AUDIT")["activities"]] == [pending]
    assert len(desk.person("OPERATOR", "op")("ListActivities")["activities"]) == 3
    with pytest.raises(errors.Invalid) as refused:
        desk.owner("ListActivities", order_by="title")
    assert refused.value.reason == "INVALID_ORDER_BY"
    with pytest.raises(errors.Invalid) as foreign:
        desk.person("OPERATOR", "op")(
            "ListActivities", order_by="create_time", page_token=oldest_first["next_page_token"]
        )
    assert foreign.value.reason == "INVALID_PAGE_TOKEN"
