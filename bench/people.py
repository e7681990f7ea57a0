"""Who calls: each caller's role and subject by the work, and the tokens that say so."""

from collections.abc import Sequence
from pathlib import Path

from bench import traffic, world
from services.chassis.settings import Settings
from services.chassis.tokens import DevIssuer

_TOKEN_SECONDS = 86_400


class Tokens:
    """Everybody's token: each caller's own, by the role that the work asks for."""

    def __init__(self, var: Path) -> None:
        self._issuer = DevIssuer.of(Settings(var=var))
        self._tokens: dict[tuple[str, str], str] = {}

    def of(self, work: str, callers: int) -> Sequence[str]:
        """A token for each of so many callers, "" for work that needs none."""
        return [self._token(*principal(work, caller)) for caller in range(callers)]

    def _token(self, role: str, subject: str) -> str:
        if role and (role, subject) not in self._tokens:
            self._tokens[role, subject] = self._issuer.issue(role, subject, _TOKEN_SECONDS)
        return self._tokens.get((role, subject), "")


def principal(work: str, caller: int) -> tuple[str, str]:
    """The role and the subject that a caller calls as; ("", "") without a token."""
    if work == traffic.MIXED:
        # A replay is one only from who sent the first, and any caller may send it.
        return "STAFF", world.staff(0)
    role = traffic.ROLES.get(work, "")
    return role, {"STAFF": world.staff, "CUSTOMER": world.customer}[role](caller) if role else ""
