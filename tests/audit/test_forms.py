import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.reading import steps
from services.audit.reading.forms import Fold
from tests.audit import disguises

FOLD = Fold()
ANY_TEXT = st.text(st.characters())  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("ＱＱ群９０", "qq群90"),
        ("全國第一", "全国第1"),
        ("苐①、№２", "第1,第2"),
        ("贰佰、叁拾、肆仟", "2百,3十,4千"),
        ("Ⅴ 🅰 ⓑ 𝐂 ³", "5abc3"),
        ("ехАс", "exac"),
        ("㎏", "kg"),
        ("加\u200b微\u0301 信★号😀", "加微信号"),
        ("好，坏。a!b\nc", "好,坏,a,b,c"),
        ("1.5-2.5折，满减", "1.5-2.5折,满减"),
        ("18％，a%", "18%,a"),
        ("a.b-c+d", "abcd"),
        ("", ""),
    ],
)
def test_a_text_is_folded_to_its_clauses(text: str, clauses: str) -> None:
    assert FOLD.text(text) == clauses


def test_each_folded_character_knows_the_original_characters_it_came_from() -> None:
    form = FOLD.form("a㎏\u0301 國.b")
    assert form.text == "akg国b"
    assert [form.original_span(place, place + 1) for place in range(5)] == [(0, 1), (1, 2), (1, 2), (4, 5), (6, 7)]
    assert form.original_span(2, 4) == (1, 5)


def test_entities_keep_what_stands_between_numbers_and_names() -> None:
    assert FOLD.entities("ＱＱ：１３８－００００\u200b　➀②") == "qq:138-0000 12"


@given(ANY_TEXT)
def test_any_text_is_folded_and_every_span_lies_inside_it(text: str) -> None:
    for form, expected in ((FOLD.form(text), FOLD.text(text)), (FOLD.entities_form(text), FOLD.entities(text))):
        assert form.text == expected
        assert len(form.text) == len(form.starts) == len(form.ends)
        assert all(0 <= start < end <= len(text) for start, end in zip(form.starts, form.ends, strict=True))
        assert list(form.starts) == sorted(form.starts)


@given(ANY_TEXT)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert FOLD.text(FOLD.text(text)) == FOLD.text(text)


@pytest.mark.parametrize(
    ("step", "text", "without"),
    [
        (steps.NFKC, "ａ国", "ａ国"),
        (steps.CASE, "A国", "A国"),
        (steps.TRADITIONAL, "國a", "國a"),
        (steps.DIGITS, "①国", "①国"),
        (steps.LOOKALIKE, "х国", "х国"),
        (steps.ZERO_WIDTH, "a\u200b国", "a,国"),
        (steps.SPACES, "a 国", "a,国"),
        (steps.SYMBOLS, "a#国", "a,国"),
        (steps.EMOJI, "a😀国", "a,国"),
    ],
)
def test_without_a_step_its_folding_does_not_happen(step: str, text: str, without: str) -> None:
    assert Fold(frozenset(steps.ALL) - {step}).text(text) == without
    assert FOLD.text(text) != without


@pytest.mark.parametrize("sign", disguises.ZERO_WIDTH + disguises.SPACES + disguises.SYMBOLS + disguises.EMOJI)
def test_a_sign_between_characters_is_dropped(sign: str) -> None:
    assert FOLD.text(f"加{sign}微") == "加微"
