"""Beats of the business's reader by a clock of the test's own, and what they tell."""

from typing import Any

from monitoring.business import Business
from monitoring.readings import Readings, key
from monitoring.trade.rules import NAMES
from services.chassis import database
from tests.ledger.world import NOW

BEAT = 5.0


class Clock:
    """Seconds that pass when they are told to; begins at the world's own now."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def beat(business: Business, clock: Clock, number: int = 1) -> Readings:
    """What the last of so many beats tells."""
    told: Readings = {}
    for _ in range(number):
        clock.now += BEAT
        told = business.read()
    return told


def figure(told: Readings, name: str, *parameters: str) -> Any:
    return told[key(f"business.{name}", *parameters)]


def broken(told: Readings) -> dict[str, Any]:
    """The rules that are told to be broken; all must be told."""
    numbers = {name: figure(told, "broken", name) for name in NAMES}
    return {name: number for name, number in numbers.items() if number}


def asked(sql: str) -> list[Any]:
    """An independent look, by the services' own connection."""
    return list(database.proxy.execute_sql(sql).fetchall())


def execute(sql: str) -> None:
    with database.write():
        database.proxy.execute_sql(sql)
