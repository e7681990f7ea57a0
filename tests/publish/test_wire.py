import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from registry.config import Static
from services.chassis import parameters
from services.chassis.database import Database
from services.chassis.tokens import DevIssuer
from services.journey.people import refusal_of
from sharemesh.v1 import audit_pb2, entry_pb2, options_pb2, publish_pb2
from sharemesh.v1.publish_pb2_grpc import PublishServiceStub
from tests import mesh
from tests.mesh import Mesh, request_id, settings_for
from tests.publish.scene import Scene
from tests.publish.serving import serving

if TYPE_CHECKING:
    from sharemesh.v1.publish_pb2_grpc import PublishServiceAsyncStub


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[Mesh]:
    with mesh.started(database_url, tmp_path) as started:
        yield started


def test_an_activity_is_published_and_shown_over_the_wire(house: Mesh) -> None:
    scene = Scene(house.db)
    owner, guest = house.person("merchant", "owner"), house.person()
    name = scene.draft("春季新茶")
    submitted = owner.publish.SubmitActivity(
        publish_pb2.SubmitActivityRequest(name=name, etag="1", request_id=request_id())
    )
    assert submitted.state == entry_pb2.ACTIVITY_STATE_APPROVED
    shown = guest.publish.GetPublication(publish_pb2.GetPublicationRequest(name=submitted.publication))
    assert (shown.snapshot.title, shown.audit) == ("春季新茶", "")
    history = owner.publish.ListTransitions(publish_pb2.ListTransitionsRequest(activity=name)).transitions
    assert [row.actor_role for row in history[-2:]] == [options_pb2.ROLE_SERVICE] * 2
    assert history[-1].subject == publish_pb2.Transition.SUBJECT_PUBLICATION
    supply = owner.publish.AdjustSupply(
        publish_pb2.AdjustSupplyRequest(name=name, stock=500, is_issuing_stopped=True, request_id=request_id())
    )
    assert (supply.stock, supply.is_issuing_stopped, supply.budget.units) == (500, True, 1000)
    withdrawn = owner.publish.WithdrawActivity(
        publish_pb2.WithdrawActivityRequest(name=name, reason="不办了", request_id=request_id())
    )
    assert withdrawn.publication_state == entry_pb2.PUBLICATION_STATE_WITHDRAWN


def test_a_rejection_goes_through_appeal_and_review_over_the_wire(house: Mesh) -> None:
    scene = Scene(house.db)
    owner, operator = house.person("merchant", "owner"), house.person("operator", "op")
    name = scene.draft("最强汽修")
    submitted = owner.publish.SubmitActivity(publish_pb2.SubmitActivityRequest(name=name, request_id=request_id()))
    # After a decision, which goes by the head; before it the service may be a second behind.
    typed = owner.audit.CheckText(audit_pb2.CheckTextRequest(text="最强汽修"))
    audit = owner.audit.GetAudit(audit_pb2.GetAuditRequest(name=submitted.audit))
    assert typed.decision == audit.decision == audit_pb2.DECISION_REJECT
    assert (audit.findings[0].text, audit.findings[0].rewrite.en) == ("最强", "rewrite")
    owner.audit.AppealAudit(audit_pb2.AppealAuditRequest(name=audit.name, reason="是店名", request_id=request_id()))
    waiting = operator.audit.ListAudits(audit_pb2.ListAuditsRequest(state=audit_pb2.AUDIT_STATE_OPEN)).audits
    assert [(one.name, one.appeal) for one in waiting] == [(audit.name, "是店名")]
    operator.audit.ResolveAudit(
        audit_pb2.ResolveAuditRequest(
            name=audit.name,
            decision=audit_pb2.DECISION_PASS,
            digest=audit.digest,
            reason="是店名",
            request_id=request_id(),
        )
    )
    assert scene.states(name) == ("APPROVED", "LIVE")


def test_nobody_keeps_ever_more_streams_open_and_one_that_ends_makes_room(house: Mesh) -> None:
    name = Scene(house.db).draft("春季新茶")
    owner, operator = house.person("merchant", "owner"), house.person("operator", "op")
    request = publish_pb2.WatchActivityRequest(activity=name)
    before = parameters.swap(replace(parameters.current(), watch_streams_per_caller=2))
    try:
        streams = [owner.publish.WatchActivity(request) for _ in range(2)]
        assert all(next(stream).activity.name == name for stream in streams)
        with pytest.raises(grpc.RpcError) as refused:
            next(owner.publish.WatchActivity(request))
        assert refusal_of(refused.value)[:2] == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        streams.append(operator.publish.WatchActivity(request))
        assert next(streams[-1]).activity.name == name
        streams.pop(0).cancel()

        def is_let_in() -> bool:
            streams.append(owner.publish.WatchActivity(request))
            try:
                return bool(next(streams[-1]).activity.name)
            except grpc.RpcError:
                return False

        mesh.poll(is_let_in)
    finally:
        parameters.swap(before)
        for stream in streams:
            stream.cancel()


def test_a_stream_ends_with_unavailable_when_the_server_drains(db: Database, database_url: str, tmp_path: Path) -> None:
    name = Scene(db).draft("春季新茶")
    settings = replace(settings_for(database_url, tmp_path), registry=Static({"audit": "127.0.0.1:1"}))
    token = DevIssuer.of(settings).issue("merchant", "owner")

    async def watch_until_the_end() -> None:
        async with AsyncExitStack() as stack:
            server = await serving("publish", db, settings, stack)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            request = publish_pb2.WatchActivityRequest(activity=name)
            stub: PublishServiceAsyncStub = PublishServiceStub(channel)
            events = stub.WatchActivity(request, metadata=[("authorization", f"Bearer {token}")], timeout=30)
            stopping = None
            async for event in events:
                assert event.activity.name == name
                stopping = asyncio.create_task(server.stop(1.0))
            assert stopping is None, "the stream ended without a word"

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(watch_until_the_end())
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
