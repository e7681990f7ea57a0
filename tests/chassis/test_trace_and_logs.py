import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.chassis import logs, trace

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_call_follows_its_callers_trace_with_a_span_of_its_own() -> None:
    followed = trace.follow(HEADER)
    assert followed.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert followed.span_id != "00f067aa0ba902b7"
    assert followed.header() == f"00-{followed.trace_id}-{followed.span_id}-01"


def test_a_later_versions_header_is_followed_too() -> None:
    assert trace.follow("01" + HEADER[2:] + "-more").trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        "ff" + HEADER[2:],
        HEADER.upper(),
        HEADER + "-more",
        HEADER.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
    ],
)
def test_anything_else_begins_a_new_trace(header: str | None) -> None:
    assert trace.follow(header).trace_id not in {"0" * 32, "4bf92f3577b34da6a3ce929d0e0e4736"}


def test_free_text_loses_tokens_phones_and_codes() -> None:
    text = "Duplicate entry '13800138000' for 6123456789012345, Bearer eyJhbGciOi.eyJzdWIi.c2ln, row 42"
    event = told({"error": text, "trace": "12345678901234567890123456789012"})
    assert event["error"] == "Duplicate entry '█' for █, Bearer █, row 42"
    assert event["trace"] == "12345678901234567890123456789012"


def test_an_event_has_its_fields_and_the_redacted_traceback() -> None:
    try:
        raise OSError("no file 13800138000-\udcff of 陈")
    except OSError as error:
        event = told({"chore": "sweep", "where": Path("/x")}, error)
    assert datetime.fromisoformat(event["time"]).tzinfo == UTC
    assert event["time"].endswith("Z")
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("OSError: no file █-\\udcff of 陈")
    assert event | {"time": "", "exception": ""} == {
        "event": "failed",
        "level": "error",
        "time": "",
        "chore": "sweep",
        "where": "PosixPath('/x')",
        "exception": "",
    }


def test_what_a_library_says_stays_as_it_is() -> None:
    record = logging.LogRecord("asyncio", logging.WARNING, __file__, 1, "%s was slow", ("it",), None)
    assert logs.EventLines().format(record) == "it was slow"


def told(fields: dict[str, object], error: BaseException | None = None) -> Any:
    """An event's line, read again."""
    trouble = (type(error), error, error.__traceback__) if error else None
    record = logs.of("probe").makeRecord("sharemesh.probe", logging.ERROR, __file__, 1, "failed", (fields,), trouble)
    return json.loads(logs.EventLines().format(record))


def test_two_processes_of_a_service_write_to_two_files(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from services.chassis import logs; logs.to_console();"
        "print(logs.to_file('probe', Path(sys.argv[1])), flush=True);"
        "logs.of('probe').info('rpc', {'rpc': 'X'}); logs.of('probe').warning('seen'); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )
        for _ in range(2)
    ]
    paths = {process.stdout.readline().strip() for process in processes if process.stdout}
    consoles = [process.communicate()[1] for process in processes]
    assert paths == {f"{tmp_path}/probe.1.jsonl", f"{tmp_path}/probe.2.jsonl"}
    for path, console in zip(sorted(paths), consoles, strict=True):
        events = [json.loads(line) for line in Path(path).read_text().splitlines()]
        assert [event["event"] for event in events] == ["rpc", "seen"]
        assert events[0]["rpc"] == "X"
        assert "seen" in console
        assert "rpc" not in console
