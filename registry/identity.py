"""Who is who in the mesh: SPIFFE names, and the certificate that an identity has in its folder."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

CONTROL_PLANE = "control-plane"
# A folder each under --tls, with what a process of that name needs.
IDENTITIES = ("entry", "publish", "audit", "share", "redeem", CONTROL_PLANE, "gateway", "consul", "client")
TRUST_DOMAIN = "sharemesh"
CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
_REMEDY = "replace the files, or make new ones by `sharemesh certs`"


class BadCertificate(Exception):
    """An identity's files cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True)
class Files:
    """What an identity's folder holds, in PEM, and how long its certificate is valid."""

    ca: bytes
    cert: bytes
    key: bytes
    begin: datetime
    end: datetime


def spiffe(identity: str) -> str:
    """The SPIFFE name of an identity, the URI that its certificates carry."""
    return f"spiffe://{TRUST_DOMAIN}/{identity}"


def read(folder: Path) -> Files:
    """The folder's files, which fit together, whatever their dates; raises BadCertificate."""
    before = stamp(folder)
    try:
        return _read(folder)
    except BadCertificate:
        # One file may be of before a change, and the next of after it.
        if stamp(folder) == before:
            raise
        return read(folder)


def _read(folder: Path) -> Files:
    ca, cert, key = (_bytes(folder / name) for name in (CA, CERT, KEY))
    # One by one, so that the message can name the file.
    for name, content in ((CA, ca), (CERT, cert)):
        try:
            x509.load_pem_x509_certificates(content)
        except ValueError as error:
            raise BadCertificate(f"{folder / name} holds no certificates in PEM; {_REMEDY}") from error
    leaf = x509.load_pem_x509_certificate(cert)
    try:
        public = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"{folder / KEY} holds no private key in PEM without a password; {_REMEDY}") from error
    if public != leaf.public_key():
        raise BadCertificate(f"{folder / KEY} is not the key of {CERT} beside it; {_REMEDY}")
    return Files(ca, cert, key, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def check(folder: Path, now: datetime | None = None) -> Files:
    """The folder's files, to begin with; raises BadCertificate, also for a certificate that is not valid now."""
    files, now = read(folder), now or datetime.now(UTC)
    if now >= files.end:
        raise BadCertificate(f"{folder / CERT} expired at {files.end:%Y-%m-%d %H:%M} UTC; {_REMEDY}")
    if now < files.begin:
        begin = f"{files.begin:%Y-%m-%d %H:%M} UTC"
        raise BadCertificate(f"{folder / CERT} is valid from {begin} only; set this machine's clock")
    return files


def warning(folder: Path, now: datetime | None = None) -> str:
    """One line for the log if the certificate needs attention, as when less than a third of its life is left; else "".

    To be asked now and then while a process runs; it raises nothing.
    """
    now = now or datetime.now(UTC)
    try:
        files = check(folder, now)
    except BadCertificate as error:
        return str(error)
    if files.end - now < (files.end - files.begin) / 3:
        return f"{folder / CERT} expires at {files.end:%Y-%m-%d %H:%M} UTC; {_REMEDY}"
    return ""


def stamp(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """What changes whenever one of the files does; zeros stand for a missing one."""
    return tuple(_changed(folder / name) for name in (CA, CERT, KEY))


def _changed(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{path}: {error.strerror}; --tls takes the folder of `sharemesh certs --out`") from error
