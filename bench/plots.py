"""The plots of a run, as SVG beside the document."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.goals import echo_of
from bench.plan import MANY
from bench.slices import Row
from bench.subjects import ECHO
from bench.traffic import HOT, REDEEM

# Text stays text, and the same figures make the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sharemesh", "font.size": 9})


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw what the rows are enough for; returns the files."""
    made = [_shares(rows, folder / "benchmarks-throughput.svg"), _callers(rows, folder / "benchmarks-callers.svg")]
    return [path for path in made if path is not None]


def _shares(rows: Sequence[Row], path: Path) -> Path | None:
    """Throughput of many callers as parts of the echo's."""
    bars = [
        (f"{row.cell.work}: {row.cell.subject}", row.median("rate") / echo)
        for row in rows
        if row.cell.group in ("redeem", "claim", "read") and row.cell.callers in (MANY, 0) and row.cell.subject != ECHO
        if (echo := echo_of(row, rows))
    ]
    if not bars:
        return None
    figure = Figure(figsize=(8, 0.6 + 0.3 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.barh([name for name, _ in bars], [part for _, part in bars])
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"calls/s of {MANY} callers, as parts of the bare echo's")
    return _saved(figure, path)


def _callers(rows: Sequence[Row], path: Path) -> Path | None:
    """Throughput by the number of callers, redeeming and claiming."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    is_empty = True
    for place, (group, work) in enumerate((("redeem", REDEEM), ("claim", HOT)), start=1):
        axes = figure.add_subplot(1, 2, place)
        lines: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            if row.cell.group == group and row.cell.work == work and row.cell.callers:
                lines.setdefault(row.cell.subject, []).append((row.cell.callers, row.median("rate")))
        for subject, points in lines.items():
            axes.plot(*zip(*sorted(points), strict=True), marker="o", label=subject)
            is_empty = False
        axes.set(title=work, xlabel="callers", ylabel="calls/s", xscale="log", ylim=(0, None))
        axes.legend()
    return None if is_empty else _saved(figure, path)


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
