"""The audit's tables hold what whoever reads them relies on; that `make tables` makes them so is in make.py."""

import re
import unicodedata
from importlib import resources

import pytest

# The rows of every table, without its header, by the columns there are.
COLUMNS = {
    "fold.tsv": ["code point", "kind", "replacement"],
    "syllables.tsv": ["character", "syllable", "other readings", "confusable form of the syllable"],
    "splits.tsv": ["written", "character", "kind"],
    "shapes.tsv": ["written", "character"],
    "emoji_words.tsv": ["emoji", "word"],
    "ordinary.txt": ["word"],
}


def read(name: str) -> list[list[str]]:
    text = resources.files("services.audit.reading.tables").joinpath(name).read_text("utf-8")
    header, *lines = text.removesuffix("\n").split("\n")
    assert header.split("\t") == COLUMNS[name]
    return [line.split("\t") for line in lines]


FOLD = {chr(int(point, 16)): (kind, replacement) for point, kind, replacement in read("fold.tsv")}
SYLLABLES = {row[0]: row for row in read("syllables.tsv")}
SPLITS = [tuple(row) for row in read("splits.tsv")]
SHAPES = [tuple(row) for row in read("shapes.tsv")]
EMOJI = dict(read("emoji_words.tsv"))
ORDINARY = {word for (word,) in read("ordinary.txt")}


def of(character: str) -> tuple[str, str]:
    """What a character is and becomes, whether the table lists it or leaves it to the rule."""
    return FOLD.get(character) or (("letter", character) if character.isalnum() else ("drop", ""))


def fold(text: str) -> str:
    return "".join(of(character)[1] for character in text)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_has_its_columns_in_every_row_and_is_sorted_without_repetition(name: str) -> None:
    rows = read(name)
    assert {len(row) for row in rows} == {len(COLUMNS[name])}
    keys = [int(row[0], 16) if name == "fold.tsv" else row[0] for row in rows]
    assert keys == sorted(keys)
    assert len({tuple(row) for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＱＱ群９０", "qq群90"),
        ("全國苐①", "全国第1"),
        ("全国№Ⅰ", "全国第1"),
        ("壹叁玖零〇肆", "139004"),
        ("①⑴⒈❶⓵㊀㈠¹₁１𝟏𝟙🄂1\ufe0f\u20e3", "11111111111111"),
        ("⑩⒑❿Ⅹ🔟", "1010101010"),
        ("三十万", "3十万"),
        ("叁拾萬", "3十万"),
        ("廿一", "2十1"),
        ("½价", "2分之1价"),
        ("㎏㎡", "kgm2"),
        ("㊕供", "特供"),
        ("wēi xìn nǚ", "weixinnv"),
        ("Gücci", "gucci"),
        ("ωеіхіп", "weixin"),
        ("ᴡᴇɪxɪɴ 𝕨𝒆𝓲𝔁𝓲𝓷 ʷᵉⁱ", "weixinweixinwei"),
        ("🅰🅱Ⓥ🇻Ⓧ", "abvvx"),
        ("微\u200b\u00ad\u2060\ufe0f\u3164\U000e0041信\u0336", "微信"),
        ("加★微*信👨\u200d👩\u200d👧👍🏽", "加微信"),
        ("「加」【微】（信）", "加微信"),
        ("イ弗⺡台⻐戋", "亻弗氵台钅戋"),
        ("銭売図髙氷", "钱卖图高冰"),
        ("美味の", "美味的"),
        ("卷🆕发", "卷发"),
    ],
)
def test_writings_of_the_same_thing_fold_to_one(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        ("，,。；：！？、/｜|\n｡﹐︰丨", ("break", ",")),
        (".．﹒", ("point", ".")),
        ("-－–—−ー", ("hyphen", "-")),
        ("@＠", ("other", "@")),
        ("+＋➕", ("other", "+")),
        (" \t\u3000（）()【】《》“”‘’…·~～*_#<>=$￥×★→❤丶\u200d\ufeff", ("drop", "")),
    ],
)
def test_signs_are_told_apart(characters: str, expected: tuple[str, str]) -> None:
    assert {character: of(character) for character in characters} == dict.fromkeys(characters, expected)


def test_folding_again_changes_nothing() -> None:
    assert [point for point, (_, replacement) in FOLD.items() if fold(replacement) != replacement] == []


def test_the_fold_leaves_the_characters_of_simplified_chinese_but_numerals() -> None:
    plain = {character for character in SYLLABLES if SYLLABLES[character][1]}
    assert [character for character in plain if fold(character) != character] == []
    assert len(plain) > 8000


def test_every_digit_of_every_script_is_an_ascii_digit() -> None:
    digits = [chr(point) for point in range(0x110000) if chr(point).isdecimal()]
    assert all(fold(digit) == str(unicodedata.decimal(digit)) for digit in digits)


def test_letters_and_digits_are_all_that_a_letter_becomes() -> None:
    letters = [replacement for kind, replacement in FOLD.values() if kind == "letter"]
    assert [letter for letter in letters if not letter.isalnum()] == []
    assert {kind for kind, _ in FOLD.values()} == {"letter", "drop", "break", "point", "hyphen", "other"}


@pytest.mark.parametrize(
    ("character", "readings", "confusable"),
    [
        ("国", ["guo"], "guo"),
        ("女", ["nv"], "nv"),
        ("略", ["lve"], "lve"),
        ("行", ["xing", "hang"], "xin"),
        ("都", ["dou", "du"], "dou"),
        ("胜", ["sheng"], "sen"),
        ("长", ["zhang", "chang"], "zan"),
        ("广", ["guang"], "guan"),
    ],
)
def test_a_character_sounds_as_it_is_mostly_read(character: str, readings: list[str], confusable: str) -> None:
    _, syllable, others, merged = SYLLABLES[character]
    assert ([syllable, *others.split()], merged) == (readings, confusable)


def test_syllables_are_toneless_latin() -> None:
    heard = {syllable for row in SYLLABLES.values() for syllable in [row[1], row[3], *row[2].split()]}
    assert [syllable for syllable in heard if not re.fullmatch("[a-z]{1,6}", syllable)] == []
    assert len({row[1] for row in SYLLABLES.values()}) < 420  # Mandarin has some 400.


@pytest.mark.parametrize(
    "row",
    [
        ("亻氐", "低", "radical"),
        ("氵台", "治", "radical"),
        ("氵每", "海", "radical"),
        ("亻弗", "佛", "radical"),
        ("讠身寸", "谢", "radical"),
        ("日取", "最", "words"),
        ("木木", "林", "words"),
        ("贝者", "赌", "words"),
        ("女票", "嫖", "words"),
        ("口口口", "品", "words"),
        ("文辶", "这", "radical"),
        ("辶文", "这", "radical"),
    ],
)
def test_a_character_written_apart_is_known(row: tuple[str, str, str]) -> None:
    assert row in SPLITS


def test_what_is_written_apart_or_looks_alike_is_folded_and_never_itself() -> None:
    assert [row for row in SPLITS if fold(row[0]) != row[0] or fold(row[1]) != row[1] or row[1] in row[0]] == []
    assert [row for row in SHAPES if fold(row[0]) != row[0] or fold(row[1]) != row[1] or row[0] == row[1]] == []
    assert {len(written) for written, _, _ in SPLITS} == {2, 3}
    assert all(row[0].isalnum() for row in SPLITS)  # No clause ends within a character.
    assert {len(character) for row in SHAPES for character in row} == {1}


def test_characters_that_look_alike_are_known() -> None:
    assert {("孑", "子"), ("己", "已"), ("未", "末"), ("微", "徽"), ("睹", "赌"), ("搏", "博")} <= {*SHAPES}
    assert len(SHAPES) >= 150


def test_emoji_stand_for_folded_words_and_are_written_without_a_selector() -> None:
    assert EMOJI["➕"] == "加"
    assert EMOJI["🐧"] == "qq"
    assert all(fold(word) == word for word in EMOJI.values())
    assert not any(emoji.endswith("\ufe0f") or emoji[0].isalnum() for emoji in EMOJI)
    # Whoever reads them looks for the first character.
    assert len({emoji[0] for emoji in EMOJI}) == len(EMOJI)


def test_ordinary_words_are_folded_and_short() -> None:
    assert {"大妈", "卫星", "第1", "胡萝卜", "奶茶", "打骂"} <= ORDINARY
    assert {len(word) for word in ORDINARY} == {2, 3}
    assert all(fold(word) == word for word in ORDINARY)
    assert 60_000 < len(ORDINARY) < 80_000


def test_the_tables_stay_small() -> None:
    folder = resources.files("services.audit.reading.tables")
    assert all(len(folder.joinpath(name).read_bytes()) < 1_000_000 for name in COLUMNS)
