"""`make mesh`: chooses ports, and has honcho run what the Procfile names until Ctrl-C."""

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from local import consul, envoy, mariadb, ports

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "mesh"
SERVICES = ("entry", "publish", "audit", "share", "redeem")
SCALE = "audit=2,redeem=3"
# Made by the last process of the Procfile, and by the database once its schema is up to date.
STARTED, READY = "started", "database.ready"
# Honcho loses track of its processes if it is told to end before it has counted them all: a moment after the last.
COUNTED_SECONDS = 1.0
# If the last one never starts.
UNCOUNTED_SECONDS = 15.0


class BadScale(ValueError):
    """SCALE makes no sense; the message says why."""


def scale_of(text: str) -> dict[str, int]:
    """How many instances each service has by "audit=2,redeem=3"; one of each that is not named."""
    scale = dict.fromkeys(SERVICES, 1)
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(\w+)=([1-9]\d?)", part)
        if not match or match[1] not in SERVICES:
            raise BadScale(f"SCALE has {part!r}: give <service>=<1 to 99> of {', '.join(SERVICES)}, such as {SCALE}")
        scale[match[1]] = int(match[2])
    return scale


def environment_of(scale: Mapping[str, int], folder: Path) -> dict[str, str]:
    """The settings of all processes of one start, on ports that are free now."""
    database, http, plane_1, plane_2, gateway = (f"127.0.0.1:{port}" for port in ports.free(5))
    return {
        "SHAREMESH_DATABASE": mariadb.url_of(int(database.rpartition(":")[2]), "sharemesh"),
        "SHAREMESH_REGISTRY": f"consul://{http}",
        "SHAREMESH_CONTROL_PLANE": f"{plane_1},{plane_2}",
        "SHAREMESH_VAR": str(folder),
        "SHAREMESH_LOGS": str(folder / "log"),
        "SHAREMESH_IMAGES": f"file://{folder}/images",
        # Each instance that reads pictures takes 200 MB.
        "SHAREMESH_OCR": os.environ.get("SHAREMESH_OCR", "off"),
        # Any free one, which an instance tells Consul.
        "SHAREMESH_PORT": "0",
        "MESH_CONTROL_PLANE_1": plane_1,
        "MESH_CONTROL_PLANE_2": plane_2,
        "MESH_GATEWAY": gateway,
        "MESH_SCALE": ",".join(f"{service}={count}" for service, count in scale.items()),
    }


def run(scale: Mapping[str, int], folder: Path = VAR) -> int:
    """Runs the mesh with its data in `folder` until SIGINT or SIGTERM, or until one process ends, which ends all.

    Returns the exit code: 0 if it was told to end.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"a mesh runs already on the data in {folder}\n")
            return 1
        # Fetched before anything waits for them.
        mariadb.find(), consul.find(), envoy.find()
        for mark in (STARTED, READY):
            (folder / mark).unlink(missing_ok=True)
        environment = environment_of(scale, folder)
        text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
        (folder / "env").write_text(text)
        return _honcho(scale, folder, environment)


def _honcho(scale: Mapping[str, int], folder: Path, environment: Mapping[str, str]) -> int:
    told: list[int] = []

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    counts = ",".join(f"{service}={count}" for service, count in scale.items())
    command = [sys.executable, "-m", "honcho", "start", "-f", str(ROOT / "Procfile"), "-d", str(ROOT), "-c", counts]
    began = time.monotonic()
    # Ctrl-C reaches us alone, and honcho when it may.
    honcho = subprocess.Popen(command, env={**os.environ, **environment, "PATH": path}, start_new_session=True)
    try:
        while honcho.poll() is None:
            if told and _is_counted(folder, began):
                honcho.terminate()
                honcho.wait()
            time.sleep(0.1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if told else honcho.returncode or 1


def _is_counted(folder: Path, began: float) -> bool:
    """Whether honcho may be told to end."""
    mark = folder / STARTED
    if mark.exists():
        return time.time() - mark.stat().st_mtime > COUNTED_SECONDS
    return time.monotonic() - began > UNCOUNTED_SECONDS
