"""The refusals that rules raise: each has a reason from the contract, and none knows how the wire spells it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What a person is told, in the two languages of the product."""

    zh_cn: str
    en: str

    def told(self, locale: str) -> str:
        """The words for "en", or for "zh-CN" and any other locale."""
        return self.en if locale == "en" else self.zh_cn


@dataclass(frozen=True)
class Violation:
    """One field that is not acceptable: its path in the request (`items[0].price`) and what is wrong with it.

    A description that is plain text stands as it is: it is in the caller's language already, or for developers.
    """

    field: str
    description: Words | str


class Error(Exception):
    """A refusal that the caller is told about.

    `reason` is a name of sharemesh.v1.ErrorReason without its prefix. `message` is for developers; without one they
    read the reason's English text. `retry_after` is in seconds. `metadata` fills the text's {placeholders} and
    travels with the reason, so it never carries a phone, a coupon code or a token.
    """

    def __init__(
        self,
        reason: str,
        message: str = "",
        *,
        violations: Iterable[Violation] = (),
        retry_after: float | None = None,
        **metadata: str,
    ) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata = metadata


class Invalid(Error):
    """The request itself is wrong, whatever the state of the system."""


class NotFound(Error):
    """The resource does not exist, or is not the caller's to know about."""


class AlreadyExists(Error):
    """The resource to be made is there already."""


class FailedPrecondition(Error):
    """The system's state forbids it, and trying again changes nothing until the state does."""


class Conflict(Error):
    """Somebody else was quicker: read again and retry."""


class Exhausted(Error):
    """Too much was asked too fast; always says when to retry."""

    def __init__(
        self,
        reason: str,
        message: str = "",
        *,
        violations: Iterable[Violation] = (),
        retry_after: float | None = None,
        **metadata: str,
    ) -> None:
        wait = 1.0 if retry_after is None else retry_after
        super().__init__(reason, message, violations=violations, retry_after=wait, **metadata)


class Denied(Error):
    """The caller is known and may not."""


class Unauthenticated(Error):
    """The caller is not known: no token, or not a good one."""


class Unavailable(Error):
    """Something this service needs is away; the same request may succeed later."""


class DeadlinePassed(Error):
    """The caller's time is up; nobody waits for the answer."""


class Internal(Error):
    """A mistake of ours; what it was stays in the log."""


def invalid_field(field: str, description: Words | str) -> Invalid:
    """The refusal of one field."""
    return Invalid("INVALID_FIELD", violations=[Violation(field, description)])
