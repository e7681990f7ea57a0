import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from local import galera, mariadb
from monitoring.database import Database
from monitoring.readings import Readings, key

pytestmark = [pytest.mark.slow, pytest.mark.galera]

# As local.galera calls it.
CLUSTER = "tests"
PATIENCE = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[galera.Cluster]:
    with galera.started(tmp_path) as running:
        with mariadb.connect(running.nodes[0].ports.sql) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE sharemesh")
            cursor.execute("CREATE TABLE sharemesh.numbers (number INT PRIMARY KEY, much INT)")
            cursor.execute("INSERT INTO sharemesh.numbers VALUES (1, 0)")
            connection.commit()
        yield running


def figures(told: Readings, *names: str) -> list[object]:
    return [told.get(key(f"db.galera.{name}", CLUSTER)) for name in names]


def conflict(cluster: galera.Cluster) -> None:
    """One row is written on one node, while a transaction on another has it, too."""
    first, second = (mariadb.connect(node.ports.sql) for node in cluster.nodes[:2])
    with first as one, second as other, one.cursor() as here, other.cursor() as there:
        here.execute("BEGIN")
        here.execute("UPDATE sharemesh.numbers SET much = much + 1 WHERE number = 1")
        there.execute("UPDATE sharemesh.numbers SET much = much + 1 WHERE number = 1")
        there.execute("COMMIT")
        with pytest.raises(pymysql.err.OperationalError, match="Deadlock"):
            look_on(here)


def look_on(cursor: pymysql.cursors.Cursor) -> None:
    """Reads until the transaction is taken away."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        cursor.execute("SELECT much FROM sharemesh.numbers WHERE number = 1")
        time.sleep(0.01)


def test_a_node_tells_of_its_cluster_until_it_is_alone(cluster: galera.Cluster) -> None:
    reader = Database(f"mysql://root@127.0.0.1:{cluster.nodes[0].ports.sql}/sharemesh")
    told = reader.read()
    assert told[key("db.galera.discovery")] == f'[{{"{{#CLUSTER}}": "{CLUSTER}"}}]'
    assert figures(told, "size", "primary", "ready", "connected", "state") == [3, 1, 1, 1, 4]
    before, begin = int(cluster.nodes[0].status("wsrep_local_bf_aborts")), time.monotonic()
    reader.read()
    conflict(cluster)
    seconds = time.monotonic() - begin
    told = reader.read()
    aborts = int(cluster.nodes[0].status("wsrep_local_bf_aborts")) - before
    (rate,) = figures(told, "conflicts")
    assert float(str(rate)) * seconds == pytest.approx(aborts, rel=0.2)
    assert aborts >= 1
    assert figures(told, "queue.received", "queue.sent") == [0, 0]
    (paused,) = figures(told, "paused")
    assert 0 <= float(str(paused)) <= 100
    cluster.kill(1)
    cluster.kill(2)
    end = time.monotonic() + PATIENCE
    while figures(reader.read(), "primary", "ready") != [0, 0]:
        assert time.monotonic() < end, "it still counts on the others"
        time.sleep(0.1)
    assert reader.read()[key("db.up")] == 1, "it answers, but takes no work"
    reader.close()
