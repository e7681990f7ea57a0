"""What stands in a picture: its lines of words and its codes, each with its place, and the one text they make."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

WORDS = "words"
QR = "qr"


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels of the stored picture, from its upper left corner; turned words lie inside it."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]], width: int, height: int) -> "Box":
        """The smallest box with these points, at least a pixel, inside a picture of this size."""
        left, right = (_within(pick(x for x, _ in points), width) for pick in (min, max))
        top, bottom = (_within(pick(y for _, y in points), height) for pick in (min, max))
        left, top = min(left, width - 1), min(top, height - 1)
        return cls(left, top, max(1, right - left), max(1, bottom - top))

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def joined(self, other: "Box") -> "Box":
        """The smallest box with both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Box(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)


@dataclass(frozen=True, slots=True)
class Passage:
    """A line of words, or what a code says: `kind` is WORDS or QR."""

    text: str
    box: Box
    kind: str = WORDS

    def repeats(self, other: "Passage") -> bool:
        """Whether both are the same words at the same place, give or take."""
        whole = self.box.joined(other.box)
        is_there = whole.width * whole.height < 2 * self.box.width * self.box.height
        return is_there and (self.text, self.kind) == (other.text, other.kind)


@dataclass(frozen=True, slots=True)
class Reading:
    """The passages of a picture, in no order; `is_whole` is False when there was more than could be read."""

    passages: tuple[Passage, ...] = ()
    is_whole: bool = True

    def to_plain(self) -> dict[str, Any]:
        """What of_plain() takes, for JSON."""
        return {"passages": [asdict(passage) for passage in self.passages], "is_whole": self.is_whole}

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> "Reading":
        """The reading that to_plain() was called of."""
        passages = (Passage(part["text"], Box(**part["box"]), part["kind"]) for part in plain["passages"])
        return cls(tuple(passages), bool(plain["is_whole"]))


@dataclass(frozen=True, slots=True)
class Page:
    """A reading as one text to be judged like any other; `parts` are (start, end, passage) in it."""

    text: str
    parts: tuple[tuple[int, int, Passage], ...]
    is_whole: bool = True

    @classmethod
    def of(cls, reading: Reading) -> "Page":
        """Words as they are read, from the top, rows apart by a line break; then the codes."""
        text = ""
        parts: list[tuple[int, int, Passage]] = []
        for gap, passage in _in_order(reading.passages):
            text += gap if text else ""
            parts.append((len(text), len(text) + len(passage.text), passage))
            text += passage.text
        return cls(text, tuple(parts), reading.is_whole)

    def box(self, start: int, end: int) -> Box | None:
        """The rectangle around all passages that text[start:end] touches."""
        box: Box | None = None
        for first, last, passage in self.parts:
            if first < end and start < last:
                box = passage.box if box is None else box.joined(passage.box)
        return box


def _within(value: float, size: int) -> int:
    return min(max(round(value), 0), size)


def _in_order(passages: Sequence[Passage]) -> Iterator[tuple[str, Passage]]:
    """Each passage behind what separates it from the one before."""
    for row in _rows([passage for passage in passages if passage.kind == WORDS]):
        # Columns of characters are read from the right.
        is_upright = all(_is_column(passage) for passage in row)
        row.sort(key=lambda passage: passage.box.x, reverse=is_upright)
        for index, passage in enumerate(row):
            is_near = index > 0 and not is_upright and _is_near(row[index - 1].box, passage.box)
            yield " " if is_near else "\n", passage
    for passage in passages:
        if passage.kind == QR:
            yield "\n", passage


def _rows(passages: Sequence[Passage]) -> list[list[Passage]]:
    """The passages that stand side by side, from the top."""
    rows: list[list[Passage]] = []
    for passage in sorted(passages, key=lambda passage: (passage.box.y, passage.box.x)):
        if rows and _is_beside(rows[-1][0].box, passage.box):
            rows[-1].append(passage)
        else:
            rows.append([passage])
    return rows


def _is_beside(one: Box, other: Box) -> bool:
    """Whether they share more than half of the lower one's height."""
    shared = min(one.bottom, other.bottom) - max(one.y, other.y)
    return 2 * shared > min(one.height, other.height)


def _is_near(left: Box, right: Box) -> bool:
    """Whether a space's width is between: further apart stand the columns of a table, and nothing stands on another."""
    return -0.5 < (right.x - left.right) / max(left.height, right.height) < 1.5


def _is_column(passage: Passage) -> bool:
    return len(passage.text) > 1 and passage.box.height > 1.5 * passage.box.width
