"""A font with Chinese characters, from the system or of a Debian package unpacked under .cache/ without root."""

import sys
from pathlib import Path

from local import packages
from local.packages import Missing

PACKAGE = "fonts-wqy-microhei"
FILE = Path("usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
CACHE = packages.CACHE / "fonts"


def find() -> Path:
    """The font's file, fetched now if need be; else raises Missing."""
    root = CACHE / "root"
    places = [Path("/") / FILE, root / FILE]
    if not any(place.exists() for place in places):
        packages.fetch(root, f"WenQuanYi Micro Hei ({PACKAGE})", [PACKAGE])
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise Missing(f"{PACKAGE} was fetched but no {FILE} is in {root}: install {PACKAGE}.")
    return found


if __name__ == "__main__":
    try:
        find()
    except Missing as error:
        sys.exit(str(error))
