import sys
from pathlib import Path

import pytest

from local import ports
from local.process import NotReady, Process
from tests.mesh import poll

# Says where it serves, and stays.
SERVES = "import signal; print('redeem 127.0.0.1:5', flush=True); signal.pause()"


def process_of(code: str, folder: Path) -> Process:
    return Process("redeem-1", "redeem", [sys.executable, "-c", code], folder, folder / "redeem-1.log")


def state_of(pid: int) -> str:
    """The state that the kernel has of a process: S sleeping, T stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_is_paused_resumed_killed_and_started_again(tmp_path: Path) -> None:
    process = process_of(SERVES, tmp_path)
    process.launch()
    try:
        process.await_ready()
        assert process.address == "127.0.0.1:5"
        first = process.pid
        process.pause()
        poll(lambda: state_of(first) == "T")
        process.resume()
        poll(lambda: state_of(first) == "S")
        process.kill()
        assert not Path(f"/proc/{first}").exists()
        assert not process.is_running
        process.start_again()
        assert process.pid != first
        assert state_of(process.pid) == "S"
    finally:
        process.kill()


def test_one_that_stands_still_can_be_stopped(tmp_path: Path) -> None:
    process = process_of(SERVES, tmp_path)
    process.launch()
    process.await_ready()
    pid = process.pid
    process.pause()
    process.stop()
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_ends_before_it_serves_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = process_of("import sys; sys.exit('no database here')", tmp_path)
    process.launch()
    with pytest.raises(NotReady, match=r"redeem-1 ended \(exit code 1\)[^\0]*no database here"):
        process.await_ready()
    # What an earlier one said counts no more.
    process.command = [sys.executable, "-c", "print('other words')"]
    process.launch()
    with pytest.raises(NotReady) as raised:
        process.await_ready()
    assert "other words" in str(raised.value)
    assert "no database here" not in str(raised.value)


def test_free_ports_are_all_different() -> None:
    assert len({*ports.free(50)}) == 50
