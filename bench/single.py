"""The same servers with the same rules, but each redemption and each claim is a transaction of its own.

`python -m bench.single redeem <settings>` serves as `sharemesh serve redeem` does. Commands wait for a thread of the
pool in place of a batch, and each statement is a round trip: what the ledger's synchronous functions do.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from services import start
from services.__main__ import main
from services.chassis.database import Database
from services.chassis.errors import Error
from services.chassis.script import Script
from services.ledger import rows
from services.start import Parts

C = TypeVar("C")
R = TypeVar("R")
Decide = Callable[[Sequence[C]], Script[list[R | Error]]]


class _Lane(Generic[C, R]):
    """What a batcher's lane is to a servicer."""

    def __init__(self, db: Database, decide: "Decide[C, R]") -> None:
        self._db = db
        self._decide = decide

    async def submit(self, command: C, tenant: str, deadline: float) -> R:
        """The command's outcome, committed by itself; raises its refusal."""
        (outcome,) = await self._db.run(lambda: rows.settled(lambda: self._decide([command])))
        if isinstance(outcome, Error):
            raise outcome
        return outcome


class _OneByOne:
    """What a batcher is to a servicer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def lane(self, decide: "Decide[C, R]") -> _Lane[C, R]:
        return _Lane(self._db, decide)


def _alone(step: Callable[[Parts], Awaitable[None]]) -> Callable[[Parts], Awaitable[None]]:
    async def built(parts: Parts) -> None:
        one_by_one: Any = _OneByOne(parts.db)
        await step(replace(parts, batcher=one_by_one))

    return built


if __name__ == "__main__":
    steps: dict[str, Any] = start.STEPS
    steps |= {name: _alone(steps[name]) for name in ("share", "redeem")}
    sys.argv[1:1] = ["serve"]
    sys.exit(main())
