"""Finds and reads lines of words in pixels, by the models that come with rapidocr; imported only where it is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rapidocr
from rapidocr import RapidOCR

from services.audit.pictures.passages import Box, Passage

Pixels = npt.NDArray[np.uint8]

_MODELS = Path(rapidocr.__file__).parent / "models"
_SETTINGS: dict[str, Any] = {
    "Global.log_level": "critical",
    # A share of a processor is the audit's; pictures wait for each other.
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    # By their paths, so that a model that is not there is an error and not a download.
    "Det.model_path": str(_MODELS / "PP-OCRv6_det_small.onnx"),
    "Cls.model_path": str(_MODELS / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
    "Rec.model_path": str(_MODELS / "PP-OCRv6_rec_small.onnx"),
    # The longer edge in which lines are looked for; they are read at full size. Characters of 12 pixels in a picture of
    # 1440 are found, as at 1280 in twice the time; at 736, in half the time, they must have 18.
    "Det.limit_type": "max",
    "Det.limit_side_len": 960,
    # Together, short lines are padded to the longest.
    "Rec.rec_batch_num": 1,
}
# Lines are scaled to this height to be read, and cost by their width then.
_LINE_HEIGHT = 48
_LINE_WIDTH = 6_000
# Two hundred lines of ten characters, and about ten seconds.
_PICTURE_WIDTH = 100_000
# What is thinner cannot be scaled to find lines in.
_SLIMMEST = 12
_SMALLEST = 32


class Engine(RapidOCR):
    """Reads no more than a picture's share of time: the largest lines first, as people do."""

    is_whole = True

    def detect_and_crop(self, img: Pixels, op_record: dict[str, Any]) -> tuple[list[Pixels], Any]:
        found: Any
        crops, found = super().detect_and_crop(img, op_record)
        kept = _affordable(crops)
        self.is_whole = len(kept) == len(crops)
        found.boxes = found.boxes[kept]
        found.scores = [found.scores[index] for index in kept]
        return [crops[index] for index in kept], found


class Words:
    """The loaded models, some 200 MB; for one thread at a time."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._engine = Engine(params=_SETTINGS)
        # All models now, and not when a picture first needs one: that none is missing is known then.
        blank = np.full((_LINE_HEIGHT, 2 * _LINE_HEIGHT, 3), 255, np.uint8)
        # What is used stays so: at last everything, as read() needs it.
        for finds_lines in (False, True):
            self._engine(blank, use_det=finds_lines, use_cls=True, use_rec=True)

    def read(self, pixels: Pixels) -> tuple[list[Passage], bool]:
        """The lines of words in RGB pixels (height, width, 3), and whether these are all."""
        height, width = pixels.shape[:2]
        self._engine.is_whole = True
        told: Any = self._engine(_padded(pixels)[:, :, ::-1])
        passages = [
            Passage(text, Box.around([(x, y) for x, y in corners.tolist()], width, height))
            for text, corners in zip(told.txts or (), told.boxes if told.boxes is not None else (), strict=True)
        ]
        return passages, self._engine.is_whole


def _affordable(crops: Sequence[Pixels]) -> list[int]:
    """The indexes, in order, of those that are read."""
    left = _PICTURE_WIDTH
    kept = []
    for index in sorted(range(len(crops)), key=lambda index: -min(crops[index].shape[:2])):
        height, width = crops[index].shape[:2]
        cost = max(_LINE_HEIGHT, _LINE_HEIGHT * width // max(1, height))
        if cost <= min(left, _LINE_WIDTH):
            left -= cost
            kept.append(index)
    return sorted(kept)


def _padded(pixels: Pixels) -> Pixels:
    """With white to the right and below a strip, which the engine refuses."""
    height, width = pixels.shape[:2]
    least = max(_SMALLEST, max(height, width) // _SLIMMEST)
    padding = ((0, max(0, least - height)), (0, max(0, least - width)), (0, 0))
    return np.pad(pixels, padding, constant_values=255)
