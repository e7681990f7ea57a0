import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from services.chassis import database, errors, parameters
from services.chassis.database import Database
from services.publish.watch import watch
from services.schema.tables import Activity, Transition
from tests.publish.scene import NOW, Scene, call

WATCHER = call()


@pytest.fixture
def scene(db: Database) -> Scene:
    return Scene(db)


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    before = parameters.swap(replace(parameters.current(), watch_poll_seconds=0.01, watch_heartbeat_seconds=0.1))
    yield
    parameters.swap(before)


def stream(scene: Scene, name: str, cursor: str = "") -> AsyncGenerator[dict[str, Any], None]:
    return watch(WATCHER, {"activity": name, "cursor": cursor}, scene.db, lambda: NOW)


async def news(events: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """The next event that is no sign of life."""
    async with asyncio.timeout(10):
        async for event in events:
            if "heartbeat" not in event:
                return event
    raise AssertionError("the stream ended")


def test_a_watcher_sees_the_activity_then_every_change_in_order(scene: Scene) -> None:
    name = scene.draft("春季新茶")

    async def see() -> list[Any]:
        async with aclosing(stream(scene, name)) as events:
            first = await news(events)
            await asyncio.to_thread(scene.submit, name)
            seen = [await news(events)]
            await asyncio.to_thread(scene.audit, name)
            seen += [await news(events), await news(events)]
        return [first["activity"]["state"], *(event["transition"]["to_state"] for event in seen)]

    assert asyncio.run(see()) == ["DRAFT", "PENDING_AUDIT", "APPROVED", "LIVE"]


def test_a_stream_goes_on_from_every_cursor_without_a_gap_or_a_repetition(scene: Scene) -> None:
    name = scene.draft("春季新茶")

    async def resume(count: int) -> list[int]:
        """Each event from a stream of its own."""
        async with aclosing(stream(scene, name)) as events:
            cursor = (await news(events))["cursor"]
        for number in range(count):
            await asyncio.to_thread(scene.submit if number % 2 == 0 else scene.withdraw, name)
        seen = []
        for _ in range(count):
            async with aclosing(stream(scene, name, cursor)) as events:
                event = await news(events)
            cursor = event["cursor"]
            seen.append(event["transition"]["sequence"])
        return seen

    assert asyncio.run(resume(6)) == [2, 3, 4, 5, 6, 7]


def test_a_quiet_stream_gives_signs_of_life_to_resume_from(scene: Scene) -> None:
    name = scene.draft("春季新茶")

    async def wait() -> tuple[dict[str, Any], dict[str, Any]]:
        async with aclosing(stream(scene, name)) as events:
            await anext(events)
            beat = await anext(events)
        await asyncio.to_thread(scene.submit, name)
        async with aclosing(stream(scene, name, beat["cursor"])) as events:
            return beat, await news(events)

    beat, event = asyncio.run(wait())
    assert beat["heartbeat"] == NOW
    assert event["transition"]["to_state"] == "PENDING_AUDIT"


def test_a_cursor_serves_its_own_activity_only(scene: Scene) -> None:
    one, other = scene.draft("春"), scene.draft("夏")

    async def mix() -> None:
        async with aclosing(stream(scene, one)) as events:
            cursor = (await anext(events))["cursor"]
        async with aclosing(stream(scene, other, cursor)) as events:
            await anext(events)

    with pytest.raises(errors.Invalid, match="INVALID_PAGE_TOKEN"):
        asyncio.run(mix())


def test_the_stream_of_a_deleted_activity_ends_with_not_found(scene: Scene) -> None:
    name = scene.draft("春季新茶")

    def delete() -> None:
        with database.write():
            Transition.delete().execute()
            Activity.delete().execute()

    async def see() -> None:
        async with aclosing(stream(scene, name)) as events:
            await news(events)
            await asyncio.to_thread(scene.run, delete)
            await news(events)

    with pytest.raises(errors.NotFound):
        asyncio.run(see())
