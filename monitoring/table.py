"""`python -m monitoring --once`: what a sidecar would tell, as a table."""

import asyncio
import sys
from contextlib import AsyncExitStack

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitoring.readings import DISCOVERY, PREFIX, Readings
from monitoring.sidecar import Source
from monitoring.sources import Settings, opened

# Rates are of the time between two beats.
BEAT_SECONDS = 1.0
# What a pipe gets, which has no width of its own.
WIDTH = 120
# Until the registry has answered, and one sidecar is elected where none is.
FIRST_SECONDS = 2.0


async def show(settings: Settings) -> int:
    """Print what two beats tell; returns the exit code, 1 if a reader failed."""
    async with AsyncExitStack() as at_end:
        sources, _ = await opened(settings, at_end, stands=False)
        await asyncio.sleep(FIRST_SECONDS)
        await asyncio.gather(*(source.read() for source in sources), return_exceptions=True)
        await asyncio.sleep(BEAT_SECONDS)
        answers = await asyncio.gather(*(source.read() for source in sources), return_exceptions=True)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    failed = 0
    for source, answer in zip(sources, answers, strict=True):
        if isinstance(answer, BaseException):
            failed += 1
            console.print(f"{source.name}: {type(answer).__name__}: {answer}", style="red", markup=False)
        else:
            console.print(_table(source, answer))
    return 1 if failed else 0


def _table(source: Source, readings: Readings) -> Table:
    table = Table(box=SIMPLE_HEAD, title=f"{source.name} ({source.host})", title_justify="left")
    table.add_column("item", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    for key, value in sorted(readings.items()):
        if not key.endswith(DISCOVERY):
            told = f"{value:.6g}" if isinstance(value, float) else str(value)
            # Brackets are no markup here.
            table.add_row(Text(key.removeprefix(PREFIX)), Text(told))
    return table
