"""The mesh repeats a write whose answer was lost, because it may: there is one effect, and the first outcome."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import MethodOptions
from PIL import Image

from registry import policy, traffic
from registry.channel import OPTIONS
from services.chassis.settings import SERVICES
from services.schema import tables
from tests.conftest import empty_on
from tests.contracts import Rpc, rpcs
from tests.good_requests import INVALID, ROWS
from tests.lossy import LIMIT_SECONDS, Wire, laid
from tests.mesh import started
from tests.test_bad_input import faults, rows_of, what_it_names
from tests.world import World, changed

# Pixels a side of a picture that no compression makes small.
SIDE = 700


def level_of(rpc: Rpc) -> int:
    return int(rpc.descriptor.GetOptions().idempotency_level)


# From the contracts, so that none is forgotten.
WRITES = [name for name, rpc in rpcs().items() if level_of(rpc) == MethodOptions.IDEMPOTENT]
READS = [name for name, rpc in rpcs().items() if level_of(rpc) == MethodOptions.NO_SIDE_EFFECTS]
# What may be asked without a request_id: these fields make it so, and it changes nothing then.
ONLY_LOOKS: dict[str, dict[str, Any]] = {"VerifyCoupon": {"hold_coupons": False}}


class Lossy:
    """The five services at the far end of wires, and callers who retry as the mesh tells them."""

    def __init__(self, world: World, wires: dict[str, Wire], channels: dict[str, grpc.Channel]) -> None:
        self.world = world
        self.wires = wires
        self.channels = channels

    def call(self, rpc: str, raw: bytes) -> Any:
        """The call under way."""
        method = rpcs()[rpc].descriptor
        # The stubs do not know calls in bytes.
        call: Any = self.channels[rpcs()[rpc].service].unary_unary(f"/{method.containing_service.full_name}/{rpc}")
        return call.future(raw, metadata=self.world.metadata(ROWS[rpc].who), timeout=LIMIT_SECONDS)


def told(service: str) -> str:
    """What the mesh tells gRPC's clients to retry, as the service config that xDS makes of it."""
    names = [
        {"service": path.split("/")[1], "method": path.split("/")[2]}
        for path in (one.path for one in policy.methods_of(service) if one.is_retryable)
    ]
    retry = {
        "maxAttempts": traffic.RETRIES + 1,
        "initialBackoff": f"{traffic.BACKOFF_MS / 1000}s",
        "maxBackoff": f"{traffic.LONGEST_BACKOFF_MS / 1000}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": traffic.RETRY_ON.upper().split(","),
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": retry}]})


@pytest.fixture(scope="module")
def lossy(backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lossy]:
    """One world on each database for all of this."""
    folder = tmp_path_factory.mktemp("lossy")
    url = empty_on(backend, request, folder)
    with started(url, folder / "var") as mesh, laid(*(mesh.addresses[one] for one in SERVICES)) as laid_out:
        wires = dict(zip(SERVICES, laid_out, strict=True))
        with ExitStack() as closing:
            channels = {
                name: closing.enter_context(
                    grpc.insecure_channel(wire.address, options=[*OPTIONS, ("grpc.service_config", told(name))])
                )
                for name, wire in wires.items()
            }
            yield Lossy(World(mesh), wires, channels)


def settled(world: World) -> dict[str, int]:
    """The rows, once nothing is judged by a new lexicon in the background any more."""

    def is_judging() -> bool:
        return bool(tables.Rollout.select().where(tables.Rollout.state == "RUNNING").exists())

    end = time.monotonic() + LIMIT_SECONDS
    while world.mesh.db.run_here(is_judging):
        assert time.monotonic() < end, "the judging did not end"
        time.sleep(0.05)
    return rows_of(world)


def test_every_rpc_is_a_read_or_a_write() -> None:
    assert sorted([*WRITES, *READS]) == sorted(rpcs())


@pytest.mark.parametrize("rpc", WRITES)
def test_a_write_whose_answer_was_lost_has_one_effect_and_one_outcome(lossy: Lossy, rpc: str) -> None:
    raw = ROWS[rpc].request(lossy.world).SerializeToString()
    wire = lossy.wires[rpcs()[rpc].service]
    before, answers = rows_of(lossy.world), wire.answers
    with wire.losing() as loss:
        call = lossy.call(rpc, raw)
        assert loss.given.wait(LIMIT_SECONDS), "the server did not answer"
        first = settled(lossy.world)
        assert first != before, "the lost call wrote nothing"
    answer = call.result()
    assert wire.answers == answers + 1, "the answer that arrived was not the second"
    assert rows_of(lossy.world) == first
    assert what_it_names(rpc, answer) == what_it_names(rpc, loss.message)


@pytest.mark.parametrize("rpc", WRITES)
def test_a_write_without_a_request_id_is_refused_or_only_looks(lossy: Lossy, rpc: str) -> None:
    request = changed(ROWS[rpc].request(lossy.world), request_id="")
    own = lossy.world.metadata(ROWS[rpc].who)
    before = rows_of(lossy.world)
    refused = faults(
        lossy.world, rpc, "no request_id", request.SerializeToString(), own, INVALID, "INVALID_FIELD",
        "" if rpc in ONLY_LOOKS else "request_id",
    )  # fmt: skip
    assert list(refused) == []
    if rpc in ONLY_LOOKS:
        for _ in range(2):
            lossy.world.send(rpc, changed(request, **ONLY_LOOKS[rpc]).SerializeToString(), own)
    assert rows_of(lossy.world) == before


@pytest.mark.parametrize("rpc", READS)
def test_a_read_changes_nothing(lossy: Lossy, rpc: str) -> None:
    raw, own = ROWS[rpc].request(lossy.world).SerializeToString(), lossy.world.metadata(ROWS[rpc].who)
    before = rows_of(lossy.world)
    lossy.world.send(rpc, raw, own)
    assert rows_of(lossy.world) == before


def test_a_refusal_that_was_lost_is_told_at_the_second_attempt(lossy: Lossy) -> None:
    request = lossy.world.redeeming("6" * 16).SerializeToString()
    before = rows_of(lossy.world)
    with lossy.wires["redeem"].losing() as loss:
        call = lossy.call("RedeemCoupon", request)
        assert loss.given.wait(LIMIT_SECONDS), "the server did not answer"
    assert call.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert rows_of(lossy.world) == before


def test_a_large_request_is_repeated_too(lossy: Lossy) -> None:
    """A client keeps 256 KiB of a request for a retry, unless it is told otherwise."""
    file = io.BytesIO()
    noise = Random(5).randbytes(3 * SIDE * SIDE)
    Image.frombytes("RGB", (SIDE, SIDE), noise).save(file, "PNG")
    request = changed(ROWS["UploadImage"].request(lossy.world), content=file.getvalue())
    assert request.ByteSize() > 2**20
    with lossy.wires["entry"].losing() as loss:
        call = lossy.call("UploadImage", request.SerializeToString())
        assert loss.given.wait(LIMIT_SECONDS), "the server did not answer"
    assert what_it_names("UploadImage", call.result()) == what_it_names("UploadImage", loss.message)
