"""gRPC and gRPC-Web through the gateway: the whole journey, streams, deadlines, versions."""

import http.client
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from local.mesh import Mesh
from registry import policy
from services.chassis.settings import SERVICES, Settings
from services.journey import content, showing
from services.journey.people import Person
from sharemesh.v1 import entry_pb2, publish_pb2, redeem_pb2, redeem_pb2_grpc
from tests.gateway.doors import SECONDS, Door, ask, bearer, opened, reason_of
from tests.mesh import poll, request_id

TRAILERS = 0x80
CALLS = 6


def framed(message: bytes) -> bytes:
    """One message as gRPC and gRPC-Web have it on the wire."""
    return struct.pack(">BI", 0, len(message)) + message


def frames(body: http.client.HTTPResponse) -> Iterator[tuple[int, bytes]]:
    """The frames of an answer as they come: (kind, content)."""
    while head := body.read(5):
        kind, size = struct.unpack(">BI", head)
        yield kind, body.read(size)


def call_web(door: Door, path: str, message: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
    """A gRPC-Web call, as a browser's library sends it; its answer is still to be read."""
    connection = http.client.HTTPConnection(door.host, door.port, timeout=SECONDS)
    kind = "application/grpc-web+proto"
    connection.request("POST", path, framed(message), {"content-type": kind, "x-grpc-web": "1", **headers})
    return connection.getresponse()


@pytest.fixture(scope="module")
def channel(door: Door) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(door.address) as one:
        yield one


@pytest.fixture(scope="module")
def lin(mesh: Mesh, channel: grpc.Channel) -> Person:
    """A merchant, whose stubs of all services are of the one channel."""
    token = bearer(mesh, subject="watched")["authorization"].removeprefix("Bearer ")
    return Person("lin", dict.fromkeys(SERVICES, channel), token, locale="en")


@pytest.fixture(scope="module")
def activity(lin: Person) -> entry_pb2.Activity:
    """A draft of lin's."""
    business = entry_pb2.Merchant(display_name="川味小馆", currency="CNY")
    merchant = lin.entry.CreateMerchant(
        entry_pb2.CreateMerchantRequest(merchant=business, request_id=request_id()), timeout=SECONDS
    ).name
    image = lin.entry.UploadImage(
        entry_pb2.UploadImageRequest(merchant=merchant, content=content.picture(), request_id=request_id())
    ).name
    shop = content.store(merchant, image)
    store = lin.entry.CreateStore(entry_pb2.CreateStoreRequest(store=shop, request_id=request_id())).name
    draft = content.activity(merchant, "templates/amount-off", store, image, datetime.now(UTC).date())
    return lin.entry.CreateActivity(entry_pb2.CreateActivityRequest(activity=draft, request_id=request_id()))


def submitted(lin: Person, activity: entry_pb2.Activity) -> None:
    name = activity.name
    lin.publish.SubmitActivity(publish_pb2.SubmitActivityRequest(name=name, request_id=request_id()), timeout=SECONDS)


def test_the_whole_journey_goes_through_one_address(mesh: Mesh, door: Door) -> None:
    settings = replace(Settings(), var=mesh.directory / "var")
    assert showing.play(dict.fromkeys(SERVICES, door.address), settings)


def test_a_stream_brings_news_as_it_happens_by_grpc_and_by_grpc_web(
    mesh: Mesh, door: Door, lin: Person, activity: entry_pb2.Activity
) -> None:
    request = publish_pb2.WatchActivityRequest(activity=activity.name)
    watching = lin.publish.WatchActivity(request, timeout=SECONDS)
    path = "/sharemesh.v1.PublishService/WatchActivity"
    page = call_web(door, path, request.SerializeToString(), bearer(mesh, subject="watched"))
    seen = frames(page)
    _, first = next(seen)
    assert publish_pb2.WatchActivityResponse.FromString(first).activity.name == activity.name
    assert next(iter(watching)).activity.name == activity.name
    submitted(lin, activity)
    assert next(iter(watching)).WhichOneof("event") == "transition"
    assert publish_pb2.WatchActivityResponse.FromString(next(seen)[1]).WhichOneof("event") == "transition"
    watching.cancel()
    page.close()


def test_a_web_page_reads_answer_and_status_in_one_body(door: Door) -> None:
    request = redeem_pb2.ListOffersRequest(city="nowhere").SerializeToString()
    answer = call_web(door, "/sharemesh.v1.RedeemService/ListOffers", request, {"origin": "https://shop.example"})
    (kind, message), (last, trailers) = frames(answer)
    assert (kind, redeem_pb2.ListOffersResponse.FromString(message).offers[:]) == (0, [])
    assert last == TRAILERS
    assert b"grpc-status:0" in trailers
    assert answer.getheader("access-control-allow-origin") == "https://shop.example"


def test_a_web_page_reads_why_it_was_refused(door: Door) -> None:
    answer = call_web(door, "/sharemesh.v1.RedeemService/ListCoupons", b"", {})
    status = answer.getheader("grpc-status") or next(
        line.partition(b":")[2].decode()
        for _, told in frames(answer)
        for line in told.splitlines()
        if b"status:" in line
    )
    assert int(status) == grpc.StatusCode.UNAUTHENTICATED.value[0]


def called(channel: Any, path: str) -> bytes:
    """The answer to an empty request, in bytes."""
    return bytes(channel.unary_unary(path)(b"", timeout=SECONDS))


def streamed(channel: Any, path: str) -> Iterator[bytes]:
    """The answers to an empty request, in bytes."""
    stream: Iterator[bytes] = channel.unary_stream(path)(b"", timeout=SECONDS)
    return stream


def outcome(channel: grpc.Channel, method: policy.Method) -> str:
    """The reason of the refusal of an empty request without a token, "" if it is served."""
    try:
        if method.is_streaming:
            next(streamed(channel, method.path))
        else:
            called(channel, method.path)
    except grpc.RpcError as error:
        return reason_of(error)
    return ""


def test_every_rpc_reaches_its_service(channel: grpc.Channel) -> None:
    methods = [method for service in policy.SERVICES for method in policy.methods_of(service)]
    assert len(methods) == 63
    told = {method.path: outcome(channel, method) for method in methods}
    assert set(told.values()) <= {"", "TOKEN_MISSING", "INVALID_FIELD"}, told


@pytest.mark.parametrize(
    "path", ["/sharemesh.v1.Nope/Nope", "/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/Info"]
)
def test_only_the_five_services_can_be_called(channel: grpc.Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        called(channel, path)
    assert reason_of(refusal.value) == "RESOURCE_NOT_FOUND"


def test_json_at_an_address_of_grpc_is_not_found(door: Door) -> None:
    answer = ask(door, "POST", "/sharemesh.v1.RedeemService/ListOffers", {})
    assert (answer.status, answer.reason) == (404, "RESOURCE_NOT_FOUND")


def test_the_callers_deadline_is_kept(lin: Person, activity: entry_pb2.Activity) -> None:
    watching = lin.publish.WatchActivity(publish_pb2.WatchActivityRequest(activity=activity.name), timeout=0.5)
    with pytest.raises(grpc.RpcError) as end:
        list(watching)
    assert end.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stream_ends_at_its_deadline_with_a_status(mesh: Mesh, door: Door, activity: entry_pb2.Activity) -> None:
    request = publish_pb2.WatchActivityRequest(activity=activity.name).SerializeToString()
    headers = {**bearer(mesh, subject="watched"), "grpc-timeout": "200m"}
    # Again and again, since the gateway's clock, which may break a stream off, could strike before the service's.
    for _ in range(CALLS):
        *_, (kind, trailers) = frames(call_web(door, "/sharemesh.v1.PublishService/WatchActivity", request, headers))
        assert kind == TRAILERS
        assert b"grpc-status:4\r\n" in trailers


def has_lines(door: Door, count: int) -> bool:
    return len(door.lines()) >= count


def answering(door: Door) -> set[str]:
    """Who answers calls that ask for v2."""
    before, wanted = len(door.lines()), (("x-sharemesh-version", "v2"),)
    with grpc.insecure_channel(door.address) as channel:
        stub = redeem_pb2_grpc.RedeemServiceStub(channel)
        for _ in range(CALLS):
            stub.ListOffers(redeem_pb2.ListOffersRequest(), metadata=wanted, timeout=SECONDS)
    poll(partial(has_lines, door, before + CALLS))
    return {line["instance"] for line in door.lines()[before:]}


def test_strangers_do_not_pick_the_version_unless_the_operator_lets_them(mesh: Mesh, tmp_path: Path) -> None:
    canary = mesh.start("redeem", release="v2", canary=0)
    try:
        with opened(mesh, tmp_path / "picking", "--pick-version", "yes") as door:
            # A moment after it was started: who asks for it before that gets the others.
            poll(lambda: answering(door) == {canary.address})
        with opened(mesh, tmp_path / "plain") as door:
            assert canary.address not in answering(door)
    finally:
        canary.stop()
