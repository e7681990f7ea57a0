import subprocess
import sys
from pathlib import Path

from services.audit import lexicon
from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.audit.matcher import Matcher
from services.audit.reading import steps
from tests.audit import corpora
from tests.audit.ablation import LENGTH, ablate
from tests.audit.corpora import Figure, Line

ROOT = Path(__file__).resolve().parents[2]
LEXICON = Lexicon.of([Term("lsd邮票", "drugs", "reject", False, (), "禁毒法", LocalizedText("改写", "rewrite"))])


def line(name: str, text: str, evasion: str = "", label: str = "reject", category: str = "drugs") -> Line:
    return Line(name, text, label, category, evasion, text, frozenset({label}))


LINES = [
    line("plain", "lsd邮票"),
    line("missed", "大麻"),
    line("wide", "ｌｓｄ邮票", "fullwidth"),
    line("traditional", "lsd郵票", "traditional"),
    line("other", "lsd邮票", category="gambling"),
    line("honest", "豆浆两元" * LENGTH, label="pass", category=""),
    line("alarm", "不卖ｌｓｄ邮票", label="pass", category=""),
]


def test_figures_count_decisions_by_kind_category_and_evasion() -> None:
    found = corpora.figures(corpora.outcomes(LINES, Matcher(LEXICON)))
    assert found["right on plain"] == Figure(2, 3)
    assert found["right on evaded"] == Figure(2, 2)
    assert found["right on benign"] == Figure(1, 2)
    assert found["recall of drugs"] == Figure(3, 4)
    assert found["precision of drugs"] == Figure(3, 5)
    assert found["recall of gambling"] == Figure(1, 1)
    assert found["precision of fullwidth"] == Figure(1, 2)
    assert found["precision of leet"].value == 1.0


def test_a_figure_that_drops_comes_or_goes_is_told() -> None:
    found = {"a": Figure(1, 2), "b": Figure(1, 1), "c": Figure(1, 1)}
    assert [*corpora.dropped(found, {"a": 0.5, "b": 1.0, "c": 0.5})] == []
    told = [*corpora.dropped(found, {"a": 0.51, "b": 1.0, "d": 0.5})]
    assert told == ["a: 0.5000 (1 of 2), was 0.5100", "c: has no floor yet", "d: not measured any more"]


def test_the_ablation_tells_what_each_step_adds_and_which_honest_lines_it_costs() -> None:
    ablation = ablate(LEXICON, LINES)
    parts = {part.step: part for part in ablation.parts}
    assert [*parts] == [*steps.ALL]
    assert parts[steps.NFKC].added == {"fullwidth": 1}
    assert parts[steps.NFKC].false_alarms == 1
    assert parts[steps.TRADITIONAL].added == {"traditional": 1}
    assert not parts[steps.HOMOPHONE].added
    assert ablation.microseconds > 0
    assert ablation.texts == 4


def test_the_command_prints_every_category_and_evasion_and_can_show_what_is_wrong() -> None:
    def run(*flags: str) -> str:
        command = (sys.executable, "-m", "tests.audit.report", *flags)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    shown = run("--no-ablation")
    lines = [one for name in corpora.SETS for one in corpora.read(name)]
    assert {one.category for one in lines} - {*shown.split(), ""} == set()
    assert {one.evasion for one in lines} - {*shown.split(), ""} == set()
    wrong = sum(not one.is_right for one in corpora.outcomes(lines, Matcher(lexicon.load())))
    assert sum(told.startswith(corpora.SETS) for told in run("--wrong").splitlines()) == wrong
