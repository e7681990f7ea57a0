"""What is compiled when it is installed does the very same as Python does with its source."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from array import array
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.audit import gate
from services.audit.reading import alike, homophones, letters, sieve
from services.audit.reading.words import ordinary

# Those that are written for the compiler.
MODULES = (alike, gate, letters, sieve)
ROOT = Path(__file__).parent.parent.parent
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
PLAIN_ALIKE, PLAIN_GATE, PLAIN_LETTERS, PLAIN_SIEVE = (PLAIN[module.__name__] for module in MODULES)


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
    told = subprocess.run(["make", "-pn", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = re.search("^COMPILED := (.*)$", told, re.MULTILINE)
    assert found is not None
    wanted = {path.removesuffix(".py") for path in found[1].split() if not path.endswith("__init__.py")}
    built = {str(path.relative_to(ROOT)).partition(".")[0] for path in (ROOT / "services").rglob("*.so")}
    assert built == wanted
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
    assert [one.longest(text, 2, 8, most) for one in MARKS] == [longest] * 2


@given(TEXTS, st.integers(1, 3))
def test_the_runs_of_a_mark_are_those_that_are_long_enough(text: str, least: int) -> None:
    expected = [match.span() for match in re.finditer(f"[1大]{{{least},}}", text)]
    assert [one.runs(text, 2, least) for one in MARKS] == [expected] * 2


@given(st.lists(st.integers(0, 5)))
def test_phrases_are_told_from_disguises(numbers: list[int]) -> None:
    found = [(place, place + 1, number) for place, number in enumerate(numbers)]
    phrases = [one for one in found if one[2] < 4]
    disguises = [(start, end, number - 3) for start, end, number in found if number >= 3]
    assert [one.parted(found) for one in SIEVES] == [(phrases, disguises)] * 2


# Of one character, of two that others begin with, and beyond the basic plane.
TRACED = ["大", "麻", "麻花", "麻花店", "花", "a1", "店😀", "😀", "😀x"]


@given(st.text(st.sampled_from("大麻花店ax1😀. "), max_size=200))
@example("")
@example("店😀x" * 60)
@example("".join(chr(0x10000 + ord(character)) for character in "大麻花店"))
def test_a_text_has_the_trace_of_each_word_that_begins_in_it_and_no_others(text: str) -> None:
    shift, places = max(0, len(text).bit_length() - 6), 0x400
    made = [one.Traces(TRACED) for one in (gate, PLAIN_GATE)]
    told = [array("Q", bytes(8 * (places + 2 * len(text) + 2))) for _ in made]
    for one, parts in zip(made, told, strict=True):
        one.tell(text, shift, parts, places)
    assert told[0] == told[1]
    begun: dict[int, str] = {}
    for word in TRACED:
        trace = made[0].of_word(word)
        assert trace == made[1].of_word(word) != 0
        begun[trace] = word[:2]
        for match in re.finditer(f"(?={word[:2]})", text):
            at = places + 2 * match.start()
            assert trace in told[0][at : at + 2]
            assert told[0][trace % places] & 1 << (match.start() >> shift)
    for place, trace in enumerate(told[0][places:]):
        assert not trace or text.startswith(begun[trace], place // 2)


NEEDS = st.lists(
    st.tuples(st.integers(-5, 90), st.integers(-5, 90), st.sets(st.sampled_from(TRACED), min_size=1)), max_size=3
)
NUMBERS = st.lists(st.integers(0, 4), max_size=3, unique=True)


@given(NEEDS, st.data(), st.text(st.sampled_from("大麻花店ax1😀. "), min_size=1, max_size=200))
def test_a_pattern_is_tried_where_a_word_that_it_needs_begins_near(
    needs: list[tuple[int, int, set[str]]], data: st.DataObject, text: str
) -> None:
    """And nowhere else."""
    words, count = 4, len(needs) + 2
    called = [
        [one for one in numbers if one < count]
        for numbers in data.draw(st.lists(NUMBERS, min_size=words, max_size=words))
    ]
    told = data.draw(st.lists(st.booleans(), min_size=words, max_size=words))
    places = st.tuples(st.integers(0, len(text) - 1), st.just(len(text)), st.integers(0, words - 1))
    found = data.draw(st.lists(places, max_size=12))

    answers = []
    for made in (gate, PLAIN_GATE):
        traces = made.Traces([word for _, _, needed in needs for word in needed])
        lists, entries, needed_at = array("i", [0]), array("i"), array("i")
        for numbers, is_told in zip(called, told, strict=True):
            entries.append((2 * len(lists) if numbers else 0) + is_told)
            lists.extend([len(numbers), *numbers] if numbers else [])
        for _, _, needed in needs:
            every = {traces.of_word(word) for word in needed}
            needed_at.append(len(lists))
            lists.extend([len(every), *every])
        before, behind = array("i", (need[0] for need in needs)), array("i", (need[1] for need in needs))
        answers.append(made.Gate(traces, before, behind, entries, needed_at, lists).open(text, found))
    assert answers[0] == answers[1]

    tries, others = answers[0]
    assert others == [one for one in found if told[one[2]]]
    assert tries == [
        (start, pattern)
        for start, _, word in found
        for pattern in called[word]
        if pattern >= len(needs)
        or any(
            text.startswith(other[:2], place)
            for place in range(max(0, start - needs[pattern][0]), start + needs[pattern][1] + 1)
            for other in needs[pattern][2]
        )
    ]


SOUNDS = {
    "大": "da",
    "达": "da",
    "麻": "ma",
    "马": "ma",
    "花": "hua",
    "华": "hua",
    "店": "dian",
    "电": "dian",
    "𠮷": "ji",
}
WORDS = ["大麻", "麻花", "大麻花", "大麻花店", "花店", "𠮷店", "店a"]


def _sounds_like(written: str, word: str) -> bool:
    return all(SOUNDS.get(one, one) == SOUNDS.get(other, other) for one, other in zip(written, word, strict=True))


@given(
    st.text(st.sampled_from("大达麻马花华店电𠮷a吉😀"), max_size=12),
    st.sampled_from([2, 3, 4]),
    st.sampled_from([8, 256]),
)
@example("达麻花电", 4, 256)
@example("达马华电", 4, 8)
def test_words_are_meant_where_their_sounds_stand_with_a_character_of_their_own(
    text: str, sure: int, size: int
) -> None:
    """Also where there are so few numbers for two sounds that many have the same."""
    row = 11
    numbers: dict[str, int] = {}
    for word in WORDS:
        for character in word:
            numbers.setdefault(SOUNDS.get(character, character), len(numbers) + 1)
    points = {ord(one): numbers[SOUNDS.get(one, one)] for one in [*SOUNDS, "a"]}
    numbered = sorted(WORDS, key=lambda word: (points[ord(word[0])] * row + points[ord(word[1])]) % size)
    pairs = [(points[ord(word[0])] * row + points[ord(word[1])]) % size for word in numbered]
    begun = bytearray(size // 8)
    for pair in pairs:
        begun[pair >> 3] |= 1 << (pair & 7)
    told = (
        array("I", (points.get(point, 0) for point in range(0x10000))),
        {point: number for point, number in points.items() if point >= 0x10000},
        row,
        bytes(begun),
        array("i", (bisect_left(pairs, pair) for pair in range(size + 1))),
        array("I", (points[ord(word[2])] if len(word) > 2 else 0 for word in numbered)),
        array("i", accumulate(map(len, numbered), initial=0)),
        array("i", map(ord, "".join(numbered))),
        sure,
    )
    expected = {
        (start, start + len(word), number)
        for number, word in enumerate(numbered)
        for start in range(len(text) - len(word) + 1)
        if _sounds_like(text[start : start + len(word)], word)
        and sum(one != other for one, other in zip(text[start:], word, strict=False)) > 0
        and (len(word) >= sure or any(one == other for one, other in zip(text[start:], word, strict=False)))
    }
    found = [made.Alike(*told).of(text) for made in (alike, PLAIN_ALIKE)]
    assert found[0] == found[1]
    assert sorted(found[0]) == sorted(expected)


def test_homophones_are_told_from_ordinary_words_and_other_syllables() -> None:
    words = homophones.Homophones({"信用", "薇信群", "𠮷祥物"}, frozenset({"心用"}))
    assert "信佣" not in ordinary()
    assert words.meant("信佣") == [(0, "信用")]
    assert words.meant("信用") == []
    assert words.meant("心用") == []
    assert words.meant("一薇信裙") == [(1, "薇信群")]
    assert words.meant("𠮷祥悟") == [(0, "𠮷祥物")]
