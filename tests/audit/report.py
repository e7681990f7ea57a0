"""`make audit-report`: how right the audit is, on the lines to work with and on those of our own, and why."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from services.audit import lexicon
from services.audit.lexicon import LexiconError
from services.audit.matcher import Matcher
from tests.audit import corpora
from tests.audit.ablation import Ablation, ablate
from tests.audit.corpora import BARS, SETS, Figure, Outcome

# Read by people, also where the output is no terminal that says how wide it is.
_WIDTH = 170
_KINDS = {"benign": "honest copy passed", "plain": "plain violations caught", "evaded": "evaded violations caught"}


def main() -> int:
    """Print the tables; returns 0, or 2 if the lexicon cannot be used."""
    parser = argparse.ArgumentParser("make audit-report", description=__doc__)
    parser.add_argument("--lexicon", type=Path, default=lexicon.BUILT_IN, help="a directory of .toml files")
    parser.add_argument("--wrong", action="store_true", help="print every line that is judged wrong, and nothing else")
    parser.add_argument("--write-floors", action="store_true", help="make the figures what tests keep from now on")
    parser.add_argument("--no-ablation", action="store_true", help="leave out what each step adds and costs")
    arguments = parser.parse_args()
    try:
        terms = lexicon.load(arguments.lexicon)
    except LexiconError as error:
        sys.stderr.write(f"audit-report: {error}\n")
        return 2
    made = {name: corpora.outcomes(corpora.read(name), Matcher(terms)) for name in SETS}
    measured = {name: corpora.figures(found) for name, found in made.items()}
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    if arguments.write_floors:
        corpora.write_floors(measured)
    if arguments.wrong:
        _print_wrong(console, made)
        return 0
    console.print(f"lexicon {terms.release[:12]}, {len(terms.terms)} terms", markup=False)
    _print_bars(console, measured)
    _print_by(console, "category", measured)
    _print_by(console, "evasion", measured)
    if not arguments.no_ablation:
        _print_ablation(console, ablate(terms, [one.line for found in made.values() for one in found]))
    _print_dropped(console, measured)
    return 0


def _print_bars(console: Console, measured: Mapping[str, Mapping[str, Figure]]) -> None:
    table = Table("decision right", *SETS, "bar")
    for kind, title in _KINDS.items():
        cells = (_share(measured[name][f"right on {kind}"], BARS[kind]) for name in SETS)
        table.add_row(title, *cells, f"{BARS[kind]:.2f}")
    console.print(table)


def _print_by(console: Console, what: str, measured: Mapping[str, Mapping[str, Figure]]) -> None:
    """Precision and recall; what they are is said in corpora.figures()."""
    table = Table(
        Column(what, no_wrap=True), *(f"{figure}\n{name}" for name in SETS for figure in ("precision", "recall"))
    )
    attributes = {getattr(line, what) for name in SETS for line in corpora.read(name)} - {""}
    for one in sorted(attributes):
        names = [(name, f"{figure} of {one}") for name in SETS for figure in ("precision", "recall")]
        table.add_row(one, *(_share(measured[name].get(figure, Figure(0, 0))) for name, figure in names))
    console.print(table)


def _print_ablation(console: Console, ablation: Ablation) -> None:
    table = Table("step", "adds", "on", "false alarms", "µs a text")
    for part in ablation.parts:
        places = ", ".join(f"{evasion} {count}" for evasion, count in sorted(part.added.items()))
        total = str(sum(part.added.values()))
        table.add_row(part.step, total, places, str(part.false_alarms), f"{part.microseconds:.1f}")
    console.print(table)
    console.print(
        "adds: violations of both sets that are decided right only with the step; false alarms: honest lines that "
        f"pass only without it; µs: processor time that leaving it out saves on {ablation.texts} honest texts of 110 "
        f"characters, which take {ablation.microseconds:.1f} with all steps.",
        markup=False,
    )


def _print_dropped(console: Console, measured: Mapping[str, Mapping[str, Figure]]) -> None:
    kept = corpora.floors()
    if not kept:
        console.print("no floors yet: --write-floors")
        return
    for name in SETS:
        for line in corpora.dropped(measured[name], kept.get(name, {})):
            console.print(f"[red]below its floor[/] {name}: {line}")


def _print_wrong(console: Console, made: Mapping[str, Sequence[Outcome]]) -> None:
    for name, found in made.items():
        for one in found:
            if not one.is_right:
                wanted = " or ".join(sorted(one.line.wanted))
                what = " ".join(filter(None, (one.line.category, one.line.evasion)))
                told = f"{name} {one.line.id} {what}: {one.decision}, not {wanted}: {one.line.text}"
                console.print(told, markup=False, soft_wrap=True)
                for finding in one.findings:
                    words = one.line.text[finding.start : finding.end]
                    told = f"    {finding.action} {finding.category} {finding.term}: {words} {', '.join(finding.steps)}"
                    console.print(told, markup=False, soft_wrap=True)


def _share(figure: Figure, bar: float = 0.0) -> str:
    if not figure.total:
        return "-"
    told = f"{figure.value:.3f} of {figure.total}"
    return f"[red]{told}[/]" if figure.value < bar else told


if __name__ == "__main__":
    sys.exit(main())
