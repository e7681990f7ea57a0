from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sharemesh.v1 import options_pb2, promotion_pb2
from tests.entry.desk import Desk, png
from tests.ledger.offers import yuan

# What a snapshot holds as text that nobody can put words into: names, zones, digits.
NO_WORDS = {
    "template",
    "stores.name",
    "stores.zone",
    "stores.phone",
    "terms.zone",
    "terms.scope.stores",
}


def texts_in(message: Descriptor, above: str = "") -> Iterator[tuple[str, bool]]:
    """Yields the path of every text, bytes or free structure in a message, and whether it is marked (audited)."""
    for field in message.fields:
        path = above + field.name
        kind = field.message_type.full_name if field.message_type else ""
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES) or kind == "google.protobuf.Struct":
            yield path, field.GetOptions().Extensions[options_pb2.audited]
        elif field.message_type and kind != "google.type.Money":  # Its one text is a currency's code.
            yield from texts_in(field.message_type, f"{path}.")


def test_every_text_that_customers_see_is_audited() -> None:
    texts = dict(texts_in(promotion_pb2.Snapshot.DESCRIPTOR))
    assert {path for path, is_audited in texts.items() if not is_audited} == NO_WORDS
    assert {"title", "fields", "stores.staff.title", "terms.benefit.gift.title"} <= texts.keys()


def test_a_preview_shows_what_a_customer_would_see_and_staff_only_if_they_agreed(desk: Desk) -> None:
    image = desk.owner.upload(png(), desk.merchant)["name"]
    items = [{"item": "tea", "title": "茶", "price": yuan(8), "image": image}]
    desk.owner("UpdateStore", store={"name": desk.store, "hot_items": items, "images": [image], "phone": "028"})
    for subject, is_shown in (("jie", True), ("bo", False)):
        bind: dict[str, Any] = {"store": desk.store, "subject": subject, "display_name": subject, "title": "店长"}
        desk.owner("BindStaff", **bind, rights=["VERIFY"], is_shown=is_shown)
    draft = desk.enter(images=[image], description="到店即享")
    preview = desk.owner("PreviewActivity", name=draft["name"])
    assert {key: preview[key] for key in ("title", "description", "fields", "images", "terms", "template")} == {
        key: draft[key] for key in ("title", "description", "fields", "images", "terms", "template")
    }
    assert preview["merchant_display_name"] == "川味小馆"
    [store] = preview["stores"]
    own = desk.owner("GetStore", name=desk.store)
    assert store["staff"] == [{"display_name": "jie", "title": "店长"}]
    assert {key: value for key, value in store.items() if key != "staff"} == {
        key: own[key] for key in store.keys() - {"staff"}
    }
