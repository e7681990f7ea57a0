"""The command line: `sharemesh serve`, `migrate`, `token`, `run`, `demo`, and those of the mesh."""

import argparse
import asyncio
import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import peewee

from registry import config
from services import start
from services.chassis import database, logs, parameters, server, stores, tokens
from services.chassis.auth import TOKEN_ROLES
from services.chassis.errors import Unavailable
from services.chassis.keys import PRIVATE
from services.chassis.settings import SERVICES, BadSetting, Settings, add_flags, read

if TYPE_CHECKING:
    from registry import commands

STOPPING = "Stopping: calls under way end first.\n"
STOPPED = "Stopped.\n"
# A migration may have to copy a large table; cut off, it would be begun again beside itself.
MIGRATION_SECONDS = 86_400


def main() -> int:
    """Run the command that the arguments name; returns the exit code of the process."""
    arguments = _parser(next(iter(sys.argv[1:]), "")).parse_args()
    logs.to_console()
    try:
        return int(arguments.run(arguments))
    except (BadSetting, NotMigrated) as error:
        sys.stderr.write(f"sharemesh: {error}\n")
        return 2
    except peewee.DatabaseError as error:
        complaint = stores.misdirected(error)
        if not complaint:
            raise
        sys.stderr.write(f"sharemesh: --database: {complaint}\n")
        return 2
    except Unavailable:
        sys.stderr.write("sharemesh: the database is away; check --database or SHAREMESH_DATABASE\n")
        return 1


class NotMigrated(Exception):
    """The database's schema is behind; the message says what to do."""


def serve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve one service, or all in this process, until SIGINT or SIGTERM."""
    names = SERVICES if arguments.service == "all" else (arguments.service,)
    server.on_uvloop(_serve(names, settings))
    return 0


async def _serve(names: tuple[str, ...], settings: Settings) -> None:
    db = await _ready(names, settings)
    stopped = server.stop_signal()
    async with (
        start.built(names, db, settings) as servers,
        server.running(list(servers.values()), db, settings) as metrics_port,
    ):
        addresses = {name: one.address for name, one in servers.items()} | {"metrics": f"127.0.0.1:{metrics_port}"}
        _say("".join(f"{name} {address}\n" for name, address in addresses.items()))
        await stopped.wait()
        _say(STOPPING)
    _say(STOPPED)


def migrate(settings: Settings, arguments: argparse.Namespace) -> int:
    """Bring the database to the present schema."""
    from services.schema import migrate

    db = database.bind(settings.database, pool=1, statement_seconds=MIGRATION_SECONDS)
    try:
        applied = db.run_here(migrate.up)
    finally:
        db.close()
    sys.stdout.write("".join(f"applied {name}\n" for name in applied) or "nothing to apply\n")
    return 0


def token(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print a development token."""
    if settings.auth != "dev":
        raise BadSetting("--auth: only the development issuer's tokens can be made here")
    sys.stdout.write(tokens.DevIssuer.of(settings).issue(arguments.role, arguments.subject, arguments.ttl) + "\n")
    return 0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve all five, play the journey once, and stay up until SIGINT or SIGTERM."""
    return server.on_uvloop(_show(settings, stays=True))


def demo(settings: Settings, arguments: argparse.Namespace) -> int:
    """The same, but exit after the journey: 0 if every step came out as expected."""
    return server.on_uvloop(_show(settings, stays=False))


def route(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show or set which part of a service's calls goes to which version."""
    from registry import commands

    return commands.route(_place(settings), arguments.service, arguments.rule, arguments.clear)


def mesh(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show all instances with their health, zone, version and part of the traffic."""
    from registry import commands

    return commands.status(_place(settings))


def gateway(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the gateway for native apps and web pages: Envoy, in front of the mesh."""
    from gateway.flags import config_of
    from gateway.run import CannotRun, run

    is_dev = settings.auth == "dev"
    settings.var.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    given = {
        "control_planes": tuple(map(config.split, filter(None, settings.control_plane.split(",")))),
        "jwks": tokens.DevIssuer.of(settings).jwks() if is_dev else settings.auth.removeprefix("jwks="),
        "issuer": settings.issuer,
        "audience": settings.audience,
        "folder": settings.var / "gateway",
        "log": settings.logs / "gateway.jsonl",
        "zone": settings.zone,
        "identity": settings.tls and settings.tls / "gateway",
    }
    try:
        return run(config_of(arguments, os.environ, **given), arguments.envoy)
    except (CannotRun, ValueError) as error:
        raise BadSetting(str(error)) from error


def certs(arguments: argparse.Namespace) -> int:
    """Make or renew the certificates of a development mesh, for --tls."""
    from registry import certs

    return certs.run(arguments)


def zabbix(arguments: argparse.Namespace) -> int:
    """Teach a Zabbix what the mesh is: template, hosts, and whom to tell of problems."""
    from monitoring import provision

    return provision.run(arguments)


def audit_text(arguments: argparse.Namespace) -> int:
    """Judge JSON lines {"id", "text"} from standard input by the audit's lexicon."""
    from services.audit import lines

    return lines.run(arguments)


def _place(settings: Settings) -> "commands.Place":
    """Whom the commands of the mesh ask, and as whom."""
    from registry import commands

    tls = settings.tls and settings.tls / "client"
    return commands.Place(settings.registry, SERVICES, token=settings.registry_token, tls=tls)


async def _show(settings: Settings, stays: bool) -> int:
    from services.journey import showing

    if settings.auth != "dev":
        raise BadSetting("--auth: the journey's people have tokens of the development issuer only")
    if not stays and isinstance(settings.registry, config.Static):
        # Nobody watches the health of these, so nobody has to look away before they end.
        parameters.swap(replace(parameters.current(), drain_seconds=0.0))
    db = await _ready(SERVICES, settings)
    stopped = server.stop_signal()
    async with (
        start.built(SERVICES, db, settings) as servers,
        server.running(list(servers.values()), db, settings) as metrics_port,
    ):
        addresses = {name: one.address for name, one in servers.items()}
        is_expected = await asyncio.to_thread(showing.play, addresses, settings)
        if stays:
            showing.say_where(addresses, metrics_port, settings)
            await stopped.wait()
            _say(STOPPING)
    if stays:
        _say(STOPPED)
    return 0 if is_expected else 1


async def _ready(names: Sequence[str], settings: Settings) -> database.Database:
    """The database, up to date, and a log for each of these services."""
    settings.check_mesh()
    # Keys are in it, and by default the database: its owner's alone.
    settings.var.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    db = database.bind(settings.database)
    await asyncio.to_thread(_bring_up_to_date, db, settings)
    for name in names:
        logs.to_file(name, settings.logs)
    return db


def _say(text: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _bring_up_to_date(db: database.Database, settings: Settings) -> None:
    """Migrate SQLite, the embedded default; any other database is migrated by its operator. Raises NotMigrated."""
    from services.schema import migrate

    if database.dialect() == "sqlite":
        with _alone(settings.var / "migrate.lock"):
            db.run_here(migrate.up)
    elif not db.run_here(migrate.is_current):
        raise NotMigrated("the database's schema is behind this release: run `sharemesh migrate` first")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# What these depend on; other settings are taken, so that a process's flags can be given whole, but not shown.
SHOWN = {
    token: ("var", "issuer", "audience"),
    route: ("registry", "registry_token", "tls"),
    mesh: ("registry", "registry_token", "tls"),
    gateway: ("control_plane", "zone", "tls", "auth", "issuer", "audience", "var", "logs"),
}


def _parser(asked: str) -> argparse.ArgumentParser:
    """All commands; those that load what others do not need have flags only if one of them is asked for."""
    parser = argparse.ArgumentParser("sharemesh", description="Promotions, from a draft to a redeemed coupon.")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (serve, migrate, token, run, demo, route, mesh, gateway):
        one = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        one.set_defaults(run=partial(_with_settings, command))
        if command is serve:
            one.add_argument("service", choices=(*SERVICES, "all"))
        if command is token:
            one.add_argument("--role", required=True, type=str.upper, choices=sorted(TOKEN_ROLES))
            one.add_argument("--subject", required=True, help="who the token speaks for")
            one.add_argument("--ttl", type=int, default=3600, help="seconds until it expires [default: 3600]")
        if command is route:
            one.add_argument("service", nargs="?", default="", help=f"{', '.join(SERVICES)} [default: all]")
            one.add_argument(
                "--canary", dest="rule", default="", metavar="RULE", help="such as v2=10%%: so much for v2"
            )
            one.add_argument("--clear", action="store_true", help="remove the service's rule")
        if command is mesh:
            one.add_argument("what", choices=("status",))
        if command is gateway and asked == gateway.__name__:
            from gateway.flags import add_arguments

            add_arguments(one)
        add_flags(one, SHOWN.get(command), but=("canary",) if command is route else ())
    one = commands.add_parser("certs", help=certs.__doc__, description=certs.__doc__)
    one.set_defaults(run=certs)
    if asked == certs.__name__:
        from registry.certs import add_arguments as add_those_of_certs

        add_those_of_certs(one)
    one = commands.add_parser("zabbix", help=zabbix.__doc__, description=zabbix.__doc__)
    one.set_defaults(run=zabbix)
    one.add_argument("what", choices=("provision",))
    if asked == zabbix.__name__:
        from monitoring.plan import add_arguments as add_those_of_zabbix

        add_those_of_zabbix(one)
    one = commands.add_parser("audit-text", help=audit_text.__doc__, description=audit_text.__doc__)
    one.set_defaults(run=audit_text)
    if asked == "audit-text":
        from services.audit.lines import add_arguments as add_those_of_audit_text

        add_those_of_audit_text(one)
    return parser


def _with_settings(command: Callable[[Settings, argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    return command(read(arguments, os.environ), arguments)


if __name__ == "__main__":
    sys.exit(main())
