"""`sharemesh audit-text`: judges JSON lines without a database, one answer a line."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from services.audit import lexicon
from services.audit.judge import judge
from services.audit.lexicon import LexiconError
from services.audit.matcher import Matcher
from services.chassis.settings import BadSetting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument(
        "--lexicon",
        type=Path,
        default=lexicon.BUILT_IN,
        metavar="DIR",
        help="a directory of .toml files [default: the built-in lexicon]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge standard input until it ends; returns 0, or 1 if a line was none. Raises BadSetting."""
    try:
        matcher = Matcher(lexicon.load(arguments.lexicon))
    except LexiconError as error:
        raise BadSetting(f"--lexicon: {error}") from error
    try:
        bad = judge_lines(sys.stdin.buffer, matcher, sys.stdout.buffer, sys.stderr)
    except BrokenPipeError:
        # Whoever reads has enough; what Python would still flush at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if bad else 0


def judge_lines(lines: Iterable[bytes], matcher: Matcher, out: BinaryIO, complaints: TextIO) -> int:
    """Answers {"id", "text"} with {"id", "decision", "findings"}, in order; returns how many lines were none.

    `start` and `end` of a finding count code points of the text. Each answer is written at once, for whoever asks may
    wait for it before it asks again. A line that cannot be judged is told by its number, from 1, and has no answer.
    """
    bad = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = _answer(line, matcher)
        except _NotALine as error:
            bad += 1
            complaints.write(f"line {number}: {error}\n")
            complaints.flush()
            continue
        out.write(_written(answer))
        out.flush()
    return bad


class _NotALine(Exception):
    """The message says what is wrong."""


def _answer(line: bytes, matcher: Matcher) -> dict[str, Any]:
    try:
        asked = json.loads(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise _NotALine(f"not JSON: {error.msg}, at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise _NotALine(f"not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise _NotALine("not an object")
    if not isinstance(asked.get("id"), str | int):
        raise _NotALine('"id" is missing, or neither a string nor a whole number')
    if not isinstance(asked.get("text"), str):
        raise _NotALine('"text" is missing, or no string')
    judgement = judge([("", asked["text"])], matcher)
    findings = [
        {
            "category": finding.category,
            "start": finding.start,
            "end": finding.end,
            "term": finding.term,
            "steps": finding.steps,
        }
        for finding in judgement.findings
    ]
    return {"id": asked["id"], "decision": judgement.decision.lower(), "findings": findings}


def _written(answer: dict[str, Any]) -> bytes:
    try:
        return json.dumps(answer, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        # Half of a surrogate pair, which an id may have, is no UTF-8.
        return json.dumps(answer).encode() + b"\n"
