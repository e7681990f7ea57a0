"""The scene of publishing with an operator who changes the lexicon, and workers who judge again."""

from datetime import timedelta
from typing import Any

from services.audit import domain as audits
from services.audit import imports, reaudit, rollouts
from services.schema.tables import Activity, Rollout, Transition
from tests.publish.scene import LEXICON, NOW, Scene, call

OPERATOR = ("OPERATOR", "olga")
BUILT_IN = f"lexicons/{LEXICON.release}"


class Office(Scene):
    """The scene with an operator who changes the lexicon, and a worker that judges again."""

    def add(self, *terms: Any, base: str = "") -> str:
        """The name of a new lexicon with these terms of (text, action)."""
        given = [wire_term(*((one,) if isinstance(one, str) else one)) for one in terms]
        return str(self.bring(terms=given, base=base)["name"])

    def bring(self, **plain: Any) -> dict[str, Any]:
        return self.run(imports.import_terms, call(*OPERATOR), {"reason": "投诉", **plain}, NOW)

    def release(self, lexicon: str, **plain: Any) -> dict[str, Any]:
        wanted = {"name": lexicon, "reason": "新规", **plain}
        return self.run(rollouts.release_lexicon, call(*OPERATOR), wanted, self.engine, NOW)

    def roll_back(self, lexicon: str) -> dict[str, Any]:
        wanted = {"name": lexicon, "reason": "误伤"}
        return self.run(rollouts.rollback_lexicon, call(*OPERATOR), wanted, self.engine, NOW)

    def work(self, worker: str = "worker", later: timedelta = timedelta()) -> dict[str, Any] | None:
        """Let a worker do all it can; the rollout it had, afterwards."""
        taken = self.run(reaudit.take, worker, NOW + later)
        if taken is None:
            return None
        while self.run(reaudit.go_on, taken, worker, self.engine, NOW + later):
            pass
        return self.run(lambda: rollouts.rollout_view(Rollout.get_by_id(taken)))

    def rolled_out(self, *terms: Any) -> dict[str, Any]:
        """A release with these terms, worked off."""
        self.release(self.add(*terms))
        done = self.work()
        assert done is not None
        return done

    def last(self, wire_name: str) -> dict[str, Any]:
        """The newest audit of an activity, as its merchant sees it."""
        return self.run(audits.list_audits, call(), {"activity": wire_name}, NOW)["audits"][0]  # type: ignore[no-any-return]

    def history(self, wire_name: str) -> list[tuple[str, str, str]]:
        def read() -> list[tuple[str, str, str]]:
            activity = Activity.get(Activity.uid == wire_name.removeprefix("activities/"))
            rows = Transition.select().where(Transition.activity_id == activity.id).order_by(Transition.sequence)
            return [(row.subject, row.to_state, row.reason) for row in rows]

        return self.run(read)


def wire_term(text: str, action: str = "REJECT", category: str = "absolute_claim", **changes: Any) -> dict[str, Any]:
    return {
        "text": text,
        "category": category,
        "action": action,
        "has_boundary": False,
        "is_spelling_exact": False,
        "exceptions": [],
        "basis": "广告法第九条",
        "rewrite": {"zh_cn": "改写", "en": "rewrite"},
        "pattern": "",
        "is_excused_by_prohibition": False,
        "words": [],
        **changes,
    }
