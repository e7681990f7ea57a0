"""An activity's news as a stream: how it stands, then each transition once and in order, with signs of life between."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.chassis import paging, parameters
from services.chassis.call import Call
from services.chassis.database import Database
from services.chassis.errors import Exhausted
from services.publish.domain import transitions_after
from services.schema import access
from services.schema.activity_view import activity_view
from services.schema.tables import Activity

_AT_ONCE = 200


@dataclass(frozen=True)
class Watched:
    """Who watches which activity; cursors serve both only."""

    call: Call
    activity_id: int
    uid: str

    def cursor(self, sequence: int) -> str:
        """What a new stream goes on from, behind the transition of that number."""
        return paging.token_of(sequence, self.call, {"activity": self.uid})


class Watchers:
    """The streams that are open in this process, counted by who watches."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, actor: str) -> Iterator[None]:
        """Room for one more stream of the caller's; Exhausted(RATE_LIMITED) beyond watch_streams_per_caller."""
        limits = parameters.current()
        if self._open[actor] >= limits.watch_streams_per_caller:
            raise Exhausted("RATE_LIMITED", retry_after=limits.watch_heartbeat_seconds)
        self._open[actor] += 1
        try:
            yield
        finally:
            self._open[actor] -= 1
            if not self._open[actor]:
                del self._open[actor]


async def watch(
    call: Call, plain: dict[str, Any], db: Database, clock: Callable[[], datetime]
) -> AsyncGenerator[dict[str, Any], None]:
    """Plain WatchActivityResponses without an end, from plain["cursor"] on if there is one.

    Raises NotFound, also when the activity is deleted meanwhile, and Invalid(INVALID_PAGE_TOKEN).
    """
    watched, sequence, first = await db.run(_begin, call, plain)
    if first is not None:
        yield first
    last_news = time.monotonic()
    while True:
        for transition in await db.run(_news, watched, sequence):
            sequence, last_news = transition["sequence"], time.monotonic()
            yield {"transition": transition, "cursor": watched.cursor(sequence)}
        limits = parameters.current()
        if time.monotonic() - last_news >= limits.watch_heartbeat_seconds:
            last_news = time.monotonic()
            yield {"heartbeat": clock(), "cursor": watched.cursor(sequence)}
        # Polled, since the change may be committed by any process of the mesh.
        await asyncio.sleep(limits.watch_poll_seconds)


def _begin(call: Call, plain: dict[str, Any]) -> tuple[Watched, int, dict[str, Any] | None]:
    """Who watches what, the number that the stream goes on behind, and its first event unless it is resumed."""
    activity = access.activity(call, plain["activity"], "activity")
    watched = Watched(call, activity.id, activity.uid)
    if plain.get("cursor"):
        return watched, paging.page_of(plain["cursor"], 0, call, {"activity": activity.uid}).after, None
    first = {"activity": activity_view(activity), "cursor": watched.cursor(activity.sequence)}
    return watched, activity.sequence, first


def _news(watched: Watched, sequence: int) -> list[dict[str, Any]]:
    """What happened behind that number; most of the time one look at the activity's row tells that nothing did."""
    row = Activity.select(Activity.sequence).where(Activity.id == watched.activity_id).first()
    if row is None:
        raise access.not_found("activities", watched.uid)
    return transitions_after(watched.activity_id, sequence, _AT_ONCE) if row.sequence > sequence else []
