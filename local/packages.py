"""Fetches Debian packages without root and unpacks them under .cache/; nothing outside that folder changes."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Debian keeps daemons where only root's PATH looks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
# A few megabytes each, by a mirror that may be slow; a mirror that is away fails much sooner by itself.
FETCH_SECONDS = 600.0


class Missing(RuntimeError):
    """A program is neither installed nor can it be fetched; the message says what to do. Tests fail by it, they are
    never skipped."""


def fetch(
    root: Path, what: str, packages: Sequence[str], alone: Sequence[str] = (), suite: str = "", beside: str = ""
) -> None:
    """Unpacks `packages`, and each library that they need and this system lacks, into `root`.

    From the system's own package sources (security updates included) with lists of our own. `alone` come without what
    they need; so does everything from a `suite` that the system does not name, such as "bullseye": it is read from the
    system's own mirror and checked against Debian's keys. A suite `beside` the system's sources, such as
    "bookworm-backports", gives those that name it ("zabbix-server-mysql/bookworm-backports"), with what they need.
    Raises Missing with the program's name, `what`.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Missing(f"{what} is not installed, and this system has no apt to fetch it with: {_advice(what)}")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        work = Path(folder)
        options = _sources_of(work, what, suite or beside, bool(beside)) if suite or beside else {}
        _apt(work, what, options, "update")
        wanted = list(alone)
        if suite:
            wanted += packages
        else:
            plan = _apt(work, what, options, "install", "--simulate", "--no-install-recommends", *packages)
            found = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", plan, re.MULTILINE)
            # Those that are installed already are not in the plan.
            wanted += [f"{name}={version}" for name, version in found]
            planned = {name for name, _ in found}
            wanted += [name for name in packages if name.partition("/")[0] not in planned]
        _apt(work, what, options, "download", *wanted)
        for package in work.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(work / "root")], check=True)
        # Whoever else was fetching at the same time made the same folder.
        with contextlib.suppress(OSError):
            (work / "root").rename(root)


def libraries_of(root: Path) -> str:
    """The folders of shared libraries under `root`, as LD_LIBRARY_PATH has them."""
    return os.pathsep.join(
        str(folder) for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*") for folder in root.glob(pattern)
    )


def _advice(what: str) -> str:
    return f"install {what} so that its programs are on PATH."


def _sources_of(work: Path, what: str, suite: str, beside: bool) -> dict[str, str]:
    """Options by which apt reads one more suite of the mirror that the system already uses, and nothing else, unless
    `beside` what the system's own sources have."""
    if beside and any(release == suite for release, _, _ in _targets()):
        # Named by the system too, perhaps with other keys, which apt refuses.
        return {}
    # Of sources whose lists were never read, apt tells nothing: then they are read here.
    mirrors = _mirrors() or (_apt(work, what, {}, "update") and _mirrors(work / "lists"))
    if not mirrors or not KEYRING.is_file():
        raise Missing(f"{what} is not installed, and apt knows no Debian mirror to fetch it from: {_advice(what)}")
    parts = work / "sources.list.d"
    parts.mkdir()
    source = parts / f"{suite}.list"
    source.write_text(f"deb [signed-by={KEYRING}] {mirrors[0]} {suite} main\n")
    if not beside:
        return {"Dir::Etc::sourcelist": str(source), "Dir::Etc::sourceparts": "-"}
    for own in _system_sources().glob("*.*"):
        shutil.copy(own, parts)
    return {"Dir::Etc::sourceparts": str(parts)}


def _system_sources() -> Path:
    """The folder of the system's package sources, beside which there may be a sources.list."""
    command = ["apt-config", "shell", "FOLDER", "Dir::Etc::sourceparts/d"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(shlex.split(told.stdout)[0].partition("=")[2])


def _mirrors(lists: Path | None = None) -> list[str]:
    """Where the system's packages come from, by these lists, else by the system's own."""
    # Updates and security have names such as bookworm-updates, and do not carry whole suites.
    return [uri for suite, component, uri in _targets(lists) if component == "main" and not re.search("[-/]", suite)]


def _targets(lists: Path | None = None) -> list[list[str]]:
    """Suite, component and address of each of the system's package lists."""
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    if lists:
        command.append(f"-oDir::State::Lists={lists}")
    targets = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line.split() for line in targets.stdout.splitlines() if len(line.split()) == 3]


def _apt(work: Path, what: str, more: dict[str, str], *arguments: str) -> str:
    """Runs apt-get in `work` with lists and cache of its own; returns what it printed, or raises Missing."""
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work,
        "Acquire::Languages": "none",
        # As root, apt would turn into a user who may not write here.
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        **more,
    }
    command = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items()), *arguments]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{what} is not installed, and its mirror is too slow to fetch it: {_advice(what)}") from error
    if done.returncode:
        raise Missing(
            f"{what} is neither installed nor fetched (apt-get {arguments[0]}: {done.stderr.strip()[-800:]}): "
            f"{_advice(what)} Or mend the package sources."
        )
    return done.stdout
