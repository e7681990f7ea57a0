"""The labelled lines, what the audit makes of them, and the figures that come of it."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from services.audit.evidence import Finding
from services.audit.judge import PASS, judge
from services.audit.matcher import Matcher
from services.audit.reading import steps

HERE = Path(__file__).parent
# Lines to work with: given ones, and ones of our own whose writers never saw the lexicon.
WORKED_WITH = ("dev", "corpus")
# And lines that the lexicon was not written by, but for a few words: how right it is on what it never saw. The writers
# of the last set looked for wording as different as can be.
SETS = (*WORKED_WITH, "unseen", "fresh", "diverse")
FLOORS = HERE / "floors.json"
# What is asked, on the lines to work with, of recall on violations, and of the part of honest copy that passes.
BARS = {"benign": 0.97, "plain": 0.97, "evaded": 0.92}
# The steps that undo an evasion; a mixed one needs several.
STEPS_OF: Mapping[str, frozenset[str]] = {
    "fullwidth": frozenset({steps.NFKC}),
    "traditional": frozenset({steps.TRADITIONAL}),
    "symbols": frozenset({steps.SYMBOLS}),
    "spaces": frozenset({steps.SPACES}),
    "repeat": frozenset({steps.REPEAT}),
    "digit_style": frozenset({steps.DIGITS, steps.NFKC}),
    "homophone": frozenset({steps.HOMOPHONE}),
    "split_char": frozenset({steps.SPLIT, steps.SHAPE}),
    "pinyin": frozenset({steps.PINYIN}),
    "emoji": frozenset({steps.EMOJI, steps.EMOJI_WORD}),
    "zero_width": frozenset({steps.ZERO_WIDTH}),
    "case": frozenset({steps.CASE, steps.LOOKALIKE}),
    "leet": frozenset({steps.LEET}),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled text; `category` and `span` are empty if it is honest copy, `evasion` if it is written plainly.

    `wanted` are the decisions that are right, in lower case.
    """

    id: str
    text: str
    label: str
    category: str
    evasion: str
    span: str
    wanted: frozenset[str]

    @property
    def kind(self) -> str:
        """benign, plain or evaded."""
        if self.label == "pass":
            return "benign"
        return "evaded" if self.evasion else "plain"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the audit came to on a line, in lower case, and why."""

    line: Line
    decision: str
    findings: Sequence[Finding]

    @property
    def is_right(self) -> bool:
        """Whether the decision is one of those wanted."""
        return self.decision in self.line.wanted

    @property
    def categories(self) -> set[str]:
        """Those on which the decision rests: of its gravest findings."""
        return {finding.category for finding in self.findings if finding.action == self.decision}

    @property
    def steps(self) -> set[str]:
        """All that were undone."""
        return {step for finding in self.findings for step in finding.steps}


class Figure(NamedTuple):
    """So many of so many."""

    right: int
    total: int

    @property
    def value(self) -> float:
        """A share; that of none is 1, for nothing is wrong."""
        return self.right / self.total if self.total else 1.0


def read(name: str) -> list[Line]:
    """The lines of a set, `dev` or `corpus`."""
    with (HERE / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [_line(json.loads(written)) for written in file]


def _line(plain: Mapping[str, str | list[str] | None]) -> Line:
    values = {name: str(plain[name] or "") for name in ("id", "text", "label", "category", "evasion", "span")}
    return Line(**values, wanted=frozenset(plain.get("accept") or (values["label"],)))


def outcomes(lines: Iterable[Line], matcher: Matcher) -> list[Outcome]:
    """What the audit makes of each."""
    judged = ((line, judge([("", line.text)], matcher)) for line in lines)
    return [Outcome(line, judgement.decision.lower(), judgement.findings) for line, judgement in judged]


def figures(made: Sequence[Outcome]) -> dict[str, Figure]:
    """Every figure of a set by its name, such as "recall of gambling".

    Recall is the share of lines with a right decision. Precision of a category: of the lines whose decision rests on
    it, those that are labelled with it; of an evasion: of the lines that are not passed and of which a step was
    undone that belongs to it, those that are labelled a violation of any kind.
    """
    found = {f"right on {kind}": _right(one for one in made if one.line.kind == kind) for kind in BARS}
    for category in _sorted(made, "category"):
        mine = [one for one in made if one.line.category == category]
        rested = [one for one in made if one.decision != PASS.lower() and category in one.categories]
        found[f"recall of {category}"] = _right(mine)
        found[f"precision of {category}"] = _count(one.line.category == category for one in rested)
    for evasion in _sorted(made, "evasion"):
        found[f"recall of {evasion}"] = _right(one for one in made if one.line.evasion == evasion)
    for evasion, undone in STEPS_OF.items():
        caught = [one for one in made if one.decision != PASS.lower() and one.steps & undone]
        found[f"precision of {evasion}"] = _count(one.line.label != "pass" for one in caught)
    return found


def _sorted(made: Sequence[Outcome], attribute: str) -> list[str]:
    return sorted({getattr(one.line, attribute) for one in made} - {""})


def _right(made: Iterable[Outcome]) -> Figure:
    return _count(one.is_right for one in made)


def _count(answers: Iterable[bool]) -> Figure:
    given = [*answers]
    return Figure(sum(given), len(given))


def floors() -> dict[str, dict[str, float]]:
    """Below what the figures of each set must not fall; none yet if nobody has written them."""
    return dict(json.loads(FLOORS.read_text("utf-8"))) if FLOORS.exists() else {}


def write_floors(measured: Mapping[str, Mapping[str, Figure]]) -> None:
    """Make what was measured, by set and figure, what must be kept from now on."""
    rounded = {
        name: {figure: int(one.value * 10_000) / 10_000 for figure, one in sorted(found.items())}
        for name, found in measured.items()
    }
    FLOORS.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def dropped(found: Mapping[str, Figure], kept: Mapping[str, float]) -> Iterator[str]:
    """A line for each figure that is below its floor, that has none, or that is no longer measured."""
    for name in sorted({*found, *kept}):
        if name not in found or name not in kept:
            yield f"{name}: {'not measured any more' if name in kept else 'has no floor yet'}"
        elif found[name].value < kept[name]:
            yield f"{name}: {found[name].value:.4f} ({found[name].right} of {found[name].total}), was {kept[name]:.4f}"


def plainly_caught(made: Collection[Outcome]) -> list[Outcome]:
    """The violations that are written plainly and caught."""
    return [one for one in made if one.line.kind == "plain" and one.decision != PASS.lower()]
