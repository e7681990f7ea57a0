"""Asks for the audit of submissions: each when it is made, and again for as long as none has been answered."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from services.chassis import logs
from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.publish.pending import Pending, take_next


class Sweep:
    """`ask` tells AuditService of one submission, and raises Unavailable while that service is away."""

    def __init__(self, db: Database, clock: Callable[[], datetime], ask: Callable[[Pending], Awaitable[None]]) -> None:
        self._db = db
        self._clock = clock
        self._ask = ask
        self._log = logs.of("publish")
        self._is_away = False

    async def ask(self, pending: Pending) -> bool:
        """Ask for one audit; whether AuditService is there. If it is not, the submission waits for its lease to end."""
        try:
            await self._ask(pending)
        except Unavailable as error:
            if not self._is_away:
                self._log.warning("audit_away", {"activity": pending.activity, "reason": error.reason})
            self._is_away = True
            return False
        if self._is_away:
            self._log.info("audit_back", {"activity": pending.activity})
        self._is_away = False
        return True

    async def round(self) -> None:
        """Ask for every submission whose lease is over; ends early while AuditService is away."""
        while True:
            pending = await self._db.run(take_next, self._clock())
            if pending is None or not await self.ask(pending):
                return
