import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from local import mariadb, ports
from local.process import freeze
from monitoring.database import Database
from monitoring.readings import Rates, Readings, key
from monitoring.sql import galera, replication, statuses
from monitoring.sql.location import Servers
from monitoring.sql.mariadb import Server

# Of the server's own: few, so that they are soon used up. Root has one more.
CONNECTIONS = 12
# A server that hangs must not cost more than this: its limit, and what a busy machine adds.
HANGING_SECONDS = 1.5
# For what takes no longer on a busy machine.
PATIENCE = 20.0
LOADED = 200
SLOW = 4
# What a server does by itself meanwhile, and the questions of those who look.
OTHERS = 20
ON_DISK = "SELECT DISTINCT REPEAT(number, 200) FROM sharemesh.numbers"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.Server]:
    """A server of this module's own, which keeps a binary log, with a table."""
    folder = tmp_path_factory.mktemp("watched")
    options = (f"--max-connections={CONNECTIONS}", "--log-bin=log", "--server-id=1", "--innodb-lock-wait-timeout=10")
    running = mariadb.start(folder, *options)
    try:
        with mariadb.connect(running.port) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE sharemesh.numbers (number INT PRIMARY KEY, much TEXT)")
            cursor.execute("INSERT INTO sharemesh.numbers SELECT seq, REPEAT('x', 1000) FROM sharemesh.seq_1_to_1000")
            connection.commit()
            cursor.execute("CREATE USER plain@'%' IDENTIFIED BY 'secret'")
            cursor.execute("GRANT SELECT ON sharemesh.* TO plain@'%'")
        yield running
    finally:
        running.stop()


@pytest.fixture
def reader(server: mariadb.Server) -> Iterator[Database]:
    opened = Database(server.url)
    yield opened
    opened.close()


@pytest.fixture
def cursor(server: mariadb.Server) -> Iterator[pymysql.cursors.Cursor]:
    with mariadb.connect(server.port) as connection, connection.cursor() as cursor:
        yield cursor


def whole(told: Readings, name: str, *parameters: str) -> float:
    return float(told[key(name, *parameters)])


def status_of(cursor: pymysql.cursors.Cursor) -> dict[str, str]:
    """SHOW GLOBAL STATUS as somebody else reads it."""
    cursor.execute("SHOW GLOBAL STATUS")
    return dict(cursor.fetchall())


class Watched:
    """What the reader tells of the time in which something is done, beside what the server counted meanwhile."""

    def __init__(self, reader: Database, cursor: pymysql.cursors.Cursor) -> None:
        self._reader, self._cursor = reader, cursor
        self.told: Readings = {}
        self.seconds = 0.0
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def __enter__(self) -> "Watched":
        self._reader.read()
        self._begin = time.monotonic()
        assert self._reader.read()[key("db.up")] == 1
        self.before = status_of(self._cursor)
        return self

    def __exit__(self, *error: object) -> None:
        self.after = status_of(self._cursor)
        self.seconds = time.monotonic() - self._begin
        self.told = self._reader.read()

    def told_count(self, name: str, *parameters: str) -> float:
        """How many in all that rate comes to."""
        return whole(self.told, name, *parameters) * self.seconds

    def counted(self, status: str) -> int:
        return int(self.after[status]) - int(self.before[status])


def in_thread(act: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def await_true(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"not in {PATIENCE:.0f} s: {what}"
        time.sleep(0.01)


def test_rates_of_statements_are_those_that_the_server_counted(
    reader: Database, cursor: pymysql.cursors.Cursor
) -> None:
    with Watched(reader, cursor) as watched:
        for _ in range(LOADED):
            cursor.execute("SELECT much FROM sharemesh.numbers WHERE number = 7")
        cursor.execute("SET SESSION long_query_time = 0.01, tmp_memory_table_size = 0")
        for _ in range(SLOW):
            cursor.execute("SELECT SLEEP(0.05)")
        for number in range(SLOW):
            cursor.execute(ON_DISK)
            cursor.execute("INSERT INTO sharemesh.numbers VALUES (%s, '')", (5000 + number,))
            cursor.execute("UPDATE sharemesh.numbers SET much = 'y' WHERE number = %s", (5000 + number,))
            cursor.execute("DELETE FROM sharemesh.numbers WHERE number = %s", (5000 + number,))
            cursor.execute(
                "SELECT COUNT(*) FROM sharemesh.numbers a, sharemesh.numbers b WHERE a.much = b.much LIMIT 1"
            )
            cursor.execute("COMMIT" if number % 2 else "ROLLBACK")
    for name, status in (
        (("db.queries",), "Queries"),
        (("db.questions",), "Questions"),
        (("db.commands", "select"), "Com_select"),
        (("db.commands", "insert"), "Com_insert"),
        (("db.commands", "update"), "Com_update"),
        (("db.commands", "delete"), "Com_delete"),
        (("db.commands", "commit"), "Com_commit"),
        (("db.commands", "rollback"), "Com_rollback"),
        (("db.queries.slow",), "Slow_queries"),
        (("db.tmp.tables",), "Created_tmp_tables"),
        (("db.tmp.disk",), "Created_tmp_disk_tables"),
        (("db.tmp.files",), "Created_tmp_files"),
        (("db.joins.full",), "Select_full_join"),
        (("db.innodb.pool.requests",), "Innodb_buffer_pool_read_requests"),
        (("db.innodb.pool.reads",), "Innodb_buffer_pool_reads"),
        (("db.innodb.fsyncs",), "Innodb_data_fsyncs"),
        (("db.binlog.commits",), "Binlog_commits"),
        (("db.binlog.groups",), "Binlog_group_commits"),
        (("db.tables.opened",), "Opened_tables"),
    ):
        assert watched.told_count(*name) == pytest.approx(watched.counted(status), rel=0.05, abs=OTHERS), status
    for name, status in (
        (("db.received",), "Bytes_received"),
        (("db.sent",), "Bytes_sent"),
        (("db.innodb.written",), "Innodb_data_written"),
        (("db.innodb.read",), "Innodb_data_read"),
        (("db.innodb.log.written",), "Innodb_os_log_written"),
        (("db.handler.readrnd",), "Handler_read_rnd_next"),
    ):
        # The list of all statuses is long itself.
        assert watched.told_count(*name) == pytest.approx(watched.counted(status), rel=0.05, abs=100_000), status
    assert watched.told_count("db.commands", "select") == pytest.approx(LOADED + 3 * SLOW, abs=OTHERS)
    assert watched.told_count("db.queries.slow") >= SLOW - 0.1
    assert watched.told_count("db.tmp.disk") >= SLOW - 0.1
    assert watched.told_count("db.joins.full") >= SLOW - 0.1
    assert watched.told_count("db.commands", "commit") >= SLOW / 2 - 0.1


def test_what_is_told_as_it_stands_is_what_another_connection_is_shown(
    reader: Database, cursor: pymysql.cursors.Cursor, server: mariadb.Server
) -> None:
    reader.read()
    told, status = reader.read(), status_of(cursor)
    for name, variable in statuses._AS_THEY_ARE.items():
        assert whole(told, f"db.{name}") == pytest.approx(float(status[variable]), abs=2), name
    cursor.execute("SHOW GLOBAL VARIABLES")
    variables = dict(cursor.fetchall())
    assert told[key("db.connections.max")] == int(variables["max_connections"]) == CONNECTIONS
    assert whole(told, "db.connections.share") == 100 * whole(told, "db.connections") / CONNECTIONS
    assert told[key("db.innodb.pool.size")] == int(variables["innodb_buffer_pool_size"])
    pages, free, dirty = (int(status[f"Innodb_buffer_pool_pages_{kind}"]) for kind in ("total", "free", "dirty"))
    assert whole(told, "db.innodb.pool.used") == pytest.approx(100 * (pages - free) / pages, abs=1)
    assert whole(told, "db.innodb.pool.dirty") == pytest.approx(100 * dirty / pages, abs=2)
    assert 0 <= whole(told, "db.innodb.pool.hits") <= 100
    cursor.execute("SELECT VERSION()")
    assert [told[key(f"db.{name}")] for name in ("kind", "version", "server")] == [
        "mariadb",
        cursor.fetchall()[0][0],
        f"127.0.0.1:{server.port}",
    ]
    # The same machine has the same clock.
    assert abs(whole(told, "db.clock.offset")) < 0.2
    assert 0 < whole(told, "db.latency") < 1
    assert told[key("db.replication.discovery")] == told[key("db.galera.discovery")] == "[]"


def test_sizes_are_those_of_the_tables(server: mariadb.Server, cursor: pymysql.cursors.Cursor) -> None:
    # The server works sizes out anew some time after a change.
    cursor.execute("ANALYZE TABLE sharemesh.numbers")
    told = Database(server.url).read()
    cursor.execute("SELECT data_length + index_length FROM information_schema.tables WHERE table_name = 'numbers'")
    assert told[key("db.schema.size", "sharemesh")] == cursor.fetchall()[0][0] >= 1_000_000
    assert '{"{#SCHEMA}": "sharemesh"}' in str(told[key("db.schema.discovery")])


def test_a_deadlock_and_those_who_wait_for_a_row_are_counted(
    reader: Database, cursor: pymysql.cursors.Cursor, server: mariadb.Server
) -> None:
    with Watched(reader, cursor) as watched, mariadb.connect(server.port) as other, other.cursor() as second:
        cursor.execute("BEGIN")
        second.execute("BEGIN")
        cursor.execute("UPDATE sharemesh.numbers SET much = 'a' WHERE number = 1")
        second.execute("UPDATE sharemesh.numbers SET much = 'a' WHERE number = 2")
        outcomes: list[object] = []

        def cross() -> None:
            try:
                second.execute("UPDATE sharemesh.numbers SET much = 'a' WHERE number = 1")
            except pymysql.err.OperationalError as error:
                outcomes.append(error.args[0])

        crossing = in_thread(cross)
        waiting = Database(server.url)
        # InnoDB shows an older picture to whoever looks again within 0.1 s.
        await_true(lambda: waiting.read()[key("db.innodb.rowlock.waiting")] == 1, "somebody waits")
        waiting.close()
        held = time.monotonic()
        while time.monotonic() < held + 0.3:
            time.sleep(0.05)
        try:
            cursor.execute("UPDATE sharemesh.numbers SET much = 'a' WHERE number = 2")
        except pymysql.err.OperationalError as error:
            outcomes.append(error.args[0])
        cursor.execute("ROLLBACK")
        crossing.join(PATIENCE)
        other.rollback()
        assert outcomes == [1213]
    assert watched.told_count("db.innodb.deadlocks") == pytest.approx(1, abs=0.1)
    waits = watched.counted("Innodb_row_lock_waits")
    assert watched.told_count("db.innodb.rowlock.waits") == pytest.approx(waits, abs=0.1)
    average = watched.counted("Innodb_row_lock_time") / waits / 1000
    assert whole(watched.told, "db.innodb.rowlock.time") == pytest.approx(average, abs=0.02)
    assert average >= 0.1
    assert whole(watched.told, "db.innodb.rowlock.longest") >= 0.3


def test_refused_and_failed_connections_are_counted(
    reader: Database, cursor: pymysql.cursors.Cursor, server: mariadb.Server
) -> None:
    def connect(password: str) -> "pymysql.connections.Connection[Any]":
        return pymysql.connect(host="127.0.0.1", port=server.port, user="plain", password=password)

    with Watched(reader, cursor) as watched, contextlib.ExitStack() as at_end:
        for _ in range(3):
            with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
                connect("wrong")
        codes = []
        for _ in range(CONNECTIONS):
            try:
                at_end.callback(connect("secret").close)
            except pymysql.err.OperationalError as error:
                codes.append(error.args[0])
        assert set(codes) == {1040}
        assert whole(reader.read(), "db.connections.share") == 100
        # One place is root's. While it is free others are let in as far as their name, and counted as failed logins.
        at_end.enter_context(mariadb.connect(server.port))
        with Watched(reader, cursor) as refused, pytest.raises(pymysql.err.OperationalError, match="Too many"):
            connect("secret")
        assert refused.told_count("db.connections.refused") == pytest.approx(1, abs=0.1)
    assert watched.counted("Connection_errors_max_connections") == 1
    assert watched.counted("Aborted_connects") == 3 + len(codes) + 1
    assert whole(watched.told, "db.connections.peak") == int(watched.after["Max_used_connections"]) >= CONNECTIONS
    with Watched(reader, cursor) as failed:
        for _ in range(3):
            with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
                connect("wrong")
        lost = connect("secret")
        # As a client does that dies.
        lost._force_close()  # type: ignore[attr-defined]
        await_true(lambda: int(status_of(cursor)["Aborted_clients"]) > int(failed.before["Aborted_clients"]), "noticed")
    assert failed.told_count("db.connections.aborted") == pytest.approx(failed.counted("Aborted_connects"), abs=0.1)
    assert failed.counted("Aborted_connects") == 3
    assert failed.told_count("db.clients.aborted") == pytest.approx(1, abs=0.1)
    assert failed.told_count("db.connections.rate") == pytest.approx(failed.counted("Connections"), abs=0.1)
    assert failed.told_count("db.connections.errors") == pytest.approx(0)


def test_a_server_that_dies_is_down_and_up_again_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = mariadb.start(tmp_path)
    reader = Database(running.url)
    try:
        assert reader.read()[key("db.up")] == 1
        running.crash()
        for _ in range(3):
            assert reader.read() == {key("db.up"): 0}
        running.start_again()
        assert reader.read()[key("db.up")] == 1
        # So fast that nobody notices.
        running.crash()
        running.start_again()
        told = reader.read()
        assert told[key("db.up")] == 1
        assert key("db.queries") not in told, "it counts from the beginning"
        events = [record.msg for record in caplog.records]
        assert events == ["database_away", "database_back"]
    finally:
        reader.close()
        running.stop()


def test_a_server_that_hangs_costs_a_second_and_is_not_knocked_at_all_the_time(server: mariadb.Server) -> None:
    reader = Database(server.url)
    assert reader.read()[key("db.up")] == 1
    freeze(server.process.pid)
    try:
        took = []
        for _ in range(8):
            begin = time.monotonic()
            assert reader.read() == {key("db.up"): 0}
            took.append(time.monotonic() - begin)
        assert max(took) < HANGING_SECONDS
        assert 2 <= len([seconds for seconds in took if seconds > 0.5]) <= 4, "it is not asked again and again"
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    await_true(lambda: reader.read()[key("db.up")] == 1, "it is asked again")
    reader.close()


def test_a_wrong_password_is_told_once_and_never_shown(
    server: mariadb.Server, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Database(f"mysql://plain:not-secret@127.0.0.1:{server.port}/sharemesh")
    for _ in range(3):
        assert reader.read() == {key("db.up"): 0}
    (record,) = caplog.records
    assert "Access denied for user 'plain'" in str(record.args)
    assert "not-secret" not in caplog.text + str(record.args)


def test_whoever_is_no_database_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = in_thread(lambda: listener.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        reader = Database(f"mysql://root@127.0.0.1:{port}/sharemesh")
        assert reader.read() == {key("db.up"): 0}
        thread.join(PATIENCE)


def test_the_first_of_several_hosts_that_answers_is_asked_and_left_when_a_better_one_is_back(
    server: mariadb.Server, tmp_path: Path
) -> None:
    first = mariadb.start(tmp_path)
    hosts = (("127.0.0.1", first.port), ("127.0.0.1", server.port))
    reader = Server(Servers(hosts, "root", "", "sharemesh"), slow_seconds=0.2)
    try:
        assert reader.read()[key("db.server")] == f"127.0.0.1:{first.port}"
        first.crash()
        assert reader.read()[key("db.server")] == f"127.0.0.1:{server.port}"
        first.start_again()
        await_true(lambda: reader.read().get(key("db.server")) == f"127.0.0.1:{first.port}", "the first is asked again")
    finally:
        reader.close()
        first.stop()
    both = f"127.0.0.1:{ports.free_one()},127.0.0.1:{server.port}"
    told = Database(f"mysql://root@{both}/sharemesh").read()
    assert told[key("db.server")] == f"127.0.0.1:{server.port}"


def test_a_user_without_rights_sees_all_but_what_needs_them(
    server: mariadb.Server, cursor: pymysql.cursors.Cursor, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Database(f"mysql://plain:secret@127.0.0.1:{server.port}/sharemesh")
    reader.read()
    told = reader.read()
    assert told[key("db.up")] == 1
    assert whole(told, "db.queries") > 0
    assert key("db.innodb.history") in told
    assert key("db.replication.discovery") not in told
    assert told[key("db.schema.discovery")] == '[{"{#SCHEMA}": "sharemesh"}]'
    (record,) = caplog.records
    assert "SLAVE MONITOR" in str(record.args), "it says what is missing"
    cursor.execute("GRANT SLAVE MONITOR ON *.* TO plain@'%'")
    reader.close()
    assert reader.read()[key("db.replication.discovery")] == "[]"
    reader.close()


def test_a_replica_tells_how_far_behind_it_is_and_what_stopped_it(
    server: mariadb.Server, cursor: pymysql.cursors.Cursor, tmp_path: Path
) -> None:
    source = f"127.0.0.1:{server.port}"
    replica = mariadb.start(tmp_path, "--server-id=2")
    reader = Database(replica.url)
    try:
        cursor.execute("SHOW MASTER STATUS")
        file, position = cursor.fetchall()[0][:2]
        with mariadb.connect(replica.port) as connection, connection.cursor() as there:
            there.execute(
                "CHANGE MASTER TO master_host = '127.0.0.1', master_port = %s, master_user = 'root',"
                " master_log_file = %s, master_log_pos = %s, master_connect_retry = 1",
                (server.port, file, position),
            )
            assert reader.read()[key("db.replication.io", source)] == 0
            there.execute("START SLAVE")
            await_true(lambda: reader.read().get(key("db.replication.lag", source)) == 0, "it has caught up")
            told = reader.read()
            assert told[key("db.replication.discovery")] == f'[{{"{{#SOURCE}}": "{source}"}}]'
            assert [told[key(f"db.replication.{name}", source)] for name in ("io", "sql")] == [1, 1]
            assert "has read all relay log" in str(told[key("db.replication.state", source)])
            # A row that is there already stops it.
            cursor.execute("CREATE TABLE sharemesh.twice (number INT PRIMARY KEY)")
            await_true(lambda: there.execute("SHOW TABLES FROM sharemesh LIKE 'twice'") == 1, "the table is there")
            there.execute("INSERT INTO sharemesh.twice VALUES (1)")
            there.execute("COMMIT")
            cursor.execute("INSERT INTO sharemesh.twice VALUES (1)")
            cursor.execute("COMMIT")
            await_true(lambda: reader.read()[key("db.replication.sql", source)] == 0, "it has stopped")
            told = reader.read()
            assert "twice" in str(told[key("db.replication.state", source)])
            assert key("db.replication.lag", source) not in told, "nobody knows"
            assert told[key("db.replication.io", source)] == 1
    finally:
        reader.close()
        replica.stop()
        cursor.execute("DROP TABLE IF EXISTS sharemesh.twice")


def test_names_of_mysql_8_are_understood() -> None:
    # Columns by https://dev.mysql.com/doc/refman/8.4/en/show-replica-status.html
    told = replication.figures(
        [
            {
                "Replica_IO_State": "Waiting for source to send event",
                "Source_Host": "db-1",
                "Source_Port": 3306,
                "Replica_IO_Running": "Connecting",
                "Replica_SQL_Running": "Yes",
                "Seconds_Behind_Source": None,
                "Last_IO_Error": "error connecting to source",
                "Last_SQL_Error": "",
                "Replica_SQL_Running_State": "Replica has read all relay log",
                "Channel_Name": "",
            }
        ]
    )
    assert told == {
        key("db.replication.discovery"): '[{"{#SOURCE}": "db-1:3306"}]',
        key("db.replication.io", "db-1:3306"): 0,
        key("db.replication.sql", "db-1:3306"): 1,
        key("db.replication.state", "db-1:3306"): "error connecting to source",
    }


def test_a_status_that_a_server_does_not_have_loses_no_other() -> None:
    told = statuses.figures({"Uptime": "7", "Threads_connected": "3"}, {}, Rates(), 0.0)
    assert told == {key("db.uptime"): 7, key("db.connections"): 3}


def test_a_node_that_lost_its_cluster_says_so() -> None:
    status = {
        "wsrep_cluster_size": "1",
        "wsrep_cluster_status": "non-Primary",
        "wsrep_ready": "OFF",
        "wsrep_connected": "ON",
        "wsrep_local_state": "0",
        "wsrep_flow_control_paused_ns": "500000000",
        "wsrep_local_cert_failures": "1",
        "wsrep_local_bf_aborts": "2",
    }
    variables = {"wsrep_on": "ON", "wsrep_cluster_name": "mesh"}
    rates = Rates()
    galera.figures(status, variables, rates, 0.0)
    later = status | {"wsrep_flow_control_paused_ns": "1000000000", "wsrep_local_bf_aborts": "6"}
    told = galera.figures(later, variables, rates, 2.0)
    assert told[key("db.galera.discovery")] == '[{"{#CLUSTER}": "mesh"}]'
    names = ("size", "primary", "ready", "connected", "state", "paused", "conflicts")
    assert [told[key(f"db.galera.{name}", "mesh")] for name in names] == [1, 0, 0, 1, 0, 25.0, 2.0]
