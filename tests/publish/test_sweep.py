import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from registry.config import Static
from services.chassis import parameters
from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.settings import SERVICES
from services.chassis.tokens import DevIssuer
from services.publish.pending import Pending
from services.publish.sweep import Sweep
from services.schema.tables import Activity, Audit
from sharemesh.v1 import entry_pb2, publish_pb2
from sharemesh.v1.publish_pb2_grpc import PublishServiceStub
from tests.mesh import poll, settings_for
from tests.publish.scene import NOW, Scene, check_publications
from tests.publish.serving import serving


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    before = parameters.swap(replace(parameters.current(), audit_lease_seconds=1, sweep_seconds=0.1))
    yield
    parameters.swap(before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_what_was_submitted_while_audit_was_away_is_audited_when_it_is_back(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    scene = Scene(db)
    name, port = scene.draft("春季新茶"), free_port()
    settings = replace(settings_for(database_url, tmp_path), registry=Static({"audit": f"127.0.0.1:{port}"}))
    token = DevIssuer.of(settings).issue("merchant", "owner")
    request = publish_pb2.SubmitActivityRequest(name=name, request_id="submit-once")

    async def play() -> None:
        async with AsyncExitStack() as stack:
            publish = await serving("publish", db, settings, stack)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(publish.address))
            stub: Any = PublishServiceStub(channel)
            answer = await stub.SubmitActivity(request, metadata=[("authorization", f"Bearer {token}")], timeout=10)
            assert answer.state == entry_pb2.ACTIVITY_STATE_PENDING_AUDIT
            await serving("audit", db, replace(settings, port=port - SERVICES.index("audit")), stack)
            await asyncio.to_thread(poll, lambda: scene.states(name) == ("APPROVED", "LIVE"))

    asyncio.run(play())
    assert scene.run(lambda: Audit.select().count()) == 1
    assert scene.run(check_publications) == 1


def test_several_sweeps_ask_once_for_each_submission(db: Database) -> None:
    scene = Scene(db)
    for number in range(8):
        scene.submit(scene.draft(f"奶茶{number}"))
    asked: list[str] = []

    async def ask(pending: Pending) -> None:
        asked.append(pending.uid)
        await asyncio.sleep(0.001)

    async def sweep() -> None:
        later = NOW + timedelta(seconds=parameters.current().audit_lease_seconds)
        await asyncio.gather(*(Sweep(db, lambda: later, ask).round() for _ in range(4)))

    asyncio.run(sweep())
    assert sorted(asked) == sorted(scene.run(lambda: [row.uid for row in Activity.select()]))


def test_an_absent_audit_is_told_once_until_it_is_back(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(db)
    scene.submit(scene.draft("春季新茶"))
    scene.submit(scene.draft("夏季新茶"))
    is_there = False
    now = NOW

    async def ask(pending: Pending) -> None:
        if not is_there:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", service="audit")

    async def sweep() -> None:
        nonlocal is_there, now
        rounds = Sweep(db, lambda: now, ask)
        for _ in range(3):
            now += timedelta(seconds=60)
            await rounds.round()
        is_there = True
        now += timedelta(seconds=60)
        await rounds.round()

    with caplog.at_level(logging.INFO, "sharemesh.publish"):
        asyncio.run(sweep())
    told = [record.message for record in caplog.records if record.name == "sharemesh.publish"]
    assert told == ["audit_away", "audit_back"]
