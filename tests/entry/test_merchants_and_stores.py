from datetime import timedelta
from typing import Any

import pytest

from services.chassis import errors
from services.schema.tables import Transition
from tests.entry.desk import NOW, PLACE, Desk, png
from tests.ledger.offers import yuan


def test_a_merchant_belongs_to_who_created_it_and_only_operators_see_the_owner(desk: Desk) -> None:
    assert desk.owner("GetMerchant", name=desk.merchant)["owner"] == ""
    assert desk.person("OPERATOR", "op")("GetMerchant", name=desk.merchant)["owner"] == "lin"


def test_an_operator_creates_a_merchant_for_its_owner(desk: Desk) -> None:
    new = {"display_name": "面馆", "currency": "CNY", "owner": "wang"}
    name = desk.person("OPERATOR", "op")("CreateMerchant", merchant=new)["name"]
    assert desk.person("MERCHANT", "wang")("GetMerchant", name=name)["display_name"] == "面馆"


@pytest.mark.parametrize("role, owner", [("MERCHANT", "wang"), ("OPERATOR", "")])
def test_an_owner_is_named_by_operators_and_by_nobody_else(desk: Desk, role: str, owner: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        desk.person(role, "x")("CreateMerchant", merchant={"display_name": "a", "currency": "CNY", "owner": owner})
    assert refused.value.violations[0].field == "merchant.owner"


def test_another_merchants_things_are_not_found(desk: Desk) -> None:
    activity = desk.enter()["name"]
    stranger = desk.person("MERCHANT", "wang")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("GetMerchant", {"name": desk.merchant}),
        ("UpdateMerchant", {"merchant": {"name": desk.merchant, "display_name": "x"}}),
        ("CreateStore", {"store": {"merchant": desk.merchant, "display_name": "x", **PLACE}}),
        ("GetStore", {"name": desk.store}),
        ("UpdateStore", {"store": {"name": desk.store, "display_name": "x"}}),
        ("BindStaff", {"store": desk.store, "subject": "jie", "rights": ["VERIFY"]}),
        ("UnbindStaff", {"store": desk.store, "subject": "jie"}),
        ("ListStaff", {"store": desk.store}),
        ("CreateActivity", {"activity": desk.draft()}),
        ("GetActivity", {"name": activity}),
        ("UpdateActivity", {"activity": {"name": activity, "title": "x"}}),
        ("DeleteActivity", {"name": activity}),
        ("PreviewActivity", {"name": activity}),
        ("ListStores", {"merchant": desk.merchant}),
        ("ListActivities", {"merchant": desk.merchant}),
    ]
    for rpc, request in calls:
        with pytest.raises(errors.NotFound) as refused:
            stranger(rpc, **request)
        assert refused.value.reason == "RESOURCE_NOT_FOUND", rpc
    assert stranger("ListMerchants")["merchants"] == []
    assert stranger("ListStores")["stores"] == []
    assert stranger("ListActivities")["activities"] == []


def test_a_replay_returns_the_first_outcome_as_it_is_now(desk: Desk) -> None:
    request: dict[str, Any] = {
        "store": {"merchant": desk.merchant, "display_name": "天府店", **PLACE},
        "request_id": "same-id-1",
    }
    first = desk.owner("CreateStore", **request)
    desk.owner("UpdateStore", store={"name": first["name"], "city": "重庆"})
    again = desk.owner("CreateStore", **request)
    assert (again["name"], again["city"]) == (first["name"], "重庆")
    assert len(desk.owner("ListStores")["stores"]) == 2


def test_a_request_id_with_another_body_is_refused(desk: Desk) -> None:
    desk.owner("CreateStore", store={"merchant": desk.merchant, "display_name": "a", **PLACE}, request_id="same-id-1")
    with pytest.raises(errors.Invalid) as refused:
        desk.owner(
            "CreateStore", store={"merchant": desk.merchant, "display_name": "b", **PLACE}, request_id="same-id-1"
        )
    assert refused.value.reason == "REQUEST_ID_REUSED"


def test_a_refused_request_is_judged_anew(desk: Desk) -> None:
    bad = {"merchant": desk.merchant, "display_name": "a", **PLACE, "images": ["images/abc"]}
    with pytest.raises(errors.NotFound):
        desk.owner("CreateStore", store=bad, request_id="same-id-1")
    assert desk.owner("CreateStore", store={**bad, "images": []}, request_id="same-id-1")["display_name"] == "a"


def test_a_stale_etag_is_refused_but_a_replay_of_the_update_is_not(desk: Desk) -> None:
    etag = desk.owner("GetStore", name=desk.store)["etag"]
    update: dict[str, Any] = {"store": {"name": desk.store, "etag": etag, "phone": "028-1"}, "request_id": "same-id-1"}
    changed = desk.owner("UpdateStore", **update)
    assert (changed["phone"], changed["etag"] != etag) == ("028-1", True)
    assert desk.owner("UpdateStore", **update) == changed
    with pytest.raises(errors.Conflict) as refused:
        desk.owner("UpdateStore", store={"name": desk.store, "etag": etag, "phone": "028-2"})
    assert refused.value.reason == "ETAG_MISMATCH"


def test_masks_choose_what_changes_in_a_store(desk: Desk) -> None:
    tea = {"item": "tea", "title": "茶"}
    noodles = {"item": "noodles", "title": "面", "price": yuan(12)}
    name = desk.new_store(phone="1", description="老店", hot_items=[tea])["name"]
    by_set_fields = desk.owner("UpdateStore", store={"name": name, "hot_items": [noodles]})
    assert ([item["item"] for item in by_set_fields["hot_items"]], by_set_fields["phone"]) == (["noodles"], "1")
    cleared = desk.owner("UpdateStore", store={"name": name}, update_mask={"paths": ["phone"]})
    assert (cleared["phone"], cleared["description"]) == ("", "老店")
    whole = {"name": name, "display_name": "新店", **PLACE}
    replaced = desk.owner("UpdateStore", store=whole, update_mask={"paths": ["*"]})
    assert (replaced["description"], replaced["hot_items"], replaced["display_name"]) == ("", [], "新店")
    for path in ("merchant", "nonsense", "create_time"):
        with pytest.raises(errors.Invalid) as refused:
            desk.owner("UpdateStore", store={"name": name}, update_mask={"paths": [path]})
        assert refused.value.reason == "INVALID_UPDATE_MASK"


@pytest.mark.parametrize(
    "changes, reason, field",
    [
        ({"zone": "Mars/Olympus"}, "INVALID_FIELD", "store.zone"),
        ({"display_name": "  "}, "INVALID_FIELD", "store.display_name"),
        ({"city": ""}, "INVALID_FIELD", "store.city"),
        (
            {"hot_items": [{"item": "a", "title": "a", "price": {"currency": "USD", "minor": 1}}]},
            "CURRENCY_MISMATCH",
            "store.hot_items[0].price",
        ),
        ({"hot_items": [{"item": "a", "title": "a", "price": yuan(-1)}]}, "INVALID_FIELD", "store.hot_items[0].price"),
    ],
)
def test_a_store_that_cannot_be_is_refused(desk: Desk, changes: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        desk.new_store(**changes)
    assert (refused.value.reason, refused.value.violations[0].field) == (reason, field)
    with pytest.raises(errors.Invalid):
        desk.owner("UpdateStore", store={"name": desk.store, **changes}, update_mask={"paths": list(changes)})


def test_a_store_shows_its_merchants_images_only(desk: Desk) -> None:
    other = desk.person("MERCHANT", "wang")
    theirs = other("CreateMerchant", merchant={"display_name": "w", "currency": "CNY"})["name"]
    image = other.upload(png(), theirs)["name"]
    for shown in ({"images": [image]}, {"hot_items": [{"item": "a", "title": "a", "image": image}]}):
        with pytest.raises(errors.NotFound) as refused:
            desk.new_store(**shown)
        assert refused.value.metadata["resource"] == image
    desk.owner.upload(png(), desk.merchant)
    assert desk.new_store(images=[image])["images"] == [image]


def test_stores_are_listed_newest_first_by_filters_and_pages(desk: Desk) -> None:
    names = [desk.store, *(desk.new_store(city=city)["name"] for city in ("重庆", "成都", "成都"))]
    first = desk.owner("ListStores", page_size=3)
    rest = desk.owner("ListStores", page_size=3, page_token=first["next_page_token"])
    assert [store["name"] for store in [*first["stores"], *rest["stores"]]] == names[::-1]
    assert rest["next_page_token"] == ""
    assert [store["name"] for store in desk.owner("ListStores", city="重庆")["stores"]] == [names[1]]
    assert desk.owner("ListStores", merchant=desk.merchant, category="酒店")["stores"] == []
    with pytest.raises(errors.Invalid) as refused:
        desk.owner("ListStores", page_size=3, city="成都", page_token=first["next_page_token"])
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


def test_staff_see_the_stores_that_bind_them_and_no_others(desk: Desk) -> None:
    second = desk.new_store()["name"]
    jie = desk.person("STAFF", "jie")
    desk.owner("BindStaff", store=second, subject="jie", rights=["VERIFY"])
    assert [store["name"] for store in jie("ListStores")["stores"]] == [second]
    assert [store["name"] for store in jie("ListStores", merchant=desk.merchant)["stores"]] == [second]
    assert jie("ListStores", merchant="merchants/abc")["stores"] == []
    assert jie("GetStore", name=second)["name"] == second
    with pytest.raises(errors.NotFound):
        jie("GetStore", name=desk.store)
    desk.owner("UnbindStaff", store=second, subject="jie")
    assert jie("ListStores")["stores"] == []


def test_staff_read_their_own_rights_at_each_store_and_nobody_elses(desk: Desk) -> None:
    second = desk.new_store()["name"]
    desk.owner("BindStaff", store=desk.store, subject="jie", rights=["VERIFY", "REDEEM"])
    desk.owner("BindStaff", store=second, subject="jie", rights=["REPORT"])
    desk.owner("BindStaff", store=second, subject="wei", rights=["SHARE"])
    jie = desk.person("STAFF", "jie")
    assert jie("GetStore", name=desk.store)["my_rights"] == ["VERIFY", "REDEEM"]
    listed = {store["name"]: store["my_rights"] for store in jie("ListStores")["stores"]}
    assert listed == {desk.store: ["VERIFY", "REDEEM"], second: ["REPORT"]}
    assert desk.owner("GetStore", name=second)["my_rights"] == []
    assert desk.person("OPERATOR", "jie")("GetStore", name=second)["my_rights"] == []


def test_binding_again_changes_the_rights_and_unbinding_takes_them_away(desk: Desk) -> None:
    bind: dict[str, Any] = {"store": desk.store, "subject": "jie", "display_name": "阿杰"}
    desk.owner("BindStaff", **bind, rights=["VERIFY", "REDEEM"])
    later = desk.owner("BindStaff", **bind, rights=["SHARE"], now=NOW + timedelta(days=1))
    assert (later["rights"], later["create_time"]) == (["SHARE"], NOW)
    assert [one["subject"] for one in desk.owner("ListStaff", store=desk.store)["staff"]] == ["jie"]
    assert desk.owner("UnbindStaff", store=desk.store, subject="jie", request_id="unbind-1") == {}
    assert desk.owner("UnbindStaff", store=desk.store, subject="jie", request_id="unbind-1") == {}
    with pytest.raises(errors.NotFound) as refused:
        desk.owner("UnbindStaff", store=desk.store, subject="jie")
    assert "jie" not in refused.value.metadata["resource"]


def test_staff_who_are_shown_need_a_name(desk: Desk) -> None:
    with pytest.raises(errors.Invalid) as refused:
        desk.owner("BindStaff", store=desk.store, subject="jie", rights=["VERIFY"], is_shown=True)
    assert refused.value.violations[0].field == "display_name"


def test_changing_a_store_takes_back_what_waits_and_begins_a_revision_of_what_is_approved(desk: Desk) -> None:
    approved = desk.move(desk.enter(), "PENDING_AUDIT", "APPROVED")
    pending = desk.move(desk.enter(), "PENDING_AUDIT")
    in_review = desk.move(desk.enter(), "PENDING_AUDIT", "IN_REVIEW")
    rejected = desk.move(desk.enter(), "PENDING_AUDIT", "REJECTED")
    elsewhere = desk.enter(terms=desk.terms(scope={"stores": [desk.new_store()["name"]], "items": []}))
    elsewhere = desk.move(elsewhere, "PENDING_AUDIT", "APPROVED")
    desk.owner("UpdateStore", store={"name": desk.store, "description": "十年老店"})
    assert desk.state(approved) == ("DRAFT", 2)
    assert desk.owner("GetActivity", name=approved["name"])["publication_state"] == "LIVE"
    assert desk.state(pending) == ("DRAFT", 1)
    assert desk.state(in_review) == ("IN_REVIEW", 1)
    assert desk.state(rejected) == ("REJECTED", 1)
    assert desk.state(elsewhere) == ("APPROVED", 1)
    last = desk.db.run_here(lambda: list(Transition.select().order_by(Transition.id.desc()).limit(2)))
    assert {row.reason for row in last} == {f"{desk.store} changed"}
    assert {row.actor for row in last} == {"lin"}


def test_nothing_is_revised_when_no_shown_word_changes(desk: Desk) -> None:
    activity = desk.move(desk.enter(), "PENDING_AUDIT", "APPROVED")
    store = desk.owner("GetStore", name=desk.store)
    desk.owner("UpdateStore", store={"name": desk.store, "city": store["city"]})
    assert desk.owner("GetStore", name=desk.store)["etag"] == store["etag"]
    bind: dict[str, Any] = {"store": desk.store, "subject": "jie", "rights": ["VERIFY"], "display_name": "阿杰"}
    desk.owner("BindStaff", **bind)
    desk.owner("UnbindStaff", store=desk.store, subject="jie")
    desk.owner("UpdateMerchant", merchant={"name": desk.merchant, "display_name": "川味小馆"})
    assert desk.state(activity) == ("APPROVED", 1)


def test_a_person_who_is_shown_or_no_longer_is_begins_a_revision(desk: Desk) -> None:
    bind: dict[str, Any] = {"store": desk.store, "subject": "jie", "display_name": "阿杰", "is_shown": True}
    activity = desk.move(desk.enter(), "PENDING_AUDIT", "APPROVED")
    desk.owner("BindStaff", **bind, rights=["VERIFY"])
    assert desk.state(activity) == ("DRAFT", 2)
    activity = desk.move(activity, "PENDING_AUDIT", "APPROVED")
    desk.owner("BindStaff", **bind, rights=["VERIFY", "REDEEM"])
    assert desk.state(activity) == ("APPROVED", 2)
    desk.owner("UnbindStaff", store=desk.store, subject="jie")
    assert desk.state(activity) == ("DRAFT", 3)


def test_renaming_a_merchant_begins_revisions(desk: Desk) -> None:
    activity = desk.move(desk.enter(), "PENDING_AUDIT", "APPROVED")
    desk.owner("UpdateMerchant", merchant={"name": desk.merchant, "display_name": "川味大馆"})
    assert desk.state(activity) == ("DRAFT", 2)
    with pytest.raises(errors.Invalid) as refused:
        desk.owner("UpdateMerchant", merchant={"name": desk.merchant}, update_mask={"paths": ["currency"]})
    assert refused.value.reason == "INVALID_UPDATE_MASK"
