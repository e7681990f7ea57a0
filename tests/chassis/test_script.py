"""What scripts ask means the same wherever they are run, whatever the values are."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.chassis import database
from services.chassis.database import Database
from services.chassis.drivers import LoopDriver, driver_of, played
from services.chassis.script import Row, Script, Statement, bound, literal
from services.chassis.stores import MariaStore, store_of

Run = Callable[[Script[list[list[Row]]]], list[list[Row]]]

NASTY = ["", "'", "''", "\\", "\\'", "' OR 1=1 --", "'); DROP TABLE t; --", "?", "%", "%s", "%%", ";", "\n\r\t", "\0",
         "a\0'b", "😀", "é", "/*", "*/", "`", '"', "NULL", "\x1a", "\u2028", "１", "ß"]  # fmt: skip
texts = st.text(max_size=20) | st.sampled_from(NASTY)
numbers = st.integers(-(2**63), 2**63 - 1)
rows = st.lists(st.tuples(st.none() | texts, st.none() | numbers), min_size=1, max_size=6)


def told_back(values: list[tuple[str | None, int | None]]) -> Script[list[list[Row]]]:
    """Everything in t after the values went into it in each form that an argument can have, and what IN finds."""
    numbered = [(number, *value) for number, value in enumerate(values)]
    keys = tuple(range(len(values)))
    wanted = tuple(text for text, _ in values if text is not None) or ("",)
    _, _, entered = yield [
        Statement("DELETE FROM t"),
        Statement("INSERT INTO t (id, text, number) VALUES ?", (numbered,), touches=len(values)),
        Statement("SELECT id, text, number FROM t ORDER BY id"),
    ]
    (found,) = yield [Statement("SELECT id FROM t WHERE text IN ? ORDER BY id", (wanted,))]
    turned = dict(zip(keys, reversed(values), strict=True))
    _, changed, one, same = yield [
        Statement(
            "UPDATE t SET text = CASE id ? END, number = CASE id ? END WHERE id IN ?",
            ({key: text for key, (text, _) in turned.items()}, {key: n for key, (_, n) in turned.items()}, keys),
            touches=len(values),
        ),
        Statement("SELECT text, number FROM t ORDER BY id DESC"),
        Statement("SELECT id, text, number FROM t WHERE id = ? AND number = ?", (0, values[-1][1])),
        Statement("SELECT ? = ?, ? = ?", (wanted[0], wanted[-1], values[0][1], values[-1][1])),
    ]
    return [], [list(entered), list(found), list(changed), list(one), list(same)]


def expected(values: list[tuple[str | None, int | None]], pads: bool) -> list[list[Row]]:
    """MariaDB's collations know no difference between "a" and "a " (`pads`)."""

    def shape(text: str | None) -> str:
        return (text or "").rstrip(" " if pads else "")

    texts = [text for text, _ in values if text is not None] or [""]
    last, first = values[-1][1], values[0][1]
    return [
        [(number, *value) for number, value in enumerate(values)],
        [
            (number,)
            for number, (text, _) in enumerate(values)
            if text is not None and shape(text) in [*map(shape, texts)]
        ],
        list(values),
        [] if last is None else [(0, values[-1][0], last)],
        [(int(shape(texts[0]) == shape(texts[-1])), None if first is None or last is None else int(first == last))],
    ]


@pytest.fixture
def t(empty: Database) -> None:
    def create() -> None:
        text = "TEXT" if database.dialect() == "sqlite" else "VARCHAR(200)"
        database.proxy.execute_sql(f"CREATE TABLE t (id BIGINT PRIMARY KEY, text {text}, number BIGINT)")

    empty.run_here(create)


@pytest.fixture(params=["driver", "played"])
def run(request: pytest.FixtureRequest, empty: Database, t: None) -> Iterator[Run]:
    """Both ways of a script to each of the databases: the one that batches take, and one for a thread of its own."""
    if request.param == "played":
        yield lambda script: empty.run_here(played, script)
        return
    with asyncio.Runner() as runner:
        driver = runner.run(made(empty))
        yield lambda script: runner.run(driver.run(script))
        runner.run(driver.close())


async def made(db: Database) -> Any:
    return driver_of(db)


def test_every_value_comes_back_as_it_went_in_wherever_an_argument_may_stand(run: Run, backend: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(rows)
    @example([(text, number) for number, text in enumerate(NASTY)])
    @example([("' OR 1=1 --", None), ("a", 1), ("A", 1), ("a ", 2), ("á", 3)])
    @example([("😀", 2**63 - 1), ("😁", -(2**63))])
    def check(values: list[tuple[str | None, int | None]]) -> None:
        assert run(told_back(values)) == expected(values, pads=backend == "mariadb")

    check()


def test_what_is_meant_to_break_out_stays_data(run: Run) -> None:
    attacks = ["x'); DELETE FROM t; --", "\\'); DELETE FROM t; --", "?", "' UNION SELECT 1, 2, 3 -- ", "%(id)s %s %d"]

    def attack() -> Script[list[list[Row]]]:
        (told,) = yield [
            Statement(
                "SELECT id, text FROM t WHERE text IN ? OR text = ? OR CASE text ? END = 1",
                (tuple(attacks), attacks[0], dict.fromkeys(attacks, 0)),
            )
        ]
        return [Statement("REPLACE INTO t (id, text) VALUES ?", (list(enumerate(attacks)),))], [list(told)]

    assert run(attack()) == [[]]
    assert run(attack()) == [list(enumerate(attacks))]


def test_a_percent_sign_in_a_statement_is_only_that(run: Run) -> None:
    def like() -> Script[list[list[Row]]]:
        _, found = yield [
            Statement("INSERT INTO t (id, text) VALUES ?", ([(1, "100%"), (2, "100")],)),
            Statement("SELECT id FROM t WHERE text LIKE '1%' AND text <> ? AND 7 % 4 = ?", ("100", 3)),
        ]
        (all_of_them,) = yield [Statement("SELECT id FROM t WHERE text LIKE '1%' ORDER BY id")]
        return [], [list(found), list(all_of_them)]

    assert run(like()) == [[(1,)], [(1,), (2,)]]


def test_a_script_may_end_without_having_anything_to_write(run: Run) -> None:
    def look() -> Script[list[list[Row]]]:
        ((number,),) = (yield [Statement("SELECT 1")])[0]
        return [], [[(number,)]]

    assert run(look()) == [[(1,)]]


def test_a_number_that_no_column_can_hold_is_an_error_and_not_another_number(run: Run) -> None:
    def enter() -> Script[list[list[Row]]]:
        yield [Statement("INSERT INTO t (id, number) VALUES ?", ([(1, 2**63)],))]
        return [], []

    def look() -> Script[list[list[Row]]]:
        (found,) = yield [Statement("SELECT * FROM t")]
        return [], [list(found)]

    with pytest.raises(Exception, match=r"(?i)range|too large"):
        run(enter())
    assert run(look()) == [[]]


@pytest.mark.parametrize("value", [True, 1.5, b"a", object()])
@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: (one,), lambda one: [(one,)], lambda one: {one: 1}])
def test_what_is_no_argument_is_refused_before_anything_is_sent(value: Any, wrap: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        literal(Statement("SELECT ?", (wrap(value),)))


def test_a_statement_with_too_many_or_too_few_arguments_is_refused() -> None:
    for render in (literal, lambda one: bound(one, "sqlite"), lambda one: bound(one, "mysql")):
        for args in ((), (1, 2)):
            with pytest.raises(ValueError, match="argument"):
                render(Statement("SELECT ?", args))


def test_texts_read_as_mariadb_reads_them() -> None:
    statement = Statement(
        "INSERT INTO t VALUES ?; SELECT CASE id ? END FROM t WHERE id IN ? AND text = ?",
        ([(1, "it's"), (2, None)], {1: "a\\", 2: None}, (1, -2), "?"),
    )
    assert literal(statement) == (
        "INSERT INTO t VALUES (1,'it''s'),(2,NULL); SELECT CASE id WHEN 1 THEN CONVERT(X'615c' USING utf8mb4) "
        "WHEN 2 THEN NULL END FROM t WHERE id IN (1,-2) AND text = '?'"
    )
    sql = "INSERT INTO t VALUES (P, P),(P, P); SELECT CASE id WHEN P THEN P WHEN P THEN P END FROM t WHERE id IN (P, P)"
    values = [1, "it's", 2, None, 1, "a\\", 2, None, 1, -2, "?"]
    for dialect, place in (("sqlite", "?"), ("mysql", "%s")):
        text, args = bound(statement, dialect)
        assert text.replace(", ", ",") == f"{sql} AND text = P".replace("P", place).replace(", ", ",")
        assert args == values


def test_sqlite_is_told_in_its_own_words() -> None:
    upsert = "INSERT INTO t (id, n) VALUES ? ON DUPLICATE KEY UPDATE n = "
    for sql, told in (
        ("SELECT id FROM t FORCE INDEX (one) WHERE id = ? FOR UPDATE", "SELECT id FROM t WHERE id = ?"),
        ("SELECT 1 FROM a STRAIGHT_JOIN b ON a.id = ?", "SELECT 1 FROM a CROSS JOIN b ON a.id = ?"),
    ):
        assert bound(Statement(sql, (1,)), "sqlite")[0] == told
        assert bound(Statement(sql, (1,)), "mysql")[0] == sql.replace("?", "%s")
    for end, told in (("VALUES(n)", "ON CONFLICT DO UPDATE SET n = excluded.n"), ("n", "ON CONFLICT DO NOTHING")):
        assert bound(Statement(upsert + end, ([(1, 2)],)), "sqlite")[0] == f"INSERT INTO t (id, n) VALUES (?,?) {told}"


@pytest.mark.parametrize(("end", "kept"), [("VALUES(number)", 7), ("number", 1)])
def test_an_upsert_does_the_same_on_both(run: Run, end: str, kept: int) -> None:
    def upsert() -> Script[list[list[Row]]]:
        put = "INSERT INTO t (id, number) VALUES ?"
        yield [
            Statement(put, ([(1, 1)],)),
            Statement(f"{put} ON DUPLICATE KEY UPDATE number = {end}", ([(1, 7), (2, 2)],)),
        ]
        (found,) = yield [Statement("SELECT id, number FROM t ORDER BY id")]
        return [], [list(found)]

    assert run(upsert()) == [[(1, kept), (2, 2)]]


def test_the_session_reads_texts_as_they_are_written(maria_url: str) -> None:
    store = store_of(maria_url)
    assert isinstance(store, MariaStore)

    async def mode() -> str:
        driver = LoopDriver(store)

        def look() -> Script[str]:
            ((mode,),) = (yield [Statement("SELECT @@sql_mode")])[0]
            return [], mode

        found = await driver.run(look())
        await driver.close()
        return found

    assert {"NO_BACKSLASH_ESCAPES", "STRICT_ALL_TABLES"} <= {*asyncio.run(mode()).split(",")}
