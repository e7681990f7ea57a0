"""Reads by_hand.toml, what no library knows of how characters are written."""

import tomllib
from functools import cache
from pathlib import Path


@cache
def _lists() -> dict[str, str]:
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return {name: value for name, value in tomllib.load(file).items() if isinstance(value, str)}


@cache
def units() -> dict[str, list[str]]:
    """cjk-decomp's number of a part that is no character -> what is typed for it."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        found: dict[str, list[str]] = tomllib.load(file)["units"]
    return found


def characters(name: str) -> str:
    """The characters of a list."""
    return _lists()[name]


def words(name: str) -> list[str]:
    """The words of a list."""
    return _lists()[name].split()


@cache
def alternatives(name: str) -> dict[str, tuple[str, ...]]:
    """A list of pairs, whose words begin with a character and go on with what it becomes, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words(name):
        found[word[0]] = (*found.get(word[0], ()), word[1:])
    return found


def pairs(name: str) -> dict[str, str]:
    """The same for a list in which every character becomes one thing; ValueError if one becomes two."""
    found = alternatives(name)
    twice = [character for character, becomes in found.items() if len(becomes) > 1]
    if twice:
        raise ValueError(f"{name} says two things of {' '.join(twice)}")
    return {character: becomes[0] for character, becomes in found.items()}
