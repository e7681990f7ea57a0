import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.database import Database
from monitoring.readings import key
from monitoring.sql.sqlite import Sqlite

ROWS = 2000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sharemesh.db"


@pytest.fixture
def writer(file: Path) -> Iterator[sqlite3.Connection]:
    """Whoever has the database open as the services have it."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, much TEXT)")
    connection.execute(
        "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted LIMIT ?)"
        " INSERT INTO numbers SELECT n, hex(randomblob(100)) FROM counted",
        (ROWS,),
    )
    yield connection
    connection.close()


def test_a_file_is_as_large_as_the_folder_says(file: Path, writer: sqlite3.Connection) -> None:
    told = Database(f"sqlite:///{file}").read()
    assert told[key("db.up")] == 1
    assert told[key("db.kind")] == "sqlite"
    assert told[key("db.version")] == writer.execute("SELECT sqlite_version()").fetchone()[0]
    assert told[key("db.server")] == str(file)
    assert told[key("db.sqlite.discovery")] == f'[{{"{{#FILE}}": "{file}"}}]'
    assert told[key("db.sqlite.size", str(file))] == file.stat().st_size
    assert told[key("db.sqlite.wal", str(file))] == file.with_name("sharemesh.db-wal").stat().st_size > 0
    assert told[key("db.sqlite.intact", str(file))] == 1
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    told = Database(f"sqlite:///{file}").read()
    assert told[key("db.sqlite.wal", str(file))] == 0
    assert told[key("db.sqlite.size", str(file))] == file.stat().st_size > ROWS * 200


def test_reading_leaves_no_file_that_a_service_of_another_user_could_not_write(
    file: Path, writer: sqlite3.Connection
) -> None:
    writer.close()
    assert os.listdir(file.parent) == [file.name]
    told = Database(f"sqlite:///{file}").read()
    assert [told[key(name, *at)] for name, *at in (("db.up",), ("db.sqlite.intact", str(file)))] == [1, 1]
    assert os.listdir(file.parent) == [file.name]


def test_a_file_that_is_gone_is_down_until_it_is_back(
    file: Path, writer: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    writer.close()
    reader = Database(f"sqlite:///{file}")
    assert reader.read()[key("db.up")] == 1
    file.rename(file.with_suffix(".gone"))
    for _ in range(2):
        assert reader.read() == {key("db.up"): 0, key("db.kind"): "sqlite", key("db.server"): str(file)}
    file.with_suffix(".gone").rename(file)
    assert reader.read()[key("db.up")] == 1
    assert [record.msg for record in caplog.records] == ["database_away", "database_back"]
    assert not file.with_name(f"{file.name}-wal").exists()


def test_a_file_that_somebody_keeps_to_himself_is_down(file: Path, writer: sqlite3.Connection) -> None:
    reader = Database(f"sqlite:///{file}")
    writer.execute("PRAGMA journal_mode = delete")
    assert reader.read()[key("db.up")] == 1
    writer.execute("BEGIN EXCLUSIVE")
    assert reader.read()[key("db.up")] == 0
    writer.execute("ROLLBACK")
    assert reader.read()[key("db.up")] == 1


def test_a_writer_keeps_nobody_from_reading(file: Path, writer: sqlite3.Connection) -> None:
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM numbers")
    assert Database(f"sqlite:///{file}").read()[key("db.up")] == 1


def test_a_damaged_file_is_told_of(file: Path, writer: sqlite3.Connection, caplog: pytest.LogCaptureFixture) -> None:
    writer.close()
    with file.open("r+b") as damaged:
        damaged.seek(5 * 4096)
        damaged.write(b"\x07" * 4096)
    told = Database(f"sqlite:///{file}").read()
    assert told[key("db.up")] == 1
    assert told[key("db.sqlite.intact", str(file))] == 0
    assert "database_damaged" in caplog.text


def test_what_is_no_database_is_down(file: Path) -> None:
    file.write_text("Once upon a time there was a file that was no database at all.\n" * 100)
    assert Database(f"sqlite:///{file}").read()[key("db.up")] == 0


def test_a_check_that_takes_too_long_is_given_up(
    file: Path, writer: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    told = Sqlite(file, check_seconds=0.0).read()
    assert told[key("db.up")] == 1
    assert key("db.sqlite.intact", str(file)) not in told
    assert "database_not_checked" in caplog.text
