from datetime import timedelta
from typing import Any

import pytest

from services.chassis import errors, parameters
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.ledger import customers
from services.ledger.customers import Tags
from services.publish import domain
from services.publish.pending import take_next
from services.schema.tables import Activity, Coupon, Publication
from tests.ledger.offers import yuan
from tests.publish.scene import NOW, Scene, call


@pytest.fixture
def scene(db: Database) -> Scene:
    return Scene(db)


def refused(reason: str) -> Any:
    return pytest.raises(errors.Error, match=f"^{reason}")


def test_a_submission_freezes_what_customers_would_see(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    pending = scene.submit(name)
    activity = scene.run(lambda: Activity.get())
    assert scene.states(name) == ("PENDING_AUDIT", None)
    assert activity.snapshot["stores"][0]["display_name"] == "林记茶铺"
    assert (pending.activity, pending.digest) == (name, activity.digest)
    with refused("ACTIVITY_STATE"):
        scene.submit(name)


def test_a_submission_is_of_the_version_that_was_read(scene: Scene) -> None:
    name = scene.draft("春季新茶")
    etag = scene.activity(name)["etag"]
    scene.edit(name, "夏季新茶")
    with refused("ETAG_MISMATCH"):
        scene.submit(name, etag=etag)
    mine, etag = call(), scene.activity(name)["etag"]
    assert scene.submit(name, mine, etag) is not None
    assert scene.submit(name, mine, etag) is None


def test_what_has_ended_or_became_invalid_is_not_submitted(scene: Scene) -> None:
    with refused("ACTIVITY_ENDED"):
        scene.submit(scene.draft("茶", claim_period={"start_date": "2026-03-01", "end_date": "2026-03-09"}))
    with pytest.raises(errors.Invalid) as caught:
        scene.submit(scene.draft("茶", zone="Mars/Olympus"))
    assert [violation.field for violation in caught.value.violations] == ["terms.zone"]
    with refused("RESOURCE_NOT_FOUND"):
        scene.submit(scene.draft("茶"), call(subject="stranger"))


def test_a_withdrawal_takes_back_the_submission_and_the_publication(scene: Scene) -> None:
    name = scene.published("春季新茶")
    scene.edit(name, "夏季新茶")
    scene.submit(name)
    assert scene.states(name) == ("PENDING_AUDIT", "LIVE")
    withdrawn = scene.withdraw(name)
    assert (withdrawn["state"], withdrawn["publication_state"]) == ("DRAFT", "WITHDRAWN")
    with refused("ACTIVITY_STATE"):
        scene.withdraw(name)
    scene.submit(name)
    scene.audit(name)
    assert scene.states(name) == ("APPROVED", "LIVE")


def test_supply_is_raised_and_stopped_without_an_audit(scene: Scene) -> None:
    name = scene.published("春季新茶")

    def adjust(**plain: Any) -> dict[str, Any]:
        return scene.run(domain.adjust_supply, call(), {"name": name, **plain}, NOW)

    raised = adjust(stock=200, budget=yuan(2000))
    assert (raised["stock"], raised["budget"], raised["committed"]) == (200, yuan(2000), yuan(0))
    assert adjust(is_issuing_stopped=True)["is_issuing_stopped"]
    assert not adjust(is_issuing_stopped=False)["is_issuing_stopped"]
    with refused("SUPPLY_CANNOT_SHRINK"):
        adjust(stock=199)
    with refused("CURRENCY_MISMATCH"):
        adjust(budget={"currency": "USD", "minor": 10_000_000})
    with refused("ACTIVITY_NOT_PUBLISHED"):
        scene.run(domain.adjust_supply, call(), {"name": scene.draft("茶"), "stock": 200}, NOW)


def test_the_history_says_who_when_and_why_page_by_page(scene: Scene) -> None:
    name = scene.published("春季新茶")
    scene.withdraw(name)
    asking, rows, token = call(), [], ""
    while True:
        page = scene.run(domain.list_transitions, asking, {"activity": name, "page_size": 2, "page_token": token}, NOW)
        rows += page["transitions"]
        token = page["next_page_token"]
        if not token:
            break
    assert [(row["subject"], row["from_state"], row["to_state"]) for row in rows] == [
        ("ACTIVITY", "", "DRAFT"),
        ("ACTIVITY", "DRAFT", "PENDING_AUDIT"),
        ("ACTIVITY", "PENDING_AUDIT", "APPROVED"),
        ("PUBLICATION", "", "LIVE"),
        ("PUBLICATION", "LIVE", "WITHDRAWN"),
    ]
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5]
    assert (rows[4]["actor_role"], rows[4]["reason"], rows[4]["time"]) == ("MERCHANT", "不办了", NOW)
    with refused("INVALID_PAGE_TOKEN"):
        scene.run(domain.list_transitions, call(), {"activity": name, "page_token": "x"}, NOW)


def test_a_live_publication_is_everybodys_and_a_withdrawn_one_its_merchants(scene: Scene) -> None:
    name = scene.published("春季新茶")
    plain = {"name": scene.activity(name)["publication"]}

    def seen(role: str, subject: str = "") -> dict[str, Any]:
        return scene.run(domain.get_publication, call(role, subject), plain, NOW)

    assert seen("ANONYMOUS")["snapshot"]["title"] == "春季新茶"
    assert seen("ANONYMOUS")["audit"] is None
    assert seen("MERCHANT", "owner")["audit"] == scene.activity(name)["audit"]
    scene.withdraw(name)
    for role, subject in (("ANONYMOUS", ""), ("CUSTOMER", "alice"), ("MERCHANT", "stranger")):
        with refused("RESOURCE_NOT_FOUND"):
            seen(role, subject)
    assert seen("OPERATOR", "op")["state"] == seen("MERCHANT", "owner")["state"] == "WITHDRAWN"


def test_who_holds_a_coupon_reads_its_publication_until_its_words_are_suspended(scene: Scene) -> None:
    wire_name = scene.published("春季新茶")
    plain = {"name": scene.activity(wire_name)["publication"]}

    def hold() -> None:
        row = Publication.get()
        held = {"merchant_id": row.merchant_id, "publication_id": row.id, "activity_id": row.activity_id, "share_id": 0}
        customer = customers.pseudonym(row.merchant_id, "alice", Tags(Keyring(b"k" * 32)), NOW)
        Coupon.create(uid="c1", code="6000000000000000", state="CLAIMED", customer=customer, **held)

    def seen(subject: str) -> str:
        row = scene.run(domain.get_publication, call("CUSTOMER", subject), plain, NOW)
        return str(row["state"])

    scene.run(hold)
    scene.withdraw(wire_name)
    assert seen("alice") == "WITHDRAWN"
    with refused("RESOURCE_NOT_FOUND"):
        seen("bob")
    scene.run(lambda: Publication.update(state="SUSPENDED").execute())
    with refused("RESOURCE_NOT_FOUND"):
        seen("alice")


def test_a_pending_audit_is_leased_to_one_asker_at_a_time(scene: Scene) -> None:
    pending = scene.submit(scene.draft("春季新茶"))
    lease = timedelta(seconds=parameters.current().audit_lease_seconds)
    assert scene.run(take_next, NOW) is None
    assert scene.run(take_next, NOW + lease) == pending
    assert scene.run(take_next, NOW + lease) is None
    assert scene.run(take_next, NOW + 2 * lease) == pending
