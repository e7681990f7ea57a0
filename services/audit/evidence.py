"""What a finding tells: where the words stand in the original, which disguises they wore, and what that comes to."""

from collections.abc import Container
from dataclasses import dataclass

from services.audit.contacts import CATEGORY
from services.audit.lexicon import LocalizedText, Term
from services.audit.reading import steps
from services.audit.reading.forms import BREAK, Fold

# What folding makes of characters between words.
_PARTING = ("", BREAK)
# Between the parts of a number or an address they are nothing special.
_SEPARATORS = frozenset({steps.SPACES, steps.SYMBOLS})


@dataclass(frozen=True, slots=True)
class Finding:
    """A term found in a text: text[start:end], counted in code points of the original, never empty.

    `steps` names the transformations that exposed it, () if the words stood there plainly. `field` is
    the path of the field the text came from, empty when a bare text was searched.
    """

    start: int
    end: int
    category: str
    term: str
    action: str
    steps: tuple[str, ...]
    basis: str
    rewrite: LocalizedText
    field: str = ""


def finding(
    text: str,
    start: int,
    end: int,
    term: Term,
    fold: Fold,
    worn: frozenset[str] = frozenset(),
    restored: Container[int] = (),
) -> Finding:
    """The finding of a term in text[start:end]; `worn` are the steps that restored its words, at places `restored`."""
    names = worn | _folds(text, start, end, term, fold, restored)
    return Finding(
        start=start,
        end=end,
        category=term.category,
        term=term.text,
        action=_action(term, worn),
        steps=tuple(step for step in steps.ALL if step in names),
        basis=term.basis,
        rewrite=term.rewrite,
    )


def _folds(text: str, start: int, end: int, term: Term, fold: Fold, restored: Container[int]) -> set[str]:
    """The steps by which the characters became those of the term."""
    names: set[str] = set()
    for place in range(start, end):
        character = text[place]
        folded = fold.of(character)
        if place in restored:
            continue
        if folded in _PARTING:
            names.add(steps.of_insertion(character))
        elif character not in term.text:
            names.add(steps.of_fold(character, folded) or "")
    is_entity = term.category == CATEGORY and not term.pattern and term.text not in text[start:end]
    return names - (_SEPARATORS if is_entity else frozenset())


def _action(term: Term, worn: frozenset[str]) -> str:
    """Ordinary writing has such words by chance: what only looks or sounds like a term is for a person to judge."""
    is_doubtful = worn & steps.DOUBTFUL and term.category != CATEGORY
    return "review" if is_doubtful else term.action
