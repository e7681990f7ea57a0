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
        ([term("甲草", exceptions=("乙",))], "does not contain the term"),
        ([term("LSD"), term("ＬＳＤ")], "also listed"),
        ([term("p", pattern="a+")], "without a bound"),
        ([term("p", pattern="a{2,}")], "without a bound"),
        ([term("p", pattern=r"(a)\1")], "without a bound"),
        ([term("p", pattern="ABC")], "not in normalised form"),
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
