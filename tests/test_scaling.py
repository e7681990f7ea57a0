"""Two machines on one Consul of three servers and one database of three nodes: what dies of those stops no call."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import consul, galera, mariadb
from local.mesh import Mesh
from registry import channel
from services.chassis import database
from services.chassis.tokens import DevIssuer
from tests.callers import Book, Caller, lay
from tests.mesh import settings_for
from tests.servers import Servers

pytestmark = [pytest.mark.slow, pytest.mark.galera, pytest.mark.timeout(600)]

NAME = "sharemesh"
# What both machines serve; the load uses these.
CALLED = ("share", "redeem")
SECOND_MACHINE = "127.0.0.2"
CALLERS = 16
# Answers between one event and the next.
ANSWERS = 150


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[galera.Cluster]:
    """Three nodes in step, with an empty database."""
    folder = tmp_path / "galera"
    folder.mkdir()
    with galera.started(folder) as running:
        with mariadb.connect(running.nodes[0].ports.sql) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NAME}")
        yield running


@contextmanager
def told(bootstrap: str) -> Iterator[None]:
    """This process finds the services as a client of the mesh does."""
    before = os.environ.get(channel.BOOTSTRAP)
    channel.use(bootstrap)
    try:
        yield
    finally:
        del os.environ[channel.BOOTSTRAP]
        if before is not None:
            os.environ[channel.BOOTSTRAP] = before


def test_servers_of_consul_and_of_the_database_die_and_calls_go_on(cluster: galera.Cluster, tmp_path: Path) -> None:
    url = cluster.url(NAME)
    with Mesh(tmp_path / "mesh", planes=2, consuls=3, gateway=False, database=url) as mesh:
        mesh.environment["SHAREMESH_HOST"] = SECOND_MACHINE
        joined = [mesh.start(service, zone="second") for service in CALLED]
        assert {one.address.split(":")[0] for one in joined} == {SECOND_MACHINE}
        db = database.bind(url, pool=1)
        activity, store = db.run_here(lay)
        book, servers = Book(), Servers(url, tmp_path)
        issuer = DevIssuer.of(settings_for(url, Path(mesh.environment["SHAREMESH_VAR"])))
        caller = Caller(servers, issuer, activity, store)
        with told(mesh.bootstrap):
            asyncio.run(load(mesh, cluster, book, caller, servers))
        db.run_here(book.check)
        db.close()


async def load(mesh: Mesh, cluster: galera.Cluster, book: Book, caller: Caller, servers: Servers) -> None:
    """Callers whom nothing keeps from their answers, while a server of Consul dies, the first machine's instances, and
    the database's first node."""
    servers.channels = {service: channel.open_channel(f"xds:///{service}") for service in CALLED}
    servers.up.set()
    async with asyncio.TaskGroup() as tasks:
        for number in range(CALLERS):
            tasks.create_task(book.rounds(caller, number))
        await book.reaches(ANSWERS)
        consul.leader_of(mesh.consuls).crash()
        await book.reaches(book.answers + ANSWERS)
        # Whoever joins while a server is away is found all the same.
        await asyncio.to_thread(mesh.start, "redeem", zone="second")
        await book.reaches(book.answers + ANSWERS)
        for one in mesh.instances:
            if one.service in CALLED and not one.address.startswith(SECOND_MACHINE):
                one.kill()
        await book.reaches(book.answers + ANSWERS)
        assert caller.unanswered == 0, "a server of Consul was missed, or a machine"
        await asyncio.to_thread(cluster.kill_at_commit, 0)
        await book.reaches(book.answers + ANSWERS)
        await asyncio.to_thread(cluster.rejoin, 0)
        await book.reaches(book.answers + ANSWERS)
        book.is_over = True
    async with asyncio.TaskGroup() as tasks:
        for number in range(CALLERS):
            tasks.create_task(book.again(caller, number))
    sys.stdout.write(f"{book.answers} answers, {caller.unanswered} unanswered\n")
    for to in servers.channels.values():
        await to.close()
