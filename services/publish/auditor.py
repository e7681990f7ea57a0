"""AuditService as publishing needs it: told of a submission, it decides."""

import grpc.aio

from services.chassis import call, client, logs
from services.publish.pending import Pending
from sharemesh.v1 import audit_pb2, audit_pb2_grpc

# Of the caller's time the audit may have this part: what is left must do for the answer.
_SHARE_OF_TIME = 0.8
# The submission was taken back, decided or edited meanwhile.
_MOVED_ON = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED)

_log = logs.of("publish")


class Auditor:
    """Calls AuditService by a stub whose channel brings the service's token."""

    def __init__(self, stub: "audit_pb2_grpc.AuditServiceAsyncStub") -> None:
        self._stub = stub

    async def ask(self, pending: Pending) -> None:
        """Have a submission audited; raises Unavailable while AuditService is away or too slow."""
        request = audit_pb2.AuditActivityRequest(activity=pending.activity, request_id=pending.request_id)
        left = call.seconds_left()
        seconds = client.DEFAULT_SECONDS if left is None else min(client.DEFAULT_SECONDS, left * _SHARE_OF_TIME)
        try:
            with client.dependency("audit"):
                await self._stub.AuditActivity(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            # The submission stays as it is, and the sweep asks again; other submissions are not to wait for it.
            if error.code() not in _MOVED_ON:
                _log.warning("audit_failed", {"activity": pending.activity, "code": error.code().name})
