"""What each step of the audit adds, and what it costs: measured by leaving one out at a time."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.audit.lexicon import Lexicon
from services.audit.matcher import Matcher
from services.audit.reading import steps
from tests.audit.corpora import Line, outcomes

# As long as the promotion texts.
LENGTH = 110
ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Part:
    """One step: violations decided right only with it, by evasion, and honest lines that pass only without it."""

    step: str
    added: Mapping[str, int]
    false_alarms: int
    # Of processor time a text; what the step takes, measured as all against all but it.
    microseconds: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """All steps, and how long a text takes with all of them."""

    parts: Sequence[Part]
    microseconds: float
    texts: int


def ablate(lexicon: Lexicon, lines: Sequence[Line]) -> Ablation:
    """Leave out every step in turn; takes a minute."""
    everything = Matcher(lexicon)
    texts = cut(line.text for line in lines if line.kind == "benign")
    right = {one.line.id: one.is_right for one in outcomes(lines, everything)}
    parts = []
    fastest = math.inf
    for step in steps.ALL:
        matcher = Matcher(lexicon, frozenset(steps.ALL) - {step})
        made = outcomes(lines, matcher)
        added = Counter(
            one.line.evasion or one.line.kind
            for one in made
            if one.line.kind != "benign" and right[one.line.id] and not one.is_right
        )
        alarms = sum(one.is_right and not right[one.line.id] for one in made if one.line.kind == "benign")
        with_it, without = _costs(everything, matcher, texts)
        fastest = min(fastest, with_it)
        parts.append(Part(step, added, alarms, with_it - without))
    return Ablation(parts, fastest, len(texts))


def cut(written: Iterable[str]) -> list[str]:
    """Texts of LENGTH characters each."""
    joined = "".join(written)
    return [joined[place : place + LENGTH] for place in range(0, len(joined) - LENGTH + 1, LENGTH)]


def _costs(one: Matcher, other: Matcher, texts: Sequence[str]) -> tuple[float, float]:
    """Microseconds a text by each; in turn, so that a busy machine is the same for both, and of many rounds the best.

    Two at a time: more would drive each other out of the processor's cache.
    """
    rounds = [(_microseconds(one, texts), _microseconds(other, texts)) for _ in range(ROUNDS)]
    return min(first for first, _ in rounds), min(second for _, second in rounds)


def _microseconds(matcher: Matcher, texts: Sequence[str]) -> float:
    began = time.process_time()
    for text in texts:
        matcher.find(text)
    return (time.process_time() - began) * 1e6 / len(texts)
