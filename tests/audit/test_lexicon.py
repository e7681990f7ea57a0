from pathlib import Path

import pytest

from services.audit import lexicon
from services.audit.lexicon import CATEGORIES, Lexicon, LexiconError, LocalizedText, Term

REWRITE = LocalizedText("改写", "rewrite")


def term(text: str, *, exceptions: tuple[str, ...] = (), pattern: str = "", action: str = "reject") -> Term:
    return Term(text, "drugs", action, False, exceptions, "禁毒法", REWRITE, pattern)


def test_the_built_in_lexicon_covers_every_category_with_basis_and_rewrite() -> None:
    built_in = lexicon.load()
    assert {entry.category for entry in built_in.terms} == set(CATEGORIES)
    assert all(entry.basis and entry.rewrite.zh_cn and entry.rewrite.en for entry in built_in.terms)


def test_a_release_survives_being_kept_as_json() -> None:
    built_in = lexicon.load()
    again = lexicon.from_json(built_in.to_json())
    assert again == built_in
    assert again.release == built_in.release
    assert again.to_json() == built_in.to_json()


def test_the_order_of_terms_does_not_change_the_release_and_their_content_does() -> None:
    one, two = term("甲草"), term("乙草")
    assert Lexicon.of([one, two]).release == Lexicon.of([two, one]).release
    assert Lexicon.of([one]).release != Lexicon.of([two]).release
    assert Lexicon.of([one]).release != Lexicon.of([term("甲草", action="review")]).release


def test_the_order_of_exceptions_in_a_file_does_not_change_the_release(tmp_path: Path) -> None:
    group = '[[group]]\naction = "reject"\nbasis = "b"\nrewrite = {{ zh_cn = "z", en = "e" }}\nterms = ["甲"]\n'
    releases = []
    for name, phrases in (("a", '"甲乙", "甲丙"'), ("b", '"甲丙", "甲乙"')):
        directory = tmp_path / name
        directory.mkdir()
        content = f'category = "drugs"\n{group.format()}[group.exceptions]\n"甲" = [{phrases}]\n'
        (directory / "drugs.toml").write_text(content, encoding="utf-8")
        releases.append(lexicon.load(directory).release)
    assert releases[0] == releases[1]


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ([term("　")], "must not be empty"),
        ([term("甲" * 201)], "longer than 200 characters"),
        ([term("甲草", action="block")], "unknown"),
        ([term("甲草", exceptions=("　",))], "an empty exception"),
        ([term("甲，草")], "within a clause"),
        ([term("LSD"), term("ＬＳＤ")], "also listed"),
        ([term("p", pattern="a+")], "without a bound"),
        ([term("p", pattern="a{2,}")], "without a bound"),
        ([term("p", pattern=r"(a)\1")], "a back reference"),
        ([term("p", pattern="(?P<a>b)c(?P=a)")], "a back reference"),
        ([term("p", pattern="a(?>bc|b)c")], "an atomic group"),
        ([term("p", pattern="(a)?b(?(1)c|d)")], "a condition"),
        ([term("p", pattern="甲草[^,]{0,2000}乙草")], "more than 1,000 characters"),
        ([term("p", pattern="[^,]{1,4}")], "no words that each of its matches contains"),
        ([term("p", pattern="a?")], "matches nothing"),
        ([term("p", pattern="(a")], "p: "),
    ],
)
def test_a_term_that_could_not_work_is_refused_by_name(terms: list[Term], complaint: str) -> None:
    with pytest.raises(LexiconError, match=complaint):
        Lexicon.of(terms)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"terms": [1]}', '{"terms": [{}]}', '{"terms": 1}', "null"])
def test_json_that_is_no_lexicon_is_refused(text: str) -> None:
    with pytest.raises(LexiconError):
        lexicon.from_json(text)


@pytest.mark.parametrize("content", ["category", 'category = "drugs"', "group = 1\ncategory = 1", "x = 1"])
def test_a_broken_file_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "drugs.toml").write_text(content, encoding="utf-8")
    with pytest.raises(LexiconError, match=r"drugs\.toml"):
        lexicon.load(tmp_path)


def test_an_empty_directory_is_refused_so_that_nothing_is_audited_by_nothing(tmp_path: Path) -> None:
    with pytest.raises(LexiconError):
        lexicon.load(tmp_path)


def written(tmp_path: Path, group: str, macros: str = "") -> Lexicon:
    """The lexicon of one file, with what a group must have."""
    common = 'action = "reject"\nbasis = "b"\nrewrite = { zh_cn = "z", en = "e" }\n'
    content = f'category = "drugs"\n{macros}\n[[group]]\n{common}{group}\n'
    (tmp_path / "drugs.toml").write_text(content, encoding="utf-8")
    return lexicon.load(tmp_path)


def test_macros_stand_for_expressions_and_may_use_those_above_them(tmp_path: Path) -> None:
    macros = "[macros]\nWIDE = '全国|全网'\nFIRST = '{WIDE}[^,]{0,2}第一'"
    [entry] = written(tmp_path, "[group.patterns]\n'大' = '{FIRST}{N}'", macros).terms
    assert entry.pattern == "(?:(?:全国|全网)[^,]{0,2}第1)(?:[0-9十百千万亿.]{1,6})"


def test_expressions_are_folded_as_texts_are(tmp_path: Path) -> None:
    [entry] = written(tmp_path, "[group.patterns]\n'x' = '第一(?:國|网)\\d{1,2}'").terms
    assert entry.pattern == "第1(?:国|网)\\d{1,2}"


def test_a_group_shares_its_flags_and_words_are_those_of_its_patterns(tmp_path: Path) -> None:
    group = "homophones = false\nboundary = true\nunless_forbidden = true\nwords = ['甲草']\nterms = ['乙草']"
    entries = {entry.text: entry for entry in written(tmp_path, f"{group}\n[group.patterns]\n'x' = '甲草[0-9]'").terms}
    assert all(one.boundary and one.unless_forbidden and not one.homophones for one in entries.values())
    assert (entries["x"].words, entries["乙草"].words) == (("甲草",), ())


@pytest.mark.parametrize(
    ("group", "macros", "complaint"),
    [
        ("[group.patterns]\n'x' = '{WIDE}'", "", "no macro {WIDE}"),
        ("terms = ['甲草']\n[group.exceptions]\n'乙草' = ['乙草地']", "", "exceptions to what the group does not list"),
        ("terms = ['甲草']\nhomophones = 1", "", "wrong type"),
        ("[group.patterns]\n'x' = '{A}'", f"[macros]\nA = '{'甲草|' * 10_000}乙'", "too long"),
    ],
)
def test_a_group_that_could_not_work_is_refused(tmp_path: Path, group: str, macros: str, complaint: str) -> None:
    with pytest.raises(LexiconError, match=complaint):
        written(tmp_path, group, macros)
