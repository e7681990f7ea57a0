"""Who waits for pictures to be read, and for how long."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from services import start
from services.audit import reaudit
from services.audit.engine import Engine
from services.audit.pictures import reader, readings
from services.audit.pictures.passages import Box, Passage, Reading
from services.audit.pictures.readings import Unread
from services.audit.pictures.worker import Worker, kept_by
from services.chassis import call as calls
from services.chassis.database import Database
from services.chassis.errors import Conflict, Unavailable
from services.chassis.settings import BadSetting
from sharemesh.v1 import entry_pb2
from tests.audit.office import BUILT_IN, Office
from tests.mesh import settings_for
from tests.publish.scene import LEXICON, NOW, PATHS, call

FIRST, SECOND = "a" * 64, "b" * 64


class Hall(Office):
    """The office of a service that reads pictures, whose reader a test can replace."""

    def read_by(self, name: str) -> None:
        self.engine = Engine(PATHS, lambda: LEXICON, pictures=["images[]"], reader=name)
        self.run(self.engine.start, NOW)

    def keep(self, uid: str, text: str) -> None:
        reading = Reading((Passage(text, Box(10, 20, 300, 40)),))
        self.run(readings.keep, uid, self.engine.reader, reading, NOW)

    def shown(self, uid: str, title: str = "凉茶") -> str:
        """The name of an activity with that picture, submitted and audited."""
        name = self.draft(title, images=[f"images/{uid}"])
        self.submit(name)
        self.audit(name)
        return name


@pytest.fixture
def hall(db: Database) -> Hall:
    made = Hall(db)
    made.read_by("one")
    return made


def test_a_rollout_judges_what_is_public_by_what_any_reader_read(hall: Hall) -> None:
    hall.keep(FIRST, "春季新茶")
    name = hall.shown(FIRST)
    assert hall.last(name)["is_image_text_checked"]
    hall.read_by("two")
    assert hall.rolled_out("新茶")["suspended_count"] == 1
    assert hall.last(name)["findings"][0]["field"] == "images[0]"
    # Had the reading been forgotten, this would restore it.
    assert hall.rolled_out("新茶", "凉粉")["restored_count"] == 0
    assert hall.states(name) == ("APPROVED", "SUSPENDED")
    hall.roll_back(BUILT_IN)
    done = hall.work()
    assert done is not None
    assert done["restored_count"] == 1
    assert hall.last(name)["is_image_text_checked"]


def test_a_rollout_does_not_wait_for_pictures_of_what_is_public(hall: Hall) -> None:
    hall.read_by("")
    good, bad = hall.shown(FIRST), hall.shown(SECOND, "春季新茶")
    hall.read_by("one")
    assert hall.rolled_out("新茶")["suspended_count"] == 1
    assert [hall.states(name)[1] for name in (good, bad)] == ["LIVE", "SUSPENDED"]
    assert not hall.last(good)["is_image_text_checked"]


def test_a_rollout_publishes_nothing_whose_pictures_are_not_read(hall: Hall) -> None:
    name = hall.draft("凉茶", images=[f"images/{FIRST}"])
    hall.submit(name)
    hall.release(hall.add("新茶"))
    rollout = hall.run(reaudit.take, "worker", NOW)
    assert rollout is not None

    def go_on(waits: bool) -> None:
        while reaudit.go_on(rollout, "worker", hall.engine, NOW, waits=waits):
            pass

    with pytest.raises(Unread) as missing:
        hall.run(go_on, waits=True)
    assert missing.value.uids == (FIRST,)
    hall.run(go_on, waits=False)
    assert hall.states(name) == ("PENDING_AUDIT", None)
    hall.keep(FIRST, "凉茶")
    hall.audit(name)
    assert hall.states(name) == ("APPROVED", "LIVE")


class Slow:
    """A reader that a test lets go on, or that has no memory left."""

    name = "one"

    def __init__(self, error: Exception | None = None) -> None:
        self.go_on = threading.Event()
        self.error = error

    def read(self, content: bytes) -> Reading:
        if self.error is not None:
            raise self.error
        assert self.go_on.wait(60)
        return Reading()


async def fetched(uid: str) -> bytes:
    return uid.encode()


def test_a_caller_hears_in_time_that_its_pictures_are_not_read_yet(db: Database) -> None:
    slow = Slow()
    worker = Worker(db, lambda: NOW, fetched, slow)  # type: ignore[arg-type]

    async def judge() -> str:
        if not await db.run(readings.is_read, FIRST, "one"):
            raise Unread([FIRST])
        return "judged"

    async def ask() -> str:
        with calls.entered(call(), 2):
            try:
                with pytest.raises(Conflict, match="TRY_AGAIN"):
                    await worker.judging(judge)
                assert calls.seconds_left()
            finally:
                slow.go_on.set()
        answer = await worker.judging(judge)
        await worker.close()
        return answer

    assert asyncio.run(ask()) == "judged"


def test_a_picture_is_not_blamed_for_a_machine_without_memory(db: Database) -> None:
    worker = Worker(db, lambda: NOW, fetched, Slow(MemoryError()))  # type: ignore[arg-type]

    async def read() -> None:
        with pytest.raises(Unavailable):
            await worker.read([FIRST])
        await worker.close()

    asyncio.run(read())
    assert not db.run_here(readings.is_read, FIRST, "one")


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE])
def test_a_picture_that_cannot_be_had_is_something_to_try_again(code: grpc.StatusCode) -> None:
    class Entry:
        async def GetImage(self, request: entry_pb2.GetImageRequest, timeout: float) -> Any:  # noqa: ASYNC109
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())

    fetch = kept_by(Entry())  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="DEPENDENCY_UNAVAILABLE"):
        asyncio.run(fetch(FIRST))  # type: ignore[arg-type]


def test_an_installation_that_does_not_load_is_told_at_the_start(
    db: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: reader.Reader) -> None:
        raise ImportError("libGL.so.1")

    async def begin() -> None:
        settings = replace(settings_for(database_url, tmp_path), ocr=True)
        with pytest.raises(BadSetting, match=r"--ocr: .*libGL"):
            async with start.built(["audit"], db, settings):
                pass

    monkeypatch.setattr(reader.Reader, "load", load)
    asyncio.run(begin())
