"""The gateway's own flags: each one's environment variable is SHAREMESH_GATEWAY_ and its name."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config import Config
from registry import config


class Flag(NamedTuple):
    """One flag: the fields of Config that it sets, what makes them of its text, and what it is for."""

    name: str
    sets: tuple[str, ...]
    parse: Callable[[str], tuple[Any, ...]]
    help: str


def _number(text: str) -> tuple[Any, ...]:
    if not text.isdecimal() or int(text) >= 2**31:
        raise ValueError("is not a number from 0 up")
    return (int(text),)


def _some(text: str) -> tuple[Any, ...]:
    (number,) = _number(text)
    if not number:
        raise ValueError("is 0, but the gateway needs some")
    return (number,)


def _megabytes(text: str) -> tuple[Any, ...]:
    (number,) = _some(text)
    return (number * 1024 * 1024,)


def _listen(text: str) -> tuple[Any, ...]:
    return config.split(text, lowest_port=0)


def _origins(text: str) -> tuple[Any, ...]:
    origins = tuple(filter(None, (origin.strip() for origin in text.split(","))))
    wrong = [origin for origin in origins if origin.count("/") != 2 or "://" not in origin]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not scheme://host or scheme://host:port, without a path")
    return (origins,)


def _path(text: str) -> tuple[Any, ...]:
    return (Path(text),)


def _yes_or_no(text: str) -> tuple[Any, ...]:
    if text not in ("yes", "no"):
        raise ValueError("is neither yes nor no")
    return (text == "yes",)


FLAGS = (
    Flag("listen", ("host", "port"), _listen, "host:port for apps, 0 for any free port [127.0.0.1:8080]"),
    Flag("certificate", ("certificate",), _path, "PEM file of the certificate chain that apps see; without: no TLS"),
    Flag("key", ("key",), _path, "PEM file of its key"),
    Flag("authorities", ("authorities",), _path, "PEM bundle by which an https --auth jwks=... is trusted"),
    Flag("origins", ("origins",), _origins, "web pages that may call, https://shop.example,...; without: any"),
    Flag("trusted-hops", ("trusted_hops",), _number, "proxies in front whose X-Forwarded-For is believed [0]"),
    Flag("pick-version", ("can_pick_version",), _yes_or_no, "let callers send x-sharemesh-version: yes or no [no]"),
    Flag(
        "calls-per-principal", ("calls_per_principal",), _number, "calls a second of one token's subject; 0: any [50]"
    ),
    Flag("calls-per-address", ("calls_per_address",), _number, "calls a second of one address; 0: any [300]"),
    Flag("connections", ("connections",), _some, "connections at once [10000]"),
    Flag("memory", ("memory_bytes",), _megabytes, "MiB that Envoy may use before it refuses requests [1024]"),
    Flag("request-seconds", ("request_seconds",), _some, "until a request must have arrived whole [60]"),
    Flag("headers-seconds", ("headers_seconds",), _some, "until its headers must have [10]"),
    Flag("drain-seconds", ("drain_seconds",), _number, "unhealthy before it takes no more connections [5]"),
    Flag("grace-seconds", ("grace_seconds",), _number, "for calls under way after that [10]"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the gateway's flags, with --envoy for the binary."""
    group = parser.add_argument_group("gateway", "Each can be given by its environment variable instead.")
    for flag in FLAGS:
        group.add_argument(f"--{flag.name}", metavar="…", help=f"{flag.help} ({_variable(flag.name)})")
    group.add_argument("--envoy", metavar="…", type=Path, help="Envoy's binary [the one on PATH, or of `make envoy`]")


def config_of(arguments: argparse.Namespace, environment: Mapping[str, str], **given: Any) -> Config:
    """The configuration of parsed flags, the environment and what is `given`; ValueError says what is wrong."""
    values: dict[str, Any] = dict(given)
    for flag in FLAGS:
        told = getattr(arguments, flag.name.replace("-", "_"))
        name, text = (f"--{flag.name}", told) if told is not None else (_variable(flag.name), None)
        text = environment.get(name) if text is None else text
        if text is None:
            continue
        try:
            values |= dict(zip(flag.sets, flag.parse(text), strict=True))
        except ValueError as error:
            raise ValueError(f"{name} {error}") from error
    assert values.keys() <= {field.name for field in fields(Config)}
    return Config(**values)


def _variable(name: str) -> str:
    return "SHAREMESH_GATEWAY_" + name.replace("-", "_").upper()
