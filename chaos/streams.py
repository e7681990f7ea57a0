"""Apps that watch an activity for as long as the load lasts, and go on by their cursor wherever a stream ends."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from chaos.caller import Caller, Refused
from chaos.scenes import LIN, update_of
from sharemesh.v1 import publish_pb2

# Longer than any run; a stream never ends by it.
_STREAM_SECONDS = 3_000.0
# Beyond the 15 s between two heartbeats: no app believes a stream that is silent for longer.
_SILENCE_SECONDS = 18.0
# An app that shows nothing new for so long after its stream broke is as good as down.
_RESUME_SECONDS = 10.0
# Between two tries to resume.
_PAUSE_SECONDS = 0.2
# Between two changes of what is watched.
_NEWS_SECONDS = 1.5


@dataclass
class Watcher:
    """One stream; `sequence` is the number of the last transition that it saw."""

    caller: Caller
    activity: str
    cursor: str = ""
    sequence: int = 0
    # When it broke; 0 while it is whole.
    broken: float = 0.0
    why: str = ""
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                self._breaks(f"{error.code().name}: {error.details()}")
            except TimeoutError:
                self._breaks(f"silent for {_SILENCE_SECONDS:.0f} s")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow(self) -> None:
        request = publish_pb2.WatchActivityRequest(activity=self.activity, cursor=self.cursor)
        stream = self.caller.watch(LIN, request, _STREAM_SECONDS)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    event = await stream.read()
                if event is grpc.aio.EOF:
                    self._breaks("it ended")
                    return
                self._sees(event)
        finally:
            stream.cancel()

    def _breaks(self, why: str) -> None:
        if not self.broken:
            self.broken, self.why = time.monotonic(), why

    def _sees(self, event: Any) -> None:
        line = self.caller.record.line
        if self.broken:
            was_short = time.monotonic() - self.broken < _RESUME_SECONDS
            line(self.broken, "WatchActivity", self.caller.way, "RESUMED" if was_short else "BROKEN", self.why)
            self.broken = 0.0
        if event.WhichOneof("event") == "transition":
            number = event.transition.sequence
            if self.cursor and number != self.sequence + 1 and self.sequence:
                told = f"transition {number} follows {self.sequence}"
                line(time.monotonic(), "WatchActivity", self.caller.way, "GAP", told)
            self.sequence = number
        self.cursor = event.cursor

    async def make_news(self, is_over: asyncio.Event) -> None:
        """Change and publish the activity again and again, so that there is something to see."""
        while not is_over.is_set():
            try:
                await self.caller.ask(LIN, "UpdateActivity", update_of(self.activity))
                await self.caller.ask(LIN, "SubmitActivity", publish_pb2.SubmitActivityRequest(name=self.activity))
            except Refused:
                pass  # It stands in the record.
            await asyncio.sleep(_NEWS_SECONDS)

    async def is_complete(self) -> bool:
        """Whether it has seen the last transition there is, within the time that resuming may take."""
        end = time.monotonic() + _RESUME_SECONDS
        while time.monotonic() < end:
            if self.sequence == await self._last():
                return True
            await asyncio.sleep(_PAUSE_SECONDS)
        return False

    async def _last(self) -> int:
        last = 0
        request = publish_pb2.ListTransitionsRequest(activity=self.activity, page_size=200)
        while True:
            page = await self.caller.ask(LIN, "ListTransitions", request)
            last = max([last, *(int(transition.sequence) for transition in page.transitions)])
            request = publish_pb2.ListTransitionsRequest(
                activity=self.activity, page_size=200, page_token=page.next_page_token
            )
            if not page.next_page_token:
                return last
