"""A next release of the product: a copy of this checkout with one more field in a message, and its stubs made anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("buf", "gateway", "protos", "registry", "services", "sharemesh")
# Generating takes two seconds on a quiet machine.
_STUBS_SECONDS = 120
FIELD = "next_release"
_CONTRACT = Path("protos/sharemesh/v1/redeem.proto")
_LAST_FIELD = "  string message = 10;\n"
_RULE = Path("services/redeem/shelves.py")
_LAST_VALUE = '            "remaining": left,\n'


def checkout(folder: Path) -> Path:
    """Makes it in `folder`: Offer has a field that no v1 knows, and every offer it gives is sent with it."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    field = f"  // What only the next release tells.\n  string {FIELD} = 99;\n"
    _insert(folder / _CONTRACT, "\nmessage Offer {", _LAST_FIELD, field)
    _insert(folder / _RULE, "def standing(", _LAST_VALUE, f'            "{FIELD}": "v2",\n')
    environment = {**os.environ, "PYTHON": sys.executable}
    made = subprocess.run(
        ["/bin/bash", "protos/generate.sh", "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_STUBS_SECONDS,
    )
    if made.returncode:
        raise RuntimeError(f"the stubs of the next release could not be made: {made.stderr[-2000:]}")
    return folder


def _insert(file: Path, section: str, after: str, text: str) -> None:
    """Puts a text behind a line of a section; ValueError if the file is not as it was when this was written."""
    before = file.read_text()
    place = before.index(after, before.index(section)) + len(after)
    file.write_text(before[:place] + text + before[place:])
