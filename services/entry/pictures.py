"""Pictures: judging what was uploaded by its bytes, and making of it the one file that is kept."""

import hashlib
import io
import math
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from services.chassis import errors, parameters
from services.chassis.errors import Violation, Words

_MIB = 1024 * 1024
# How each format is written. Fixed, so that the same pixels give the same bytes and so the same name.
_WRITTEN: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 85, "progressive": True},
    "PNG": {"compress_level": 6},
    "WEBP": {"quality": 85, "method": 4},
}
# A progressive JPEG has some ten. Each is a pass over all pixels, for a hundred bytes of a file that is made for it.
_SCANS = 100
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Those that nothing belongs to: TEM, the restarts and the start of the image.
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
# Pillow does not miss it, once it has all pixels.
_PNG_END = b"\0\0\0\0IEND\xaeB\x60\x82"
# What Pillow's decoders are known to raise over bytes that are not what they begin as.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Picture:
    """A picture as it is kept: `uid` is the SHA-256 of `content`; width and height are pixels."""

    uid: str
    content_type: str
    width: int
    height: int
    content: bytes

    def facts(self) -> dict[str, Any]:
        """All but the bytes, by the columns of the Image table."""
        return {
            "uid": self.uid,
            "content_type": self.content_type,
            "width": self.width,
            "height": self.height,
            "size_bytes": len(self.content),
        }


def picture_of(content: bytes) -> Picture:
    """The picture to keep of an uploaded file: upright, without metadata, within image_edge and image_kept_bytes.

    Raises Invalid: IMAGE_TOO_LARGE, and IMAGE_UNREADABLE for all but a whole, still JPEG, PNG or WebP.
    """
    limits = parameters.current()
    if len(content) > limits.image_bytes:
        raise _too_large(f"{limits.image_bytes // _MIB} MB")
    try:
        with Image.open(io.BytesIO(content), formats=tuple(_WRITTEN)) as image:
            # The header tells the size, so a bomb is refused before a pixel is unpacked.
            if image.width * image.height > limits.image_pixels:
                raise _too_large(_square(limits.image_pixels))
            # Phones write JPEGs with a preview behind the picture, which Pillow calls MPO; the first is the picture.
            file_format = "JPEG" if image.format == "MPO" else str(image.format)
            if file_format != "JPEG" and getattr(image, "is_animated", False):
                raise _unreadable(Words("是动图", "is animated"))
            _check_frame(content, file_format)
            return _written(_drawn(image, limits.image_edge), file_format, limits.image_kept_bytes)
    except Image.DecompressionBombError:
        raise _too_large(_square(limits.image_pixels)) from None
    except _UNREADABLE as error:
        raise _unreadable(Words("不是完整的 JPEG、PNG 或 WebP 文件", "is not a whole JPEG, PNG or WebP")) from error


def _check_frame(content: bytes, file_format: str) -> None:
    """Raises ValueError for what the decoders let pass: a PNG without its end, a JPEG of more passes than any has."""
    if file_format == "PNG" and _PNG_END not in content:
        raise ValueError("no IEND")
    if file_format == "JPEG" and _scans(content) > _SCANS:
        raise ValueError("too many scans")


def _scans(content: bytes) -> int:
    """How many scans the first picture of a JPEG file has; see ITU-T T.81, B.1.1."""
    scans = place = 0
    while marker := _MARKER.search(content, place):
        code, place = marker[1][0], marker.end()
        if code == _END_OF_IMAGE:
            break
        scans += code == _START_OF_SCAN
        if code not in _BARE:
            place += int.from_bytes(content[place : place + 2])
    return scans


def _drawn(image: Image.Image, edge: int) -> Image.Image:
    """The pixels alone, upright, with no edge longer than `edge`."""
    # Lets a JPEG be unpacked at a half, a quarter or an eighth of its size.
    image.draft(None, (edge, edge))
    image.load()
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip.
        drawn = image.point(lambda value: value / 256).convert("L")
    else:
        drawn = image.convert("RGBA" if image.has_transparency_data else "RGB")
    drawn.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    drawn = ImageOps.exif_transpose(drawn)
    # Writers take comments, profiles, positions and the rest from here.
    drawn.info = {}
    return drawn


def _written(drawn: Image.Image, file_format: str, most: int) -> Picture:
    """The picture of these pixels, made smaller until its file has at most `most` bytes."""
    content = _encoded(drawn, file_format)
    while len(content) > most:
        # A file grows with the area; a little below what that tells, so that once is nearly always enough.
        scale = 0.95 * (most / len(content)) ** 0.5
        width, height = (max(1, int(edge * scale)) for edge in drawn.size)
        drawn = drawn.resize((width, height), Image.Resampling.LANCZOS)
        content = _encoded(drawn, file_format)
    uid = hashlib.sha256(content).hexdigest()
    return Picture(uid, f"image/{file_format.lower()}", drawn.width, drawn.height, content)


def _encoded(drawn: Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    drawn.save(file, file_format, **_WRITTEN[file_format])
    return file.getvalue()


def _square(pixels: int) -> str:
    """So many pixels as a person reads them in any language."""
    edge = math.isqrt(pixels)
    return f"{edge} × {edge} px"


def _too_large(limit: str) -> errors.Invalid:
    return errors.Invalid(
        "IMAGE_TOO_LARGE", violations=[Violation("content", Words(f"超过 {limit}", f"is above {limit}"))], limit=limit
    )


def _unreadable(description: Words) -> errors.Invalid:
    return errors.Invalid("IMAGE_UNREADABLE", violations=[Violation("content", description)])
