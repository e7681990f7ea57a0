"""Reads the pictures that nobody has read yet, one at a time, beside what else the process does."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import grpc.aio

from services.audit.pictures import readings
from services.audit.pictures.passages import Reading
from services.audit.pictures.reader import Reader
from services.audit.pictures.readings import Unread
from services.chassis import call, client, logs
from services.chassis.database import Database
from services.chassis.errors import Conflict, Exhausted, Unavailable
from services.chassis.names import name
from sharemesh.v1 import entry_pb2

if TYPE_CHECKING:
    from sharemesh.v1.entry_pb2_grpc import EntryServiceAsyncStub

T = TypeVar("T")

# Callers whose pictures wait. They take turns, a picture each.
_QUEUE_LIMIT = 100
# Of the caller's time pictures are waited for so long: it then hears that they are not read yet, and nobody takes the
# service for away.
_SHARE_OF_TIME = 0.8

_log = logs.of("audit")


def kept_by(entry: "EntryServiceAsyncStub") -> Callable[[str], Awaitable[bytes]]:
    """What gets a picture's bytes by its hash, and raises Unavailable while it cannot be had."""

    async def fetch(uid: str) -> bytes:
        request = entry_pb2.GetImageRequest(name=name("images", uid))
        try:
            body = await entry.GetImage(request, timeout=client.DEFAULT_SECONDS)
        except grpc.aio.AioRpcError as error:
            _log.warning("picture_away", {"image": uid, "code": error.code().name})
            raise Unavailable("DEPENDENCY_UNAVAILABLE", retry_after=1.0, service="entry") from error
        return body.data

    return fetch


class Worker:
    """`fetch` gives a kept picture's bytes, and raises Unavailable while they cannot be had."""

    def __init__(
        self, db: Database, clock: Callable[[], datetime], fetch: Callable[[str], Awaitable[bytes]], reader: Reader
    ) -> None:
        self._db = db
        self._clock = clock
        self._fetch = fetch
        self._reader = reader
        self.reader = reader.name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures-read")
        # First come, first served: nobody's hundred pictures hold up another's one.
        self._turn = asyncio.Lock()
        self._under_way: dict[tuple[str, ...], asyncio.Task[None]] = {}

    async def judging(self, judge: Callable[[], Awaitable[T]]) -> T:
        """What `judge` returns, with the pictures read for which it raises Unread.

        Raises what read() raises, and Conflict(TRY_AGAIN) when the call that it is for cannot wait longer.
        """
        while True:
            try:
                return await judge()
            except Unread as missing:
                left = call.seconds_left()
                try:
                    async with asyncio.timeout(None if left is None else left * _SHARE_OF_TIME):
                        await self.read(missing.uids)
                except TimeoutError:
                    raise Conflict("TRY_AGAIN", retry_after=1.0) from None

    async def read(self, uids: Sequence[str]) -> None:
        """Read these and keep what is in them; goes on when the caller has given up, who then finds it done next time.

        Raises Exhausted(QUEUE_FULL), and Unavailable while pictures cannot be had.
        """
        key = tuple(uids)
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= _QUEUE_LIMIT:
                raise Exhausted("QUEUE_FULL")
            # Without the caller's deadline.
            task = asyncio.create_task(self._read_all(key), context=contextvars.Context())
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        await asyncio.shield(task)

    async def close(self) -> None:
        """End after the picture that is being read."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _forget(self, key: tuple[str, ...], done: asyncio.Task[None]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # Its callers were told, if any still listened.

    async def _read_all(self, uids: Sequence[str]) -> None:
        for uid in uids:
            async with self._turn:
                if not await self._db.run(readings.is_read, uid, self.reader):
                    content = await self._fetch(uid)
                    reading = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, uid, content)
                    await self._db.run(readings.keep, uid, self.reader, reading, self._clock())

    def _read(self, uid: str, content: bytes) -> Reading:
        try:
            return self._reader.read(content)
        except MemoryError as error:  # No picture's fault.
            raise Unavailable("DEPENDENCY_UNAVAILABLE", retry_after=1.0, service="ocr") from error
        except Exception:  # noqa: BLE001 - a person looks at a picture that breaks the machine; trying again would not help.
            _log.exception("picture_unreadable", {"image": uid})
            return Reading(is_whole=False)
