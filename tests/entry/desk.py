"""People who enter things: each calls the domain as the servicer does, by messages of the contract."""

import hashlib
import io
import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message_factory import GetMessageClass
from PIL import Image

from services.chassis import database
from services.chassis.call import Call, Principal
from services.chassis.database import Database
from services.chassis.wire import to_message, to_plain
from services.entry.domain import activities, images, merchants, staff, stores, templates
from services.entry.pictures import picture_of
from services.schema import lifecycle
from services.schema.lifecycle import Actor, Why
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, Audit, Publication
from sharemesh.v1 import entry_pb2
from tests.ledger.offers import content as terms

NOW = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)
_RULES = {name: rule for room in (activities, merchants, staff, stores, templates) for name, rule in vars(room).items()}
_METHODS = entry_pb2.DESCRIPTOR.services_by_name["EntryService"].methods_by_name
_numbers = itertools.count(1)


@dataclass
class Person:
    """A bearer of a role; person("CreateStore", store={...}) is the plain form of what the call returns."""

    db: Database
    role: str
    subject: str

    def __call__(self, rpc: str, request_id: str = "", now: datetime = NOW, **fields: Any) -> Any:
        method = _METHODS[rpc]
        request = to_message(GetMessageClass(method.input_type), {**fields, "request_id": request_id})
        rule = _RULES[re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()]
        is_write = "request_id" in method.input_type.fields_by_name
        arguments: dict[str, Any] = {"now": now} if is_write else {}
        call = self.calling(rpc, request_id, request.SerializeToString(deterministic=True))
        row = self.db.run_here(rule, call, to_plain(request), **arguments)
        return to_plain(to_message(GetMessageClass(method.output_type), row))

    def calling(self, rpc: str, request_id: str = "", body: bytes = b"") -> Call:
        """A call of this person's, with a request_id of its own unless one is given."""
        digest = hashlib.sha256(body).hexdigest()
        request_id = request_id or f"request-{next(_numbers)}"
        return Call(Principal(self.role, self.subject), f"EntryService.{rpc}", request_id, digest, "en", self.subject)

    def upload(self, content: bytes, merchant: str, request_id: str = "") -> dict[str, Any]:
        """UploadImage without the gallery's files."""
        call = self.calling("UploadImage", request_id, content)
        return self.db.run_here(images.keep_image, call, {"merchant": merchant}, picture_of(content), now=NOW)

    def find_image(self, name: str) -> tuple[str, str]:
        """GetImage without the gallery's files."""
        return self.db.run_here(images.find_image, self.calling("GetImage"), {"name": name})


@dataclass
class Desk:
    """A merchant with one store, and everybody who may come by."""

    db: Database
    owner: Person
    merchant: str
    store: str

    def person(self, role: str, subject: str) -> Person:
        return Person(self.db, role, subject)

    def new_store(self, **changes: Any) -> dict[str, Any]:
        store = {"merchant": self.merchant, "display_name": "春熙路店", **PLACE, **changes}
        return self.owner("CreateStore", store=store)  # type: ignore[no-any-return]

    def draft(self, **changes: Any) -> dict[str, Any]:
        """The plain form of an activity that can be entered."""
        return {
            "merchant": self.merchant,
            "template": "templates/amount-off",
            "title": "满百减二十",
            "fields": FIELDS,
            "terms": self.terms(),
        } | changes

    def terms(self, **changes: Any) -> dict[str, Any]:
        return terms(scope={"stores": [self.store], "items": []}) | changes

    def enter(self, **changes: Any) -> dict[str, Any]:
        return self.owner("CreateActivity", activity=self.draft(**changes))  # type: ignore[no-any-return]

    def update(self, activity: dict[str, Any], *paths: str, request_id: str = "", **changes: Any) -> dict[str, Any]:
        """UpdateActivity by its owner, with the etag of `activity` unless another is among the changes."""
        patch = {"name": activity["name"], "etag": activity["etag"]} | changes
        fields: dict[str, Any] = {"activity": patch, "update_mask": {"paths": list(paths)}}
        return self.owner("UpdateActivity", request_id, **fields)  # type: ignore[no-any-return]

    def move(self, activity: dict[str, Any], *states: str) -> dict[str, Any]:
        """Let publishing and the audit move the activity through these states; returns it as it is then."""
        self.db.run_here(_moved, activity["name"].removeprefix("activities/"), states)
        return self.owner("GetActivity", name=activity["name"])  # type: ignore[no-any-return]

    def state(self, activity: dict[str, Any]) -> tuple[str, int]:
        """The state and the revision of the activity now."""
        now = self.owner("GetActivity", name=activity["name"])
        return now["state"], now["revision"]


FIELDS = {"headline": "满 100 减 20", "suitable_items": "全店川菜", "dining": "BOTH", "appointment_needed": False}
PLACE = {"zone": "Asia/Shanghai", "city": "成都", "category": "餐饮"}


def opened(db: Database, subject: str = "lin") -> Desk:
    """A desk of the merchant's own; the built-in templates are there."""
    db.run_here(templates.install, NOW)
    owner = Person(db, "MERCHANT", subject)
    merchant = owner("CreateMerchant", merchant={"display_name": "川味小馆", "currency": "CNY"})["name"]
    desk = Desk(db, owner, merchant, "")
    desk.store = desk.new_store()["name"]
    return desk


def png(color: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (8, 6)) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def _moved(uid: str, states: tuple[str, ...]) -> None:
    with database.write():
        activity = lifecycle.lock(uid)
        for state in states:
            why = Why(Actor("SERVICE"), NOW)
            if state == "PENDING_AUDIT":
                snapshot = snapshot_of(activity)
                lifecycle.move(activity, state, why, snapshot=snapshot, digest=lifecycle.digest_of(snapshot))
            elif state == "APPROVED":
                lifecycle.approve(activity, _audit(activity, "DECIDED").id, (NOW, NOW), why)
            else:
                kind = "OPEN" if state == "IN_REVIEW" else "DECIDED"
                lifecycle.move(activity, state, why, audit_id=_audit(activity, kind).id)


def _audit(activity: Activity, state: str) -> Audit:
    return Audit.create(
        uid=f"audit{next(_numbers)}",
        activity_id=activity.id,
        merchant_id=activity.merchant_id,
        revision=activity.revision,
        digest=activity.digest,
        lexicon_release="r",
        decision="PASS",
        state=state,
        findings=[],
        categories="",
        create_time=NOW,
    )


def publication(db: Database, activity: dict[str, Any]) -> Publication:
    """The publication that the activity points at."""
    uid = activity["publication"].removeprefix("publications/")
    return db.run_here(Publication.get, Publication.uid == uid)
