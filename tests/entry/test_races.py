import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from services.chassis import database, errors
from services.entry.domain import revisions, versions
from services.schema.snapshot import snapshot_of
from services.schema.tables import Activity, Store, locked
from tests.entry.desk import NOW, Desk

ROUNDS = 8


@pytest.mark.parametrize("enters_meanwhile", [False, True])
def test_a_submission_waits_for_a_store_that_is_being_changed(desk: Desk, enters_meanwhile: bool) -> None:
    """Whether the draft is there already or is entered meanwhile, it shows the words that are about to be committed."""
    draft = None if enters_meanwhile else desk.enter()
    is_changed, may_commit = threading.Event(), threading.Event()

    def change() -> None:
        with database.write():
            store = locked(Store.select().where(Store.uid == desk.store.removeprefix("stores/"))).get()
            profile = {**store.profile, "description": "新"}
            call = desk.owner.calling("UpdateStore")
            revisions.changing_store(store, lambda: versions.change(store, profile=profile), call, NOW)
            is_changed.set()
            may_commit.wait(5)

    def submit() -> None:
        desk.move(draft or desk.enter(), "PENDING_AUDIT")

    changing = threading.Thread(target=desk.db.run_here, args=(change,))
    submitting = threading.Thread(target=submit)
    changing.start()
    assert is_changed.wait(5)
    submitting.start()
    submitting.join(0.5)  # It ends now only if it does not wait.
    may_commit.set()
    for thread in (changing, submitting):
        thread.join()
    pending = desk.db.run_here(lambda: Activity.get(Activity.state == "PENDING_AUDIT"))
    assert pending.snapshot["stores"][0]["description"] == "新"


def test_no_submission_survives_a_change_of_what_it_shows(desk: Desk) -> None:
    """Stores and activities change while others submit: what then waits for its audit is what would be shown now."""
    second = desk.new_store()["name"]
    drafts = [desk.enter() for _ in range(2)]
    scopes = [[desk.store], [desk.store, second], [second]]

    def change_store(turn: int) -> None:
        desk.owner("UpdateStore", store={"name": (desk.store, second)[turn % 2], "description": f"第{turn}次"})

    def bind(turn: int) -> None:
        shown: dict[str, Any] = {"display_name": f"阿杰{turn}", "is_shown": True}
        desk.owner("BindStaff", store=second, subject="jie", rights=["VERIFY"], **shown)

    def edit(turn: int) -> None:
        terms = desk.terms(scope={"stores": scopes[turn % 3]})
        desk.owner("UpdateActivity", activity={"name": drafts[turn % 2]["name"], "terms": terms})

    def submit(turn: int) -> None:
        with suppress(errors.FailedPrecondition):  # It waits already.
            desk.move(drafts[turn % 2], "PENDING_AUDIT")

    failures: list[BaseException] = []

    def repeat(act: Callable[[int], None]) -> None:
        for turn in range(ROUNDS):
            try:
                act(turn)
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread.
                failures.append(error)

    threads = [threading.Thread(target=repeat, args=(act,)) for act in (change_store, bind, edit, submit, submit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A caller may be told to come back; anything else would be a mistake.
    assert [error for error in failures if not isinstance(error, errors.Conflict)] == []
    pending = desk.db.run_here(lambda: list(Activity.select().where(Activity.state == "PENDING_AUDIT")))
    assert all(desk.db.run_here(snapshot_of, activity) == activity.snapshot for activity in pending)
