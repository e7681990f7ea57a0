"""The tables beside this module, made offline: what reads like what."""

from collections.abc import Iterator
from functools import cache
from importlib import resources


def rows(name: str) -> Iterator[list[str]]:
    """The rows of a table, without its header."""
    text = resources.files("services.audit.reading.tables").joinpath(name).read_text("utf-8")
    return (line.split("\t") for line in text.splitlines()[1:] if line)


@cache
def ordinary() -> frozenset[str]:
    """Words of two and three characters that ordinary Chinese has."""
    return frozenset(row[0] for row in rows("ordinary.txt"))


def emoji_words() -> dict[str, str]:
    """What emoji stand for, each without a variation selector."""
    return {row[0].rstrip("\ufe0f"): row[1] for row in rows("emoji_words.tsv")}
