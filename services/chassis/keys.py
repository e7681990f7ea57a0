"""Secrets that are made once and kept under var/: one master secret, and every key derived from it by its purpose."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_MASTER_BYTES = 32
# The mode of a folder that is made for secrets.
PRIVATE = 0o700


class Keyring:
    """Keys derived from one master secret; whoever holds the same secret derives the same keys."""

    def __init__(self, master: bytes) -> None:
        if len(master) < _MASTER_BYTES:
            raise ValueError(f"a master secret has at least {_MASTER_BYTES} bytes, not {len(master)}")
        self._master = master

    @classmethod
    def open(cls, path: Path) -> "Keyring":
        """The keyring whose master secret is in the file, which is made if it does not exist."""
        return cls(kept(path, lambda: secrets.token_bytes(_MASTER_BYTES)))

    def derive(self, purpose: str, generation: int = 0) -> bytes:
        """32 bytes for one purpose (HKDF-SHA256, RFC 5869); a higher generation is a new key for the same purpose."""
        info = f"sharemesh/{purpose}/{generation}".encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._master)


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; a file that does not exist is made first, readable by its owner alone.

    Any number of processes may start at once: all of them get the bytes of the one that was first.
    """
    if not path.exists():
        path.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # Unlike rename, fails if another process was first; the file appears complete.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
