"""A merchant, a store and activities on their way to customers, for the tests of publish and audit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from services.audit import domain as audits
from services.audit import review
from services.audit.engine import Engine, Judge
from services.audit.judge import judge as by_lexicon
from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.chassis import database
from services.chassis.call import Call, Principal
from services.chassis.database import Database
from services.chassis.names import name, new_uid
from services.publish import domain
from services.schema import lifecycle
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Activity, ActivityStore, Audit, Merchant, Publication, Store
from tests.ledger.offers import content, yuan

T = TypeVar("T")

# Within the claim period of tests.ledger.offers.
NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
WHY = Why(Actor("MERCHANT", "lin"), NOW, "edited")
PATHS = ["title", "description", "fields", "stores[].display_name", "stores[].hot_items[].title"]

_numbers = itertools.count(1)


def term(text: str, action: str = "reject", category: str = "absolute_claim") -> Term:
    return Term(text, category, action, False, (), "广告法第九条", LocalizedText("改写", "rewrite"))


# 最强 is refused, 包治 waits for a person.
LEXICON = Lexicon.of([term("最强"), term("包治", "review", "medical_claim")])
STRICTER = Lexicon.of([*LEXICON.terms, term("新茶")])


def call(role: str = "MERCHANT", subject: str = "owner", rpc: str = "Test.Rpc", request_id: str = "") -> Call:
    """A call with a request_id of its own unless one is given."""
    return Call(Principal(role, subject), rpc, request_id or f"request-{next(_numbers)}", "body", actor=subject)


OPERATOR = Principal("OPERATOR", "operator")


class Scene:
    """One merchant of "owner" with one store; commands run in the calling thread."""

    def __init__(self, db: Database, judge: Judge = by_lexicon) -> None:
        self.db = db
        self.engine = Engine(PATHS, lambda: LEXICON, judge)
        self.run(self._open)

    def _open(self) -> None:
        self.engine.start(NOW)
        self.merchant = Merchant.create(
            uid=new_uid(), owner="owner", display_name="林记", currency="CNY", create_time=NOW
        )
        profile = {"display_name": "林记茶铺", "description": "", "address": "", "phone": "", "images": []}
        self.store = Store.create(
            uid=new_uid(),
            merchant_id=self.merchant.id,
            zone="Asia/Shanghai",
            city="上海",
            category="餐饮",
            profile={**profile, "hot_items": []},
            create_time=NOW,
            update_time=NOW,
        )

    def run(self, f: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self.db.run_here(f, *args, **kwargs)

    def draft(self, title: str, images: Sequence[str] = (), **terms: Any) -> str:
        """A new activity's name."""
        scope = {"stores": [name("stores", self.store.uid)], "items": []}
        said = {"title": title, "description": "", "fields": {}, "images": [*images]}
        activity = Activity(
            uid=new_uid(),
            merchant_id=self.merchant.id,
            template="amount-off",
            content={**said, "terms": content(**{"scope": scope, "budget": yuan(1000), **terms})},
            create_time=NOW,
            update_time=NOW,
        )

        def enter() -> None:
            with database.write():
                lifecycle.enter(activity, WHY)
                ActivityStore.create(activity_id=activity.id, store_id=self.store.id)

        self.run(enter)
        return name("activities", activity.uid)

    def edit(self, wire_name: str, title: str) -> None:
        """What EntryService does when its merchant changes the title."""

        def change() -> None:
            with database.write():
                activity = lifecycle.lock(wire_name.removeprefix("activities/"))
                said = {**activity.content, "title": title}
                if activity.state == "DRAFT":
                    Activity.update(content=said, version=activity.version + 1).where(
                        Activity.id == activity.id
                    ).execute()
                else:
                    lifecycle.revise(activity, WHY, content=said)

        self.run(change)

    def submit(self, wire_name: str, as_: Call | None = None, etag: str = "") -> Any:
        return self.run(domain.submit_activity, as_ or call(), {"name": wire_name, "etag": etag}, NOW)

    def audit(self, wire_name: str, as_: Call | None = None, engine: Engine | None = None) -> dict[str, Any]:
        who = as_ or call("SERVICE", "publish")
        return self.run(audits.audit_activity, who, {"activity": wire_name}, engine or self.engine, NOW)

    def published(self, title: str) -> str:
        """The name of an activity that was submitted and audited."""
        wire_name = self.draft(title)
        self.submit(wire_name)
        self.audit(wire_name)
        return wire_name

    def withdraw(self, wire_name: str) -> dict[str, Any]:
        return self.run(domain.withdraw_activity, call(), {"name": wire_name, "reason": "不办了"}, NOW)

    def resolve(self, audit: dict[str, Any], decision: str, **changes: Any) -> dict[str, Any]:
        plain = {"name": audit["name"], "decision": decision, "digest": audit["digest"], "reason": "看过了", **changes}
        return self.run(review.resolve_audit, call("OPERATOR", "operator"), plain, self.engine, NOW)

    def appeal(self, audit: dict[str, Any], as_: Call | None = None) -> dict[str, Any]:
        return self.run(review.appeal_audit, as_ or call(), {"name": audit["name"], "reason": "是店名"}, NOW)

    def activity(self, wire_name: str) -> dict[str, Any]:
        return self.run(domain.activity_of, call(), {"name": wire_name})

    def states(self, wire_name: str) -> tuple[str, str | None]:
        """The activity's state, and its publication's."""
        view = self.activity(wire_name)
        return view["state"], view["publication_state"]


def check_publications() -> int:
    """That customers see only what was audited, snapshot by snapshot; returns how many publications there are."""
    publications = list(Publication.select())
    for publication in publications:
        assert publication.digest == lifecycle.digest_of(publication.snapshot)
        audits_of_it = Audit.select().where(Audit.digest == publication.digest, Audit.decision == "PASS")
        assert publication.audit_id in {audit.id for audit in audits_of_it}
    return len(publications)
