"""Texts as merchants write them, and a lexicon as large as a platform's, for the benchmark of the audit."""

import json
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.programs import ROOT
from services.audit import lexicon
from services.audit.lexicon import CATEGORIES, FOLD, Lexicon, Term
from services.audit.matcher import Matcher

HONEST_COPY = ROOT / "tests/audit/honest_copy.txt"
CORPUS = ROOT / "tests/audit/corpus.jsonl"
# Characters of a text.
LENGTH = 110
_SHORTEST, _LONGEST = 2, 8
_SENTENCE = re.compile("[^。！？!?]+[。！？!?]*")
_ENDS = tuple("。！？!?")


class NotHonest(RuntimeError):
    """The texts do not hold enough that the audit has nothing against."""


@dataclass(frozen=True)
class Promotions:
    """The lexicon and the texts: in an honest one it finds nothing; in a violating one, usually something.

    `words` are the literal terms; the lexicon has the built-in patterns besides.
    """

    lexicon: Lexicon
    words: Sequence[str]
    generated: int
    honest: Sequence[str]
    violating: Sequence[str]


def lay(count: int, texts: int, corpus: Path = CORPUS, seed: int = 7) -> Promotions:
    """So many literal terms and texts of each kind, the same ones for the same seed and files. Raises NotHonest."""
    rng = random.Random(seed)
    built_in = lexicon.load()
    matcher = Matcher(built_in)
    lines = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines() if line]
    benign = [line["text"] for line in lines if line["label"] == "pass"]
    benign += HONEST_COPY.read_text(encoding="utf-8").splitlines()
    sentences = [sentence for text in benign if text and not matcher.find(text) for sentence in _sentences(text)]
    if len(sentences) < texts // 10:
        raise NotHonest(f"{len(sentences)} honest sentences are too few for {texts} texts")
    honest = _honest((_filled("", sentences, rng) for _ in range(2 * texts)), matcher)
    wrong = [" ".join(line["text"].split()) for line in lines if line["label"] != "pass"]
    violating = [_filled(rng.choice(wrong), sentences, rng) for _ in range(texts)]
    literal = [term for term in built_in.terms if not term.pattern]
    filler = _filler(literal, count - len(literal), honest, rng)
    words = [term.text for term in (*literal, *filler)]
    whole = Lexicon.of((*built_in.terms, *filler))
    # Now and then the sound of a generated term next to a real one makes one of the real ones appear.
    honest = _honest(honest, Matcher(whole))[:texts]
    if len(honest) < texts:
        raise NotHonest(f"{len(honest)} of {2 * texts} texts made of honest sentences are honest")
    return Promotions(whole, words, len(filler), honest, violating)


def _sentences(text: str) -> Iterator[str]:
    """Its sentences, each with an end, on one line each."""
    for sentence in _SENTENCE.findall(" ".join(text.split())):
        yield sentence if sentence.endswith(_ENDS) else f"{sentence}。"


def _filled(text: str, sentences: Sequence[str], rng: random.Random) -> str:
    """The text and whole sentences after it, of which only the last is cut, to LENGTH characters."""
    if text and not text.endswith(_ENDS):
        text += "。"
    while len(text) < LENGTH:
        text += rng.choice(sentences)
    return text[:LENGTH]


def _honest(texts: Iterable[str], matcher: Matcher) -> list[str]:
    """Those in which nothing is found: what an exception excuses in a whole sentence may stand bare in a cut one."""
    return [text for text in texts if not matcher.find(text)]


def _filler(real: Sequence[Term], count: int, texts: Iterable[str], rng: random.Random) -> list[Term]:
    """Terms as long as the real ones (2 to 8 characters), each of beginnings of real ones put together; the audit
    finds none of them in the texts, in no disguise either."""
    words = [term.text for term in real if not any(map(str.isascii, term.text))]
    lengths = [length for length in map(len, words) if _SHORTEST <= length <= _LONGEST]
    clauses = ",".join(map(FOLD.text, texts))
    taken = {FOLD.text(text) for term in real for text in (term.text, *term.exceptions)}
    made: dict[str, Term] = {}
    while len(made) < count:
        word = _mixed(words, rng.choice(lengths), rng)
        folded = FOLD.text(word)
        if folded in taken or folded in clauses:
            continue
        taken.add(folded)
        category = CATEGORIES[len(taken) % len(CATEGORIES)]
        made[word] = replace(real[0], text=word, category=category, boundary=False, exceptions=(), homophones=True)
        if len(made) == count:
            for found in _found(Matcher(Lexicon.of(made.values())), texts):
                del made[found]
    return list(made.values())


def _mixed(words: Sequence[str], length: int, rng: random.Random) -> str:
    made = ""
    while len(made) < length:
        word = rng.choice(words)
        made += word[: rng.randint(1, len(word))]
    return made[:length]


def _found(matcher: Matcher, texts: Iterable[str]) -> Collection[str]:
    """The texts of the literal terms that are found anywhere."""
    known = {term.text for term in matcher.lexicon.terms}
    return {finding.term for text in texts for finding in matcher.find(text)} & known


def lengths(words: Iterable[str]) -> str:
    """How long they are, in words: "2: 21 %, 3: 17 %"."""
    counted = Counter(map(len, words))
    total = sum(counted.values())
    return ", ".join(f"{length}: {100 * counted[length] / total:.0f} %" for length in sorted(counted))
