"""Answers kept for a moment: bounded in number, bytes and age, and read once for all who wait for them."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextvars import Context
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from services.chassis import parameters

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Reads of one cache at a time: of a pool of eight threads, half.
_READERS = 4
# What an entry costs beside what it weighs: its key, its place and the objects around it.
_ENTRY_BYTES = 500


class Changes:
    """What this process has written lately, by topic, so that whatever it read before counts as old; for any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._last: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def tell(self, topic: Hashable) -> None:
        """Something of the topic was committed just now, or may have been."""
        with self._lock:
            now = self.clock()
            self._last.pop(topic, None)
            self._last[topic] = now
            # Nothing that was read before these is served any more, whether they are known or not.
            while self._last[oldest := next(iter(self._last))] < now - parameters.current().cache_seconds:
                del self._last[oldest]

    def last(self, topic: Hashable) -> float:
        """When, by the clock, something of the topic was written here last; as far back as matters."""
        return self._last.get(topic, float("-inf"))


# Of this process: who writes and who reads may be two services in it, which know nothing of each other.
HERE = Changes()


class _Entry(NamedTuple, Generic[V]):
    value: V
    # When its read began, by the clock: it is at least as new as that.
    began: float
    weight: int


class _Read(NamedTuple, Generic[V]):
    """A read under way."""

    answer: "asyncio.Future[V | None]"
    began: float


class Cache(Generic[K, V]):
    """What `read` told of some keys, for one event loop.

    Nothing is served that was read more than parameters.cache_seconds before it is asked for, or before a change of
    its topic was told in this process; then it is read again, and whoever asks waits and hears of a failure. What is
    asked for again is read anew before that, in the background; it is gathered for `gather_seconds`, so that a crowd's
    reads are one. Whoever asks for what is being read waits for that read, and what is asked for while all readers are
    busy is read together, at most `batch` keys at a time.

    `read` takes keys and returns the values of those that it found. `topic` tells what a key's changes are told under;
    None says that nothing that was found ever changes. `weigh` tells a value's size in bytes. A value that does not
    `hold` any more is read again whatever its age.
    """

    def __init__(
        self,
        read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        weigh: Callable[[V], int],
        topic: Callable[[K], Hashable] | None,
        *,
        holds: Callable[[V], bool] = lambda _: True,
        batch: int = 64,
        gather_seconds: float = 0.1,
        changes: Changes = HERE,
    ) -> None:
        self._read = read
        self._weigh = weigh
        self._topic = topic
        self._holds = holds
        self._batch = batch
        self._gather_seconds = gather_seconds
        self._changes = changes
        # The one that was asked for least lately comes first.
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._bytes = 0
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._reading: dict[K, _Read[V]] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._later: set[K] = set()

    @property
    def size(self) -> tuple[int, int]:
        """How many entries are kept, and about how many bytes they take."""
        return len(self._entries), self._bytes

    def get(self, key: K) -> V | None:
        """The value of a key that may be served as it stands, else None."""
        entry = self._entries.get(key)
        if entry is None or not (self._is_fresh(key, entry.began) and self._holds(entry.value)):
            return None
        self._entries.move_to_end(key)
        if self._topic and self._changes.clock() - entry.began >= parameters.current().cache_refresh_seconds:
            self._ask_later(key)
        return entry.value

    async def one(self, key: K) -> V | None:
        """The value of a key; None if there is none. Raises what the read raises."""
        value = self.get(key)
        return value if value is not None else await asyncio.shield(self._ask(key))

    async def many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those of the keys that have one. Raises what the read raises."""
        found = {key: self.get(key) for key in keys}
        # All are asked for before the first is waited for, so that they are read together.
        asked = {key: self._ask(key) for key, value in found.items() if value is None}
        for key, answer in asked.items():
            found[key] = await asyncio.shield(answer)
        return {key: value for key, value in found.items() if value is not None}

    def _is_fresh(self, key: K, began: float) -> bool:
        if self._topic is None:
            return True
        age = self._changes.clock() - began
        return age < parameters.current().cache_seconds and began > self._changes.last(self._topic(key))

    def _ask(self, key: K) -> "asyncio.Future[V | None]":
        """What will be told of the key by a read that is new enough, or is yet to begin."""
        under_way = self._reading.get(key)
        if under_way is not None and self._is_fresh(key, under_way.began):
            return under_way.answer
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = self._answer()
            self._begin()
        return answer

    @staticmethod
    def _answer() -> "asyncio.Future[V | None]":
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        # A failure that nobody waited for is told to who asks next.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answer

    def _ask_later(self, key: K) -> None:
        """Have the key read anew soon, together with others: nobody waits for it."""
        if key not in self._later:
            if not self._later:
                asyncio.get_running_loop().call_later(self._gather_seconds, self._ask_gathered)
            self._later.add(key)

    def _ask_gathered(self) -> None:
        keys, self._later = self._later, set()
        for key in keys:
            under_way = self._reading.get(key)
            if key not in self._waiting and (under_way is None or not self._is_fresh(key, under_way.began)):
                self._waiting[key] = self._answer()
        self._begin()

    def _begin(self) -> None:
        if self._waiting and len(self._readers) < _READERS:
            # In a context of its own: it reads for others than the call that happened to be first.
            self._readers.add(asyncio.create_task(self._read_waiting(), context=Context()))

    async def _read_waiting(self) -> None:
        me: Any = asyncio.current_task()
        try:
            while self._waiting:
                keys = list(islice(self._waiting, self._batch))
                began = self._changes.clock()
                await self._tell({key: _Read(self._waiting.pop(key), began) for key in keys})
        finally:
            # In the same step that saw nobody waiting: who comes next must not count on this reader.
            self._readers.discard(me)

    async def _tell(self, reads: dict[K, _Read[V]]) -> None:
        """Read some keys, and tell those who wait."""
        self._reading.update(reads)
        try:
            found = await self._read(list(reads))
            for key, (answer, began) in reads.items():
                value = found.get(key)
                self._keep(key, value, began)
                answer.set_result(value)
        except Exception as error:  # noqa: BLE001 - it is for those who wait.
            for answer, _ in reads.values():
                if not answer.done():
                    answer.set_exception(error)
        finally:
            for key, read in reads.items():
                read.answer.cancel()  # Nothing, unless the reader itself was cancelled.
                if self._reading.get(key) is read:
                    del self._reading[key]

    def _keep(self, key: K, value: V | None, began: float) -> None:
        """Put what was read in the place of what was known, unless that is newer, and make room."""
        before = self._entries.get(key)
        if before is not None:
            if before.began > began:
                return
            del self._entries[key]
            self._bytes -= before.weight
        if value is None:
            return
        weight = self._weigh(value) + _ENTRY_BYTES
        self._entries[key] = _Entry(value, began, weight)
        self._bytes += weight
        limits = parameters.current()
        while len(self._entries) > limits.cache_entries or self._bytes > limits.cache_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.weight
