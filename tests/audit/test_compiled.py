"""What is compiled when it is installed does the very same as Python does with its source."""

import importlib.util
import re
import shutil
import sys
import sysconfig
from array import array
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.audit import gate
from services.audit.reading import letters, sieve

MODULES = (gate, letters, sieve)
TEXTS = st.one_of(st.text(st.characters()), st.text(st.sampled_from("大麻花店ax1😀., ")))  # lone surrogates too
TABLE = {ord("a"): "", ord("大"): "小", ord("x"): "花店", ord("😀"): "笑脸", ord("1"): "😀", ord("店"): "店"}
MARKED = {"a": 1, "1": 2, "大": 3, "😀": 4, ".": 8, ",": 8}


def _source(module: ModuleType) -> Path:
    found = sys.modules[module.__name__].__spec__
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name(module.__name__.rpartition(".")[2] + ".py")


def _interpreted(module: ModuleType) -> Any:
    """The module as Python reads its source, whatever was compiled of it."""
    spec = importlib.util.spec_from_file_location(f"interpreted_{module.__name__}", _source(module))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


PLAIN: dict[str, Any] = {module.__name__: _interpreted(module) for module in MODULES}
PLAIN_GATE, PLAIN_LETTERS, PLAIN_SIEVE = (PLAIN[module.__name__] for module in MODULES)


def _read(point: int) -> str:
    return TABLE.get(point, chr(point))


TRANSLATIONS = [made.Translation(TABLE, _read) for made in (letters, PLAIN_LETTERS)]
MARKS = [made.Marks(MARKED) for made in (letters, PLAIN_LETTERS)]
# Four phrases, the last of which is a disguise as well, and two more of those.
SIEVES = [made.Sieve(4, {3: 0}, array("I", [1, 2])) for made in (sieve, PLAIN_SIEVE)]


def test_what_can_be_compiled_here_is() -> None:
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if shutil.which("cc") is None or not headers.exists():
        pytest.skip("no C compiler, or no headers of Python: the audit works without, only slower")
    assert [str(sys.modules[module.__name__].__file__).endswith(".so") for module in MODULES] == [True] * len(MODULES)
    assert letters.IS_COMPILED
    assert not PLAIN_LETTERS.IS_COMPILED


@given(TEXTS)
@example("\ud83d\ude00")
def test_a_table_translates_as_str_translate_does(text: str) -> None:
    assert [one.of(text) for one in TRANSLATIONS] == [text.translate(TABLE)] * 2


@given(TEXTS)
def test_the_marks_of_a_text_are_those_of_its_characters(text: str) -> None:
    expected = 0
    for character in text:
        expected |= MARKED.get(character, 0)
    assert [one.of(text) for one in MARKS] == [expected] * 2


@given(TEXTS, st.integers(0, 3))
def test_a_run_goes_on_over_gaps_that_are_short_enough(text: str, most: int) -> None:
    runs = re.findall(rf"[1大](?:[.,]{{0,{most}}}[1大])*", text)
    longest = max((sum(character in "1大" for character in run) for run in runs), default=0)
    told, at_least = (one.longest(text, 2, 8, most) for one in MARKS)
    assert told == longest or not letters.IS_COMPILED
    assert at_least >= longest


@given(st.lists(st.integers(0, 5)))
def test_phrases_are_told_from_disguises(numbers: list[int]) -> None:
    found = [(place, place + 1, number) for place, number in enumerate(numbers)]
    phrases = [one for one in found if one[2] < 4]
    disguises = [(start, end, number - 3) for start, end, number in found if number >= 3]
    assert [one.parted(found) for one in SIEVES] == [(phrases, disguises)] * 2


NEEDS = st.lists(st.tuples(st.integers(-5, 40), st.integers(-5, 40)), max_size=3)
NUMBERS = st.lists(st.integers(0, 4), max_size=3, unique=True)


def _lists(lists: list[list[int]]) -> gate.Lists:
    begins = [sum(map(len, lists[:number])) for number in range(len(lists) + 1)]
    return array("i", (number for one in lists for number in one)), array("i", begins)


@given(NEEDS, st.data(), st.integers(1, 500))
def test_a_pattern_is_tried_where_a_word_that_it_needs_is_near(
    needs: list[tuple[int, int]], data: st.DataObject, length: int
) -> None:
    """Nowhere else in a short text; in a long one also where it is nearly so."""
    words, count = 4, len(needs) + 2
    lists = st.lists(NUMBERS, min_size=words, max_size=words)
    called = [[one for one in numbers if one < count] for numbers in data.draw(lists)]
    opened = [[one for one in numbers if one < len(needs)] for numbers in data.draw(lists)]
    told = data.draw(st.lists(st.booleans(), min_size=words, max_size=words))
    places = st.tuples(st.integers(0, length - 1), st.just(length), st.integers(0, words - 1))
    found = data.draw(st.lists(places, max_size=12))

    before, behind = (array("i", (need[side] for need in needs)) for side in (0, 1))
    answers = [
        made.Gate(before, behind, _lists(called), _lists(opened), bytes(told)).open(found, length)
        for made in (gate, PLAIN_GATE)
    ]
    assert answers[0] == answers[1]

    tries, others = answers[0]
    assert others == [one for one in found if told[one[2]]]
    exact = [
        (start, pattern)
        for start, _, word in found
        for pattern in called[word]
        if pattern >= len(needs)
        or any(
            pattern in opened[other] and -needs[pattern][0] <= place - start <= needs[pattern][1]
            for place, _, other in found
        )
    ]
    if length < 64:
        assert tries == exact
    else:
        assert [one for one in tries if one in exact] == exact
