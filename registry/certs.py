"""Makes the certificates of a development mesh, and renews them under a running one: `sharemesh certs`."""

import argparse
import fcntl
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from registry import authority
from registry.authority import Authority, hosts_of
from registry.identity import CA, CERT, IDENTITIES, KEY, spiffe
from registry.tls import REFRESH_SECONDS, is_address

# Beside the identities' folders, which may be copied to other machines; this one, with the CA's key, stays.
AUTHORITY = "authority"
DAYS = 90
# Nobody may meet a certificate of a CA that he has not read yet: all read their files this often, some of them late.
SETTLE_SECONDS = 3 * REFRESH_SECONDS
# The link to the present contents of a folder.
_NOW = ".now"


class Refused(Exception):
    """The folder is not ours to write to; the message says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of `sharemesh certs`."""
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to make, which --tls then takes")
    parser.add_argument(
        "--days", type=_days, default=DAYS, metavar="N", help=f"life of a certificate [default: {DAYS}]"
    )
    host = "a further name or address of the mesh's machines; can be repeated, and is kept by later runs"
    parser.add_argument("--host", action="append", default=[], type=_host, metavar="NAME", help=host)
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--rotate", action="store_true", help="sign with a new CA; earlier ones stay trusted")
    step.add_argument("--retire", action="store_true", help="after --rotate: trust the newest CA only")


def run(arguments: argparse.Namespace) -> int:
    """Make, renew or rotate as the flags say, and print what there is; returns the exit code of the process."""
    out, rotate, retire = arguments.out, arguments.rotate, arguments.retire
    try:
        make(out, arguments.days, arguments.host, is_rotation=rotate, is_retirement=retire)
    except Refused as error:
        sys.stderr.write(f"sharemesh: --out: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"sharemesh: --out: {error.filename or out}: {error.strerror}\n")
        return 2
    _print(out)
    return 0


def make(
    out: Path,
    days: float = DAYS,
    hosts: Sequence[str] = (),
    *,
    is_rotation: bool = False,
    is_retirement: bool = False,
    settle: Callable[[], None] = lambda: time.sleep(SETTLE_SECONDS),
) -> None:
    """Make the folder's certificates, or renew them all; a running mesh reads them and loses no call.

    A new CA is first trusted by everyone, who get the time to read it (`settle`), and only then signs; earlier ones
    are dropped after their last certificate. What a run that was cut short left undone, the next one does. A
    certificate keeps the hosts that it has beside the new ones. Raises Refused before it has changed anything.
    """
    with _alone(out):
        ca = _read(out)
        _refuse_foreign(out, ca)
        if ca is None:
            ca = Authority.new()
        elif is_rotation:
            ca = Authority.new(ca.trusted)
        _keep(out, ca)
        made = [identity for identity in IDENTITIES if (out / identity / CA).exists()]
        if any((out / identity / CA).read_bytes() != ca.bundle() for identity in made):
            _trust(out, ca, made)
            settle()
        _renew(out, ca, days, hosts)
        if is_retirement and ca.earlier:
            settle()
            ca = Authority(ca.certificate, ca.key)
            _keep(out, ca)
            _trust(out, ca, IDENTITIES)


def _renew(out: Path, ca: Authority, days: float, hosts: Sequence[str]) -> None:
    now = datetime.now(UTC)
    for identity in IDENTITIES:
        names = [*_hosts(out / identity / CERT), *hosts]
        certificate, key = ca.issue(identity, names, now, now + timedelta(days=days))
        _give(out / identity, {CA: ca.bundle(), CERT: certificate, KEY: key})


def _hosts(leaf: Path) -> list[str]:
    return hosts_of(x509.load_pem_x509_certificate(leaf.read_bytes())) if leaf.exists() else []


def _trust(out: Path, ca: Authority, identities: Sequence[str]) -> None:
    for identity in identities:
        _give(out / identity, {CA: ca.bundle()})


def _keep(out: Path, ca: Authority) -> None:
    _give(out / AUTHORITY, {CA: ca.bundle(), KEY: ca.key_pem()})


def _read(out: Path) -> Authority | None:
    """The CA that earlier runs left, None if there is none; raises Refused if it cannot be read."""
    folder = out / AUTHORITY
    if not folder.exists():
        return None
    try:
        return Authority.of_pem((folder / CA).read_bytes(), (folder / KEY).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise Refused(f"{folder} holds no CA of this command; name another folder, or remove that one") from error


def _refuse_foreign(out: Path, ca: Authority | None) -> None:
    for identity in IDENTITIES:
        folder = out / identity
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and _is_ours(folder, ca))):
            raise Refused(f"{folder} was not made by this command with the CA in {AUTHORITY}; name another folder")


def _is_ours(folder: Path, ca: Authority | None) -> bool:
    """Whether an identity's folder has nothing in it but what this command makes, signed by a CA that is trusted."""
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(_NOW)}
    if not names:
        return True
    if ca is None or names - {CA, CERT, KEY} or not all((folder / name).is_symlink() for name in names):
        return False
    leaf = folder / CERT
    return not leaf.exists() or any(_is_issued(leaf.read_bytes(), one) for one in ca.trusted)


def _is_issued(leaf: bytes, ca: x509.Certificate) -> bool:
    try:
        x509.load_pem_x509_certificate(leaf).verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One run at a time; the lock goes with the process, however it ends."""
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _give(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files into the folder, all of them at the same moment; those that are not named stay as they are.

    Their names are links through `.now`, itself a link to the folder with the present contents, as Kubernetes does it
    for mounted secrets: no moment has a certificate without its key.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    link, fresh = folder / _NOW, folder / f"{_NOW}-{secrets.token_hex(6)}"
    before = {path.name: path.read_bytes() for path in link.iterdir()} if link.exists() else {}
    fresh.mkdir(mode=0o700)
    for name, content in {**before, **files}.items():
        with open(os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _mode(name)), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    draft = folder / f"{_NOW}.draft"
    draft.unlink(missing_ok=True)
    draft.symlink_to(fresh.name)
    draft.replace(link)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_NOW}/{name}")
    # Someone may be reading the one before; what is older still goes.
    contents = sorted(folder.glob(f"{_NOW}-*"), key=lambda path: path.stat().st_mtime_ns)
    for old in contents[:-2]:
        shutil.rmtree(old)


def _mode(name: str) -> int:
    return 0o600 if name == KEY else 0o644


def _print(out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("identity", "expires (UTC)", "signed by")
    for identity in IDENTITIES:
        leaf = x509.load_pem_x509_certificate((out / identity / CERT).read_bytes())
        table.add_row(identity, _minute(leaf), _common(leaf.issuer))
    for ca in x509.load_pem_x509_certificates((out / AUTHORITY / CA).read_bytes()):
        table.add_row(_common(ca.subject), _minute(ca), "itself")
    Console().print(table)
    sys.stdout.write(f"Names: {spiffe('<identity>')}. Whatever runs reads its files anew, Consul on `consul reload`.\n")


def _minute(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"


def _common(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _host(text: str) -> str:
    if not is_address(text) and not (text and text.isascii() and text.replace("-", "").replace(".", "").isalnum()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a host's name nor an address")
    return text


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= authority.DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {authority.DAYS}")
    return int(text)
