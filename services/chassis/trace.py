"""Which chain of calls this one belongs to, as W3C Trace Context (https://www.w3.org/TR/trace-context/) spells it."""

import os
import random
import re
from contextvars import ContextVar
from dataclasses import dataclass

HEADER = "traceparent"

_SAMPLED = "01"
# Version ff is forbidden, and so are ids of zeros; versions after 00 may append fields.
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})((?<!^00.{53})-.*)?")

# Ids keep no secret, so they need not cost a system call each; a forked process must not repeat its parent's.
_ids = random.Random()
os.register_at_fork(after_in_child=_ids.seed)


@dataclass(slots=True)
class Trace:
    """One call's place in a chain: the chain's id, the flags handed down, and this call's own id once it is asked."""

    trace_id: str
    flags: str
    _span_id: str = ""

    @property
    def span_id(self) -> str:
        """This call's own id, the same whenever it is asked; most calls make no others, and never need it."""
        if not self._span_id:
            self._span_id = _new_id(8)
        return self._span_id

    def header(self) -> str:
        """The traceparent for the calls that this one makes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


# A server call sets it; tasks and pool jobs that work for the call inherit it.
current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def follow(header: str | None) -> Trace:
    """This call's trace: the one that the caller's traceparent continues, or a new one."""
    match = _FORM.fullmatch(header) if header else None
    return Trace(match[1], match[2]) if match else Trace(_new_id(16), _SAMPLED)


def _new_id(length: int) -> str:
    return _ids.randbytes(length).hex()
