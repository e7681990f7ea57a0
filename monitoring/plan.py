"""What a Zabbix shall be taught of a mesh, as the flags of `sharemesh zabbix provision` say it."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitoring.alerts import SEVERITIES, SHAPES, Webhook

MESH_HOST = "sharemesh"
# What Zabbix takes for a host's name.
_NAME = re.compile(r"[0-9A-Za-z_. -]{1,128}")
_UNENCRYPTED, _PSK, _CERTIFICATE = 1, 2, 4


class Refused(Exception):
    """It cannot be done so; the message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """What there shall be. `tls` are the properties of hosts that say how sidecars connect; {}: as they are."""

    hosts: Sequence[str]
    mesh_host: str = MESH_HOST
    webhook: Webhook | None = None
    # Instances by service.
    wanted: Mapping[str, int] = field(default_factory=dict)
    tls: Mapping[str, Any] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of `sharemesh zabbix provision`."""
    server = parser.add_argument_group("Zabbix")
    server.add_argument("--url", required=True, help="Zabbix's pages, such as https://zabbix.example/zabbix")
    server.add_argument("--token", type=Path, metavar="FILE", help="file with a Super admin's API token")
    server.add_argument("--user", metavar="NAME", help="a Super admin's name, if there is no token")
    server.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password of --user")
    server.add_argument("--ca", type=Path, metavar="FILE", help="PEM file by which an https --url is trusted")
    hosts = parser.add_argument_group("hosts")
    hosts.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a machine's --zabbix-host; can be repeated",
    )
    hosts.add_argument("--mesh-host", default=MESH_HOST, metavar="NAME", help=f"the mesh's host [{MESH_HOST}]")
    hosts.add_argument(
        "--wanted", action="append", default=[], metavar="SERVICE=N", help="instances of a service [1]; can be repeated"
    )
    hosts.add_argument("--tls-accept", choices=("unencrypted", "cert", "psk"), help="how sidecars may connect")
    hosts.add_argument("--tls-issuer", default="", metavar="DN", help="issuer of the sidecars' certificate [any]")
    hosts.add_argument("--tls-subject", default="", metavar="DN", help="subject of the sidecars' certificate [any]")
    hosts.add_argument("--psk-identity", default="", metavar="NAME", help="name of the key for --tls-accept psk")
    hosts.add_argument("--psk-file", type=Path, metavar="FILE", help="file with that key, hexadecimal")
    told = parser.add_argument_group("who is told")
    told.add_argument("--webhook", metavar="URL", help="where problems are told")
    told.add_argument("--webhook-file", type=Path, metavar="FILE", help="file with that URL, if it has a secret in it")
    told.add_argument("--shape", choices=SHAPES, default="generic", help="what the webhook takes [generic]")
    told.add_argument("--secret-file", type=Path, metavar="FILE", help="file with DingTalk's secret for signatures")
    told.add_argument("--severity", choices=SEVERITIES, default="warning", help="the least that is told [warning]")


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What the flags say. Raises Refused."""
    if not arguments.host:
        raise Refused("--host: name the machines' hosts, each as its sidecar's --zabbix-host (by default its hostname)")
    for name in (*arguments.host, arguments.mesh_host):
        if not _NAME.fullmatch(name):
            raise Refused(f"--host: {name!r} is no name of a host: letters, digits, spaces, dots, dashes, underscores")
    if arguments.mesh_host in arguments.host:
        raise Refused(f"--mesh-host: {arguments.mesh_host} is a machine's host: the mesh needs one of its own")
    return Plan(
        hosts=tuple(dict.fromkeys(arguments.host)),
        mesh_host=arguments.mesh_host,
        webhook=_webhook(arguments),
        wanted=dict(map(_wanted, arguments.wanted)),
        tls=_tls(arguments),
    )


def text_in(flag: str, file: Path) -> str:
    """The one line in the file that a flag names. Raises Refused."""
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"--{flag}: {file} cannot be read: {error}") from error
    if not text or "\n" in text:
        raise Refused(f"--{flag}: {file} must have one line")
    return text


def _wanted(text: str) -> tuple[str, int]:
    service, _, number = text.partition("=")
    if not re.fullmatch(r"[a-z-]+", service) or not number.isdecimal():
        raise Refused(f"--wanted: {text!r} is not SERVICE=N, such as redeem=2")
    return service, int(number)


def _webhook(arguments: argparse.Namespace) -> Webhook | None:
    if arguments.webhook and arguments.webhook_file:
        raise Refused("--webhook and --webhook-file say the same: give one of them")
    url = text_in("webhook-file", arguments.webhook_file) if arguments.webhook_file else arguments.webhook
    if arguments.secret_file and (not url or arguments.shape != "dingtalk"):
        raise Refused("--secret-file is for DingTalk's signature: give --webhook and --shape dingtalk too")
    if not url:
        return None
    if not re.match(r"https?://[^/\s]+", url):
        raise Refused("--webhook: give a URL that begins with https:// or http://")
    secret = text_in("secret-file", arguments.secret_file) if arguments.secret_file else ""
    return Webhook(url, arguments.shape, secret, arguments.severity)


def _tls(arguments: argparse.Namespace) -> Mapping[str, Any]:
    kind = arguments.tls_accept
    if (arguments.tls_issuer or arguments.tls_subject) and kind != "cert":
        raise Refused("--tls-issuer and --tls-subject are for --tls-accept cert")
    if bool(arguments.psk_identity and arguments.psk_file) != (kind == "psk"):
        raise Refused("--tls-accept psk, --psk-identity and --psk-file belong together: give all three or none")
    if kind == "cert":
        return {"tls_accept": _CERTIFICATE, "tls_issuer": arguments.tls_issuer, "tls_subject": arguments.tls_subject}
    if kind == "psk":
        psk = text_in("psk-file", arguments.psk_file)
        if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){16,256}", psk):
            raise Refused(f"--psk-file: {arguments.psk_file} has no key: make one by `openssl rand -hex 32`")
        return {"tls_accept": _PSK, "tls_psk_identity": arguments.psk_identity, "tls_psk": psk}
    return {"tls_accept": _UNENCRYPTED} if kind else {}
