"""What is read in pictures, on its way from an upload to a decision."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.audit.cases import Case, Judged
from services.audit.engine import Engine
from services.audit.pictures import readings
from services.audit.pictures.passages import QR, Box, Passage, Reading
from services.audit.pictures.readings import Unread
from services.audit.pictures.worker import Worker
from services.audit.servicer import audited_paths
from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.schema.tables import ImageReading
from sharemesh.v1 import audit_pb2, entry_pb2, promotion_pb2, publish_pb2
from tests.audit.posters import jpeg, poster, qr, with_code
from tests.mesh import Mesh, request_id, started
from tests.publish.scene import LEXICON, NOW, PATHS, Scene
from tests.world import World

BOX = Box(10, 20, 300, 40)
PICTURES = ["images[]", "stores[].hot_items[].image", "stores[].images[]"]
FIRST, SECOND = "a" * 64, "b" * 64


@pytest.fixture
def reading_mesh(database_url: str, tmp_path: Path) -> Iterator[Mesh]:
    """The five services, with pictures read."""
    with started(database_url, tmp_path / "var", ocr=True) as running:
        yield running


def audit_of(mesh: Mesh, picture: bytes, in_menu: bool = False) -> audit_pb2.Audit:
    """The audit of an activity that shows a picture, or whose store has it on the menu."""
    world = World(mesh)
    image = world.upload(picture)
    entered = world.activity_of_lin()
    if in_menu:
        store = world.lin.entry.GetStore(entry_pb2.GetStoreRequest(name=world.store))
        store.hot_items[0].image = image
        update = entry_pb2.UpdateStoreRequest(store=store, request_id=request_id())
        update.update_mask.paths.append("hot_items")
        world.lin.entry.UpdateStore(update)
    else:
        entered.images[:] = [image]
    name = world.lin.entry.CreateActivity(
        entry_pb2.CreateActivityRequest(activity=entered, request_id=request_id())
    ).name
    world.lin.publish.SubmitActivity(publish_pb2.SubmitActivityRequest(name=name, request_id=request_id()))
    request = audit_pb2.AuditActivityRequest(activity=name, request_id=request_id())
    if not (audits := world.lin.audit.ListAudits(audit_pb2.ListAuditsRequest(activity=name)).audits):
        # The machine was busier than a submission waits for.
        return mesh.person("operator", "olga").audit.AuditActivity(request, timeout=60)
    return audits[0]


@pytest.mark.parametrize(
    ("picture", "text", "term"),
    [
        (poster([("开业大酬宾", 80), "订餐热线 13800000000"]), "*********00", "手机号"),
        (with_code(poster([("扫码进群", 80)]), qr("https://example.com/join")), "https://example.com/join", "二维码"),
    ],
)
def test_an_uploaded_poster_is_read_and_rejected_with_its_box(
    reading_mesh: Mesh, picture: Any, text: str, term: str
) -> None:
    audit = audit_of(reading_mesh, jpeg(picture))
    assert (audit.decision, audit.is_image_text_checked) == (audit_pb2.DECISION_REJECT, True)
    [finding] = [one for one in audit.findings if one.term == term]
    assert (finding.field, finding.text) == ("images[0]", text)
    assert 0 < finding.box.x < finding.box.x + finding.box.width < 720
    assert 150 < finding.box.y < finding.box.y + finding.box.height < 960


def test_a_picture_on_the_menu_is_read_and_one_that_says_nothing_wrong_passes(reading_mesh: Mesh) -> None:
    audit = audit_of(reading_mesh, jpeg(poster([("全省第一", 80)])), in_menu=True)
    assert {(one.field, one.text) for one in audit.findings} == {("stores[0].hot_items[0].image", "全省第一")}
    harmless = audit_of(reading_mesh, jpeg(poster([("开业大酬宾", 80), "满100减20"])))
    assert (harmless.decision, harmless.is_image_text_checked) == (audit_pb2.DECISION_PASS, True)
    assert not harmless.findings


def test_without_reading_an_audit_says_so(mesh: Mesh) -> None:
    audit = audit_of(mesh, jpeg(poster([("全省第一", 80)])))
    assert (audit.decision, audit.is_image_text_checked) == (audit_pb2.DECISION_PASS, False)


def test_every_audited_picture_of_a_snapshot_is_read() -> None:
    assert [*audited_paths(promotion_pb2.Snapshot.DESCRIPTOR, pictures=True)] == PICTURES


def engine(reader: str) -> Engine:
    return Engine(PATHS, lambda: LEXICON, pictures=PICTURES, reader=reader)


SNAPSHOT = {"images": [f"images/{FIRST}", f"images/{SECOND}", f"images/{FIRST}"], "title": "新茶"}


def keep(scene: Scene, uid: str, *passages: Passage, reader: str = "one", is_whole: bool = True) -> None:
    scene.run(readings.keep, uid, reader, Reading(passages, is_whole), NOW)


def test_the_gravest_of_words_pictures_and_codes_decides(db: Database) -> None:
    scene = Scene(db)
    keep(scene, FIRST, Passage("包治", BOX))
    keep(scene, SECOND, Passage("wxp://f2f0", BOX, QR))
    judged = scene.run(engine("one").judge_snapshot, SNAPSHOT, "digest", NOW)
    assert judged.decision == "REVIEW"
    assert [(one.field, one.term) for one in judged.findings] == [
        ("images[0]", "包治"),
        ("images[2]", "包治"),
        ("images[1]", "收款码"),
    ]
    keep(scene, SECOND, Passage("tg://join", BOX, QR))
    assert scene.run(engine("one").judge_snapshot, SNAPSHOT, "digest", NOW).decision == "REJECT"
    passed = scene.run(engine("one").judge_snapshot, SNAPSHOT, "digest", NOW, ["包治", "二维码"])
    assert (passed.decision, passed.findings) == ("PASS", ())


def test_a_picture_that_another_reader_read_is_read_again_where_one_reads(db: Database) -> None:
    scene = Scene(db)
    keep(scene, FIRST, Passage("新茶", BOX))
    assert scene.run(engine("one").gallery, SNAPSHOT).unread == (SECOND,)
    assert scene.run(engine("two").gallery, SNAPSHOT).unread == (FIRST, SECOND)
    assert scene.run(engine("").gallery, SNAPSHOT).unread == (SECOND,)
    keep(scene, FIRST, Passage("新茶", BOX), reader="two")
    assert scene.run(engine("two").gallery, SNAPSHOT).unread == (SECOND,)
    assert scene.run(ImageReading.select().count) == 1


def test_nothing_is_decided_before_every_picture_is_read(db: Database) -> None:
    scene = Scene(db)
    name = scene.draft("新茶", images=[f"images/{FIRST}"])
    scene.submit(name)
    with pytest.raises(Unread) as missing:
        scene.audit(name, engine=engine("one"))
    assert missing.value.uids == (FIRST,)
    assert scene.states(name) == ("PENDING_AUDIT", None)


class Room:
    """A worker over pictures whose reading a test lets go on."""

    def __init__(self, db: Database, fetch: Callable[[str], Awaitable[bytes]] | None = None) -> None:
        self.fetched: list[str] = []
        self.has_begun = asyncio.Event()
        self.go_on = threading.Event()
        self.worker = Worker(db, lambda: NOW, fetch or self._fetch, self)  # type: ignore[arg-type]

    name = "one"

    async def _fetch(self, uid: str) -> bytes:
        self.fetched.append(uid)
        self.has_begun.set()
        return uid.encode()

    def read(self, content: bytes) -> Reading:
        assert self.go_on.wait(60)
        if content == SECOND.encode():
            raise ValueError("no picture")
        return Reading((Passage(content.decode(), BOX),))


def kept(scene: Scene) -> dict[str, bool]:
    return {row.uid: row.passages["is_whole"] for row in scene.run(lambda: [*ImageReading.select()])}


def test_reading_goes_on_when_the_caller_has_given_up_and_is_not_done_twice(db: Database) -> None:
    scene, room = Scene(db), Room(db)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(room.worker.read([FIRST]), 0.01)
        second, third = (asyncio.create_task(room.worker.read([FIRST])) for _ in range(2))
        room.go_on.set()
        await asyncio.gather(second, third)
        await room.worker.read([FIRST])
        await room.worker.close()

    asyncio.run(impatient())
    assert room.fetched == [FIRST]
    assert kept(scene) == {FIRST: True}


def test_a_picture_that_breaks_the_machine_is_for_a_person_to_look_at(db: Database) -> None:
    scene, room = Scene(db), Room(db)
    room.go_on.set()

    async def read() -> None:
        await room.worker.read([FIRST, SECOND])
        await room.worker.close()

    asyncio.run(read())
    assert kept(scene) == {FIRST: True, SECOND: False}
    judged = scene.run(engine("one").judge_snapshot, SNAPSHOT, "digest", NOW)
    assert (judged.decision, [one.field for one in judged.findings]) == ("REVIEW", ["images[1]"])


def test_a_store_that_is_away_is_told_and_asked_again(db: Database) -> None:
    scene = Scene(db)
    asked: list[str] = []

    async def fetch(uid: str) -> bytes:
        asked.append(uid)
        if len(asked) == 1:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", service="entry")
        return uid.encode()

    room = Room(db, fetch)
    room.go_on.set()

    async def read() -> None:
        with pytest.raises(Unavailable):
            await room.worker.read([FIRST])
        await room.worker.read([FIRST])
        await room.worker.close()

    asyncio.run(read())
    assert kept(scene) == {FIRST: True}


def test_a_rollout_goes_on_without_a_picture_that_cannot_be_had(db: Database) -> None:
    scene = Scene(db)
    case = Case("activity", "PENDING_AUDIT", "digest", SNAPSHOT)
    with pytest.raises(Unread):
        scene.run(Judged.of, case, engine("one"), NOW)
    judged = scene.run(lambda: Judged.of(case, engine("one"), NOW, waits=False))
    assert (judged.judgement.decision, judged.is_image_text_checked) == ("PASS", False)


def test_a_worker_ends_while_pictures_wait(db: Database) -> None:
    scene, room = Scene(db), Room(db)

    async def end() -> None:
        waiting = asyncio.create_task(room.worker.read([FIRST, "c" * 64]))
        await room.has_begun.wait()
        room.go_on.set()
        await room.worker.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(end())
    assert "c" * 64 not in kept(scene)
