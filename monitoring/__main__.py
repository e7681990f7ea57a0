"""`python -m monitoring`: the sidecar, which tells Zabbix how a machine, its database, the mesh and the business do."""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from monitoring import sources
from monitoring.delivery.outbox import Outbox
from monitoring.delivery.psk import Psk
from monitoring.delivery.spool import Taken
from monitoring.delivery.tls import Certificate, Tls
from monitoring.sidecar import AlreadyRuns, Sidecar, alone
from monitoring.zabbix import Sender
from registry import config, program
from registry.identity import BadCertificate
from registry.program import BadSetting

NAME = "sidecar"
# As whom it calls the services and Consul where the mesh has mutual TLS.
IDENTITY = "client"
_ZABBIX_PORT = 10051
# The templates' triggers take a minute without a word for silence, and a value may come a beat late.
MOST_BEAT_SECONDS = 20.0
_FLAGS = {
    "zabbix": ("", f"Zabbix servers or proxies, host[:{_ZABBIX_PORT}],...; tried in turn"),
    "zabbix-host": ("", "this machine's host in Zabbix; by default the machine's name"),
    "mesh-host": ("sharemesh", "the mesh's host in Zabbix"),
    "zabbix-tls": ("", "folder of ca.pem, cert.pem, key.pem: TLS with Zabbix, by certificate"),
    "zabbix-name": ("", "name that must be in Zabbix's certificate; without, any of that CA's is taken"),
    "zabbix-psk": ("", "file of a key in hexadecimal: TLS with Zabbix, by a key that both sides know"),
    "zabbix-psk-identity": ("", "name that Zabbix knows this key by"),
    "registry": ("consul://127.0.0.1:8500", "consul://host:8500[,...], consul+tls://, or static:service=host:port,..."),
    "registry-token": ("", "file with the ACL token"),
    "tls": ("", "folder of `sharemesh certs`, if the mesh has mutual TLS"),
    "database": ("", "URL of the database; without, the sidecar does not tell of the mesh either"),
    "gateway": ("", "gateways of this machine, host:port,... or https://host:port,..."),
    "gateway-authorities": ("", "PEM bundle by which a gateway's certificate is trusted; by default the system's"),
    "metrics": ("", "pages of /metrics that the registry does not tell of, host:port,...; for a static registry"),
    "stock-low": ("10", "percent of its stock at which an activity is about to run out"),
    "beat": ("5", f"seconds between two readings, 1 to {MOST_BEAT_SECONDS:g}"),
    "monitoring-var": ("var/monitoring", "folder of what waits for Zabbix"),
}


@dataclass(frozen=True)
class Settings:
    """What a sidecar is told at its start."""

    servers: tuple[tuple[str, int], ...]
    tls: Tls | None
    host: str
    beat: float
    var: Path
    sources: sources.Settings


def main() -> int:
    """Tell Zabbix until SIGTERM or SIGINT; returns the exit code of the process."""
    arguments = _parser().parse_args()
    program.log_to_console()
    try:
        settings = _read(arguments, os.environ, needs_zabbix=not arguments.once)
        return asyncio.run(_show(settings) if arguments.once else _tell(settings))
    except (BadSetting, BadCertificate, AlreadyRuns, Taken) as error:
        sys.stderr.write(f"monitoring: {error}\n")
        return 2


async def _show(settings: Settings) -> int:
    # Tables are large, and a sidecar is small.
    from monitoring import table

    return await table.show(settings.sources)


async def _tell(settings: Settings) -> int:
    stopped = program.stop_signal()
    with alone(settings.host):
        sender = Sender(settings.servers, settings.tls)
        async with AsyncExitStack() as at_end:
            outbox = Outbox(settings.var / "outbox.db", sender)
            at_end.push_async_callback(asyncio.to_thread, outbox.close)
            readers, chores = await sources.opened(settings.sources, at_end)
            sidecar = Sidecar(readers, outbox, settings.host, settings.beat, chores)
            sys.stdout.write(f"{NAME} tells for {settings.host}\n")
            sys.stdout.flush()
            await sidecar.run(stopped)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m monitoring", description="The sidecar of one machine: values to Zabbix."
    )
    parser.add_argument("--once", action="store_true", help="print what it would tell, and exit")
    program.add_flags(parser, _FLAGS)
    return parser


def _read(arguments: argparse.Namespace, environment: Mapping[str, str], needs_zabbix: bool) -> Settings:
    """The flags, else the environment, else the defaults. Raises BadSetting."""
    given = program.given(arguments, environment, _FLAGS)
    if needs_zabbix and not given["zabbix"]:
        raise BadSetting("--zabbix: say where Zabbix is, such as --zabbix 127.0.0.1; or look with --once")
    host = given["zabbix-host"] or socket.gethostname()
    return Settings(
        servers=tuple(_server(text.strip()) for text in given["zabbix"].split(",") if text.strip()),
        tls=_tls(given),
        host=host,
        beat=program.seconds("beat", given["beat"], least=1.0, most=MOST_BEAT_SECONDS),
        var=Path(given["monitoring-var"]),
        sources=sources.Settings(
            host=host,
            mesh_host=given["mesh-host"],
            registry=program.place(given["registry"]),
            token=program.file("registry-token", given["registry-token"]),
            identity=program.folder("tls", str(Path(given["tls"]) / IDENTITY) if given["tls"] else ""),
            database=given["database"],
            gateways=tuple(_gateway(text.strip()) for text in given["gateway"].split(",") if text.strip()),
            authorities=program.file("gateway-authorities", given["gateway-authorities"]),
            pages=tuple(_address("metrics", text) for text in given["metrics"].split(",") if text.strip()),
            stock_low=_percent(given["stock-low"]),
        ),
    )


def _server(text: str) -> tuple[str, int]:
    is_bare = ":" not in text or text.endswith("]")
    return _split("zabbix", f"{text}:{_ZABBIX_PORT}" if is_bare else text)


def _gateway(text: str) -> str:
    scheme, _, address = text.rpartition("://")
    if scheme not in ("", "http", "https"):
        raise BadSetting(f"--gateway: {text!r} is neither host:port nor https://host:port")
    return ("https://" if scheme == "https" else "") + config.joined(*_split("gateway", address.rstrip("/")))


def _address(flag: str, text: str) -> str:
    return config.joined(*_split(flag, text.strip()))


def _tls(given: Mapping[str, str]) -> Tls | None:
    folder = program.folder("zabbix-tls", given["zabbix-tls"])
    key, identity = program.file("zabbix-psk", given["zabbix-psk"]), given["zabbix-psk-identity"]
    if folder and key:
        raise BadSetting("--zabbix-tls and --zabbix-psk are two ways: give one of them")
    if bool(key) != bool(identity):
        raise BadSetting("--zabbix-psk and --zabbix-psk-identity belong together: give both")
    if folder:
        return Certificate.of(folder, given["zabbix-name"])
    return Psk(identity, key) if key else None


def _split(flag: str, text: str) -> tuple[str, int]:
    try:
        return config.split(text)
    except ValueError as error:
        raise BadSetting(f"--{flag}: {error}") from error


def _percent(text: str) -> float:
    if not (text.isdecimal() and int(text) <= 100):
        raise BadSetting(f"--stock-low: {text!r} is not a percentage from 0 to 100")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
