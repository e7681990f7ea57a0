"""Words in which a character is replaced by one that looks like it."""

from collections.abc import Collection, Iterator

from services.audit.reading import steps
from services.audit.reading.edits import Edit
from services.audit.reading.scan import Scan, leftmost_longest
from services.audit.reading.words import ordinary, rows
from services.audit.yielding import gently


class Shapes:
    """Finds the words of a vocabulary that are written so; what is `innocent` only looks like one.

    What a scan has to look for it adds to `disguises`; no others may be added behind.
    """

    def __init__(self, vocabulary: Collection[str], innocent: Collection[str], disguises: list[str]) -> None:
        # What is written, and the edit of it, as if it stood at the beginning.
        edits: dict[str, Edit] = {}
        for written, edit in _variants(vocabulary, ordinary().union(innocent)):
            # What may be two words is the same one whatever their order, which a vocabulary does not have.
            edits[written] = min(edit, edits.get(written, edit))
        disguises.extend(edits.keys() - disguises)
        self._edits = [edits.get(word) for word in gently(disguises)]

    def edits(self, scan: Scan) -> list[Edit]:
        """The characters to replace in a text."""
        if not scan.disguises:
            return []
        edits: list[Edit] = []
        for start, _, index in leftmost_longest([one for one in scan.disguises if self._edits[one[2]]]):
            edit = self._edits[index]
            if edit and not _is_ordinary(scan.text, start + edit[0]):
                edits.append((start + edit[0], start + edit[1], *edit[2:]))
        return edits


def _variants(vocabulary: Collection[str], innocent: Collection[str]) -> Iterator[tuple[str, Edit]]:
    """Each word with one character replaced by one that looks like it."""
    alike: dict[str, list[str]] = {}
    for written, meant in gently(rows("shapes.tsv")):
        alike.setdefault(meant, []).append(written)
    # Few are different.
    edits: dict[tuple[int, str], Edit] = {}
    for word in gently(vocabulary):
        for place, character in enumerate(word):
            for other in alike.get(character, ()):
                variant = word[:place] + other + word[place + 1 :]
                if len(word) > 1 and variant not in vocabulary and variant not in innocent:
                    edit = (place, place + 1, character, steps.SHAPE)
                    yield variant, edits.setdefault((place, character), edit)


def _is_ordinary(text: str, place: int) -> bool:
    """Whether a character makes an ordinary word with its neighbours."""
    words = ordinary()
    for length in (2, 3):
        for start in range(max(0, place - length + 1), place + 1):
            if text[start : start + length] in words:
                return True
    return False
