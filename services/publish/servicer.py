"""PublishService on the wire."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.chassis import call
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.wire import packed, to_message, to_plain
from services.publish import domain
from services.publish.auditor import Auditor
from services.publish.sweep import Sweep
from services.publish.watch import Watchers, watch
from services.schema import replay
from sharemesh.v1 import entry_pb2, publish_pb2, publish_pb2_grpc

if TYPE_CHECKING:
    from sharemesh.v1.audit_pb2_grpc import AuditServiceAsyncStub


class Servicer(publish_pb2_grpc.PublishServiceServicer):
    """Unpacks, asks the domain, packs. `audit` is a stub of AuditService with a token for it."""

    def __init__(
        self, db: Database, clock: Callable[[], datetime], keys: Keyring, audit: "AuditServiceAsyncStub"
    ) -> None:
        self.db = db
        self.clock = clock
        self.submissions = Sweep(db, clock, Auditor(audit).ask)
        self.watchers = Watchers()

    async def sweep(self) -> None:
        """One round of asking for the audits that nobody has answered yet; to be repeated while the server runs."""
        await self.submissions.round()

    async def forget(self) -> None:
        """Delete the outcomes of requests that were kept long enough; to be repeated while the server runs."""
        while await self.db.run(replay.forget, self.clock()):
            pass

    async def SubmitActivity(self, request: publish_pb2.SubmitActivityRequest, context: Any) -> entry_pb2.Activity:
        plain = to_plain(request)
        pending = await self.db.run(domain.submit_activity, call.current(), plain, now=self.clock())
        if pending is not None:
            # After the commit: whatever becomes of the asking, the submission is kept.
            await self.submissions.ask(pending)
        return await self.db.run(packed(entry_pb2.Activity, domain.activity_of), call.current(), plain)

    async def WithdrawActivity(self, request: publish_pb2.WithdrawActivityRequest, context: Any) -> entry_pb2.Activity:
        return await self.db.run(
            packed(entry_pb2.Activity, domain.withdraw_activity), call.current(), to_plain(request), now=self.clock()
        )

    async def AdjustSupply(self, request: publish_pb2.AdjustSupplyRequest, context: Any) -> publish_pb2.Supply:
        return await self.db.run(
            packed(publish_pb2.Supply, domain.adjust_supply), call.current(), to_plain(request), now=self.clock()
        )

    async def ListTransitions(
        self, request: publish_pb2.ListTransitionsRequest, context: Any
    ) -> publish_pb2.ListTransitionsResponse:
        list_transitions = packed(publish_pb2.ListTransitionsResponse, domain.list_transitions)
        return await self.db.run(list_transitions, call.current(), to_plain(request), now=self.clock())

    async def GetPublication(self, request: publish_pb2.GetPublicationRequest, context: Any) -> publish_pb2.Publication:
        return await self.db.run(
            packed(publish_pb2.Publication, domain.get_publication), call.current(), to_plain(request), now=self.clock()
        )

    async def WatchActivity(
        self, request: publish_pb2.WatchActivityRequest, context: Any
    ) -> AsyncIterator[publish_pb2.WatchActivityResponse]:
        caller = call.current()
        with self.watchers.one(caller.actor):
            async with aclosing(watch(caller, to_plain(request), self.db, self.clock)) as events:
                async for event in events:
                    yield to_message(publish_pb2.WatchActivityResponse, event)
