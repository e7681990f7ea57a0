"""The command line: `sharemesh serve`, `migrate`, `token`, `run` and `demo`."""

import argparse
import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import peewee

from services import start
from services.chassis import database, logs, parameters, server, stores, tokens
from services.chassis.auth import TOKEN_ROLES
from services.chassis.errors import Unavailable
from services.chassis.keys import PRIVATE
from services.chassis.settings import SERVICES, BadSetting, Settings, add_flags, read

STOPPING = "Stopping: calls under way end first.\n"
STOPPED = "Stopped.\n"
# A migration may have to copy a large table; cut off, it would be begun again beside itself.
MIGRATION_SECONDS = 86_400
# What a token depends on; its other settings are taken, so that a process's flags can be given whole, but not shown.
OF_TOKENS = ("var", "issuer", "audience")


def main() -> int:
    """Run the command that the arguments name; returns the exit code of the process."""
    arguments = _parser().parse_args()
    logs.to_console()
    try:
        return int(arguments.run(read(arguments, os.environ), arguments))
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


async def _show(settings: Settings, stays: bool) -> int:
    from services.journey import showing

    if settings.auth != "dev":
        raise BadSetting("--auth: the journey's people have tokens of the development issuer only")
    if not stays:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sharemesh", description="Promotions, from a draft to a redeemed coupon.")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (serve, migrate, token, run, demo):
        one = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        one.set_defaults(run=command)
        if command is serve:
            one.add_argument("service", choices=(*SERVICES, "all"))
        if command is token:
            one.add_argument("--role", required=True, type=str.upper, choices=sorted(TOKEN_ROLES))
            one.add_argument("--subject", required=True, help="who the token speaks for")
            one.add_argument("--ttl", type=int, default=3600, help="seconds until it expires [default: 3600]")
        add_flags(one, shown=OF_TOKENS if command is token else None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
