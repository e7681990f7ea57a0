"""The connection that only reads: bounded, told apart from an absent database, and never a leak of the password."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from local import mariadb
from local.process import freeze
from monitoring.sql.connection import Connection
from monitoring.sql.link import TookTooLong, Unreadable
from services.chassis import database
from services.schema.tables import LexiconHead
from tests.conftest import migrated

# Counts for seconds.
LONG = {
    True: "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT MAX(i) FROM n",
    False: "SELECT COUNT(*) FROM seq_1_to_10000000 a JOIN seq_1_to_1000 b ON a.seq % b.seq = 7",
}


def test_a_statement_that_takes_too_long_is_given_up_and_the_connection_kept(database_url: str) -> None:
    connection = Connection(database_url, seconds=0.1)
    with pytest.raises(TookTooLong, match=r"longer than 0\.1 s"):
        connection.rows(LONG[connection.is_sqlite])
    assert connection.rows("SELECT ? + 1", (1,)) == [(2,)]
    assert connection.opened == 1
    connection.close()


def test_nothing_can_be_written(database_url: str) -> None:
    connection = Connection(database_url)
    with pytest.raises(Unreadable):
        connection.rows("DELETE FROM coupon")
    assert connection.rows("SELECT COUNT(*) FROM coupon") == [(0,)]
    connection.close()


def test_what_is_asked_in_a_snapshot_is_of_one_moment(database_url: str) -> None:
    reader, other, services = Connection(database_url), Connection(database_url), database.bind(database_url, pool=1)
    # Has it open, as a service that runs.
    assert LexiconHead.select().count() == 0
    with reader.snapshot():
        before = reader.rows("SELECT COUNT(*) FROM lexicon_head")
        LexiconHead.create(id=1, release="x")
        assert other.rows("SELECT COUNT(*) FROM lexicon_head") == [(1,)]
        assert reader.rows("SELECT COUNT(*) FROM lexicon_head") == before == [(0,)]
    assert reader.rows("SELECT COUNT(*) FROM lexicon_head") == [(1,)]
    for one in (reader, other, services):
        one.close()


def test_a_wrong_password_is_not_repeated(maria: mariadb.Server) -> None:
    connection = Connection(f"mysql://nobody:hush-hush@127.0.0.1:{maria.port}/sharemesh")
    with pytest.raises(Unreadable) as told:
        connection.rows("SELECT 1")
    assert "nobody" in str(told.value)
    assert "hush-hush" not in str(told.value)


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "sharemesh.db"
    migrated(f"sqlite:///{path}")
    connection = Connection(f"sqlite:///{path}")
    assert connection.rows("SELECT COUNT(*) FROM coupon") == [(0,)]
    for file in tmp_path.iterdir():
        os.rename(file, f"{file}.old")
    with pytest.raises(Unreadable):
        connection.rows("SELECT COUNT(*) FROM coupon")
    migrated(f"sqlite:///{path}")
    assert connection.rows("SELECT COUNT(*) FROM coupon") == [(0,)]
    assert connection.opened == 2
    connection.close()


def left_alone(folder: Path) -> Path:
    """A database in WAL mode that nobody has open."""
    path = folder / "sharemesh.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("CREATE TABLE number (number INTEGER)")
    writer.close()
    return path


def test_a_file_at_rest_is_read_as_it_is_now_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = left_alone(tmp_path)
    connection = Connection(f"sqlite:///{path}")
    for count in range(3):
        with connection.snapshot():
            assert connection.rows("SELECT COUNT(*) FROM number") == [(count,)]
        assert os.listdir(tmp_path) == [path.name]
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("INSERT INTO number VALUES (1)")
        assert connection.rows("SELECT COUNT(*) FROM number") == [(count + 1,)], "it is told while it is written to"
        connection.close()
        writer.close()
    assert connection.opened == 1, "it was the same all the time"


def test_a_snapshot_of_a_file_at_rest_is_of_one_moment_or_fails(tmp_path: Path) -> None:
    path = left_alone(tmp_path)
    connection = Connection(f"sqlite:///{path}")
    with connection.snapshot():
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("INSERT INTO number VALUES (1)")
        assert connection.rows("SELECT COUNT(*) FROM number") == [(0,)]
        # What was written is in the file itself now.
        writer.execute("PRAGMA wal_checkpoint")
        with pytest.raises(Unreadable, match="while it was read"):
            connection.rows("SELECT COUNT(*) FROM number")
    assert connection.rows("SELECT COUNT(*) FROM number") == [(1,)]
    connection.close()
    writer.close()


def test_a_server_that_hangs_is_not_knocked_at_all_the_time(tmp_path: Path) -> None:
    server = mariadb.start(tmp_path)
    connection = Connection(server.url)
    try:
        assert connection.rows("SELECT 1") == [(1,)]
        freeze(server.process.pid)
        took = []
        for _ in range(8):
            begin = time.monotonic()
            with pytest.raises(Unreadable):
                connection.rows("SELECT 1")
            took.append(time.monotonic() - begin)
        # The one that was open, and one that was not answered; a busy machine may make others slow.
        assert 2 <= len([seconds for seconds in took if seconds > 0.5]) <= 4
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
        connection.close()
        server.stop()
