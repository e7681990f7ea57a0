"""Words in which a character is replaced by one that looks like it."""

from collections.abc import Collection, Iterator

from daachorse import MATCH_KIND_LEFTMOST_LONGEST, CharwiseDoubleArrayAhoCorasick

from services.audit.reading import steps
from services.audit.reading.edits import Edit
from services.audit.reading.syllables import NOTHING
from services.audit.reading.words import ordinary, rows


class Shapes:
    """Finds the words of a vocabulary that are written so; what is `innocent` only looks like one."""

    def __init__(self, vocabulary: Collection[str], innocent: Collection[str]) -> None:
        # What is written, and the edit of it, as if it stood at the beginning.
        written = dict(_variants(vocabulary, ordinary().union(innocent)))
        self._edits = list(written.values())
        self._automaton = CharwiseDoubleArrayAhoCorasick(list(written) or [NOTHING], MATCH_KIND_LEFTMOST_LONGEST)

    def edits(self, text: str) -> list[Edit]:
        """The characters to replace in a text."""
        found = ((start, self._edits[index]) for start, _, index in self._automaton.find(text))
        return [
            (start + before, start + after, new, step)
            for start, (before, after, new, step) in found
            if not _is_ordinary(text, start + before)
        ]


def _variants(vocabulary: Collection[str], innocent: Collection[str]) -> Iterator[tuple[str, Edit]]:
    """Each word with one character replaced by one that looks like it."""
    alike: dict[str, list[str]] = {}
    for written, meant in rows("shapes.tsv"):
        alike.setdefault(meant, []).append(written)
    for word in vocabulary:
        for place, character in enumerate(word):
            for other in alike.get(character, ()):
                variant = word[:place] + other + word[place + 1 :]
                if len(word) > 1 and variant not in vocabulary and variant not in innocent:
                    yield variant, (place, place + 1, character, steps.SHAPE)


def _is_ordinary(text: str, place: int) -> bool:
    """Whether a character makes an ordinary word with its neighbours."""
    return text[max(0, place - 1) : place + 1] in ordinary() or text[place : place + 2] in ordinary()
