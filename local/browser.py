"""Takes pictures of web pages with Chromium, from PATH or of Debian's packages unpacked under .cache/ without root."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from local import packages
from local.packages import Missing

CACHE = packages.CACHE / "chromium"
# Without windows it needs half as many libraries; the font for a system that has none.
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core", "fontconfig-config")
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
UNPACKED = "usr/lib/chromium/chromium-headless-shell"
# It speaks through its file descriptors 3 and 4.
PIPED = ["sh", "-c", 'exec "$@" 3<&0 4>&1 1>&2 0</dev/null', "sh"]
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    # It shows pages of our own alone, and root may not have any.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
)
# A page takes a second, on a busy machine many times that.
PAGE_SECONDS = 60.0
POLL_SECONDS = 0.1
# So long it must be there, since what comes later may not have begun yet.
SETTLED_SECONDS = 0.5
STOP_SECONDS = 10.0
LOADED = "document.readyState === 'complete'"


class Unseen(RuntimeError):
    """A page did not come; the message says what the browser told."""


@dataclass(frozen=True)
class Program:
    """The browser, and the environment that it needs."""

    path: str
    environment: dict[str, str]


@dataclass
class Tab:
    """A page that is shown; see https://chromedevtools.github.io/devtools-protocol for what it can be told."""

    orders: IO[bytes]
    answers: IO[bytes]
    session: str = ""
    _last: int = 0

    def tell(self, method: str, **parameters: object) -> dict[str, Any]:
        """What the browser answers to one order; raises Unseen."""
        self._last += 1
        order = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        self.orders.write(json.dumps(order).encode() + b"\0")
        self.orders.flush()
        while True:
            answer = json.loads(self._read())
            # Others are events.
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise Unseen(f"{method}: {answer['error'].get('message')}")
                return dict(answer["result"])

    def _read(self) -> bytes:
        text = b""
        while not text.endswith(b"\0"):
            more = self.answers.read(1)
            if not more:
                raise Unseen("the browser ended")
            text += more
        return text[:-1]

    def is_so(self, expression: str) -> bool:
        """Whether a JavaScript expression is true on the page."""
        answer = self.tell("Runtime.evaluate", expression=f"Boolean({expression})", returnByValue=True)
        return answer["result"].get("value") is True


def find() -> Program:
    """The installed browser, else the one under .cache/, fetched now if need be; else raises Missing."""
    installed = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if installed:
        return Program(installed, dict(os.environ))
    root = CACHE / "root"
    program = root / UNPACKED
    if not program.exists():
        packages.fetch(root, "Chromium (chromium, or google-chrome)", PACKAGES)
    if not program.exists():
        raise Missing(f"{PACKAGES[0]} was fetched but no {UNPACKED} is in {root}: install chromium.")
    # One library has a folder of its own.
    libraries = [packages.libraries_of(root), *map(str, root.glob("usr/lib/*/pulseaudio"))]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    if not Path("/etc/fonts/fonts.conf").exists():
        environment["FONTCONFIG_SYSROOT"] = str(root)
    return Program(str(program), environment)


def screenshot(
    url: str,
    file: Path,
    width: int = 1600,
    height: int = 1000,
    cookies: Mapping[str, str] | None = None,
    until: str = "true",
) -> None:
    """Writes a PNG of the page at `url`, with these cookies, once the page and all in it is loaded and the JavaScript
    expression `until` is true.

    Raises Unseen if that is not so within PAGE_SECONDS, and Missing without a browser.
    """
    with _opened() as tab:
        tab.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        for name, value in (cookies or {}).items():
            tab.tell("Network.setCookie", url=url, name=name, value=value)
        went = tab.tell("Page.navigate", url=url)
        if "errorText" in went:
            raise Unseen(f"{url}: {went['errorText']}")
        _await(tab, f"{LOADED} && {until}")
        file.write_bytes(base64.b64decode(tab.tell("Page.captureScreenshot", format="png")["data"]))


def _await(tab: Tab, expression: str) -> None:
    """Returns once the expression has been true for a while."""
    now = since = time.monotonic()
    end = now + PAGE_SECONDS
    while now < since + SETTLED_SECONDS:
        if now > end:
            raise Unseen(f"not within {PAGE_SECONDS:.0f} s: {expression}")
        time.sleep(POLL_SECONDS)
        now = time.monotonic()
        if not tab.is_so(expression):
            since = now


@contextlib.contextmanager
def _opened() -> Iterator[Tab]:
    """An empty page of a browser of its own, which ends with the body."""
    program = find()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile, "browser.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*PIPED, program.path, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
                env=program.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        # Whoever reads would wait for ever for one that stands still.
        watch = threading.Timer(2 * PAGE_SECONDS, process.kill)
        watch.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            tab = Tab(process.stdin, process.stdout)
            made = tab.tell("Target.createTarget", url="about:blank")
            attached = tab.tell("Target.attachToTarget", targetId=made["targetId"], flatten=True)
            tab.session = attached["sessionId"]
            yield tab
        except (Unseen, OSError) as error:
            raise Unseen(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
        finally:
            watch.cancel()
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the browser with all its processes, by its process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()
    for end in (process.stdin, process.stdout):
        if end is not None:
            with contextlib.suppress(OSError):
                end.close()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"Chromium: {find().path}\n")
    except Missing as missing:
        sys.exit(str(missing))
