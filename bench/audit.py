"""`make bench-audit`: how many texts a second the audit judges on one core, beside its rival and its own parts."""

import argparse
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from daachorse import CharwiseDoubleArrayAhoCorasick
from rich.console import Console
from rich.table import Column, Table

from bench import promotions
from bench.goals import Goal
from bench.houbb import Houbb
from bench.programs import ROOT, found_by
from bench.promotions import Promotions
from services.audit.lexicon import FOLD
from services.audit.matcher import Matcher
from services.audit.reading import steps
from services.audit.reading.forms import Fold

WHOLE, RIVAL, AUTOMATON, FOLDING = "the audit", "houbb 0.25", "bare automaton", "folding alone"
WRONG = ", violations"
RATES = (WHOLE, RIVAL, AUTOMATON, FOLDING, WHOLE + WRONG, RIVAL + WRONG)
LEAST_RATE, MOST_PAUSE_MS, MOST_MEMORY_MB = 15_000.0, 50.0, 150.0
# Subjects take turns after so many texts: a neighbour that comes and goes disturbs all of them alike.
_TURN = 100
# A Java program compiles its hot paths only after many calls.
_WARM_PASSES = 20
_WIDTH = 120


@dataclass
class Subject:
    """Something that searches the texts from one place to another: it returns in how many it found anything."""

    name: str
    search: Callable[[int, int], int]
    cpu: Callable[[], float]
    found: int = 0
    rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Texts a second of CPU, the median of the rounds."""
        return statistics.median(self.rates)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; like `make bench`, it tells which goals are missed without failing for them."""
    arguments = _parser().parse_args(words)
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with ExitStack() as at_end:
        folder = Path(at_end.enter_context(tempfile.TemporaryDirectory(dir=cache, prefix="bench-")))
        # Processes that are started inherit it, so that the rival has the very same core.
        at_end.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        laid = promotions.lay(arguments.terms, arguments.texts, arguments.corpus)
        reload = _reload(folder, laid, arguments.reloads)
        rival = Houbb(folder, laid.words, [laid.honest, laid.violating])
        at_end.callback(rival.stop)
        whole = Matcher(laid.lexicon)
        subjects = list(_subjects(laid, rival, whole))
        began, used = time.perf_counter(), time.process_time() + rival.cpu()
        _measure(subjects, arguments.rounds, arguments.texts)
        share = (time.process_time() + rival.cpu() - used) / (time.perf_counter() - began)
        # Afterwards, for a service has one matcher, not eighteen that push each other out of the processor's caches.
        stepped = list(_without_steps(laid, whole))
        _measure(stepped, arguments.rounds, arguments.texts)
    console = Console(highlight=False, width=_WIDTH)
    console.print(_table({subject.name: subject for subject in subjects}, stepped, reload))
    console.print(_explained(laid, share))
    return 0


def _subjects(laid: Promotions, rival: Houbb, whole: Matcher) -> Iterator[Subject]:
    """Each has searched all texts by then, the rival so often that it is compiled."""
    automaton = CharwiseDoubleArrayAhoCorasick(sorted({FOLD.text(word) for word in laid.words}))
    for suffix, texts, index in (("", laid.honest, 0), (WRONG, laid.violating, 1)):
        yield _of(WHOLE + suffix, whole.find, texts)
        found = [rival.search(index, 0, len(texts)) for _ in range(_WARM_PASSES)]
        yield Subject(RIVAL + suffix, partial(rival.search, index), rival.cpu, found[-1])
    yield _of(AUTOMATON, automaton.find_overlapping, laid.honest)
    fold = Fold()
    yield _of(FOLDING, lambda text: None if fold.text(text) else text, laid.honest)


def _without_steps(laid: Promotions, whole: Matcher) -> Iterator[Subject]:
    """The whole, and the whole without each step."""
    yield _of(WHOLE, whole.find, laid.honest)
    for step in steps.ALL:
        yield _of(step, Matcher(laid.lexicon, [other for other in steps.ALL if other != step]).find, laid.honest)


def _of(name: str, find: Callable[[str], object], texts: Sequence[str]) -> Subject:
    """A subject in this process."""

    def search(begin: int, end: int) -> int:
        found = 0
        for text in texts[begin:end]:
            if find(text):
                found += 1
        return found

    return Subject(name, search, time.process_time, search(0, len(texts)))


def _measure(subjects: Sequence[Subject], rounds: int, texts: int) -> None:
    """In each round every subject searches all texts, taking turns in another order."""
    # There are many matchers here; in a service there is one.
    gc.collect()
    gc.freeze()
    rng = random.Random(1)
    for _ in range(rounds):
        used = dict.fromkeys((subject.name for subject in subjects), 0.0)
        for begin in range(0, texts, _TURN):
            for subject in rng.sample(subjects, len(subjects)):
                before = subject.cpu()
                subject.search(begin, begin + min(_TURN, texts - begin))
                used[subject.name] += subject.cpu() - before
        for subject in subjects:
            subject.rates.append(texts / used[subject.name])
    gc.unfreeze()


def _reload(folder: Path, laid: Promotions, times: int) -> dict[str, float]:
    """What bench.reload tells of the lexicon."""
    release, texts = folder / "release.json", folder / "texts.json"
    release.write_text(laid.lexicon.to_json(), encoding="utf-8")
    texts.write_text(json.dumps(laid.honest), encoding="utf-8")
    return found_by(folder / "reload.err", "bench.reload", str(release), str(texts), str(times))


def _table(subjects: dict[str, Subject], stepped: Sequence[Subject], reload: dict[str, float]) -> Table:
    table = Table(Column("what", no_wrap=True), "median", "least to most", "us a text", "found in", "goal")
    for name in RATES:
        one = subjects[name]
        spread = f"{min(one.rates):,.0f} to {max(one.rates):,.0f}"
        goal = _told(Goal(name, one.rate, LEAST_RATE, True)) if name == WHOLE else ""
        found = "" if name == FOLDING else f"{one.found:,}"
        table.add_row(name, f"{one.rate:,.0f} texts/s", spread, f"{1e6 / one.rate:.1f}", found, goal)
    ratio = Goal("", subjects[WHOLE].rate / subjects[RIVAL].rate, 1.0, True)
    table.add_row(f"{WHOLE} / {RIVAL}", f"{ratio.value:.2f}", "", "", "", _told(ratio))
    table.add_section()
    for one in stepped[1:]:
        costs = _costs(stepped[0], one)
        spread = f"{min(costs):+.1f} to {max(costs):+.1f}"
        table.add_row(f"the step {one.name}", "", spread, f"{statistics.median(costs):+.1f}", f"{one.found:,}")
    table.add_section()
    pause = Goal("", reload["pause_ms"], MOST_PAUSE_MS, False, " ms")
    memory = Goal("", reload["memory_mb"], MOST_MEMORY_MB, False, " MB")
    table.add_row("a reload", f"{reload['seconds']:.2f} s")
    table.add_row("longest search meanwhile", f"{pause.value:.1f} ms", "", "", "", _told(pause))
    for name, what in (("idle", "no reload"), ("read", "reading"), ("make", "making ready")):
        table.add_row(f"… {what}", f"{reload[f'{name}_ms']:.1f} ms")
    table.add_row("memory of a process", f"{memory.value:.0f} MB", "", "", "", _told(memory))
    table.add_row("… without a lexicon", f"{reload['before_mb']:.0f} MB")
    table.add_row("… after reloads", f"{reload['reloaded_mb']:.0f} MB")
    return table


def _costs(whole: Subject, without: Subject) -> list[float]:
    """What the whole takes longer than without a step, by the rounds, in microseconds a text."""
    return [1e6 / one - 1e6 / other for one, other in zip(whole.rates, without.rates, strict=True)]


def _told(goal: Goal) -> str:
    return f"{goal.told} {'[green]reached[/]' if goal.is_reached else '[red]missed[/]'}"


def _explained(laid: Promotions, share: float) -> str:
    return (
        f"{len(laid.words):,} literal terms, {laid.generated:,} of them generated; for the audit "
        f"{len(laid.lexicon.terms) - len(laid.words):,} patterns besides. By length: {promotions.lengths(laid.words)}. "
        f"{len(laid.honest):,} texts of {promotions.LENGTH} characters of each kind; 'found in' so many. "
        f"Rates are by the CPU time of one core, of which we had {100 * share:.0f} % of the time."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.audit", description=__doc__)
    parser.add_argument("--terms", type=int, default=20_000, help="literal terms of the lexicon [default: 20000]")
    parser.add_argument("--texts", type=int, default=1000, help="of each kind [default: 1000]")
    parser.add_argument("--rounds", type=int, default=20, help="how often each row is measured [default: 20]")
    parser.add_argument("--reloads", type=int, default=5, help="how often the lexicon is reloaded [default: 5]")
    parser.add_argument("--corpus", type=Path, default=promotions.CORPUS, help="labelled lines [default: %(default)s]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
