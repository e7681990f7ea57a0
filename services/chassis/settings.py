"""What a process is told at its start: flags, SHAREMESH_* environment variables, defaults, in that order."""
# ruff: noqa: RUF009 - every default below is a dataclasses.field.

import argparse
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry import config
from services.chassis import stores

SERVICES = ("entry", "publish", "audit", "share", "redeem")
FIRST_PORT = 50051
VAR = "var"
ANY_HOST = ("0.0.0.0", "::", "[::]")
# What a tag of Consul, a locality of xDS and a cell of a table can all hold.
_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class BadSetting(Exception):
    """A setting has an impossible value; says which one by the name it was given."""


def _database(text: str) -> str:
    stores.store_of(text)
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError("is not a port number")
    return int(text)


def _base_port(text: str) -> int:
    port = _port(text)
    if port + len(SERVICES) > 65536:
        raise ValueError("leaves no room for the five services' ports")
    return port


def _generation(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("is not a number from 0 up")
    return int(text)


def _auth(text: str) -> str:
    kind, _, place = text.partition("=")
    if text != "dev" and (kind != "jwks" or not place):
        raise ValueError("is neither dev nor jwks=<file or URL>")
    if place and "://" not in place and not Path(place).is_file():
        raise ValueError(f"names no file: {place}")
    return text


def _images(text: str) -> str:
    scheme = urlsplit(text).scheme
    if not scheme:
        raise ValueError("is not a URL")
    if scheme == "file":
        return text
    import fsspec  # Only entry has pictures: the other services' processes start faster and smaller without it.

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise ValueError(f"begins with {scheme}://, for which a package is missing: {error}") from error
    except ValueError as error:
        raise ValueError(f"begins with {scheme}://, which fsspec does not know") from error
    return text


def _ocr(text: str) -> bool:
    if text not in ("auto", "off"):
        raise ValueError("is neither auto nor off")
    return text == "auto"


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("is not a short name of a-z, 0-9, dot, dash and underscore")
    return text


def _version(text: str) -> str:
    # The longest that a canary route can name.
    if len(_label(text)) > 32:
        raise ValueError("is longer than 32 characters")
    return text


def _zone(text: str) -> str:
    return text and _label(text)


def _canary(text: str) -> int | None:
    if text and not (text.isdecimal() and int(text) <= 100):
        raise ValueError("is not a percentage from 0 to 100")
    return int(text) if text else None


def _addresses(text: str) -> str:
    for address in text.split(",") if text else ():
        config.split(address)
    return text


def _host(text: str) -> str:
    if text and (re.search(r"[\s,/]", text) or text in ANY_HOST):
        raise ValueError("is not the name or address of one host, by which others reach this one")
    return text


def _file(text: str) -> Path | None:
    if text and not Path(text).is_file():
        raise ValueError(f"names no file: {text}")
    return Path(text) if text else None


def _folder(text: str) -> Path | None:
    if text and not Path(text).is_dir():
        raise ValueError(f"names no folder: {text}; `sharemesh certs` makes one for development")
    return Path(text) if text else None


def _setting(default: str, parse: Callable[[str], Any], help: str) -> Any:
    return field(default=parse(default.format(var=VAR)), metadata={"default": default, "parse": parse, "help": help})


@dataclass(frozen=True)
class Settings:
    """Addresses, paths and secrets of one process; fixed once read."""

    registry: config.Static | config.Consul = _setting(
        "static:" + ",".join(f"{name}=127.0.0.1:{FIRST_PORT + place}" for place, name in enumerate(SERVICES)),
        config.parse,
        "where the services are: static:entry=host:port,publish=host:port,... or consul://host:8500[,host:8500...]",
    )
    registry_token: Path | None = _setting("", _file, "file of Consul's ACL token; read anew when it changes")
    control_plane: str = _setting("", _addresses, "control planes of the mesh, with Consul: host:port[,host:port...]")
    zone: str = _setting("", _zone, "zone of this machine; calls stay within their zone while it can answer them")
    release: str = _setting("v1", _version, "version that the instances register with, for canary routes")
    canary: int | None = _setting(
        "", _canary, "percent of the calls that this release gets, if no route says otherwise"
    )
    database: str = _setting(
        "sqlite:///{var}/sharemesh.db",
        _database,
        "sqlite:///relative/file, sqlite:////absolute/file or mysql://user:password@host:port/name",
    )
    var: Path = _setting(VAR, Path, "folder of whatever is kept, and of the keys that are made on the first run")
    logs: Path = _setting("{var}/log", Path, "folder of the logs, <service>.<n>.jsonl")
    images: str = _setting("file://{var}/images", _images, "fsspec URL of the image store that all processes share")
    ocr: bool = _setting("auto", _ocr, "whether audits read pictures: auto (with the extra ocr installed) or off")
    host: str = _setting("127.0.0.1", _text, "address to listen on")
    advertise: str = _setting("", _host, "host by which others reach this machine, in Consul; --host if not given")
    tls: Path | None = _setting("", _folder, "folder with a folder of ca.pem, cert.pem and key.pem for each service")
    port: int = _setting(str(FIRST_PORT), _base_port, "port of entry, the others follow in order; 0: free ports")
    metrics_port: int = _setting("0", _port, "port of /metrics on the loopback address; 0: a free one")
    auth: str = _setting("dev", _auth, "who signs tokens: dev (a key made under var) or jwks=<file or URL>")
    issuer: str = _setting("https://sharemesh.local", _text, "the iss claim that tokens must carry")
    audience: str = _setting("sharemesh", _text, "the aud claim that tokens must carry")
    code_generation: int = _setting("0", _generation, "which key new coupon codes are made with; raise it to rotate")
    service_token: str = _setting("", str, "file of the token for calls to other services; read anew when it changes")

    def check_mesh(self) -> None:
        """Raise BadSetting unless what is told of the registry, the control plane and TLS goes together."""
        if isinstance(self.registry, config.Static):
            if self.tls:
                raise BadSetting("--tls needs the mesh: --registry consul://host:8500 and --control-plane host:port")
            return
        if not self.control_plane:
            planes = "host:port[,host:port...], where `python -m registry` listens"
            raise BadSetting(f"--control-plane is needed with --registry consul://...: {planes}")
        if self.host in ANY_HOST and not self.advertise:
            raise BadSetting(f"--advertise is needed with --host {self.host}: the host by which others reach this one")

    def port_of(self, service: str) -> int:
        """The port that a service listens on; 0 for any free one."""
        return self.port and self.port + SERVICES.index(service)


def add_flags(parser: argparse.ArgumentParser, shown: Collection[str] | None = None, but: Collection[str] = ()) -> None:
    """Give the parser a flag for every setting, `but` some; its help tells of those that are `shown`, None for all."""
    group = parser.add_argument_group("settings", "Each can be given by its environment variable instead.")
    for setting in (one for one in fields(Settings) if one.name not in but):
        default = setting.metadata["default"].format(var="<var>")
        text = f"{setting.metadata['help']} [{_variable(setting.name)}; default: {default or 'none'}]"
        is_shown = shown is None or setting.name in shown
        told = text.replace("%", "%%") if is_shown else argparse.SUPPRESS
        group.add_argument(_flag(setting.name), metavar="…", help=told)


def read(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings in parsed flags and the environment; raises BadSetting for a value that cannot be."""
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        flag, variable = getattr(arguments, setting.name, None), environment.get(_variable(setting.name))
        given, text = (_flag(setting.name), flag) if flag is not None else (_variable(setting.name), variable)
        if text is None:
            continue
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            # The database's URL holds a password, so values are not repeated.
            raise BadSetting(f"{given} {error}") from error
    for setting in fields(Settings):
        if setting.name not in values:
            default = setting.metadata["default"].format(var=values.get("var", VAR))
            values[setting.name] = setting.metadata["parse"](default)
    return Settings(**values)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "SHAREMESH_" + name.upper()
