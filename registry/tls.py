"""Mutual TLS for gRPC: credentials of servers and channels that follow their files, and how a bootstrap says so."""

import ipaddress
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc

from registry import identity
from registry.identity import BadCertificate, Files

# How long a process may go on with files that have been replaced; reading three small files costs next to nothing.
REFRESH_SECONDS = 1
# The name by which a cluster tells gRPC to take certificates from the provider in its bootstrap.
PROVIDER = "mesh"

_log = logging.getLogger("sharemesh.registry")


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """What a server listens with: every caller must show a certificate of a CA in the folder's ca.pem.

    New connections get the files as they are then. Files that do not fit together are logged, and the last ones that
    did are kept; connections that stand are left alone. gRPC looks at no name here: the development CA signs nothing
    but the mesh's identities, so each of them may call, and what a call may do is decided by its token. With a CA that
    signs for others too, `caller` tells who is of the mesh. Raises BadCertificate.
    """
    fetch = _Fetch(folder)
    # The stubs know nothing of None for "no change", the documentation does.
    return grpc.dynamic_ssl_server_credentials(fetch.first, fetch, require_client_authentication=True)  # type: ignore[arg-type]


class _Fetch:
    """Called by gRPC before every handshake, on threads of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken = identity.stamp(folder)
        self._told = ""
        self.first = _configuration(identity.check(folder))

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """The configuration if the files have changed, None to go on with the last."""
        stamp = identity.stamp(self._folder)
        if stamp == self._taken:
            return None
        try:
            new = _configuration(identity.check(self._folder))
        except BadCertificate as error:
            # Looked at again, since its time may come, or the right to read it, without any change of the files.
            if str(error) != self._told:
                self._told = str(error)
                _log.warning("certificate_not_taken", {"error": self._told})
            return None
        self._taken, self._told = stamp, ""
        return new


def _configuration(files: Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.cert)], files.ca)


def caller(context: Mapping[str, Iterable[bytes]]) -> str:
    """The identity that a call comes from, by `auth_context()` of its servicer's context; "" if none of the mesh."""
    prefix = identity.spiffe("")
    names = (name.decode(errors="replace") for name in context.get("peer_spiffe_id", ()))
    return next((name.removeprefix(prefix) for name in names if name.startswith(prefix)), "")


def channel_credentials(folder: Path) -> grpc.ChannelCredentials:
    """What a channel is opened with. For "xds:///…" the cluster says whom to expect, and files are followed.

    A channel to a plain "host:port" looks for that host's name in the certificate, and keeps the files as they are
    now: it has to be opened anew before they expire. Raises BadCertificate.
    """
    files = identity.check(folder)
    plain = grpc.ssl_channel_credentials(files.ca, files.key, files.cert)
    credentials: grpc.ChannelCredentials = grpc.xds_channel_credentials(plain)
    return credentials


def certificate_providers(folder: Path) -> dict[str, Any]:
    """The bootstrap's `certificate_providers`: where gRPC finds what sockets.upstream asks for (gRFC A29)."""
    return {PROVIDER: {"plugin_name": "file_watcher", "config": _watched(folder)}}


def channel_creds(folder: Path) -> list[dict[str, Any]]:
    """The bootstrap's `channel_creds` of the channel to the control planes (gRFC A65)."""
    return [{"type": "tls", "config": _watched(folder)}]


def _watched(folder: Path) -> dict[str, str]:
    folder = folder.absolute()
    return {
        "ca_certificate_file": str(folder / identity.CA),
        "certificate_file": str(folder / identity.CERT),
        "private_key_file": str(folder / identity.KEY),
        "refresh_interval": f"{REFRESH_SECONDS}s",
    }


def server_uri(uri: str) -> str:
    """The bootstrap's `server_uri` for TLS, from one without: "dns:///host:port", "ipv4:a:p,b:p" or "ipv6:[a]:p,[b]:p".

    gRPC looks for this target's name in the server's certificate. Of "ipv4:" with several addresses that is the whole
    list, ports and all, which no certificate can carry; of "ipv6:" it is the first address alone. So IPv4 addresses
    are written as IPv6 ones (RFC 4291, 2.5.5.2). `sharemesh certs` puts those into the control plane's certificate
    only: no other identity's can stand in for it. A host's name stays, and has to be in that certificate.
    """
    scheme, _, places = uri.partition(":")
    return "ipv6:" + ",".join(map(_mapped, places.split(","))) if scheme == "ipv4" else _mapped_name(uri)


def _mapped_name(uri: str) -> str:
    host, _, port = uri.removeprefix("dns:///").rpartition(":")
    return f"ipv6:{_mapped(f'{host}:{port}')}" if uri.startswith("dns:///") and is_address(host.strip("[]")) else uri


def _mapped(place: str) -> str:
    host, _, port = place.rpartition(":")
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"[::ffff:{host}]:{port}"


def is_address(text: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
