"""What is known of a call afterwards: one structured event, and rate, errors and duration as metrics."""

import hashlib
import hmac
import time
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import Message
from prometheus_client import Counter, Histogram

from services.chassis import logs
from services.chassis.call import ANONYMOUS, Principal
from services.chassis.keys import Keyring
from services.chassis.trace import Trace

RPCS = Counter("sharemesh_rpcs", "RPCs answered.", ["rpc", "code"])
SECONDS = Histogram("sharemesh_rpc_seconds", "Seconds from an RPC's arrival to its answer.", ["rpc"])

# The event chain by the collections that its links are in, and the fields that hold their names.
_LINKS = {"activities": "activity", "shares": "share", "coupons": "coupon"}
_FIELDS = ("name", *_LINKS.values())


@dataclass
class Record:
    """What is found out about one RPC while it runs; the event is made of this and nothing else."""

    rpc: str
    trace: Trace
    # The principal's pseudonym; "" for the anonymous and for who is not known yet.
    actor: str = ""
    code: str = "OK"
    reason: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def tell(self, message: Message) -> None:
        """Note the chain's links that a message names at its top; what was noted before stands."""
        for wanted in _FIELDS:
            value = getattr(message, wanted, None)
            # Whatever the field is called, nothing but a name of these collections gets into an event.
            link = _LINKS.get(value.partition("/")[0]) if isinstance(value, str) else None
            if link is not None:
                self.notes.setdefault(link, str(value))


class Telemetry:
    """Writes the events of one service."""

    def __init__(self, service: str, keys: Keyring) -> None:
        self._service = service
        self._pseudonym_key = keys.derive("telemetry-pseudonym")
        self._log: structlog.stdlib.BoundLogger = logs.of(service)

    def close(self, record: Record) -> None:
        """Count the RPC and write its event."""
        seconds = time.perf_counter() - record.began
        RPCS.labels(record.rpc, record.code).inc()
        SECONDS.labels(record.rpc).observe(seconds)
        self._log.info(
            "rpc",
            service=self._service,
            rpc=record.rpc,
            code=record.code,
            reason=record.reason,
            duration_ms=round(seconds * 1000, 3),
            trace=record.trace.trace_id,
            principal=record.actor,
            **record.notes,
        )

    def unforeseen(self, record: Record, error: BaseException) -> None:
        """Log what nobody foresaw, with its traceback."""
        self._log.error("unforeseen", rpc=record.rpc, trace=record.trace.trace_id, exc_info=error)

    def pseudonym(self, principal: Principal) -> str:
        """The same for the same person in every service's events and histories; no way back without the key."""
        if principal.role == ANONYMOUS:
            return ""
        who = f"{principal.role}\0{principal.subject}".encode()
        return hmac.new(self._pseudonym_key, who, hashlib.sha256).hexdigest()[:16]
