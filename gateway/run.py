"""Runs Envoy as the gateway from its start to the last call under way."""

import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway import admin
from gateway.bootstrap import EDGE_SECRETS, MESH_SECRETS, bootstrap, edge_secret
from gateway.config import Config
from gateway.filters import TOKENS, token_file
from registry import identity, sockets
from registry.config import joined

BOOTSTRAP = "envoy.json"
# Where `make envoy` puts it: a virtual environment of its own, since its wheel and xds-protos own the same package.
INSTALLED = ".cache/envoy/lib/python*/site-packages/envoy/_bin/envoy"
# It takes 0.1 s; a busy machine takes many times that.
_VALIDATE_SECONDS = 60.0
# Who waits for longer than this wants to know for what.
_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.1
# Envoy ends within milliseconds of being told.
_END_SECONDS = 10.0
# What the kernel takes for a Unix socket's name.
_SOCKET_NAME_BYTES = 107
# Until a line of the access log is in its file; Envoy's own choice is 10 s.
_FLUSH_MS = 200
_STOP = (signal.SIGTERM, signal.SIGINT)
# SIGUSR1 has Envoy open its access log anew, after a rotation. SIGCHLD says that Envoy has ended.
_AWAITED = (*_STOP, signal.SIGUSR1, signal.SIGCHLD)


class CannotRun(Exception):
    """The gateway cannot start; the message says why, and what to do."""


def run(config: Config, envoy: Path | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; returns the exit code of the process. For its main thread only.

    Prints "gateway host:port" once calls are taken, which they are from the control plane's first answer on. `envoy` is
    the binary, else one on PATH, else what `make envoy` installed. Raises CannotRun.
    """
    binary = find(envoy)
    socket = _written(config)
    _validate(binary, config)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    command = [str(binary), "--config-path", str(config.folder / BOOTSTRAP), *_options(config)]
    child = subprocess.Popen(command, preexec_fn=_in_child(before), process_group=0)
    try:
        return _attend(config, child, socket)
    finally:
        _end(child)
        socket.unlink(missing_ok=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def find(given: Path | None = None) -> Path:
    """Envoy's binary; raises CannotRun."""
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise CannotRun(f"--envoy: {given} is no program")
        return given
    on_path = shutil.which("envoy")
    if on_path:
        return Path(on_path)
    root = Path(__file__).resolve().parent.parent
    installed = sorted(root.glob(INSTALLED))
    if not installed:
        raise CannotRun("there is no Envoy: put one on PATH, give --envoy <its binary>, or run `make envoy`")
    return installed[-1]


def _options(config: Config) -> list[str]:
    # Several gateways may run on one machine, and one beside the other on one port while they are replaced.
    drain = str(math.ceil(config.drain_seconds + config.grace_seconds))
    always = ["--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", str(_FLUSH_MS)]
    return [*always, "--drain-time-s", drain, "--drain-strategy", "immediate"]


def _written(config: Config) -> Path:
    """Write Envoy's files, for their owner's eyes; returns the admin socket, this process's own."""
    socket = (config.folder / f"admin.{os.getpid()}.sock").absolute()
    if len(os.fsencode(socket)) > _SOCKET_NAME_BYTES:
        raise CannotRun(f"--var: {socket} is too long for a socket's name; choose a folder nearer to the root")
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.log.parent.mkdir(parents=True, exist_ok=True)
    if config.certificate is not None:
        _write(config.folder / EDGE_SECRETS, edge_secret(config))
    if config.identity is not None:
        try:
            sockets.write_secrets(config.identity, config.folder / MESH_SECRETS)
        except identity.BadCertificate as error:
            raise CannotRun(f"--tls: {error}") from error
    if config.has_key_file and not KeyFile(config).follow():
        raise CannotRun(f"--auth: {config.jwks} is no JWKS")
    _write(config.folder / BOOTSTRAP, bootstrap(config, str(socket)))
    return socket


class KeyFile:
    """The issuer's keys in a file, as Envoy was last told of them; it does not look at that file itself."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._taken = 0
        self._told = ""

    def follow(self) -> bool:
        """Tell Envoy if the file has changed; False if that cannot be, which is told once, and the keys stay."""
        path = Path(self._config.jwks)
        try:
            changed = path.stat().st_mtime_ns
            if changed == self._taken:
                return True
            document = path.read_text(encoding="utf-8")
            if not isinstance(json.loads(document).get("keys"), list):
                raise ValueError("it has no list of keys")
            _write(self._config.folder / TOKENS, token_file(self._config, document))
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            # The gateway goes on: neither a file that is away for a moment nor a full disk is a reason to end.
            if str(error) != self._told:
                self._told = str(error)
                sys.stderr.write(f"sharemesh: --auth: {path} is not taken, so the keys stay as they were: {error}\n")
            return False
        self._taken, self._told = changed, ""
        return True


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """At once: Envoy, which looks at some of them all the time, never sees half of a file."""
    new = path.with_suffix(f".{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    new.replace(path)


def _validate(binary: Path, config: Config) -> None:
    command = [
        str(binary),
        "--mode",
        "validate",
        "--log-level",
        "error",
        "--config-path",
        str(config.folder / BOOTSTRAP),
    ]
    try:
        checked = subprocess.run(command, capture_output=True, text=True, timeout=_VALIDATE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{binary} cannot be run: {error}") from error
    if checked.returncode:
        said = (checked.stderr.strip() or checked.stdout.strip()).splitlines()
        raise CannotRun(f"Envoy refuses {config.folder / BOOTSTRAP}: {said[-1] if said else 'without a word'}")


def _in_child(mask: set[Any]) -> Callable[[], None]:
    """What the child does first: take signals again, and end with its parent, even if that is killed."""
    libc = ctypes.CDLL(None)
    set_parent_death_signal = 1

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if hasattr(libc, "prctl"):
            libc.prctl(set_parent_death_signal, signal.SIGTERM)

    return prepare


def _attend(config: Config, child: "subprocess.Popen[bytes]", socket: Path) -> int:
    """Tell when calls are taken, pass signals on, and drain when told to stop."""
    started, is_told, is_serving = time.monotonic(), False, False
    keys = KeyFile(config) if config.has_key_file else None
    while child.poll() is None:
        caught = signal.sigtimedwait(_AWAITED, 1.0 if is_serving else _POLL_SECONDS)
        number = None if caught is None else caught.si_signo
        if number in _STOP:
            _drain(config, child, socket, is_serving)
            return 0
        if keys is not None:
            keys.follow()
        if number == signal.SIGUSR1:
            child.send_signal(signal.SIGUSR1)
        if not is_serving and admin.is_ready(socket):
            is_serving = True
            _say(f"gateway {admin.address(socket)}\n")
        if not is_serving and not is_told and time.monotonic() - started > _PATIENCE_SECONDS:
            is_told = True
            planes = ", ".join(joined(*place) for place in config.control_planes)
            sys.stderr.write(f"sharemesh: the gateway waits for a control plane: {planes}\n")
    sys.stderr.write(f"sharemesh: Envoy ended with {child.returncode}; its last words are above\n")
    return 1


def _drain(config: Config, child: "subprocess.Popen[bytes]", socket: Path, is_serving: bool) -> None:
    """Look unhealthy, then take no more connections, then let calls under way end."""
    if not is_serving:
        return
    try:
        # Every answer from now on also tells its caller to connect anew: to another gateway, if there is one.
        admin.tell(socket, "/healthcheck/fail")
        _wait(child, config.drain_seconds, lambda: False)
        admin.tell(socket, "/drain_listeners")
        _wait(child, config.grace_seconds, lambda: admin.under_way(socket) == 0)
    except admin.Away as error:
        sys.stderr.write(f"sharemesh: the gateway ends without draining: {error}\n")


def _wait(child: "subprocess.Popen[bytes]", seconds: float, is_enough: Callable[[], bool]) -> None:
    """Returns after so many seconds, or once it is enough, or at a second signal to stop."""
    end = time.monotonic() + seconds
    while child.poll() is None and not is_enough() and (left := end - time.monotonic()) > 0:
        caught = signal.sigtimedwait(_STOP, min(left, _POLL_SECONDS))
        if caught is not None:
            return


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _say(text: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(text)
    sys.stdout.flush()
