"""Finds Maven and a JDK, on PATH or of Debian's packages unpacked under .cache/ without root."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import load_der_x509_certificate

from local import packages
from local.packages import Missing

CACHE = packages.CACHE / "maven"
# The runtime by its name too, since apt plans nothing for one that is installed, and a JDK is half in its folder.
PACKAGES = ("openjdk-17-jdk-headless", "openjdk-17-jre-headless", "maven")
OLDEST = 17
WHAT = f"Maven with a JDK {OLDEST} or later (mvn, java, javac)"
# What Debian's packages take from a folder that only their installation fills.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# Java opens no store without one; what is in it is public.
PASSWORD = "changeit"
# A program that tells its version takes a tenth of a second, on a busy machine many times that.
ASK_SECONDS = 30.0


@dataclass(frozen=True)
class Programs:
    """The two programs, and the environment that both need."""

    java: str
    maven: str
    environment: dict[str, str]


def find() -> Programs:
    """What is installed, else what is under .cache/, fetched now if need be; else raises Missing."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java and maven and version_of("javac", dict(os.environ)) >= OLDEST:
        return Programs(java, maven, dict(os.environ))
    root = CACHE / "root"
    if not root.exists():
        packages.fetch(root, WHAT, PACKAGES)
    mend(root)
    maven = str(root / "usr/share/maven/bin/mvn")
    home = next(root.glob("usr/lib/jvm/java-*-openjdk-*"), root)
    trust = (f"-Djavax.net.ssl.trustStore={trusted()}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}")
    environment = {
        **os.environ,
        "JAVA_HOME": str(home),
        "PATH": os.pathsep.join([str(home / "bin"), os.environ.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": packages.libraries_of(root),
        "MAVEN_OPTS": " ".join([os.environ.get("MAVEN_OPTS", ""), *trust]).strip(),
    }
    if version_of(str(home / "bin/javac"), environment) < OLDEST or not Path(maven).exists():
        raise Missing(f"{' and '.join(PACKAGES)} were fetched, but do not run: install {WHAT}, so that it is on PATH.")
    return Programs(str(home / "bin/java"), maven, environment)


def version_of(compiler: str, environment: dict[str, str]) -> int:
    """The major version of a JDK by its javac, such as 17; 0 if there is none."""
    try:
        done = subprocess.run(
            [compiler, "-version"], env=environment, capture_output=True, text=True, check=False, timeout=ASK_SECONDS
        )
    except OSError:
        return 0
    found = re.match(r"javac (\d+)", done.stdout)
    return int(found[1]) if found else 0


def mend(root: Path) -> None:
    """Makes each link lead to the file below `root`, or to the system's if that package is installed: an absolute link
    means the system's, and a relative one means what lies below `root`, where only what was fetched is."""
    for folder, folders, files in os.walk(root):
        for link in (Path(folder, name) for name in [*folders, *files]):
            if not link.is_symlink() or (link.resolve().is_relative_to(root) and link.exists()):
                continue
            # As it would be found if `root` were the system's own.
            meant = os.path.normpath(Path("/", link.parent.relative_to(root), link.readlink())).lstrip("/")
            there = next(
                (base / meant for base in (root, Path("/")) if (base / meant).is_symlink() or (base / meant).exists()),
                None,
            )
            # Whoever else mends at the same time does the same.
            with suppress(FileNotFoundError, FileExistsError):
                if there not in (None, link.readlink()):
                    link.unlink()
                    link.symlink_to(there)


def trusted() -> Path:
    """The system's certificate authorities as Java reads them."""
    store = CACHE / "authorities.p12"
    if not store.exists():
        if not AUTHORITIES.exists():
            raise Missing(f"{WHAT} is not installed, nor whom it should trust: install {WHAT}, or ca-certificates.")
        written = store.with_suffix(f".{os.getpid()}")
        written.write_bytes(
            pkcs12.serialize_java_truststore(list(authorities()), BestAvailableEncryption(PASSWORD.encode()))
        )
        written.replace(store)
    return store


def authorities() -> Iterator[pkcs12.PKCS12Certificate]:
    """Each authority that can be read, named by its number."""
    context = ssl.create_default_context(cafile=str(AUTHORITIES))
    for number, der in enumerate(context.get_ca_certs(binary_form=True)):
        # Some very old ones have serial numbers that are not allowed any more: told now, refused one day.
        with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning), suppress(ValueError):
            yield pkcs12.PKCS12Certificate(load_der_x509_certificate(der), str(number).encode())


if __name__ == "__main__":
    try:
        sys.stdout.write(f"Maven: {find().maven}\n")
    except Missing as missing:
        sys.exit(str(missing))
