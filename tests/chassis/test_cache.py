import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.chassis import parameters
from services.chassis.cache import Cache, Changes
from services.chassis.errors import Unavailable

BOUND = parameters.Parameters.cache_seconds
REFRESH = parameters.Parameters.cache_refresh_seconds


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Shelf:
    """What a cache reads: a number for each key, which a read takes when it begins; `gate` holds reads up."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.reads: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_away = False

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.reads.append(list(keys))
        found = {key: self.numbers[key] for key in keys if key in self.numbers}
        is_away = self.is_away
        await self.gate.wait()
        if is_away:
            raise Unavailable("DATABASE_UNAVAILABLE")
        return found


class Scene:
    """A cache over a shelf that holds a=1, with a clock of its own; every key is its own topic."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.changes = Changes(self.clock)
        self.shelf = Shelf()
        self.shelf.numbers["a"] = 1
        options = {"weigh": lambda _: 0, "topic": lambda key: key} | options
        self.cache: Cache[str, int] = Cache(self.shelf.read, gather_seconds=0.0, changes=self.changes, **options)


@pytest.fixture
def limits() -> Iterator[None]:
    """Lets a test put other parameters in force."""
    before = parameters.current()
    yield
    parameters.swap(before)


async def idle() -> None:
    """Long enough for everything that is ready to run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_is_known_is_not_read_again() -> None:
    async def go() -> None:
        scene = Scene()
        assert [await scene.cache.one("a") for _ in range(3)] == [1, 1, 1]
        assert await scene.cache.many(["a"]) == {"a": 1}
        assert scene.shelf.reads == [["a"]]

    asyncio.run(go())


def test_nothing_is_served_past_the_bound_without_asking() -> None:
    async def go() -> None:
        scene = Scene()
        await scene.cache.one("a")
        scene.shelf.numbers["a"] = 2
        scene.clock.now += REFRESH / 2
        assert scene.cache.get("a") == 1
        scene.clock.now += BOUND - REFRESH / 2
        assert scene.cache.get("a") is None
        assert await scene.cache.one("a") == 2

    asyncio.run(go())


def test_age_counts_from_the_beginning_of_the_read() -> None:
    async def go() -> None:
        scene = Scene()
        scene.shelf.gate.clear()
        asked = asyncio.create_task(scene.cache.one("a"))
        await idle()
        scene.clock.now += BOUND
        scene.shelf.numbers["a"] = 2
        # Who asks now is not content with a read that began that long ago.
        late = asyncio.create_task(scene.cache.one("a"))
        await idle()
        scene.shelf.gate.set()
        assert [await asked, await late] == [1, 2]

    asyncio.run(go())


def test_what_is_asked_for_again_is_read_anew_before_anybody_has_to_wait() -> None:
    async def go() -> None:
        scene = Scene()
        await scene.cache.one("a")
        scene.shelf.numbers["a"] = 2
        scene.clock.now += REFRESH
        assert [scene.cache.get("a") for _ in range(3)] == [1, 1, 1]
        await idle()
        assert scene.cache.get("a") == 2
        assert scene.shelf.reads == [["a"], ["a"]]

    asyncio.run(go())


def test_a_change_told_here_is_seen_at_once_and_only_by_its_topic() -> None:
    async def go() -> None:
        scene = Scene()
        scene.shelf.numbers["b"] = 1
        await scene.cache.many("ab")
        scene.clock.now += 0.1
        scene.shelf.numbers |= {"a": 2, "b": 2}
        scene.changes.tell("a")
        assert (scene.cache.get("a"), scene.cache.get("b")) == (None, 1)
        scene.clock.now += 0.1
        assert await scene.cache.one("a") == 2

    asyncio.run(go())


def test_a_read_that_began_before_a_change_is_neither_joined_nor_kept_after_it() -> None:
    async def go() -> None:
        scene = Scene()
        scene.shelf.gate.clear()
        before = asyncio.create_task(scene.cache.one("a"))
        await idle()
        scene.clock.now += 0.1
        scene.shelf.numbers["a"] = 2
        scene.changes.tell("a")
        scene.clock.now += 0.1
        after = asyncio.create_task(scene.cache.one("a"))
        await idle()
        scene.shelf.gate.set()
        assert [await before, await after] == [1, 2]
        assert scene.cache.get("a") == 2

    asyncio.run(go())


def test_many_who_miss_at_once_share_one_read() -> None:
    async def go() -> None:
        scene = Scene()
        assert await asyncio.gather(*(scene.cache.one("a") for _ in range(50))) == [1] * 50
        assert scene.shelf.reads == [["a"]]

    asyncio.run(go())


def test_what_queues_up_while_all_readers_are_busy_is_read_together() -> None:
    async def go() -> None:
        scene = Scene(batch=10)
        scene.shelf.numbers = {str(number): number for number in range(24)}
        scene.shelf.gate.clear()
        asked = []
        for number in range(24):
            asked.append(asyncio.create_task(scene.cache.one(str(number))))
            await idle()
        scene.shelf.gate.set()
        assert await asyncio.gather(*asked) == list(range(24))
        assert [len(keys) for keys in scene.shelf.reads] == [1, 1, 1, 1, 10, 10]

    asyncio.run(go())


def test_who_stops_waiting_takes_the_answer_from_nobody() -> None:
    async def go() -> None:
        scene = Scene()
        scene.shelf.gate.clear()
        first, second = (asyncio.create_task(scene.cache.one("a")) for _ in range(2))
        await idle()
        first.cancel()
        await idle()
        scene.shelf.gate.set()
        assert await second == 1
        assert first.cancelled()

    asyncio.run(go())


def test_without_the_database_nothing_is_served_past_the_bound() -> None:
    async def go() -> None:
        scene = Scene()
        await scene.cache.one("a")
        scene.shelf.is_away = True
        scene.clock.now += REFRESH
        assert scene.cache.get("a") == 1
        await idle()  # It was tried in the background, in vain.
        assert (scene.cache.get("a"), len(scene.shelf.reads)) == (1, 2)
        scene.clock.now += BOUND - REFRESH
        for _ in range(2):
            with pytest.raises(Unavailable):
                await scene.cache.one("a")
        scene.shelf.is_away = False
        assert await scene.cache.one("a") == 1

    asyncio.run(go())


def test_what_is_not_there_is_asked_for_each_time_and_what_went_is_forgotten() -> None:
    async def go() -> None:
        scene = Scene()
        assert [await scene.cache.one("b"), await scene.cache.one("b")] == [None, None]
        assert await scene.cache.many("ab") == {"a": 1}
        assert scene.cache.size[0] == 1
        del scene.shelf.numbers["a"]
        scene.clock.now += BOUND
        assert await scene.cache.one("a") is None
        assert scene.cache.size == (0, 0)

    asyncio.run(go())


def test_a_value_that_does_not_hold_any_more_is_read_again_whatever_its_age() -> None:
    async def go() -> None:
        allowed = {1}
        scene = Scene(holds=lambda value: value in allowed)
        await scene.cache.one("a")
        assert scene.cache.get("a") == 1
        allowed.clear()
        scene.shelf.numbers["a"] = 2
        assert scene.cache.get("a") is None
        assert await scene.cache.one("a") == 2

    asyncio.run(go())


def test_what_never_changes_is_kept_without_end() -> None:
    async def go() -> None:
        scene = Scene(topic=None)
        await scene.cache.one("a")
        scene.clock.now += 1e6
        scene.changes.tell("a")
        assert scene.cache.get("a") == 1
        await idle()
        assert scene.shelf.reads == [["a"]]

    asyncio.run(go())


def test_it_keeps_no_more_entries_than_allowed_and_those_that_were_asked_for_last(limits: None) -> None:
    async def go() -> None:
        parameters.swap(replace(parameters.current(), cache_entries=2))
        scene = Scene()
        scene.shelf.numbers |= {"b": 2, "c": 3}
        await scene.cache.one("a")
        await scene.cache.one("b")
        assert scene.cache.get("a") == 1
        await scene.cache.one("c")
        assert [scene.cache.get(key) for key in "abc"] == [1, None, 3]
        assert scene.cache.size[0] == 2

    asyncio.run(go())


def test_it_keeps_no_more_bytes_than_allowed_however_large_a_value_is(limits: None) -> None:
    async def go() -> None:
        parameters.swap(replace(parameters.current(), cache_bytes=10_000))
        scene = Scene(weigh=lambda value: value)
        scene.shelf.numbers = {"a": 4000, "b": 4000, "c": 4000, "large": 20_000}
        for key in "abc":
            await scene.cache.one(key)
        assert [scene.cache.get(key) for key in "abc"] == [None, 4000, 4000]
        assert await scene.cache.one("large") == 20_000
        assert scene.cache.size[1] <= 10_000

    asyncio.run(go())


def test_changes_are_remembered_only_for_as_long_as_they_matter() -> None:
    clock = Clock()
    changes = Changes(clock)
    for number in range(1000):
        changes.tell(number)
        clock.now += BOUND / 10
    assert changes.last(999) == pytest.approx(clock.now - BOUND / 10)
    assert changes.last(0) == float("-inf")


def test_who_asks_in_the_moment_in_which_the_last_reader_ends_is_not_forgotten() -> None:
    async def go() -> None:
        gate = asyncio.Event()

        async def read(keys: Sequence[str]) -> dict[str, int]:
            if "late" not in keys:
                await gate.wait()
            return dict.fromkeys(keys, 1)

        cache: Cache[str, int] = Cache(read, lambda _: 1, None, batch=1, changes=Changes())
        early = [asyncio.create_task(cache.one(key)) for key in "abcd"]
        await idle()
        gate.set()
        # Its turn comes right after the readers' last.
        late = asyncio.create_task(cache.one("late"))
        assert await asyncio.wait_for(late, 10) == 1
        assert await asyncio.gather(*early) == [1] * 4

    asyncio.run(go())
