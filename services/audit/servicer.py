"""AuditService on the wire."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from google.protobuf.descriptor import Descriptor

from services.audit import domain, review
from services.audit.engine import Engine
from services.chassis import call
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.wire import packed, to_plain
from sharemesh.v1 import audit_pb2, audit_pb2_grpc, options_pb2, promotion_pb2

# Named by their content's hash: there are no words in it to read.
_PICTURES = frozenset({"image", "images"})


def audited_paths(message: Descriptor, above: str = "") -> Iterator[str]:
    """The (audited) fields of a message that hold words, at any depth, as texts.texts() takes them."""
    for field in message.fields:
        path = f"{above}{field.name}"
        repeats = "[]" if field.is_repeated else ""
        if field.GetOptions().Extensions[options_pb2.audited]:
            if field.name not in _PICTURES:
                yield path + repeats
        elif field.message_type is not None:
            yield from audited_paths(field.message_type, f"{path}{repeats}.")


class Servicer(audit_pb2_grpc.AuditServiceServicer):
    """Unpacks, asks the domain, packs."""

    def __init__(
        self, db: Database, clock: Callable[[], datetime], keys: Keyring, engine: Engine | None = None
    ) -> None:
        self.db = db
        self.clock = clock
        self.engine = engine or Engine([*audited_paths(promotion_pb2.Snapshot.DESCRIPTOR)])

    async def AuditActivity(self, request: audit_pb2.AuditActivityRequest, context: Any) -> audit_pb2.Audit:
        plain = to_plain(request)
        return await self.db.run(
            packed(audit_pb2.Audit, domain.audit_activity), call.current(), plain, self.engine, now=self.clock()
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
        return await self.db.run(
            packed(audit_pb2.Audit, review.resolve_audit), call.current(), plain, self.engine, now=self.clock()
        )

    async def AppealAudit(self, request: audit_pb2.AppealAuditRequest, context: Any) -> audit_pb2.Audit:
        return await self.db.run(
            packed(audit_pb2.Audit, review.appeal_audit), call.current(), to_plain(request), now=self.clock()
        )
