import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.normalise import STEPS, normalise, simplified_table

ANY_TEXT = st.text(st.characters())  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＱＱ群９０", "qq群90"),
        ("全國第一", "全国第一"),
        ("MDMA", "mdma"),
        ("㎏", "kg"),
        ("cafe\u0301", "café"),
        ("ß", "ss"),
    ],
)
def test_width_case_and_script_are_folded(text: str, folded: str) -> None:
    assert normalise(text).text == folded


def test_each_folded_character_knows_the_original_characters_it_came_from() -> None:
    folded = normalise("a㎏e\u0301國")
    assert folded.text == "akgé国"
    assert [folded.original_span(index, index + 1) for index in range(5)] == [(0, 1), (1, 2), (1, 2), (2, 4), (4, 5)]


@given(ANY_TEXT)
def test_any_text_is_folded_and_every_span_lies_inside_it(text: str) -> None:
    folded = normalise(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    assert all(0 <= start < end <= len(text) for start, end in zip(folded.starts, folded.ends, strict=True))
    assert list(folded.starts) == sorted(folded.starts)
    assert list(folded.ends) == sorted(folded.ends)


@given(st.text())
def test_without_a_step_its_folding_does_not_happen(text: str) -> None:
    assert normalise(text, ()).text == text
    assert normalise(text, STEPS[1:2]).text == text.casefold()


def test_a_run_of_combining_marks_is_cut_so_that_sorting_them_stays_cheap() -> None:
    # Sorting n marks takes n*n steps in CPython's NFKC, so no piece may have many.
    folded = normalise("a" + "\u0301\u0323" * 5_000)
    assert max(end - start for start, end in zip(folded.starts, folded.ends, strict=True)) <= 32


def test_the_table_is_one_to_one_and_leaves_simplified_text_alone() -> None:
    table = simplified_table()
    assert table[ord("國")] == "国"
    assert ord("国") not in table
    assert all(len(simplified) == 1 for simplified in table.values())
    assert not any(unicodedata.category(chr(point)) == "Cs" for point in table)
