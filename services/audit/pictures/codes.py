"""QR codes in pixels; imported only where they are read."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import zxingcpp

from services.audit.pictures.passages import QR, Box, Passage


def read(pixels: npt.NDArray[np.uint8]) -> Iterator[Passage]:
    """What the QR codes in RGB pixels (height, width, 3) say, each payload at each place once."""
    height, width = pixels.shape[:2]
    seen: list[Passage] = []
    # Not kept: its library complains of what it finds at the end of the process.
    formats = zxingcpp.barcode_formats_from_str("QRCode,MicroQRCode,RMQRCode")
    # Grey first, which zxing makes itself; two colours of the same brightness differ in red, green or blue.
    for layer in (pixels, *(np.ascontiguousarray(pixels[:, :, channel]) for channel in range(3))):
        for code in zxingcpp.read_barcodes(layer, formats=formats):
            place = code.position
            corners = (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
            box = Box.around([(corner.x, corner.y) for corner in corners], width, height)
            passage = Passage(code.text, box, QR)
            if code.text.strip() and not any(passage.repeats(other) for other in seen):
                seen.append(passage)
                yield passage
