"""What the gateway does with callers who send too much, too often, or too slowly."""

import base64
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from local.mesh import Mesh
from sharemesh.v1 import entry_pb2, entry_pb2_grpc, redeem_pb2, redeem_pb2_grpc
from tests.gateway.doors import SECONDS, Door, ask, bearer, details_of, opened, reason_of
from tests.gateway.test_rest import new_merchant
from tests.mesh import poll, request_id

# What the doors below allow.
PER_PRINCIPAL, PER_ADDRESS, BURST = 3, 20, 2
REQUEST_SECONDS, HEADERS_SECONDS = 2, 1
MB = 1024 * 1024


@pytest.fixture(scope="module")
def narrow(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway with low limits, one proxy of ours in front, and one web page that may call."""
    flags = ["--calls-per-principal", str(PER_PRINCIPAL), "--calls-per-address", str(PER_ADDRESS)]
    flags += ["--trusted-hops", "1", "--origins", "https://shop.example"]
    with opened(mesh, tmp_path_factory.mktemp("narrow"), *flags) as one:
        yield one


@pytest.fixture(scope="module")
def impatient(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway that waits for a second or two only, and takes few connections."""
    flags = ["--request-seconds", str(REQUEST_SECONDS), "--headers-seconds", str(HEADERS_SECONDS)]
    flags += ["--connections", "20", "--calls-per-address", "0"]
    with opened(mesh, tmp_path_factory.mktemp("impatient"), *flags) as one:
        yield one


def from_address(address: str, **headers: str) -> dict[str, str]:
    """As our proxy tells who connected to it."""
    return {"x-forwarded-for": address, **headers}


def test_a_principal_has_a_rate_of_its_own(mesh: Mesh, narrow: Door) -> None:
    def calls(subject: str, address: str, count: int) -> list[int]:
        headers = {**bearer(mesh, "customer", subject), **from_address(address)}
        return [ask(narrow, "GET", "/v1/coupons", headers=headers).status for _ in range(count)]

    # From ever other addresses, so that it is not those which are limited.
    greedy = Counter(status for n in range(20) for status in calls("greedy", f"203.0.113.{n}", 1))
    assert set(greedy) == {200, 429}
    assert greedy[200] >= PER_PRINCIPAL * BURST
    assert calls("modest", "203.0.113.1", 1) == [200]
    refused = ask(narrow, "GET", "/v1/coupons", headers={**bearer(mesh, "customer", "greedy"), **from_address("::1")})
    assert (refused.status, refused.json["code"], refused.reason) == (429, 8, "RATE_LIMITED")
    assert refused.headers["retry-after"] == "1"
    poll(lambda: calls("greedy", "203.0.113.1", 1) == [200])


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "BeArEr"])
def test_no_spelling_of_the_scheme_brings_a_token_past_its_rate(mesh: Mesh, narrow: Door, scheme: str) -> None:
    token = bearer(mesh, "customer", scheme)["authorization"].removeprefix("Bearer")

    def status(number: int) -> int:
        headers = from_address(f"203.0.113.{number}", authorization=scheme + token)
        return ask(narrow, "GET", "/v1/coupons", headers=headers).status

    assert Counter(map(status, range(20)))[200] < 20


def test_grpc_callers_are_told_when_to_come_back(mesh: Mesh, narrow: Door) -> None:
    metadata = (*bearer(mesh, "customer", "hasty").items(), ("x-forwarded-for", "203.0.113.77"))
    with grpc.insecure_channel(narrow.address) as channel:
        stub = redeem_pb2_grpc.RedeemServiceStub(channel)

        def call_often() -> None:
            for _ in range(50):
                stub.ListOffers(redeem_pb2.ListOffersRequest(), metadata=metadata, timeout=SECONDS)

        with pytest.raises(grpc.RpcError) as refusal:
            call_often()
    assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(refusal.value) == "RATE_LIMITED"
    delay = details_of(refusal.value, RetryInfo())
    assert isinstance(delay, RetryInfo)
    assert delay.retry_delay.seconds == 1
    trailers: Any = refusal.value.trailing_metadata()
    assert dict(trailers)["retry-after"] == "1"


def flood(door: Door, count: int, **headers: str) -> Counter[int]:
    """Ever other filters, as whoever wants to fill a cache would ask, on one connection."""
    got: Counter[int] = Counter()
    with socket.create_connection((door.host, door.port), timeout=SECONDS) as wire:
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        for number in range(count):
            wire.sendall(f"GET /v1/offers?city=c{number} HTTP/1.1\r\nhost: x\r\n{told}\r\n".encode())
        seen = b""
        while seen.count(b"HTTP/1.1 ") < count and (some := wire.recv(65536)):
            seen += some
    for line in seen.split(b"HTTP/1.1 ")[1:]:
        got[int(line[:3])] += 1
    return got


def test_a_flood_of_ever_other_filters_is_limited_by_its_address(narrow: Door) -> None:
    counted = flood(narrow, 300, **{"x-forwarded-for": "198.51.100.7"})
    assert counted[200] >= PER_ADDRESS * BURST
    # The first refusal ends the connection, and with it what was asked ahead.
    assert counted[429] == 1
    assert counted[200] < 300
    assert ask(narrow, "GET", "/v1/offers", headers=from_address("198.51.100.8")).status == 200


def test_all_addresses_of_a_subscribers_ipv6_network_are_one(narrow: Door) -> None:
    counted = Counter(
        ask(narrow, "GET", "/v1/offers?city=x", headers=from_address(f"2001:db8:1:2::{number:x}")).status
        for number in range(1, 120)
    )
    assert counted[429] > 0
    assert ask(narrow, "GET", "/v1/offers", headers=from_address("2001:db8:1:3::1")).status == 200


def test_an_address_that_a_stranger_claims_is_not_believed(door: Door, narrow: Door) -> None:
    """Only what the last trusted proxy says counts: the rightmost entry, or without proxies none."""
    counted: Counter[int] = Counter()
    for number in range(100):
        claimed = from_address(f"192.0.2.{number}, 198.51.100.99")
        counted[ask(narrow, "GET", "/v1/offers", headers=claimed).status] += 1
    assert counted[429] > 0
    ask(door, "GET", "/v1/offers?city=claimed", headers=from_address("192.0.2.1"))
    poll(lambda: bool(door.lines()))
    assert {line["network"] for line in door.lines()} == {"127.0.0.0/24"}


def test_only_pages_of_the_given_origins_may_call(narrow: Door) -> None:
    wish = {"access-control-request-method": "GET", **from_address("203.0.113.200")}
    ours = ask(narrow, "OPTIONS", "/v1/offers", headers={"origin": "https://shop.example", **wish})
    assert ours.headers["access-control-allow-origin"] == "https://shop.example"
    for verb in ("OPTIONS", "GET"):
        refused = ask(narrow, verb, "/v1/offers", headers={"origin": "https://evil.example", **wish})
        assert (refused.status, refused.json["code"]) == (403, 7)
        assert "access-control-allow-origin" not in refused.headers
    # An app is no page, and says no origin.
    assert ask(narrow, "GET", "/v1/offers", headers=from_address("203.0.113.201")).status == 200


def test_bodies_are_limited_and_those_with_a_picture_less_so(mesh: Mesh, door: Door) -> None:
    name, owner = new_merchant(mesh, door, "heavy"), bearer(mesh, subject="heavy")
    merchants, images = f"/v1/merchants?request_id={request_id()}", f"/v1/{name}/images"
    too_large = ask(door, "POST", merchants, {"display_name": "x" * 2 * MB, "currency": "CNY"}, owner)
    assert (too_large.status, too_large.reason) == (413, "INVALID_FIELD")
    picture = {"content": base64.b64encode(b"x" * 7 * MB).decode(), "request_id": request_id()}
    unreadable = ask(door, "POST", images, picture, owner)
    assert (unreadable.status, unreadable.reason) == (400, "IMAGE_UNREADABLE")
    picture["content"] = base64.b64encode(b"x" * 10 * MB).decode()
    assert ask(door, "POST", images, picture, owner).status == 413
    with grpc.insecure_channel(door.address) as channel:
        stub, metadata = entry_pb2_grpc.EntryServiceStub(channel), tuple(owner.items())
        for size, reason in ((7, "IMAGE_UNREADABLE"), (13, "INVALID_FIELD")):
            upload = entry_pb2.UploadImageRequest(merchant=name, content=b"x" * size * MB, request_id=request_id())
            with pytest.raises(grpc.RpcError) as refusal:
                stub.UploadImage(upload, metadata=metadata, timeout=SECONDS)
            assert reason_of(refusal.value) == reason
        large = entry_pb2.CreateMerchantRequest(merchant=entry_pb2.Merchant(display_name="x" * 2 * MB))
        with pytest.raises(grpc.RpcError) as refusal:
            stub.CreateMerchant(large, metadata=metadata, timeout=SECONDS)
        assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_body_without_an_announced_length_is_limited_too(mesh: Mesh, door: Door) -> None:
    with socket.create_connection((door.host, door.port), timeout=SECONDS) as wire:
        token = bearer(mesh)["authorization"]
        head = "content-type: application/json\r\ntransfer-encoding: chunked\r\n"
        wire.sendall(f"POST /v1/merchants HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n{head}\r\n".encode())
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        answer = b""
        try:
            for _ in range(100):
                wire.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        wire.settimeout(SECONDS)
        answer = wire.recv(64)
    assert answer.startswith(b"HTTP/1.1 413")


def dribbled(door: Door, begin: bytes, drop: bytes) -> tuple[bytes, float]:
    """What a client gets that sends the beginning and then a drop now and then, and after how many seconds."""
    started, got = time.monotonic(), b""
    with socket.create_connection((door.host, door.port), timeout=0.1) as wire:
        wire.sendall(begin)
        while time.monotonic() - started < SECONDS:
            try:
                wire.sendall(drop)
                some = wire.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not some:
                break
            got += some
    return got, time.monotonic() - started


def test_slow_headers_are_not_waited_for(impatient: Door) -> None:
    got, seconds = dribbled(impatient, b"GET /v1/offers HTTP/1.1\r\nhost: x\r\n", b"x-a: b\r\n")
    assert seconds < HEADERS_SECONDS + 5
    assert b" 408 " in got.splitlines()[0]


def test_a_slow_body_is_not_waited_for_and_reaches_no_service(mesh: Mesh, impatient: Door) -> None:
    head = "POST /v1/merchants HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n"
    token = bearer(mesh)["authorization"]
    got, seconds = dribbled(impatient, f"{head}authorization: {token}\r\n\r\n".encode(), b" ")
    assert seconds < REQUEST_SECONDS + 5
    assert b" 408 " in got.splitlines()[0]
    assert b'"reason":"DEADLINE_PASSED"' in got
    poll(lambda: any(line["status"] == 408 and line["path"] == "/v1/merchants" for line in impatient.lines()))
    assert all(line["instance"] is None for line in impatient.lines() if line["status"] == 408)


def test_a_hundred_slow_clients_do_not_keep_others_out_for_long(impatient: Door) -> None:
    slow = [socket.create_connection((impatient.host, impatient.port), timeout=SECONDS) for _ in range(100)]
    try:
        for wire in slow:
            try:
                wire.sendall(b"GET /v1/offers HTTP/1.1\r\nhost: x\r\n")
            except OSError:
                continue  # Beyond the agreed number it was closed at once.

        def is_let_in() -> bool:
            try:
                return ask(impatient, "GET", "/v1/offers").status == 200
            except OSError:
                return False

        poll(is_let_in, seconds=HEADERS_SECONDS + 10)
    finally:
        for wire in slow:
            wire.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /v1/offers HTTP/1.1\r\n\r\n",
        b"GET /v1/offers HTTP/1.1\r\nhost: x\r\nx_a: b\r\n\r\n",
        b"GET /v1/offers HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v1/offers HTTP/1.1\r\nhost: x\r\nx-a: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_gateway_goes_on(door: Door, raw: bytes) -> None:
    with socket.create_connection((door.host, door.port), timeout=SECONDS) as wire:
        wire.sendall(raw)
        first = wire.recv(65536).splitlines()[0]
    assert first.split()[1] in (b"400", b"431"), first
    assert ask(door, "GET", "/v1/offers").status == 200
