"""Which chain of calls this one belongs to, as W3C Trace Context (https://www.w3.org/TR/trace-context/) spells it."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

HEADER = "traceparent"

_SAMPLED = "01"
# Version ff is forbidden, and so are ids of zeros; versions after 00 may append fields.
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})((?<!^00.{53})-.*)?")


@dataclass(frozen=True)
class Trace:
    """One call's place in a chain: the chain's id, this call's own, and the flags handed down."""

    trace_id: str
    span_id: str
    flags: str

    def header(self) -> str:
        """The traceparent for the calls that this one makes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


# A server call sets it; tasks and pool jobs that work for the call inherit it.
current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def follow(header: str | None) -> Trace:
    """This call's trace: the one that the caller's traceparent continues, or a new one."""
    match = _FORM.fullmatch(header or "")
    if match is None:
        return Trace(secrets.token_hex(16), secrets.token_hex(8), _SAMPLED)
    return Trace(match[1], secrets.token_hex(8), match[2])
