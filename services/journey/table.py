"""Shows the journey on a console: a table for each chapter, from 80 to 100 columns wide, plain in a log."""

import io
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from services.journey.story import PROLOGUE
from services.journey.telling import Step

WIDTH = 100
COLUMNS = {"#": 2, "who": 7, "what": 34, "call": 17, "outcome": 22, "expected?": 9, "ms": 3}
# What a console that is narrower than WIDTH goes without, and the least that is left of the one column that shrinks.
SPARED = ("call", "ms")
LEAST = 12


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
        self._columns = _columns(console.width)
        self._print(Text(PROLOGUE))

    def chapter(self, title: str) -> None:
        self._console.print()
        self._console.print(title, style="bold")
        self._row({name: Text(name, "dim") for name in COLUMNS})
        self._console.print(Text("─" * self._console.width, "dim"))

    def step(self, step: Step) -> None:
        self._number += 1
        color = "bold red" if not step.is_expected else "yellow" if step.words else "green"
        what = Text(step.what)
        if step.words:
            what.append(f"\n“{step.words}”", "dim")
        self._row(
            {
                "#": str(self._number),
                "who": step.who,
                "what": what,
                "call": step.rpc,
                "outcome": Text(step.outcome, color),
                "expected?": Text("yes" if step.is_expected else "NO", color),
                "ms": f"{step.milliseconds:.0f}",
            }
        )
        if not step.is_expected:
            self._console.print(Text(f"   expected was {step.expected}", "bold red"))

    def evidence(self, title: str, rows: Sequence[tuple[str, ...]]) -> None:
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows[1:]:
            table.add_row(*row)
        self._print(Padding(table, (1, 0, 1, 3)))

    def _row(self, cells: Mapping[str, str | Text]) -> None:
        """Fixed columns, so that rows can be printed one by one, as the steps happen."""
        row = Table.grid(padding=(0, 1, 0, 0))
        for name, width in self._columns.items():
            row.add_column(width=width, overflow="fold", justify="right" if name == "ms" else "left")
        row.add_row(*(cells[name] for name in self._columns))
        self._print(row)

    def _print(self, table: RenderableType) -> None:
        """Without the blanks that fill a table's lines."""
        for line in self._console.render_lines(table, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
            self._console.print(Text.assemble(*((one.text, one.style or "") for one in line)), soft_wrap=True)


def _columns(width: int) -> dict[str, int]:
    """The columns that a console of so many has room for, with their widths; each is followed by a blank."""
    if width >= WIDTH:
        return COLUMNS
    kept = {name: size for name, size in COLUMNS.items() if name not in SPARED}
    others = sum(size + 1 for name, size in kept.items() if name != "what")
    return {**kept, "what": max(LEAST, width - others - 1)}


def summary(steps: Sequence[Step]) -> str:
    """What the journey came to, in one line."""
    wrong = [str(place) for place, step in enumerate(steps, 1) if not step.is_expected]
    took = sum(step.milliseconds for step in steps) / 1000
    verdict = f"NOT as expected: step {', '.join(wrong)}" if wrong else "all as expected"
    return f"{len(steps)} steps in {took:.1f} s, {verdict}"
