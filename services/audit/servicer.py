"""AuditService on the wire."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor

from services.audit import domain, imports, reaudit, review, rollouts, trial
from services.audit.engine import Engine
from services.audit.pictures.worker import Worker
from services.chassis import call, errors
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.names import new_uid
from services.chassis.wire import packed, to_plain
from sharemesh.v1 import audit_pb2, audit_pb2_grpc, options_pb2, promotion_pb2

T = TypeVar("T")

# Named by their content's hash: there are no words in it to read.
_PICTURES = frozenset({"image", "images"})


def audited_paths(message: Descriptor, above: str = "", *, pictures: bool = False) -> Iterator[str]:
    """The (audited) fields of a message that hold words, or pictures, at any depth, as texts.texts() takes them."""
    for field in message.fields:
        path = f"{above}{field.name}"
        repeats = "[]" if field.is_repeated else ""
        if field.GetOptions().Extensions[options_pb2.audited]:
            if (field.name in _PICTURES) == pictures:
                yield path + repeats
        elif field.message_type is not None:
            yield from audited_paths(field.message_type, f"{path}{repeats}.", pictures=pictures)


class Servicer(audit_pb2_grpc.AuditServiceServicer):
    """Unpacks, asks the domain, packs. Where nothing reads pictures, what stands in them is not judged."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], datetime],
        keys: Keyring,
        pictures: Worker | None = None,
    ) -> None:
        self.db = db
        self.clock = clock
        snapshot = promotion_pb2.Snapshot.DESCRIPTOR
        self.engine = Engine(
            [*audited_paths(snapshot)],
            pictures=[*audited_paths(snapshot, pictures=True)],
            reader="" if pictures is None else pictures.reader,
        )
        self._pictures = pictures
        self._following = asyncio.Lock()
        self._worker = new_uid()

    async def follow(self) -> None:
        """Go over to the head, if it changed; to be repeated while the server runs.

        Decisions wait for it too, in this line and not in the pool's threads, which go on serving what can be answered.
        """
        async with self._following:
            await self.db.run(self.engine.follow, self.clock())

    async def judge_again(self) -> None:
        """Go on with the running rollout, unless another worker does; to be repeated while the server runs."""
        rollout = await self.db.run(reaudit.take, self._worker, self.clock())
        if rollout is None:
            return
        await self.follow()
        while await self._judged_again(rollout):
            pass

    async def _judged_again(self, rollout: int) -> bool:
        def go_on(waits: bool = True) -> Awaitable[bool]:
            return self.db.run(reaudit.go_on, rollout, self._worker, self.engine, self.clock(), waits=waits)

        try:
            return await self._judging(go_on)
        except errors.Unavailable:
            # A picture that cannot be had must not keep the others waiting for the lexicon.
            return await go_on(waits=False)

    async def _judging(self, judge: Callable[[], Awaitable[T]]) -> T:
        return await (judge() if self._pictures is None else self._pictures.judging(judge))

    async def AuditActivity(self, request: audit_pb2.AuditActivityRequest, context: Any) -> audit_pb2.Audit:
        plain = to_plain(request)
        await self.follow()
        audit_activity = packed(audit_pb2.Audit, domain.audit_activity)
        return await self._judging(
            lambda: self.db.run(audit_activity, call.current(), plain, self.engine, now=self.clock())
        )

    async def GetAudit(self, request: audit_pb2.GetAuditRequest, context: Any) -> audit_pb2.Audit:
        return await self.db.run(
            packed(audit_pb2.Audit, domain.get_audit), call.current(), to_plain(request), now=self.clock()
        )

    async def ListAudits(self, request: audit_pb2.ListAuditsRequest, context: Any) -> audit_pb2.ListAuditsResponse:
        list_audits = packed(audit_pb2.ListAuditsResponse, domain.list_audits)
        return await self.db.run(list_audits, call.current(), to_plain(request), now=self.clock())

    async def CheckText(self, request: audit_pb2.CheckTextRequest, context: Any) -> audit_pb2.CheckTextResponse:
        plain = to_plain(request)
        return await self.db.run(
            packed(audit_pb2.CheckTextResponse, domain.check_text), call.current(), plain, self.engine, now=self.clock()
        )

    async def ResolveAudit(self, request: audit_pb2.ResolveAuditRequest, context: Any) -> audit_pb2.Audit:
        plain = to_plain(request)
        await self.follow()
        resolve_audit = packed(audit_pb2.Audit, review.resolve_audit)
        return await self._judging(
            lambda: self.db.run(resolve_audit, call.current(), plain, self.engine, now=self.clock())
        )

    async def AppealAudit(self, request: audit_pb2.AppealAuditRequest, context: Any) -> audit_pb2.Audit:
        return await self.db.run(
            packed(audit_pb2.Audit, review.appeal_audit), call.current(), to_plain(request), now=self.clock()
        )

    async def ImportTerms(self, request: audit_pb2.ImportTermsRequest, context: Any) -> audit_pb2.Lexicon:
        import_terms = packed(audit_pb2.Lexicon, imports.import_terms)
        return await self.db.run(import_terms, call.current(), to_plain(request), now=self.clock())

    async def GetLexicon(self, request: audit_pb2.GetLexiconRequest, context: Any) -> audit_pb2.Lexicon:
        get_lexicon = packed(audit_pb2.Lexicon, imports.get_lexicon)
        return await self.db.run(get_lexicon, call.current(), to_plain(request), now=self.clock())

    async def ListLexicons(
        self, request: audit_pb2.ListLexiconsRequest, context: Any
    ) -> audit_pb2.ListLexiconsResponse:
        list_lexicons = packed(audit_pb2.ListLexiconsResponse, imports.list_lexicons)
        return await self.db.run(list_lexicons, call.current(), to_plain(request), now=self.clock())

    async def ListTerms(self, request: audit_pb2.ListTermsRequest, context: Any) -> audit_pb2.ListTermsResponse:
        list_terms = packed(audit_pb2.ListTermsResponse, imports.list_terms)
        return await self.db.run(list_terms, call.current(), to_plain(request), now=self.clock())

    async def TestLexicon(self, request: audit_pb2.TestLexiconRequest, context: Any) -> audit_pb2.TestLexiconResponse:
        test_lexicon = packed(audit_pb2.TestLexiconResponse, trial.test_lexicon)
        return await self.db.run(test_lexicon, call.current(), to_plain(request), self.engine, now=self.clock())

    async def ReleaseLexicon(self, request: audit_pb2.ReleaseLexiconRequest, context: Any) -> audit_pb2.Rollout:
        release_lexicon = packed(audit_pb2.Rollout, rollouts.release_lexicon)
        return await self.db.run(release_lexicon, call.current(), to_plain(request), self.engine, now=self.clock())

    async def RollbackLexicon(self, request: audit_pb2.RollbackLexiconRequest, context: Any) -> audit_pb2.Rollout:
        rollback_lexicon = packed(audit_pb2.Rollout, rollouts.rollback_lexicon)
        return await self.db.run(rollback_lexicon, call.current(), to_plain(request), self.engine, now=self.clock())

    async def GetRollout(self, request: audit_pb2.GetRolloutRequest, context: Any) -> audit_pb2.Rollout:
        get_rollout = packed(audit_pb2.Rollout, rollouts.get_rollout)
        return await self.db.run(get_rollout, call.current(), to_plain(request), now=self.clock())

    async def ListRollouts(
        self, request: audit_pb2.ListRolloutsRequest, context: Any
    ) -> audit_pb2.ListRolloutsResponse:
        list_rollouts = packed(audit_pb2.ListRolloutsResponse, rollouts.list_rollouts)
        return await self.db.run(list_rollouts, call.current(), to_plain(request), now=self.clock())
