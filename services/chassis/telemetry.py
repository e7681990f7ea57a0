"""What is known of a call afterwards: one structured event, and rate, errors and duration as metrics."""

import hmac
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.chassis import logs
from services.chassis.call import ANONYMOUS, Principal
from services.chassis.keys import Keyring
from services.chassis.settings import SERVICES
from services.chassis.tallies import RPCS
from services.chassis.trace import Trace

# The event chain by the collections that its links are in, and the fields that hold their names.
_LINKS = {"activities": "activity", "shares": "share", "coupons": "coupon"}
_FIELDS = ("name", *_LINKS.values())

_LINE = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


@dataclass(slots=True)
class Record:
    """What is found out about one RPC while it runs; the event is made of this and nothing else."""

    rpc: str
    trace: Trace
    # By time.monotonic().
    arrival: float
    # The principal's pseudonym; "" for the anonymous and for who is not known yet.
    actor: str = ""
    # By kind_of(); stays so if the caller could not be told.
    caller: str = "unknown"
    code: str = "OK"
    reason: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def tell(self, message: Message) -> None:
        """Note the chain's links that a message names at its top; what was noted before stands."""
        for wanted in _naming(message.DESCRIPTOR):
            value = getattr(message, wanted)
            # Whatever the field is called, nothing but a name of these collections gets into an event.
            link = _LINKS.get(value.partition("/")[0])
            if link is not None:
                self.notes.setdefault(link, value)


@cache
def _naming(message: Descriptor) -> tuple[str, ...]:
    """Which fields of a message may hold a link's name."""
    fields = message.fields_by_name
    return tuple(
        name
        for name in _FIELDS
        if name in fields and fields[name].type == FieldDescriptor.TYPE_STRING and not fields[name].is_repeated
    )


def kind_of(principal: Principal) -> str:
    """What a caller is counted as: a service of the mesh by its name, a person by the role only ("customer")."""
    if principal.role == "SERVICE" and principal.subject in SERVICES:
        return principal.subject
    return principal.role.lower()


class Telemetry:
    """Writes the events of one service."""

    def __init__(self, service: str, keys: Keyring) -> None:
        self._service = service
        self._callers = RPCS.callers_of(service)
        self._pseudonym_key = keys.derive("telemetry-pseudonym")
        self._log = logs.of(service)
        self._events = logs.Events(service)

    def close(self, record: Record) -> None:
        """Count the RPC and write its event."""
        seconds = time.monotonic() - record.arrival
        RPCS.of(record.rpc).count(record.code, seconds)
        self._callers[record.caller] += 1
        if record.reason:
            RPCS.refusals[record.reason] += 1
        event = {
            "event": "rpc",
            "level": "info",
            "time": datetime.now(UTC),
            "service": self._service,
            "rpc": record.rpc,
            "code": record.code,
            "reason": record.reason,
            "duration_ms": int(seconds * 1_000_000) / 1000,
            "trace": record.trace.trace_id,
            "principal": record.actor,
            **record.notes,
        }
        self._events.put(orjson.dumps(event, option=_LINE))

    def flush(self) -> None:
        """Write out the events that wait to be written; waits for the disk."""
        self._events.flush()

    def unforeseen(self, record: Record, error: BaseException) -> None:
        """Log what nobody foresaw, with its traceback."""
        self._log.error("unforeseen", {"rpc": record.rpc, "trace": record.trace.trace_id}, exc_info=error)

    def pseudonym(self, principal: Principal) -> str:
        """The same for the same person in every service's events and histories; no way back without the key."""
        if principal.role == ANONYMOUS:
            return ""
        who = f"{principal.role}\0{principal.subject}".encode()
        return hmac.digest(self._pseudonym_key, who, "sha256").hex()[:16]
