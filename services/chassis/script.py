"""Transactions written as scripts: what is asked of the database in each round trip, not how it gets there.

A script is a generator. It yields the statements of one round trip and is sent the rows of each; at last it returns
the statements to end with, which go to the database together with COMMIT, and its result. So one text of the rules
runs wherever statements can be run: in a thread, on the event loop, on SQLite and on whatever speaks MySQL's protocol.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """One statement; each `?` of `sql` stands for an argument.

    An argument is None, an int, a str, or one of these: a tuple is a list in parentheses, (1, 2); a list of tuples is
    the rows of VALUES, (1, 'a'), (2, 'b'); a mapping is the branches of a CASE, WHEN 1 THEN 'a' WHEN 2 THEN 'b'.
    The sql is written as MariaDB reads it. `touches` is how many rows it must touch, else all of it is undone.
    """

    sql: str
    args: tuple[Any, ...] = ()
    touches: int | None = None


Script: TypeAlias = Generator[Sequence[Statement], Sequence[Sequence[Row]], tuple[Sequence[Statement], T]]


@dataclass(frozen=True, slots=True)
class Ending(Generic[T]):
    """What a script ends with: the statements to commit with, and its result."""

    statements: Sequence[Statement]
    result: T


def step(script: Script[T], rows: Sequence[Sequence[Row]] | None) -> "Sequence[Statement] | Ending[T]":
    """What the script asks next, given the rows of what it asked before (None at first), or what it ends with."""
    try:
        # A generator takes nothing at first, which its type does not tell.
        return script.send(rows)  # type: ignore[arg-type]
    except StopIteration as end:
        return Ending(*end.value)


class RowsMissed(Exception):
    """A statement touched another number of rows than it had to: what it was decided by did not hold."""


class DuplicateKey(Exception):
    """A row with the same key was there: perhaps another process committed the same request meanwhile."""


def literal(statement: Statement) -> str:
    """The statement with its arguments in it, for a session with NO_BACKSLASH_ESCAPES."""
    first, *rest = statement.sql.split("?")
    return first + "".join([_literal(arg) + part for arg, part in zip(statement.args, rest, strict=True)])


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is str:
        return _quoted(value)
    if kind is tuple:
        return f"({_listed(value)})"
    if kind is list:
        return ",".join([f"({_listed(row)})" for row in value])
    return " ".join([f"WHEN {_literal(key)} THEN {_literal(one)}" for key, one in value.items()])


def _listed(values: Row) -> str:
    # Written out, because these are most of what is ever sent.
    return ",".join([str(one) if one.__class__ is int else "NULL" if one is None else _quoted(one) for one in values])


def _quoted(text: str) -> str:
    if "\\" in text:
        # The session takes it for any other character; should something between us have lost that, so does this.
        return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)"
    return f"'{text}'" if "'" not in text else "'" + text.replace("'", "''") + "'"


def bound(statement: Statement, dialect: str) -> tuple[str, list[Any]]:
    """The statement for a driver that takes values apart from the text, with a place for each, and those values."""
    if dialect == "sqlite":
        sql, place = _for_sqlite(statement.sql), "?"
    else:
        sql, place = statement.sql.replace("%", "%%"), "%s"
    first, *rest = sql.split("?")
    values: list[Any] = []
    return first + "".join(
        [_places(arg, place, values) + p for arg, p in zip(statement.args, rest, strict=True)]
    ), values


# What SQLite needs not, since the whole file is locked at BEGIN, and what it calls otherwise.
_IN_SQLITE = (
    (re.compile(r" FOR UPDATE| FORCE INDEX \(\w+\)"), ""),
    (re.compile(r"STRAIGHT_JOIN"), "CROSS JOIN"),
    (re.compile(r"ON DUPLICATE KEY UPDATE (\w+) = VALUES\(\1\)"), r"ON CONFLICT DO UPDATE SET \1 = excluded.\1"),
    (re.compile(r"ON DUPLICATE KEY UPDATE (\w+) = \1"), "ON CONFLICT DO NOTHING"),
)


@lru_cache(maxsize=256)
def _for_sqlite(sql: str) -> str:
    for words, others in _IN_SQLITE:
        sql = words.sub(others, sql)
    return sql


def _places(arg: Any, place: str, values: list[Any]) -> str:
    if isinstance(arg, tuple):
        values += arg
        return f"({','.join([place] * len(arg))})"
    if isinstance(arg, list):
        return ",".join([_places(row, place, values) for row in arg])
    if isinstance(arg, Mapping):
        for pair in arg.items():
            values += pair
        return " ".join([f"WHEN {place} THEN {place}"] * len(arg))
    values.append(arg)
    return place
