import asyncio
import json
import logging
import os
import signal
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage, QuotaFailure, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from registry import channel
from services.chassis import call, client, database, errors, logs, parameters, server, tokens
from services.chassis.client import Mesh, dependency
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.server import Server
from services.chassis.settings import BadSetting, Settings
from services.chassis.tokens import DevIssuer
from tests.chassis.probe import SERVICE, Probe, message, register, send

pytestmark = pytest.mark.usefixtures("quick_drain")

Say = Callable[[Any], Awaitable[str]]


async def echo(request: Any) -> str:
    return str(request.text)


@dataclass
class House:
    """A running server, its probe, a channel to it and its settings."""

    server: Server
    probe: Probe
    channel: grpc.aio.Channel
    settings: Settings
    db: Database
    metrics_port: int

    def token(self, role: str = "merchant", subject: str = "m1", ttl: float = 60) -> str:
        return "Bearer " + DevIssuer.of(self.settings).issue(role, subject, ttl)


@asynccontextmanager
async def serving(settings: Settings, answer: Say = echo, db: Database | None = None) -> AsyncIterator[House]:
    db = db or database.bind(f"sqlite:///{settings.var}/probe.db")
    one = Server("entry", settings, Keyring(b"k" * 32), tokens.verifier(settings))
    probe = Probe(answer)
    one.add(SERVICE, register, probe)
    async with (
        server.running([one], db, settings) as metrics_port,
        grpc.aio.insecure_channel(one.address) as channel,
    ):
        yield House(one, probe, channel, settings, db, metrics_port)


async def refused(answer: Awaitable[Any]) -> tuple[grpc.StatusCode, str, dict[type, Any]]:
    """The status, the reason and the details by type of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await answer
    called: Any = failure.value
    rich = rpc_status.from_call(called)
    assert rich is not None, failure.value
    details: dict[type, Any] = {}
    for kind in (ErrorInfo, BadRequest, LocalizedMessage, QuotaFailure, RetryInfo):
        for packed in rich.details:
            if packed.Is(kind.DESCRIPTOR):
                details[kind] = kind.FromString(packed.value)
    info = details[ErrorInfo]
    assert info.domain == "sharemesh"
    return failure.value.code(), info.reason, details


def say(text: str = "hello", **fields: Any) -> bytes:
    return bytes(message("SayRequest")(text=text, **fields).SerializeToString())


def raising(error: Exception) -> Say:
    async def answer(_: Any) -> str:
        raise error

    return answer


def test_a_call_is_answered(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            assert (await send(house.channel, "Say", say("你好"))).text == "你好"

    server.on_uvloop(main())


def test_each_rpc_serves_the_roles_of_its_contract_and_no_others(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            manage = [
                await refused(send(house.channel, "Manage", say())),
                await refused(send(house.channel, "Manage", say(), authorization=house.token("customer"))),
            ]
            assert [answer[:2] for answer in manage] == [
                (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"),
                (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"),
            ]
            await send(house.channel, "Manage", say(), authorization=house.token("merchant"))
            for role in ("merchant", "operator", "service"):
                answer = await refused(send(house.channel, "Forgotten", say(), authorization=house.token(role)))
                assert answer[:2] == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")

    server.on_uvloop(main())


def test_a_bad_token_is_refused_even_where_none_is_needed(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            good = house.token()
            tampered, expired = good[:-6] + "AAAAAA", house.token(ttl=-1)
            for token, reason in ((tampered, "TOKEN_INVALID"), (expired, "TOKEN_EXPIRED"), ("x", "TOKEN_INVALID")):
                answer = await refused(send(house.channel, "Say", say(), authorization=token))
                assert answer[:2] == (grpc.StatusCode.UNAUTHENTICATED, reason)

    server.on_uvloop(main())


def test_broken_rules_are_told_with_the_paths_of_their_fields(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            raw = say("x" * 41, items=[{"price": 1}, {"price": -1}])
            code, reason, details = await refused(send(house.channel, "Say", raw))
            assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
            assert [violation.field for violation in details[BadRequest].field_violations] == ["text", "items[1].price"]

    server.on_uvloop(main())


def test_a_request_that_would_hold_up_the_loop_is_refused_unread(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            most = parameters.current().request_bytes
            code, reason, details = await refused(send(house.channel, "Say", say("x" * most)))
            assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
            assert details[BadRequest].field_violations[0].description == "提交的内容超过 512 KiB"

    server.on_uvloop(main())


def test_the_trailers_stay_small_whatever_was_wrong(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            raw = say(items=[{"price": -1}] * 500)
            _, reason, details = await refused(send(house.channel, "Say", raw))
            assert reason == "INVALID_FIELD"
            assert len(details[BadRequest].field_violations) == 16

    server.on_uvloop(main())


@pytest.mark.parametrize("raw", [b"\x0a\x05hel", b"\xff\xff\xff\xff", b"\x0a\x02\xc3\x28", b"\x0a\x01\xff"])
def test_garbage_and_bad_utf8_are_invalid_fields(settings: Settings, raw: bytes) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            code, reason, details = await refused(send(house.channel, "Say", raw))
            assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
            assert "UTF-8" in details[BadRequest].field_violations[0].description

    server.on_uvloop(main())


def test_the_digest_is_the_requests_own_whatever_a_newer_client_adds(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            plain = await send(house.channel, "Say", say("a", request_id="r"))
            newer = await send(house.channel, "Say", say("a", request_id="r") + b"\xa2\x06\x01x")
            other = await send(house.channel, "Say", say("b", request_id="r"))
            assert plain.digest == newer.digest != other.digest

    server.on_uvloop(main())


@pytest.mark.parametrize(
    "error, code",
    [
        (errors.Invalid("INVALID_ORDER_BY"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.NotFound("RESOURCE_NOT_FOUND", resource="stores/a"), grpc.StatusCode.NOT_FOUND),
        (errors.AlreadyExists("ALREADY_EXISTS", resource="stores/a"), grpc.StatusCode.ALREADY_EXISTS),
        (errors.FailedPrecondition("STOCK_EXHAUSTED"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.Conflict("ETAG_MISMATCH"), grpc.StatusCode.ABORTED),
        (errors.Exhausted("RATE_LIMITED", retry_after=30), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.Denied("RIGHT_MISSING", right="redeem"), grpc.StatusCode.PERMISSION_DENIED),
        (errors.Unavailable("DATABASE_UNAVAILABLE"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_a_refusal_has_its_status_its_reason_and_words_for_a_person(
    settings: Settings, error: errors.Error, code: grpc.StatusCode
) -> None:
    async def main() -> None:
        async with serving(settings, raising(error)) as house:
            found, reason, details = await refused(send(house.channel, "Say", say()))
            assert (found, reason) == (code, error.reason)
            assert dict(details[ErrorInfo].metadata) == error.metadata
            assert details[LocalizedMessage].locale == "zh-CN"
            assert (RetryInfo in details) == (QuotaFailure in details) == isinstance(error, errors.Exhausted)

    server.on_uvloop(main())


def test_people_are_told_in_the_language_they_asked_for(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings, raising(errors.NotFound("RESOURCE_NOT_FOUND", resource="stores/a"))) as house:
            for wanted, text in (
                ("en-GB,en;q=0.9,zh;q=0.1", "It does not exist, or is not yours to see."),
                ("fr, zh-TW;q=0.5", "内容不存在，或您无权查看。"),
                ("fr", "内容不存在，或您无权查看。"),
            ):
                _, _, details = await refused(send(house.channel, "Say", say(), accept_language=wanted))
                assert details[LocalizedMessage].message == text

    server.on_uvloop(main())


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("inside knowledge"), errors.NotFound("NO_SUCH_REASON"), TimeoutError("inside knowledge")],
)
def test_what_nobody_foresaw_is_logged_once_and_told_to_nobody(
    settings: Settings, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    logs.to_console()

    async def main() -> None:
        async with serving(settings, raising(error)) as house:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await send(house.channel, "Say", say())
            assert "inside" not in repr(failure.value)
            code, reason, _ = await refused(send(house.channel, "Say", say()))
            assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")

    server.on_uvloop(main())
    unforeseen = [logs.EventLines().format(record) for record in caplog.records if record.message == "unforeseen"]
    assert len(unforeseen) == 2
    assert "Traceback" in unforeseen[0]


def test_a_lost_database_is_unavailable(settings: Settings, tmp_path: Path) -> None:
    async def main() -> None:
        db = database.bind(f"sqlite:///{tmp_path}/gone/probe.db")
        (tmp_path / "gone").rmdir()

        async def ask(_: Any) -> str:
            return str(await db.run(lambda: database.proxy.execute_sql("SELECT 1").fetchone()))

        async with serving(settings, ask, db) as house:
            code, reason, _ = await refused(send(house.channel, "Say", say()))
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")

    server.on_uvloop(main())


def test_the_callers_deadline_is_kept_within_our_limits(settings: Settings) -> None:
    seen: list[float | None] = []

    async def look(_: Any) -> str:
        seen.append(call.seconds_left())
        return ""

    async def main() -> None:
        async with serving(settings, look) as house:
            for seconds in (None, 3, 10_000):
                await send(house.channel, "Say", say(), seconds=seconds)

    server.on_uvloop(main())
    limits = parameters.current()
    assert seen == [
        pytest.approx(limit, abs=1) for limit in (limits.default_deadline_seconds, 3, limits.deadline_limit_seconds)
    ]


def test_a_call_knows_its_deadline_by_the_clock_of_this_machine(settings: Settings) -> None:
    async def look(_: Any) -> str:
        left = call.seconds_left()
        assert left is not None
        return str(call.deadline() - time.monotonic() - left)

    async def main() -> None:
        async with serving(settings, look) as house:
            assert float((await send(house.channel, "Say", say())).text) == pytest.approx(0, abs=0.1)

    server.on_uvloop(main())
    with pytest.raises(LookupError):
        call.deadline()


def test_a_servicer_may_answer_with_the_bytes_of_a_message(settings: Settings) -> None:
    class Ready(Probe):
        async def say(self, request: Any, _: object) -> Any:
            return message("SayResponse")(text=request.text).SerializeToString()

    async def main() -> None:
        one = Server("entry", settings, Keyring(b"k" * 32), tokens.verifier(settings))
        one.add(SERVICE, register, Ready(echo))
        db = database.bind(f"sqlite:///{settings.var}/probe.db")
        async with server.running([one], db, settings), grpc.aio.insecure_channel(one.address) as channel:
            assert (await send(channel, "Say", say("as it is"))).text == "as it is"

    server.on_uvloop(main())


def test_a_call_without_a_deadline_ends_at_ours(settings: Settings) -> None:
    async def forever(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    async def main() -> None:
        async with serving(settings, forever) as house:
            code, reason, _ = await refused(send(house.channel, "Say", say(), seconds=None))
            assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")

    old = parameters.swap(replace(parameters.current(), default_deadline_seconds=0.05))
    try:
        server.on_uvloop(main())
    finally:
        parameters.swap(old)


def test_a_caller_who_hangs_up_cancels_the_work(settings: Settings) -> None:
    async def main() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def forever(_: Any) -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return ""

        async with serving(settings, forever) as house:
            asking = asyncio.create_task(send(house.channel, "Say", say()))
            await begun.wait()
            asking.cancel()
            await asyncio.wait_for(cancelled.wait(), 5)

    server.on_uvloop(main())


def test_the_trace_and_the_time_left_go_on_to_the_next_service(settings: Settings) -> None:
    seen: list[Any] = []
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    async def main() -> None:
        async def far(_: Any) -> str:
            seen.append((call.current().principal.subject, call.seconds_left()))
            return "far"

        async with (
            serving(settings, far) as behind,
            Mesh({"audit": behind.server.address}, tokens.service_token(settings, "publish")) as mesh,
        ):

            async def near(_: Any) -> str:
                return str((await send(mesh.channel("audit"), "Say", say(), seconds=None)).text)

            async with serving(settings, near, behind.db) as front:
                header = f"00-{trace_id}-00f067aa0ba902b7-01"
                await send(front.channel, "Say", say(), seconds=2, traceparent=header)

    events = recorded(main, settings)
    assert [event["trace"] for event in events] == [trace_id, trace_id]
    assert seen == [("publish", pytest.approx(2, abs=0.5))]


def test_a_service_that_is_away_is_an_unavailable_dependency(settings: Settings) -> None:
    async def main() -> None:
        async with Mesh({"audit": "127.0.0.1:1"}, lambda: "token") as mesh:
            with pytest.raises(errors.Unavailable) as refusal, dependency("audit"):
                await send(mesh.channel("audit"), "Say", say())
            assert (refusal.value.reason, refusal.value.metadata) == ("DEPENDENCY_UNAVAILABLE", {"service": "audit"})

    server.on_uvloop(main())


def test_a_mesh_whose_control_plane_is_away_is_waited_for_no_longer_than_a_call_to_a_service_may_take(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(channel.BOOTSTRAP, channel.bootstrap("127.0.0.1:1"))
    monkeypatch.setattr(client, "DEFAULT_SECONDS", 0.3)

    async def main() -> None:
        async with Mesh({"audit": "xds:///audit"}, lambda: "token") as mesh:

            async def near(_: Any) -> str:
                with dependency("audit"):
                    return str((await send(mesh.channel("audit"), "Say", say(), seconds=None)).text)

            async with serving(settings, near) as front:
                began = time.monotonic()
                code, reason, _ = await refused(send(front.channel, "Say", say(), seconds=5))
                assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
                assert time.monotonic() - began < 2

    server.on_uvloop(main())


def recorded(main: Callable[[], Any], settings: Settings) -> list[dict[str, Any]]:
    """The events of the RPCs that `main` made."""
    logs.to_console()
    path = logs.to_file("entry", settings.logs)
    try:
        server.on_uvloop(main())
        events = [json.loads(line) for line in path.read_text().splitlines()]
    finally:
        logger = logging.getLogger("sharemesh.entry")
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
    return [event for event in events if event["event"] == "rpc"]


def test_an_event_tells_what_happened_and_to_nobody_whom(settings: Settings) -> None:
    async def main() -> None:
        async def claim(_: Any) -> str:
            call.note(activity="activities/a", coupon="coupons/c")
            await asyncio.to_thread(call.note, share="shares/s")
            return ""

        async with serving(settings, claim) as house:
            token = house.token("merchant", "13800138000")
            await send(house.channel, "Manage", say("6123456789012345"), authorization=token)
            await refused(send(house.channel, "Manage", say("13800138000"), authorization=token[:-6] + "AAAAAA"))

    good, bad = recorded(main, settings)
    assert good | {"duration_ms": 0, "time": "", "trace": "", "principal": ""} == {
        "event": "rpc",
        "level": "info",
        "service": "entry",
        "rpc": "ProbeService.Manage",
        "code": "OK",
        "reason": "",
        "activity": "activities/a",
        "share": "shares/s",
        "coupon": "coupons/c",
        "duration_ms": 0,
        "time": "",
        "trace": "",
        "principal": "",
    }
    assert len(good["principal"]) == 16
    assert (bad["code"], bad["reason"], bad["principal"]) == ("UNAUTHENTICATED", "TOKEN_INVALID", "")
    for event in (good, bad):
        assert not any(secret in json.dumps(event) for secret in ("13800138000", "6123456789012345", "eyJ"))


def test_an_event_tells_the_names_in_the_request_and_the_answer(settings: Settings) -> None:
    async def main() -> None:
        async def answer(request: Any) -> str:
            if request.text == "refuse":
                raise errors.Conflict("ETAG_MISMATCH")
            if request.text == "note":
                call.note(share="shares/mine")
            return ""

        async with serving(settings, answer) as house:
            await send(house.channel, "Say", say(name="activities/a1", coupon="13800138000"))
            await refused(send(house.channel, "Say", say("refuse", name="activities/a1", coupon="coupons/c1")))
            await send(house.channel, "Say", say("note", name="stores/s1"))

    links = [
        {link: event[link] for link in ("activity", "share", "coupon") if link in event}
        for event in recorded(main, settings)
    ]
    assert links == [
        {"activity": "activities/a1", "share": "shares/s1"},
        {"activity": "activities/a1", "coupon": "coupons/c1"},
        {"activity": "activities/a2", "share": "shares/mine"},
    ]


def test_a_stream_ends_with_its_callers_token(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            watch: Any = house.channel.unary_stream(f"/{SERVICE}/Watch")
            watching = watch(say("w"), metadata=(("authorization", house.token(ttl=3)),), timeout=10)
            await watching.read()
            code, reason, _ = await refused(watching.read())
            assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")

    server.on_uvloop(main())


def test_metrics_count_each_rpc_by_its_status(settings: Settings) -> None:
    async def main() -> str:
        async with serving(settings) as house:
            await send(house.channel, "Say", say())
            await refused(send(house.channel, "Manage", say()))
            url = f"http://127.0.0.1:{house.metrics_port}/metrics"
            return (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()  # type: ignore[no-any-return]

    text = server.on_uvloop(main())
    assert 'sharemesh_rpcs_total{code="OK",rpc="ProbeService.Say"}' in text
    assert 'sharemesh_rpcs_total{code="UNAUTHENTICATED",rpc="ProbeService.Manage"}' in text
    assert 'sharemesh_rpc_seconds_bucket{le="+Inf",rpc="ProbeService.Say"}' in text


async def counted(house: House, family: str) -> dict[str, float]:
    """The numbers of a family of /metrics by their labels, as they stand there."""
    url = f"http://127.0.0.1:{house.metrics_port}/metrics"
    text = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith(family + "{")]
    return {labels.removeprefix(family): float(number) for labels, _, number in lines}


def test_metrics_count_refusals_by_their_reason(settings: Settings) -> None:
    async def main() -> tuple[dict[str, float], dict[str, float]]:
        async with serving(settings) as house:
            before = await counted(house, "sharemesh_refusals_total")
            await send(house.channel, "Say", say())
            for _ in range(2):
                await refused(send(house.channel, "Manage", say()))
            await refused(send(house.channel, "Manage", say(), authorization="Bearer nonsense"))
            return before, await counted(house, "sharemesh_refusals_total")

    before, after = server.on_uvloop(main())
    grown = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    assert {reason: count for reason, count in grown.items() if count} == {
        '{reason="TOKEN_MISSING"}': 2,
        '{reason="TOKEN_INVALID"}': 1,
    }


def test_metrics_count_callers_by_their_role_or_service_and_name_no_person(settings: Settings) -> None:
    async def main() -> tuple[dict[str, float], dict[str, float]]:
        async with serving(settings) as house:
            before = await counted(house, "sharemesh_calls_total")
            await send(house.channel, "Say", say())
            await refused(send(house.channel, "Say", say(), authorization="Bearer nonsense"))
            await refused(send(house.channel, "Say", say(), authorization=house.token("customer", "redeem")))
            callers = [("merchant", "m1"), ("merchant", "m2"), ("service", "audit"), ("service", "a stranger")]
            for role, subject in callers:
                await send(house.channel, "Say", say(), authorization=house.token(role, subject))
            return before, await counted(house, "sharemesh_calls_total")

    before, after = server.on_uvloop(main())
    grown = {labels: count - before.get(labels, 0) for labels, count in after.items()}
    assert {labels: count for labels, count in grown.items() if count} == {
        '{caller="anonymous",service="entry"}': 1,
        '{caller="unknown",service="entry"}': 1,
        '{caller="merchant",service="entry"}': 2,
        '{caller="customer",service="entry"}': 1,
        '{caller="audit",service="entry"}': 1,
        '{caller="service",service="entry"}': 1,
    }


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)).status)


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await is_so():  # noqa: ASYNC110 - another process's state sets no event here.
            await asyncio.sleep(0.02)


def test_health_follows_the_database(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PROBE_SECONDS", 0.05)
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"

    async def main() -> None:
        async with serving(settings, db=database.bind(f"sqlite:///{folder}/probe.db")) as house:

            async def is_state(state: int) -> bool:
                return [await health(house.channel), await health(house.channel, SERVICE)] == [state, state]

            assert await is_state(health_pb2.HealthCheckResponse.SERVING)
            folder.rename(elsewhere)
            await eventually(lambda: is_state(health_pb2.HealthCheckResponse.NOT_SERVING))
            elsewhere.rename(folder)
            await eventually(lambda: is_state(health_pb2.HealthCheckResponse.SERVING))

    server.on_uvloop(main())


def test_draining_loses_no_accepted_call_and_ends_streams(settings: Settings) -> None:
    async def main() -> None:
        begun, gate = asyncio.Semaphore(0), asyncio.Event()

        async def slow(request: Any) -> str:
            begun.release()
            await gate.wait()
            return str(request.text)

        async with serving(settings, slow) as house:
            calls = [asyncio.create_task(send(house.channel, "Say", say(str(number)))) for number in range(20)]
            watch: Any = house.channel.unary_stream(f"/{SERVICE}/Watch")
            watching = watch(say("w"))
            await watching.read()
            await house.probe.is_watched.wait()
            for _ in calls:
                await begun.acquire()
            await house.server.look_away()
            assert await health(house.channel, SERVICE) == health_pb2.HealthCheckResponse.NOT_SERVING
            stopping = asyncio.create_task(house.server.stop(5))
            code, reason, _ = await refused(watching.read())
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
            async with grpc.aio.insecure_channel(house.server.address) as late:
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await send(late, "Say", say())
                assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
            gate.set()
            assert [answer.text for answer in await asyncio.gather(*calls)] == [str(number) for number in range(20)]
            await stopping

    server.on_uvloop(main())


def test_a_health_watcher_is_told_and_does_not_hold_up_the_drain(settings: Settings) -> None:
    async def main() -> float:
        async with serving(settings) as house:
            stub: Any = health_pb2_grpc.HealthStub(house.channel)
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
            began = asyncio.get_running_loop().time()
            await house.server.look_away()
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            await house.server.stop(5)
            return asyncio.get_running_loop().time() - began

    assert server.on_uvloop(main()) < 4


def test_a_health_watcher_that_comes_back_during_the_drain_does_not_hold_it_up(settings: Settings) -> None:
    async def main() -> float:
        async with serving(settings) as house:
            await send(house.channel, "Say", say())
            began = asyncio.get_running_loop().time()
            stopping = asyncio.create_task(house.server.stop(5))
            await refused(send(house.channel, "Say", say()))
            stub: Any = health_pb2_grpc.HealthStub(house.channel)
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            # Ended by the server, or too late to be let in.
            with suppress(grpc.aio.AioRpcError):
                assert await watching.read() == grpc.aio.EOF
            await stopping
            return asyncio.get_running_loop().time() - began

    assert server.on_uvloop(main()) < 4


def test_sigterm_drains_under_load_and_every_answer_given_was_work_done(settings: Settings) -> None:
    done: set[str] = set()
    answered: set[str] = set()
    lost: dict[str, grpc.StatusCode] = {}

    async def main() -> None:
        db = database.bind(f"sqlite:///{settings.var}/probe.db")

        async def work(request: Any) -> str:
            await db.run(done.add, request.text)
            return str(request.text)

        one = Server("entry", settings, Keyring(b"k" * 32), tokens.verifier(settings))
        one.add(SERVICE, register, Probe(work))

        async def serve() -> None:
            stopped = server.stop_signal()
            async with server.running([one], db, settings):
                await stopped.wait()

        running = asyncio.create_task(serve())

        async def ask(channel: grpc.aio.Channel, who: int) -> None:
            for number in range(1_000_000):
                try:
                    answered.add((await send(channel, "Say", say(f"{who}-{number}"))).text)
                except grpc.aio.AioRpcError as error:
                    lost[f"{who}-{number}"] = error.code()
                    return
                if len(answered) == 200:
                    os.kill(os.getpid(), signal.SIGTERM)

        async with grpc.aio.insecure_channel(one.address) as channel:
            await eventually(lambda: is_serving(channel))
            await asyncio.gather(*(ask(channel, who) for who in range(8)))
        await running

    server.on_uvloop(main())
    assert len(answered) >= 200
    assert answered == done
    assert set(lost.values()) == {grpc.StatusCode.UNAVAILABLE}


def test_callers_who_go_on_calling_a_stopping_server_are_never_just_cancelled(settings: Settings) -> None:
    codes: set[grpc.StatusCode] = set()

    async def main() -> None:
        stopped = asyncio.Event()

        async def ask(channel: grpc.aio.Channel) -> None:
            while not stopped.is_set():
                try:
                    await send(channel, "Say", say())
                except grpc.aio.AioRpcError as error:
                    codes.add(error.code())
                    if "failed to connect" in str(error.details()):
                        return

        async with serving(settings) as house, grpc.aio.insecure_channel(house.server.address) as channel:
            asking = [asyncio.create_task(ask(channel)) for _ in range(16)]
            await eventually(lambda: is_serving(channel))
            await house.server.look_away()
            await house.server.stop(5)
            stopped.set()
            await asyncio.gather(*asking)

    for _ in range(3):
        server.on_uvloop(main())
    assert codes == {grpc.StatusCode.UNAVAILABLE}


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_calls_that_come_to_a_busy_loop_as_its_server_stops_are_never_just_cancelled(
    settings: Settings, moment: str
) -> None:
    called: list[Any] = []

    async def main() -> None:
        async with serving(settings) as house:
            # Calls that are sent by another thread than the one that is busy here.
            with grpc.insecure_channel(house.server.address) as outside:
                ask: Any = outside.unary_unary(f"/{SERVICE}/Say")
                await asyncio.to_thread(ask, say(), timeout=10)

                def be_busy() -> None:
                    called.extend(ask.future(say(), timeout=10) for _ in range(16))
                    time.sleep(0.3)

                await house.server.look_away()
                if moment == "before":
                    be_busy()
                else:
                    asyncio.get_running_loop().call_later(0.02, be_busy)
                await house.server.stop(5)
                codes = {await asyncio.to_thread(one.code) for one in called}
                assert codes == {grpc.StatusCode.UNAVAILABLE}

    server.on_uvloop(main())


async def is_serving(channel: grpc.aio.Channel) -> bool:
    try:
        return await health(channel) == health_pb2.HealthCheckResponse.SERVING
    except grpc.aio.AioRpcError:
        return False


def test_chores_are_repeated_even_when_a_round_fails_and_end_with_the_server(settings: Settings) -> None:
    rounds: list[int] = []

    async def main() -> None:
        often = asyncio.Event()

        async def sweep() -> None:
            rounds.append(1)
            if len(rounds) == 3:
                often.set()
            raise RuntimeError("this round failed")

        db = database.bind(f"sqlite:///{settings.var}/probe.db")
        one = Server("entry", settings, Keyring(b"k" * 32), tokens.verifier(settings))
        one.repeat(sweep, lambda: 0.01)
        async with server.running([one], db, settings):
            await asyncio.wait_for(often.wait(), 5)
        assert len(asyncio.all_tasks()) == 1

    server.on_uvloop(main())


def test_a_port_that_is_taken_fails_at_start_by_its_name(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            port = int(house.server.address.rpartition(":")[2])
            with pytest.raises(BadSetting, match="--port"):
                Server("entry", replace(settings, port=port), Keyring(b"k" * 32), tokens.verifier(settings))

    server.on_uvloop(main())


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_an_ipv6_address_is_bracketed_once(settings: Settings, host: str) -> None:
    async def main() -> None:
        one = Server("entry", replace(settings, host=host), Keyring(b"k" * 32), tokens.verifier(settings))
        assert one.address.startswith("[::]:")
        assert not one.address.endswith(":0")

    server.on_uvloop(main())


def test_what_was_started_stops_when_the_rest_cannot_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        one, other = (Server("entry", settings, Keyring(b"k" * 32), tokens.verifier(settings)) for _ in range(2))
        one.add(SERVICE, register, Probe(echo))

        async def fail() -> None:
            raise RuntimeError("cannot start")

        monkeypatch.setattr(other, "start", fail)
        with pytest.raises(RuntimeError, match="cannot start"):
            async with server.running([one, other], database.bind(f"sqlite:///{settings.var}/probe.db"), settings):
                raise AssertionError("it started all the same")
        for port in (settings.metrics_port, int(one.address.rpartition(":")[2])):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = replace(settings, metrics_port=port)
    server.on_uvloop(main())


def test_servers_that_all_have_work_left_stop_within_the_time_of_the_process(settings: Settings) -> None:
    async def main() -> float:
        arrived = asyncio.Semaphore(0)

        async def forever(_: Any) -> str:
            arrived.release()
            await asyncio.Event().wait()
            return ""

        db = database.bind(f"sqlite:///{settings.var}/probe.db")
        servers = [Server("entry", settings, Keyring(b"k" * 32), tokens.verifier(settings)) for _ in range(4)]
        for one in servers:
            one.add(SERVICE, register, Probe(forever))
        async with AsyncExitStack() as channels:
            async with server.running(servers, db, settings):
                calls = []
                for one in servers:
                    channel = await channels.enter_async_context(grpc.aio.insecure_channel(one.address))
                    calls.append(asyncio.create_task(send(channel, "Say", say(), seconds=60)))
                for _ in servers:
                    await asyncio.wait_for(arrived.acquire(), 10)
                began = asyncio.get_running_loop().time()
            took = asyncio.get_running_loop().time() - began
            await asyncio.gather(*calls, return_exceptions=True)
        return took

    old = parameters.swap(replace(parameters.current(), stop_seconds=1.0))
    try:
        # One server alone would be given longer.
        assert server.on_uvloop(main()) < parameters.Parameters.grace_seconds
    finally:
        parameters.swap(old)


def test_an_rpc_that_no_contract_names_is_unimplemented(settings: Settings) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await send(house.channel, "Nonsense")
            assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED

    server.on_uvloop(main())


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_finds_services_and_their_methods(settings: Settings, version: str) -> None:
    async def main() -> None:
        async with serving(settings) as house:
            ask: Any = house.channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            requests = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{SERVICE}.Say"),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
            ]
            listed, found, missing = [answer async for answer in ask(requests)]
            assert SERVICE in {service.name for service in listed.list_services_response.service}
            assert found.file_descriptor_response.file_descriptor_proto
            assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]

    server.on_uvloop(main())
