"""Shows the journey on a console: a table for each chapter, at most 100 columns, plain in a log."""

import io
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.journey.story import PROLOGUE
from services.journey.telling import Step

WIDTH = 100
COLUMNS = (("#", 2), ("who", 7), ("what", 34), ("call", 17), ("outcome", 22), ("expected?", 9), ("ms", 3))


def console(file: TextIO | None = None) -> Console:
    """A console of at most WIDTH columns; a log gets no colour codes and always WIDTH columns."""
    file = file or sys.stdout
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="replace")  # A terminal that knows no Chinese shows question marks.
    made = Console(file=file, highlight=False)
    made.width = min(WIDTH, made.width) if made.is_terminal else WIDTH
    return made


class Shown:
    """A Show on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._number = 0
        for line in PROLOGUE:
            console.print(line)

    def chapter(self, title: str) -> None:
        self._console.print()
        self._console.print(title, style="bold")
        self._row([Text(name, "dim") for name, _ in COLUMNS])
        self._console.print(Text("─" * self._console.width, "dim"))

    def step(self, step: Step) -> None:
        self._number += 1
        color = "bold red" if not step.is_expected else "yellow" if step.words else "green"
        what = Text(step.what)
        if step.words:
            what.append(f"\n“{step.words}”", "dim")
        verdict = Text("yes" if step.is_expected else "NO", color)
        took = f"{step.milliseconds:.0f}"
        self._row([str(self._number), step.who, what, step.rpc, Text(step.outcome, color), verdict, took])
        if not step.is_expected:
            self._console.print(Text(f"   expected was {step.expected}", "bold red"))

    def evidence(self, title: str, rows: Sequence[tuple[str, ...]]) -> None:
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows[1:]:
            table.add_row(*row)
        self._console.print(Padding(table, (1, 0, 1, 3)))

    def _row(self, cells: Sequence[str | Text]) -> None:
        """Fixed columns, so that rows can be printed one by one, as the steps happen."""
        row = Table.grid(padding=(0, 1, 0, 0))
        for name, width in COLUMNS:
            row.add_column(width=width, overflow="fold", justify="right" if name == "ms" else "left")
        row.add_row(*cells)
        self._console.print(row)


def summary(steps: Sequence[Step]) -> str:
    """What the journey came to, in one line."""
    wrong = [str(place) for place, step in enumerate(steps, 1) if not step.is_expected]
    took = sum(step.milliseconds for step in steps) / 1000
    verdict = f"NOT as expected: step {', '.join(wrong)}" if wrong else "all as expected"
    return f"{len(steps)} steps in {took:.1f} s, {verdict}"
