"""Instances of the audit service on one database: all go over to a new lexicon, and one judges again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import prometheus_client
import pytest

from services.chassis import database, parameters
from services.chassis.database import Database
from services.chassis.tokens import DevIssuer
from services.schema.tables import Publication, Rollout
from sharemesh.v1 import audit_pb2, audit_pb2_grpc, publish_pb2, publish_pb2_grpc
from tests.mesh import request_id, settings_for
from tests.publish.scene import NOW, Scene
from tests.publish.serving import serving
from tests.servers import Servers

TEXT = "春季新茶"
WAIT_SECONDS = 60.0
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    quick = replace(parameters.current(), lexicon_follow_seconds=0.05, reaudit_seconds=0.05, watch_poll_seconds=0.05)
    before = parameters.swap(quick)
    yield
    parameters.swap(before)


@dataclass
class Instance:
    """A running audit service as an operator, and as a merchant, calls it."""

    stub: "audit_pb2_grpc.AuditServiceAsyncStub"
    tokens: dict[str, str]

    async def call(self, rpc: str, request: Any, role: str = "operator") -> Any:
        return await getattr(self.stub, rpc)(
            request, metadata=[("authorization", f"Bearer {self.tokens[role]}")], timeout=20
        )

    async def release(self) -> str:
        answer = await self.call("CheckText", audit_pb2.CheckTextRequest(text=TEXT), "merchant")
        return str(answer.lexicon_release)

    async def stricter(self) -> str:
        """Import a term that TEXT has, and release that; the lexicon's name."""
        term = audit_pb2.Term(text="新茶", category="absolute_claim", action=audit_pb2.DECISION_REJECT, basis="规则")
        term.rewrite.zh_cn, term.rewrite.en = "茶", "tea"
        imported = audit_pb2.ImportTermsRequest(terms=[term], reason="投诉", request_id=request_id())
        made = (await self.call("ImportTerms", imported)).name
        await self.call(
            "ReleaseLexicon", audit_pb2.ReleaseLexiconRequest(name=made, reason="新规", request_id=request_id())
        )
        return str(made)


def tokens_for(url: str, folder: Path) -> dict[str, str]:
    issuer = DevIssuer.of(settings_for(url, folder))
    return {"operator": issuer.issue("operator", "olga", 3600), "merchant": issuer.issue("merchant", "owner", 3600)}


@asynccontextmanager
async def instances(db: Database, url: str, folder: Path, count: int = 2) -> AsyncIterator[list[Instance]]:
    """So many audit services in this event loop."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            server = await serving("audit", db, settings_for(url, folder), stack)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            found.append(Instance(audit_pb2_grpc.AuditServiceStub(channel), tokens_for(url, folder)))
        yield found


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await holds():  # noqa: ASYNC110 - what is waited for happens in a server.
            await asyncio.sleep(0.01)


async def rolled_out(instance: Instance) -> bool:
    newest = (await instance.call("ListRollouts", audit_pb2.ListRolloutsRequest(page_size=1))).rollouts[0]
    return bool(newest.state == audit_pb2.ROLLOUT_STATE_DONE)


def test_every_instance_goes_over_to_the_head_and_back_without_a_restart_and_one_judges_each_once(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    scene = Scene(db)
    names = [scene.published(f"{TEXT}，每壶{number + 20}元") for number in range(30)]

    async def see() -> None:
        async with instances(db, database_url, tmp_path) as (one, other):
            built_in = await one.release()
            assert await other.release() == built_in
            await until(lambda: rolled_out(one))
            made = (await one.stricter()).removeprefix("lexicons/")
            for instance in (one, other):
                await until(lambda instance=instance: is_at(instance, made))  # type: ignore[misc]
            info = prometheus_client.generate_latest().decode()
            assert f'sharemesh_lexicon_release_info{{release="{made}"}} 1.0' in info
            assert built_in not in info
            await until(lambda: rolled_out(one))
            assert await db.run(lambda: {scene.states(name)[1] for name in names}) == {"SUSPENDED"}
            last = await db.run(lambda: Rollout.select().order_by(Rollout.id.desc()).first())
            assert (last.judged_count, last.suspended_count, last.failed_count) == (30, 30, 0)
            back = audit_pb2.RollbackLexiconRequest(
                name=f"lexicons/{built_in}", head=f"lexicons/{made}", reason="误伤", request_id=request_id()
            )
            await other.call("RollbackLexicon", back)
            for instance in (one, other):
                await until(lambda instance=instance: is_at(instance, built_in))  # type: ignore[misc]

    asyncio.run(see())


async def is_at(instance: Instance, release: str) -> bool:
    return await instance.release() == release


def test_a_merchant_who_watches_is_told_of_the_suspension_and_of_the_end_of_it(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    scene = Scene(db)
    name = scene.published(TEXT)
    tokens = tokens_for(database_url, tmp_path)

    async def see() -> list[tuple[str, str]]:
        async with instances(db, database_url, tmp_path, count=1) as (one,), AsyncExitStack() as stack:
            await until(lambda: rolled_out(one))
            built_in = await one.release()
            server = await serving("publish", db, settings_for(database_url, tmp_path), stack)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            events = publish_pb2_grpc.PublishServiceStub(channel).WatchActivity(
                publish_pb2.WatchActivityRequest(activity=name),
                metadata=[("authorization", f"Bearer {tokens['merchant']}")],
                timeout=WAIT_SECONDS,
            )
            seen = []
            async for event in events:
                if event.HasField("activity"):
                    await one.stricter()
                if event.HasField("transition"):
                    seen.append((event.transition.to_state, event.transition.reason))
                    if len(seen) == 2:
                        return seen
                    back = audit_pb2.RollbackLexiconRequest(
                        name=f"lexicons/{built_in}", reason="误伤", request_id=request_id()
                    )
                    await one.call("RollbackLexicon", back)
        raise AssertionError("the stream ended")

    assert asyncio.run(see()) == [("SUSPENDED", "absolute_claim: 新茶"), ("LIVE", "误伤")]


def test_a_process_killed_in_the_midst_of_a_rollout_leaves_it_to_the_next(database_url: str, tmp_path: Path) -> None:
    """A real process, killed at SIGKILL's own moment, and another that finds its lease."""
    db = database.bind(database_url)
    scene = Scene(db)
    names = [scene.published(f"{TEXT}，每壶{number + 20}元") for number in range(120)]
    # The process goes by the real time.
    scene.run(lambda: Publication.update(claim_end=FAR).execute())
    folder = tmp_path / "var"

    def judged() -> int:
        return int(Rollout.select(Rollout.judged_count).order_by(Rollout.id.desc()).scalar())

    async def see() -> tuple[int, int]:
        servers = Servers(database_url, folder, ("audit",))
        await servers.start()
        try:
            one = Instance(audit_pb2_grpc.AuditServiceStub(servers.channels["audit"]), tokens_for(database_url, folder))
            await until(lambda: rolled_out(one))
            await one.stricter()
            await until(lambda: db.run(lambda: judged() > 0))
            await servers.kill()
            at_the_kill = await db.run(judged)
            # Nobody waits half a minute for the lease of the dead.
            await db.run(lambda: Rollout.update(lease_until=NOW).execute())
            await servers.start()
            one = Instance(audit_pb2_grpc.AuditServiceStub(servers.channels["audit"]), tokens_for(database_url, folder))
            await until(lambda: rolled_out(one))
            return at_the_kill, await db.run(judged)
        finally:
            await servers.kill()

    at_the_kill, at_the_end = asyncio.run(see())
    assert 0 < at_the_kill <= at_the_end == len(names)
    assert {scene.states(name)[1] for name in names} == {"SUSPENDED"}
    db.close()
