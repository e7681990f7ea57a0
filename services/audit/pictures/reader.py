"""Reads pictures one at a time, where what that takes is installed: the extra `ocr`."""

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata, util
from typing import TYPE_CHECKING

from PIL import Image

from services.audit.pictures.passages import Passage, Reading

if TYPE_CHECKING:
    from services.audit.pictures.words import Words

# Modules, each with the package that brings it.
_NEEDED = {"rapidocr": "rapidocr", "onnxruntime": "onnxruntime", "zxingcpp": "zxing-cpp"}
# To be raised when this package makes something else of what the libraries answer.
_EDITION = "1"
# As pictures are kept, with room for a longer edge.
_FORMATS = ("JPEG", "PNG", "WEBP")
_PIXELS = 4096 * 4096
# What Pillow's decoders are known to raise over bytes that are not what they begin as.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error, zlib.error)
_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 255)


class Unreadable(ValueError):
    """The bytes are no whole picture of a size that is kept."""


def is_installed() -> bool:
    """Whether pictures can be read here; loads nothing."""
    return all(util.find_spec(module) is not None for module in _NEEDED)


@cache
def shared() -> "Reader":
    """The reader of this process."""
    return Reader()


class Reader:
    """Reads for any number of threads, one picture at a time; the models are loaded once, and kept.

    `name` tells which releases read: another may see more in the same picture.
    """

    def __init__(self) -> None:
        self.name = " ".join([_EDITION, *(metadata.version(package) for package in _NEEDED.values())])
        self._lock = threading.Lock()
        self._words: Words | None = None

    def load(self) -> None:
        """Load the models, which takes a second; else read() does. Raises whatever is wrong with the libraries."""
        with self._lock:
            self._loaded()

    def read(self, content: bytes) -> Reading:
        """The passages of a JPEG, PNG or WebP, by pixels of this very picture. Raises Unreadable."""
        with self._lock:
            passages: list[Passage] = []
            is_whole = True
            for shown in _shown(content):
                found, is_all = self._read(shown)
                passages += [new for new in found if not any(new.repeats(old) for old in passages)]
                is_whole = is_whole and is_all
            return Reading(tuple(passages), is_whole)

    def _read(self, shown: Image.Image) -> tuple[list[Passage], bool]:
        import numpy as np

        from services.audit.pictures import codes

        pixels = np.asarray(shown)
        words, is_all = self._loaded().read(pixels)
        return [*words, *codes.read(pixels)], is_all

    def _loaded(self) -> "Words":
        from services.audit.pictures.words import Words

        if self._words is None:
            self._words = Words()
        return self._words


def _shown(content: bytes) -> Iterator[Image.Image]:
    """The picture as RGB; one that lets the background through as it is on white, and as it is on black."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > _PIXELS:
                raise Unreadable("too large")
            image.load()
            drawn = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise Unreadable(str(error)) from error
    is_opaque = drawn.mode == "RGB" or drawn.getchannel("A").getextrema() == (255, 255)
    if is_opaque:
        yield drawn.convert("RGB")
        return
    for colour in (_WHITE, _BLACK):
        yield Image.alpha_composite(Image.new("RGBA", drawn.size, colour), drawn).convert("RGB")
