"""Counts how often single characters and pairs stand in honest promotions; run by make.py."""

import json
from collections import Counter
from pathlib import Path

_CORPORA = Path(__file__).resolve().parents[4] / "tests" / "audit"
# Rarer ones are rare.
_LEAST = 3
_PER = 10_000


def _honest() -> list[str]:
    """The honest lines of the labelled corpora, folded."""
    from services.audit.reading.forms import Fold  # Reads fold.tsv, which is made before.

    lines = (_CORPORA / "honest_copy.txt").read_text("utf-8").splitlines()
    for name in ("corpus.jsonl", "dev.jsonl"):
        labelled = map(json.loads, (_CORPORA / name).read_text("utf-8").splitlines())
        lines.extend(line["text"] for line in labelled if line["label"] == "pass")
    return [*map(Fold().text, lines)]


HEADER = "characters\tin 10000 of honest promotions"


def frequencies() -> list[str]:
    """The rows: each, with how often it stands in 10,000 characters."""
    counted: Counter[str] = Counter()
    length = 0
    for line in _honest():
        length += len(line)
        counted.update(line)
        counted.update(line[place : place + 2] for place in range(len(line) - 1))
    kept = sorted((text, count) for text, count in counted.items() if count >= _LEAST and text.isalnum())
    return [f"{text}\t{count * _PER / length:.1f}" for text, count in kept]
