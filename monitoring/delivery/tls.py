"""Encrypts the way to Zabbix by certificates; `psk` does it by a key that both sides were given."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


class BadHandshake(Exception):
    """The two sides did not come to trust each other; the message says why and what to do."""


class Stream(Protocol):
    """What a connected socket does here."""

    def settimeout(self, value: float, /) -> None:
        """Sets the seconds that each later operation may take."""

    def sendall(self, data: bytes, /) -> None:
        """Sends all of it, or raises OSError."""

    def recv(self, size: int, /) -> bytes:
        """Receives so many bytes at the most, none at the end, or raises OSError."""

    def close(self) -> None:
        """Ends both directions."""


class Tls(Protocol):
    """How a connection is encrypted."""

    def wrap(self, plain: socket.socket) -> Stream:
        """The connection once both sides trust each other; raises BadHandshake, or OSError as sockets do."""


@dataclass(frozen=True)
class Certificate:
    """A certificate of our own and the CA of the server's, read anew for each connection: they may be replaced.

    As Zabbix's own programs do, it looks at the chain alone: a server's certificate need not name a host. Give `name`
    where that CA signs for others too, since any of those could pose as Zabbix: it must be in the certificate then.
    """

    ca: Path
    cert: Path
    key: Path
    name: str = ""

    @classmethod
    def of(cls, folder: Path, name: str = "") -> Self:
        """The one in a folder's ca.pem, cert.pem and key.pem."""
        return cls(folder / "ca.pem", folder / "cert.pem", folder / "key.pem", name)

    def wrap(self, plain: socket.socket) -> Stream:
        """See Tls."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            # A key with a password would ask for it at the terminal.
            context.load_cert_chain(self.cert, self.key, password="")
        except OSError as error:
            # ssl does not say which file it was.
            files = ", ".join(map(str, (self.ca, self.cert, self.key)))
            raise BadHandshake(f"{files} cannot be used ({error}): give PEM files that fit together") from error
        context.check_hostname = bool(self.name)
        try:
            return context.wrap_socket(plain, server_hostname=self.name or None)
        except ssl.SSLError as error:
            raise BadHandshake(complaint(error)) from error


def complaint(error: ssl.SSLError) -> str:
    """What went wrong and what to do. A server of TLS 1.3 says no only after the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): check it, and the CA and name given here"
    return f"it does not encrypt as we do ({error.reason or error}): check our certificate, and its TLS settings"
