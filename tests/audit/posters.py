"""Pictures as merchants post them, drawn here: words in a Chinese font, and QR codes."""

import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import segno
from PIL import Image, ImageDraw, ImageFont

from local import fonts

RED, CREAM, WHITE, BLACK = (200, 30, 40), (255, 240, 200), (255, 255, 255), (20, 20, 20)
SIZE = (720, 960)


@cache
def font(height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(fonts.find()), height)


def poster(
    lines: Sequence[str | tuple[str, int]], size: tuple[int, int] = SIZE, ground: Any = RED, ink: Any = CREAM
) -> Image.Image:
    """Lines of words in the middle, from the top, each 40 pixels high or as high as is told."""
    picture = Image.new("RGBA" if len(ground) == 4 else "RGB", size, ground)
    draw = ImageDraw.Draw(picture)
    top = 60
    for line in lines:
        text, height = (line, 40) if isinstance(line, str) else line
        left = (size[0] - draw.textlength(text, font=font(height))) / 2
        draw.text((left, top), text, font=font(height), fill=ink)
        top += math.ceil(1.6 * height)
    return picture


def qr(payload: str, scale: int = 6, dark: str = "black", light: str = "white", border: int = 4) -> Image.Image:
    file = io.BytesIO()
    segno.make(payload, micro=False).save(file, kind="png", scale=scale, dark=dark, light=light, border=border)
    return Image.open(file).convert("RGB")


def with_code(
    picture: Image.Image, code: Image.Image, at: tuple[int, int] = (200, 500), turn: float = 0
) -> Image.Image:
    """The picture with a code on it, its upper left corner `at`, turned by degrees."""
    turned = code.convert("RGBA").rotate(turn, expand=True, resample=Image.Resampling.BICUBIC)
    whole = picture.copy()
    whole.paste(turned, at, turned)
    return whole


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    return saved(picture, "JPEG", quality=quality)


def saved(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()
