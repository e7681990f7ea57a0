"""Changes of a text, each told by its place and by the step that makes it."""

from collections.abc import Iterable

# From `start` to `end` (exclusive) of a text, what stands there instead, and the name of the step.
Edit = tuple[int, int, str, str]


def applied(text: str, edits: Iterable[Edit]) -> str:
    """The text after edits that are in order and do not overlap."""
    pieces: list[str] = []
    place = 0
    for start, end, new, _ in edits:
        pieces.append(text[place:start])
        pieces.append(new)
        place = end
    pieces.append(text[place:])
    return "".join(pieces)
