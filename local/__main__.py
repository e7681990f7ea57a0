"""`python -m local mesh`, and the processes of its Procfile that are no component of their own."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local import procfile
from local.process import START_SECONDS, is_open

POLL_SECONDS = 0.1
# An agent on this machine answers in milliseconds or is not there yet.
ASK_SECONDS = 2.0
# A day to try things with.
TOKEN_SECONDS = "86400"


class Late(RuntimeError):
    """What was waited for did not come; the message says what."""


def main() -> int:
    """Run the command that the arguments name; returns the exit code of the process."""
    parser = argparse.ArgumentParser("python -m local")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (mesh, database, consul, after, welcome):
        one = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        one.set_defaults(run=command)
        if command is mesh:
            one.add_argument("--scale", default=os.environ.get("SCALE") or procfile.SCALE, help="service=count,...")
            one.add_argument("--data", type=Path, default=procfile.VAR, help="folder of whatever is kept")
        if command is after:
            one.add_argument("what", nargs="+", help=f"of {', '.join(WAITS)}; then -- and the program")
    arguments, program = _split(sys.argv[1:])
    parsed = parser.parse_args(arguments)
    parsed.program = program
    try:
        return int(parsed.run(parsed))
    except (procfile.BadScale, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def mesh(arguments: argparse.Namespace) -> int:
    """Start the whole mesh on this machine, and stay up until Ctrl-C."""
    return procfile.run(procfile.scale_of(arguments.scale), arguments.data.absolute())


def database(arguments: argparse.Namespace) -> int:
    """Run MariaDB with what it kept, and bring its schema up to date."""
    from local import outliving

    port = int(os.environ["SHAREMESH_DATABASE"].rpartition(":")[2].partition("/")[0])
    return outliving.database(_folder() / "mariadb", port, _folder() / procfile.READY)


def consul(arguments: argparse.Namespace) -> int:
    """Run a Consul that remembers nothing: every instance tells it again."""
    from local import outliving

    return outliving.registry(_folder() / "consul", int(os.environ["SHAREMESH_REGISTRY"].rpartition(":")[2]))


def after(arguments: argparse.Namespace) -> int:
    """Wait for what a program needs, and become that program."""
    for what in arguments.what:
        _await(WAITS[what], what)
    os.execvp(arguments.program[0], arguments.program)


def welcome(arguments: argparse.Namespace) -> int:
    """Say where everything is once all is up, and stay until told to end."""
    (_folder() / procfile.STARTED).touch()
    # Honcho ends all when one ends: this one never does by itself.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    for service, count in procfile.scale_of(os.environ["MESH_SCALE"]).items():
        _await(partial(_are_passing, service, count), f"{count} of {service}")
    gateway = os.environ["MESH_GATEWAY"]
    _await(lambda: is_open(gateway), "gateway")
    command = [sys.executable, "-m", "services", "token", "--role", "customer", "--subject", "alice"]
    token = subprocess.run([*command, "--ttl", TOKEN_SECONDS], capture_output=True, text=True, check=True)
    for line in (
        f"All is up; the gateway listens on http://{gateway} for gRPC, gRPC-Web and JSON.",
        "Be Alice for a day, and look into her wallet:",
        f"  TOKEN={token.stdout.strip()}",
        f'  curl -H "authorization: Bearer $TOKEN" http://{gateway}/v1/coupons',
        "Who is there, and what share of the calls each gets:",
        f"  {_command()} mesh status --registry {os.environ['SHAREMESH_REGISTRY']}",
        "One more instance, in another terminal:",
        f"  (set -a; . {_near(_folder() / 'env')}; {_command()} serve redeem)",
        "Ctrl-C ends all of it.",
    ):
        _say(line)
    while True:
        signal.pause()


def _consul_is_ready() -> bool:
    return bool(_asked("/v1/status/leader").strip(b'"\n'))


def _are_passing(service: str, count: int) -> bool:
    return count <= len(json.loads(_asked(f"/v1/health/service/{service}?passing&consistent") or "[]"))


def _asked(path: str) -> bytes:
    """What Consul answers; nothing if it is not there."""
    address = os.environ["SHAREMESH_REGISTRY"].removeprefix("consul://")
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=ASK_SECONDS) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


WAITS: dict[str, Callable[[], bool]] = {
    "consul": _consul_is_ready,
    "database": lambda: (_folder() / procfile.READY).exists(),
    "services": lambda: all(_are_passing(service, 1) for service in procfile.SERVICES),
    "control-plane": lambda: any(map(is_open, os.environ["SHAREMESH_CONTROL_PLANE"].split(","))),
}


def _await(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise Late(f"{what} was not ready in {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and the program after a "--"."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _folder() -> Path:
    return Path(os.environ["SHAREMESH_VAR"])


def _command() -> str:
    """`sharemesh` as it is typed here."""
    program = Path(sys.executable).with_name("sharemesh")
    return _near(program) if program.exists() else "python -m services"


def _near(path: Path) -> str:
    """A path as it is typed here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _say(line: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
