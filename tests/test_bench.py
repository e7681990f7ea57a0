"""Whether the benchmark's own instruments tell the truth: its generator, its counters and its goals."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from hpack import Encoder

from bench import load
from bench.goals import Goal, Rows, goals
from bench.load import Task
from bench.slices import Cell, Row, Slice
from bench.subjects import ECHO, OURS, SINGLE
from bench.traffic import REDEEM
from bench.trips import Commands
from bench.wire import DATA, END_HEADERS, END_STREAM, HEADERS, PING, Grpc, Http1, frame

OK, REFUSED, BROKEN = 0, 9, 13
ANSWERS = {b"ok": OK, b"refused": REFUSED, b"broken": BROKEN}


class Answering(grpc.GenericRpcHandler):
    """Answers each message with the status that it names; a refusal carries details, as ours do."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            if request == b"ok":
                return bytes(100)
            context.set_trailing_metadata((("grpc-status-details-bin", bytes(range(256))),))
            code = grpc.StatusCode.FAILED_PRECONDITION if request == b"refused" else grpc.StatusCode.INTERNAL
            context.abort(code, f"{request!r} it is")
            raise AssertionError("abort() raises")

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def port() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Answering(),))
    number = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield number
    server.stop(None)


def test_the_generator_tells_the_status_of_every_answer(port: int) -> None:
    messages = [*ANSWERS] * 40
    report = load.run(Task([port], "grpc", "/test.Service/Any", ["", "token", ""], messages, 5, warm_seconds=0))
    assert report.sent == len(report.answers) == len(messages)
    assert sorted(place for place, _, _ in report.answers) == [*range(len(messages))]
    assert {(messages[place], status) for place, _, status in report.answers} == {*ANSWERS.items()}
    assert {caller for _, caller, _ in report.answers} == {0, 1, 2}
    assert 0 < report.p50_ms <= report.p99_ms


def test_the_generator_goes_around_until_the_time_is_over(port: int) -> None:
    report = load.run(Task([port, port], "grpc", "/test.Service/Any", ["", ""], [b"ok"], 0.2, is_endless=True))
    assert set(report.statuses) == {OK}
    assert sum(report.statuses.values()) > 10
    assert report.answer_bytes == 100
    assert 0.2 <= report.seconds < 1


def test_a_block_of_headers_is_read_anew_once_the_table_has_changed() -> None:
    client, encoder = Grpc("host", "/service/method"), Encoder()
    client.opening()

    def answered(*trailers: tuple[str, str]) -> tuple[bytes, int | None]:
        client.call(b"")
        block = encoder.encode(trailers)
        return block, client.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))

    assert answered(("grpc-status", "0"))[1] == OK
    block, status = answered(("grpc-status", "0"))
    assert status == OK
    assert answered(("grpc-status", "0")) == (block, OK)
    # Now the same bytes name another entry.
    assert answered(("grpc-status", "9"))[1] == REFUSED
    assert answered(("grpc-status", "9")) == (block, REFUSED)


def test_an_answer_in_pieces_is_one_answer() -> None:
    client = Grpc("host", "/service/method")
    client.opening()
    client.call(b"")
    trailers = Encoder().encode([("grpc-status", "0")])
    data = frame(DATA, 0, 1, bytes(15)) + frame(PING, 0, 0, bytes(8))
    data += frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers)
    assert [client.feed(data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [OK]
    assert client.answer_bytes == 10
    assert client.control() == frame(PING, 1, 0, bytes(8))
    assert client.control() == b""


def test_an_http_answer_in_pieces_is_one_answer() -> None:
    client = Http1("host", "/redeem", "token")
    assert client.call(b"{}").endswith(b"\r\ncontent-length: 2\r\n\r\n{}")
    answer = b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nx: y\r\n\r\n{}"
    assert [client.feed(answer[at : at + 1]) for at in range(len(answer))] == [None] * (len(answer) - 1) + [REFUSED]


def test_commands_are_counted_however_their_bytes_arrive() -> None:
    commands = Commands()
    stream = commands.follow()
    login, query, rest = b"\x02\0\0\x01ab", b"\x03\0\0\0abc", b"\x01\0\0\x01a"
    for byte in login + query + rest + query:
        stream.feed(bytes((byte,)))
    commands.follow().feed(query + query)
    assert commands.count == 4


def row(subject: str, *rates: float, callers: int = 64) -> Row:
    slices = [Slice(rate, 1000 / rate, 2000 / rate, 10, 10, 1, {}, 0, 0) for rate in rates]
    return Row(Cell("redeem", subject, REDEEM, callers), slices)


def test_goals_are_made_of_medians_and_told_reached_or_missed() -> None:
    rows = [row(ECHO, 100, 1000, 1010), row(OURS, 590, 600, 610), row(SINGLE, 400, 500, 9000)]
    found = {goal.name: goal for goal in goals(Rows(rows), first_answer=1.5)}
    redeem, single = found["redeem / echo"], found["redeem / one transaction a call"]
    assert (redeem.value, redeem.told, redeem.is_reached) == (0.6, ">= 0.55", True)
    assert (single.value, single.is_reached) == (1.2, False)
    assert found["redeem, 64 callers' p99 / p50"].is_reached
    start = found["first answer from a cold start"]
    assert (start.value, start.told, start.is_reached) == (1.5, "<= 1 s", False)


def test_a_goal_whose_rows_were_not_measured_is_not_told() -> None:
    assert goals(Rows([row(OURS, 600)]), None) == [Goal("redeem, 64 callers' p99 / p50", 2.0, 3.0, False)]


def test_a_disturbed_slice_is_known_by_what_else_went_on() -> None:
    quiet = Slice(1, 1, 1, 1, 1, 1, {}, stolen=0.01, others=0.01)
    assert not quiet.is_disturbed
    assert Slice(1, 1, 1, 1, 1, 1, {}, stolen=0.5, others=0.01).is_disturbed
    assert Slice(1, 1, 1, 1, 1, 1, {}, stolen=0.01, others=0.5).is_disturbed
