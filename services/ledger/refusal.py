"""Why a coupon takes nothing off, in words that clients can switch on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.chassis.errors import FailedPrecondition


@dataclass(frozen=True)
class Refusal:
    """`reason` is a name of ErrorReason without its prefix; `metadata` fills the places in its messages."""

    reason: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def error(self, **more: str) -> FailedPrecondition:
        """The refusal as what a caller is told, with `more` metadata."""
        refused = FailedPrecondition(self.reason)
        refused.metadata = {**self.metadata, **more}
        return refused
