"""Against /metrics of the five services and of processes that count as they do."""

import asyncio
import json
import math
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from local import ports
from monitoring import exposition
from monitoring.calls import SCRAPE_SECONDS, Calls
from monitoring.census import Census
from monitoring.contracts import STREAMS
from monitoring.exposition import BUCKETS, RPCS, Counted, Series
from monitoring.growth import Growth
from monitoring.readings import Readings, key
from registry import config
from services.chassis.tallies import Tallies
from sharemesh.v1 import redeem_pb2, share_pb2
from tests.conftest import migrated
from tests.mesh import Mesh, started
from tests.monitoring.ward import PATIENCE

NOBODY = Census(config.Static({}))
GET, REDEEM, WATCH = "ShareService.GetShare", "RedeemService.RedeemCoupon", "PublishService.WatchActivity"


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 3 * PATIENCE))


@contextmanager
def counting(port: int = 0) -> Iterator[tuple[Tallies, str]]:
    """What a service counts with, and the address of its /metrics."""
    registry = prometheus_client.CollectorRegistry()
    tallies = Tallies()
    registry.register(tallies)
    server, thread = prometheus_client.start_http_server(port, "127.0.0.1", registry)
    try:
        yield tallies, f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def number(readings: Readings, name: str, *parameters: str) -> float:
    return float(readings[key(name, *parameters)])


def rows(readings: Readings, name: str) -> list[dict[str, str]]:
    return list(json.loads(str(readings[key(f"{name}.discovery")])))


async def after(calls: Calls, seconds: float = 0.5) -> tuple[Readings, float]:
    """The readings of a beat that long, and how long it was: give or take what it took to read."""
    begin = time.monotonic()
    await asyncio.sleep(seconds)
    return await calls.read(), time.monotonic() - begin


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[tuple[Mesh, str]]:
    """The five services in one process, and the address of its /metrics."""
    url = f"sqlite:///{tmp_path}/mesh.db"
    migrated(url)
    port = ports.free_one()
    with started(url, tmp_path / "var", metrics_port=port) as running:
        yield running, f"127.0.0.1:{port}"


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(grpc.RpcError):
        call()


def test_what_is_called_is_told_by_rpc_status_caller_and_reason(mesh: tuple[Mesh, str]) -> None:
    running, page = mesh
    customer, anybody = running.person("customer", "alice"), running.person()

    def call() -> None:
        for _ in range(7):
            refused(lambda: customer.share.GetShare(share_pb2.GetShareRequest(name="shares/none")))
        for _ in range(3):
            refused(lambda: anybody.redeem.RedeemCoupon(redeem_pb2.RedeemCouponRequest()))

    async def story() -> None:
        calls = Calls(NOBODY, [page])
        assert key("rpc.rate.all") not in await calls.read()
        await asyncio.to_thread(call)
        told, seconds = await after(calls)
        assert number(told, "rpc.rate.all") * seconds == pytest.approx(10, rel=0.5)

        def counted(name: str, *parameters: str) -> int:
            return round(10 * number(told, name, *parameters) / number(told, "rpc.rate.all"))

        # Other tests of this process may have been refused otherwise.
        codes = [row["{#CODE}"] for row in rows(told, "rpc.status") if row["{#RPC}"] == GET]
        [code] = [code for code in codes if number(told, "rpc.status", GET, code)]
        assert counted("rpc.status", GET, code) == counted("rpc.rate", GET) == 7
        assert counted("rpc.status", REDEEM, "UNAUTHENTICATED") == counted("rpc.rate", REDEEM) == 3
        assert counted("caller.rate", "customer", "share") == 7
        assert counted("caller.rate", "anonymous", "redeem") == 3
        assert counted("refusal.rate", "TOKEN_MISSING") == 3
        assert (number(told, "instances.scraped"), number(told, "instances.scrape.failed")) == (1, 0)
        # To refuse is no fault, and takes milliseconds.
        assert (number(told, "rpc.faults.all"), number(told, "rpc.fault.share", GET)) == (0, 0)
        quick = [number(told, name, GET) for name in ("rpc.p50", "rpc.p95", "rpc.p99")]
        assert 0 < quick[0] <= quick[1] <= quick[2] <= 10

        told = await calls.read()
        assert (number(told, "rpc.rate", GET), number(told, "rpc.fault.share", GET)) == (0, 0)
        assert key("rpc.p50", GET) not in told

    run(story)


def test_our_reader_finds_what_prometheus_own_finds(mesh: tuple[Mesh, str]) -> None:
    running, page = mesh
    refused(lambda: running.person().redeem.RedeemCoupon(redeem_pb2.RedeemCouponRequest()))
    text = urllib.request.urlopen(f"http://{page}/metrics").read().decode()
    counted = exposition.parse(text)
    ours = {exposition.series_of(series): count for series, count in counted.counters.items()}
    theirs = {}
    wanted = {RPCS: ("rpc", "code"), BUCKETS: ("rpc", "le")} | {
        exposition.CALLS: ("caller", "service"),
        exposition.REFUSALS: ("reason",),
    }
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in wanted:
                theirs[Series(sample.name, *(sample.labels[label] for label in wanted[sample.name]))] = sample.value
            if sample.name == exposition.START:
                assert counted.start == sample.value
    assert ours == theirs
    assert any(series.family == BUCKETS for series in ours)


def test_processes_are_summed_up_and_each_page_is_read_once() -> None:
    with counting() as (a, first), counting() as (b, second):

        async def story() -> None:
            calls = Calls(NOBODY, [first, second, first])
            assert number(await calls.read(), "instances.scraped") == 2
            for _ in range(10):
                a.of(REDEEM).count("OK", 0.001)
                b.of(REDEEM).count("UNAVAILABLE", 0.001)
            told, seconds = await after(calls)
            assert number(told, "rpc.rate", REDEEM) * seconds == pytest.approx(20, rel=0.5)
            assert number(told, "rpc.fault.share", REDEEM) == pytest.approx(50, abs=20)

        run(story)


def test_a_restarted_process_has_begun_anew_and_no_rate_is_negative() -> None:
    port = ports.free_one()
    calls = Calls(NOBODY, [f"127.0.0.1:{port}"])

    async def story() -> None:
        with counting(port) as (tallies, _):
            for _ in range(50):
                tallies.of(REDEEM).count("OK", 0.02)
            await calls.read()
        with counting(port) as (tallies, _):
            for _ in range(8):
                tallies.of(REDEEM).count("OK", 0.02)
            told, seconds = await after(calls)
            assert number(told, "rpc.rate", REDEEM) * seconds == pytest.approx(8, rel=0.5)
            assert 0.01 < number(told, "rpc.p50", REDEEM) <= 0.025

    run(story)


OF_ONE = f'{RPCS}{{code="OK",rpc="{REDEEM}"}}'


def rate_of(growth: Growth, now: float, start: float = 100.0, **counts: float) -> float | None:
    """What a beat at that time comes to, in which these processes answer with these counts, and others do not."""
    growth.begin(["a", "b"])
    for process, count in counts.items():
        growth.take(process, Counted({OF_ONE: count}, start), now)
    return growth.rates.get(Series(RPCS, REDEEM, "OK"))


def test_what_a_silent_process_counted_comes_with_its_next_answer_at_the_rate_of_all_that_time() -> None:
    growth = Growth()
    assert rate_of(growth, 1.0, a=5, b=0) is None
    assert rate_of(growth, 2.0, a=8, b=0) == 3
    assert rate_of(growth, 3.0, a=8) is None
    assert rate_of(growth, 4.0, a=9, b=10) == 1 + 5


def test_a_process_that_began_later_and_has_come_further_is_counted_from_zero() -> None:
    growth = Growth()
    rate_of(growth, 1.0, a=5)
    assert rate_of(growth, 2.0, start=200.0, a=12) == 12
    # One that was not there for a beat has counted in no known time.
    growth.begin([])
    assert rate_of(growth, 4.0, start=200.0, a=20) is None


def test_nonsense_is_left_out_and_never_told() -> None:
    growth = Growth()
    rate_of(growth, 1.0, a=5)
    assert rate_of(growth, 2.0, a=math.nan) is None
    assert rate_of(growth, 3.0, a=math.inf) is None
    assert rate_of(growth, 4.0, a=6) == 6
    assert rate_of(growth, 5.0, a=8) == 2


def test_a_process_that_cannot_be_read_is_counted_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        port = ports.free_one()
        with counting() as (_, address):
            calls = Calls(NOBODY, [address, f"127.0.0.1:{port}"])
            for _ in range(3):
                told = await calls.read()
                assert (number(told, "instances.scraped"), number(told, "instances.scrape.failed")) == (1, 1)
            assert len([one for one in caplog.records if one.message == "silent"]) == 1
            with counting(port):
                assert number(await calls.read(), "instances.scrape.failed") == 0

    run(story)


@asynccontextmanager
async def page_of(write: Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]) -> AsyncIterator[str]:
    """The address of a server that is none of ours."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await write(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def test_a_page_that_is_foreign_endless_hanging_broken_or_away_is_counted_as_failed_within_the_beat() -> None:
    head = b"HTTP/1.0 200 OK\r\n\r\n"

    async def foreign(writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"# TYPE node_load1 gauge\nnode_load1 0.5\n")

    async def missing(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 404 Not Found\r\n\r\n")

    async def broken(writer: asyncio.StreamWriter) -> None:
        writer.write(head + f'# TYPE {RPCS} counter\n{RPCS}{{code="OK"}} many\n'.encode())

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def hanging(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PATIENCE)

    async def story() -> None:
        with counting() as (_, well):
            async with (
                page_of(foreign) as a,
                page_of(missing) as b,
                page_of(broken) as c,
                page_of(endless) as d,
                page_of(hanging) as e,
            ):
                away = f"127.0.0.1:{ports.free_one()}"
                calls = Calls(NOBODY, [a, b, c, d, e, away, well])
                begin = time.monotonic()
                readings = await calls.read()
                assert time.monotonic() - begin < 2 * SCRAPE_SECONDS
                assert number(readings, "instances.scrape.failed") == 6
                assert number(readings, "instances.scraped") == 1

    run(story)


def test_a_stream_that_ends_with_its_time_is_no_fault_and_is_not_slow() -> None:
    assert WATCH in STREAMS
    with counting() as (tallies, page):

        async def story() -> None:
            calls = Calls(NOBODY, [page])
            await calls.read()
            tallies.of(WATCH).count("DEADLINE_EXCEEDED", 3600)
            tallies.of(REDEEM).count("DEADLINE_EXCEEDED", 20)
            told = await calls.read()
            assert number(told, "rpc.rate", WATCH) > 0
            assert number(told, "rpc.fault.share", WATCH) == 0
            assert number(told, "rpc.fault.share", REDEEM) == pytest.approx(100)
            assert key("rpc.p99", WATCH) not in told
            # Longer than the highest bound is as long as that.
            assert number(told, "rpc.p99", REDEEM) == 10

        run(story)


def test_quantiles_are_those_of_prometheus() -> None:
    # 100 calls: 50 up to 0.1 s, 90 up to 0.5 s, 95 up to 1 s.
    buckets = {0.1: 50.0, 0.5: 90.0, 1.0: 95.0, math.inf: 100.0}
    assert exposition.quantile(0.25, buckets) == pytest.approx(0.05)
    assert exposition.quantile(0.5, buckets) == pytest.approx(0.1)
    assert exposition.quantile(0.7, buckets) == pytest.approx(0.3)
    assert exposition.quantile(0.95, buckets) == pytest.approx(1.0)
    assert exposition.quantile(0.99, buckets) == 1.0


@given(st.lists(st.floats(0.0001, 12), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(durations: list[float], share: float) -> None:
    bounds = (0.005, 0.05, 0.5, 5.0, 10.0)
    buckets = {bound: float(sum(one <= bound for one in durations)) for bound in bounds} | {math.inf: len(durations)}
    true = sorted(durations)[math.ceil(share * len(durations)) - 1]
    found = exposition.quantile(share, buckets)
    upper = next((bound for bound in bounds if true <= bound), 10.0)
    lower = max((bound for bound in bounds if bound < true), default=0.0)
    assert min(lower, 10.0) <= found <= upper
