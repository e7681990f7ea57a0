import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from logging import makeLogRecord
from pathlib import Path

import pytest

from services.chassis import events, logs
from services.chassis.events import EventFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "probe.1.jsonl"


@pytest.fixture
def file(path: Path) -> Iterator[EventFile]:
    file = EventFile(path)
    yield file
    file.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_an_event_is_written_soon_by_itself(file: EventFile, path: Path) -> None:
    for number in range(3):
        file.put(b'{"n": %d}\n' % number)
        wait_until(lambda written=number + 1: len(lines(path)) == written)  # type: ignore[misc]
    assert [json.loads(line)["n"] for line in lines(path)] == [0, 1, 2]


def test_a_crowd_of_events_is_written_once_each_and_in_order(file: EventFile, path: Path) -> None:
    for number in range(20_000):
        file.put(b"%d\n" % number)
    file.flush()
    assert lines(path) == [str(number) for number in range(20_000)]


def test_what_comes_through_logging_is_written_at_once_and_after_the_events_before_it(
    file: EventFile, path: Path
) -> None:
    file.put(b"event\n")
    file.handle(makeLogRecord({"msg": "warning"}))
    assert lines(path) == ["event", "warning"]


def test_closing_writes_what_waits(path: Path) -> None:
    file = EventFile(path)
    file.put(b"last\n")
    file.close()
    assert lines(path) == ["last"]


def test_a_full_file_is_rotated_and_no_event_lost(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_FILE_BYTES", 1000)
    file = EventFile(path)
    for number in range(40):
        file.put(b"%099d\n" % number)
        if number % 5 == 4:
            file.flush()
    file.close()
    sizes = [each.stat().st_size for each in tmp_path.iterdir()]
    assert (len(sizes), max(sizes)) == (4, 1000)
    assert sorted(int(line) for each in tmp_path.iterdir() for line in lines(each)) == list(range(40))


def test_a_process_that_ends_writes_what_waits(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from services.chassis.events import EventFile\n"
        "file = EventFile(Path(sys.argv[1]))\n"
        "for number in range(100): file.put(b'%d\\n' % number)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    assert len(lines(path)) == 100


def test_what_a_failing_disk_costs_is_told_and_the_next_events_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, elsewhere = tmp_path / "gone", tmp_path / "elsewhere"
    folder.mkdir()
    logs.to_console()
    file = EventFile(folder / "probe.1.jsonl")
    file.maxBytes = 1
    try:
        folder.rename(elsewhere)
        file.put(b"lost\n")
        wait_until(lambda: "events_lost" in caplog.text)
        elsewhere.rename(folder)
        file.put(b"kept\n")
        wait_until(lambda: (folder / "probe.1.jsonl").read_text() == "kept\n")
    finally:
        file.close()
