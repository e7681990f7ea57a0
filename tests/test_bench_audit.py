"""Whether the benchmark of the audit measures what it says: honest texts, strange terms, the rival's own answers."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from bench import audit, promotions
from bench.houbb import BUILD_SECONDS, Houbb
from services.audit import lexicon
from services.audit.lexicon import FOLD
from services.audit.matcher import Matcher
from services.audit.reading import steps

TEXTS = 20
GENERATED = 300


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Labelled lines; the honest ones come from honest_copy.txt besides."""
    path = tmp_path / "corpus.jsonl"
    lines = [("日式猪排饭28元，米饭免费续", "pass"), ("加我微信领红包", "reject"), ("全国第一的火锅", "reject")]
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in lines))
    return path


def test_texts_are_of_one_length_and_honest_by_the_whole_lexicon(corpus: Path) -> None:
    literal = [term for term in lexicon.load().terms if not term.pattern]
    laid = promotions.lay(len(literal) + GENERATED, TEXTS, corpus)
    assert len(laid.words) == len(set(map(FOLD.text, laid.words))) + _doubled(literal)
    assert laid.generated == GENERATED
    assert {len(text) for text in (*laid.honest, *laid.violating)} == {promotions.LENGTH}
    assert len(laid.honest) == len(laid.violating) == TEXTS
    matcher = Matcher(laid.lexicon)
    assert not any(map(matcher.find, laid.honest))
    assert any(map(matcher.find, laid.violating))
    generated = laid.words[-GENERATED:]
    assert all(2 <= len(word) <= 8 for word in generated)
    assert not any(word in text for word in generated for text in laid.honest)
    assert promotions.lay(len(literal) + GENERATED, TEXTS, corpus) == laid


def _doubled(literal: list[lexicon.Term]) -> int:
    """How many terms two categories share."""
    folded = sorted(FOLD.text(term.text) for term in literal)
    return sum(one == other for one, other in pairwise(folded))


# Building may take most of the usual limit.
@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_the_rival_finds_what_it_is_told_to_however_it_is_written(tmp_path: Path) -> None:
    texts = ["好吃不贵", "这里有赌博机", "这里有賭博機", "赌赌赌博", "赌*博", "邮箱 someone@example.com"]
    rival = Houbb(tmp_path, ["赌博"], [texts])
    try:
        assert [rival.search(0, place, place + 1) for place in range(len(texts))] == [0, 1, 1, 1, 1, 1]
        assert rival.search(0, 0, len(texts)) == len(texts) - 1
        assert rival.cpu() > 0
    finally:
        rival.stop()


# It makes the lexicon ready twenty times.
@pytest.mark.slow
@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_the_smallest_benchmark_tells_every_row_and_every_goal(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = os.sched_getaffinity(0)
    smallest = ["--terms", "0", "--texts", str(TEXTS), "--rounds", "1", "--reloads", "1"]
    assert audit.main([*smallest, "--corpus", str(corpus)]) == 0
    told = capsys.readouterr().out
    for name in (*audit.RATES, *(f"step {step}" for step in steps.ALL), "longest search meanwhile", "memory"):
        assert name in told
    assert told.count("reached") + told.count("missed") == 4
    assert os.sched_getaffinity(0) == cores
