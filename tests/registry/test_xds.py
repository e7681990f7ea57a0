"""The protocol of the control plane, by raw requests: one stream's session, and the service on a real port."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc.aio
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from registry import resources
from registry.instance import Instance
from registry.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resources
from registry.view import Caller, View
from registry.xds import Discovery, Session

# An answer takes milliseconds.
SOON = 10.0
# Silence for this long is none coming.
SILENCE = 0.3


def at(port: int, service: str = "redeem", zone: str = "") -> Instance:
    return Instance(service, f"{service}-{port}", "127.0.0.1", port, zone)


def views(*instances: Instance, clusters: Iterable[str] = ()) -> list[View]:
    """Redeem with these instances, and audit that nobody knows anything of."""
    return [View("redeem", instances, clusters=frozenset(clusters)), View("audit")]


def world(*instances: Instance, caller: Caller | None = None, clusters: Iterable[str] = ()) -> Resources:
    return resources.build(views(*instances, clusters=clusters), caller or Caller())


def asks(kind: str, *names: str, after: Any = None, refusing: str = "", **node: Any) -> Any:
    """A DiscoveryRequest, as the answer to a response if one is given."""
    request = discovery_pb2.DiscoveryRequest(type_url=kind, resource_names=names)
    request.node.id = "client"
    request.node.cluster = node.get("cluster", "mesh")
    request.node.locality.zone = node.get("zone", "")
    if after is not None:
        request.response_nonce = after.nonce
        request.version_info = "" if refusing else after.version_info
    if refusing:
        request.error_detail.message = refusing
    return request


def due(session: Session, told: Resources) -> list[Any]:
    return list(session.due(told))


def names_in(response: Any) -> list[str]:
    make = {CLUSTERS: cluster_pb2.Cluster, ENDPOINTS: endpoint_pb2.ClusterLoadAssignment}[response.type_url]
    field = {CLUSTERS: "name", ENDPOINTS: "cluster_name"}[response.type_url]
    return [str(getattr(make.FromString(one.value), field)) for one in response.resources]


def test_a_client_gets_what_it_names_and_nothing_else() -> None:
    session = Session()
    session.take(asks(CLUSTERS, "redeem"))
    (response,) = due(session, world(at(1)))
    assert names_in(response) == ["redeem"]
    assert response.nonce
    assert response.version_info


def test_nothing_is_said_again_that_was_said_and_taken() -> None:
    session = Session()
    session.take(asks(ENDPOINTS, "redeem"))
    (response,) = due(session, world(at(1)))
    assert due(session, world(at(1))) == []
    session.take(asks(ENDPOINTS, "redeem", after=response))
    assert due(session, world(at(1))) == []
    (second,) = due(session, world(at(1), at(2)))
    assert second.version_info != response.version_info
    assert second.nonce != response.nonce


def test_the_same_content_has_the_same_version_on_every_stream() -> None:
    versions: set[str] = set()
    for _ in range(2):
        session = Session()
        session.take(asks(ENDPOINTS, "redeem"))
        versions.update(response.version_info for response in due(session, world(at(1))))
    assert len(versions) == 1


def test_what_a_client_refuses_is_logged_and_not_said_again_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    session = Session()
    session.take(asks(CLUSTERS, "redeem"))
    (response,) = due(session, world(at(1)))
    session.take(asks(CLUSTERS, "redeem", after=response, refusing="no such policy"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.args == {"type": CLUSTERS, "node": "client", "error": "no such policy"}
    assert due(session, world(at(1))) == []
    built = dict(world(at(1)))
    built[CLUSTERS] = {"redeem": resources.build([View("redeem")], Caller(is_gateway=True))[CLUSTERS]["redeem"]}
    assert len(due(session, built)) == 1


def test_a_request_about_an_older_answer_is_passed_over() -> None:
    session = Session()
    session.take(asks(ENDPOINTS, "redeem"))
    (first,) = due(session, world(at(1)))
    (second,) = due(session, world(at(2)))
    session.take(asks(ENDPOINTS, after=first))
    session.take(asks(ENDPOINTS, "redeem", after=second))
    assert len(due(session, world(at(3)))) == 1


def test_a_name_that_is_added_later_is_answered_with_all_of_its_type() -> None:
    session = Session()
    session.take(asks(CLUSTERS, "redeem"))
    (first,) = due(session, world(at(1)))
    session.take(asks(CLUSTERS, "redeem", "audit", after=first))
    (second,) = due(session, world(at(1)))
    assert names_in(second) == ["redeem", "audit"]


def test_a_name_that_was_let_go_and_asked_for_again_is_answered_again() -> None:
    session = Session()
    session.take(asks(ENDPOINTS, "redeem", "redeem/v2"))
    told = world(at(1), clusters=["v2"])
    (first,) = due(session, told)
    session.take(asks(ENDPOINTS, "redeem", after=first))
    assert due(session, told) == []
    session.take(asks(ENDPOINTS, "redeem", "redeem/v2", after=first))
    assert len(due(session, told)) == 1


def test_a_listener_that_does_not_exist_is_answered_by_its_absence() -> None:
    session = Session()
    session.take(asks(LISTENERS, "nosuch"))
    (response,) = due(session, world(at(1)))
    assert list(response.resources) == []


def test_endpoints_that_are_not_known_are_not_answered_at_all() -> None:
    session = Session()
    session.take(asks(ENDPOINTS, "audit"))
    assert due(session, world(at(1))) == []


def test_envoy_gets_all_clusters_without_naming_them_and_hears_when_one_goes() -> None:
    session, envoy = Session(), Caller(is_gateway=True)
    session.take(asks(CLUSTERS, cluster="gateway"))
    assert session.caller == envoy
    (first,) = due(session, world(at(1), caller=envoy, clusters=["v2"]))
    assert names_in(first) == ["redeem", "redeem/v2", "audit"]
    session.take(asks(CLUSTERS, after=first))
    assert due(session, world(at(1), caller=envoy, clusters=["v2"])) == []
    (second,) = due(session, world(at(1), caller=envoy))
    assert names_in(second) == ["redeem", "audit"]


def test_clusters_and_their_endpoints_come_before_the_routes_to_them() -> None:
    session = Session()
    for kind in (LISTENERS, ROUTES, ENDPOINTS, CLUSTERS):
        session.take(asks(kind, "redeem"))
    assert [response.type_url for response in due(session, world(at(1)))] == [CLUSTERS, ENDPOINTS, LISTENERS, ROUTES]


def test_a_changed_cluster_is_followed_by_its_endpoints_again() -> None:
    session = Session()
    session.take(asks(CLUSTERS, "redeem"))
    session.take(asks(ENDPOINTS, "redeem"))
    due(session, world(at(1)))
    changed = dict(world(at(1)))
    changed[CLUSTERS] = world(at(1), caller=Caller(is_gateway=True))[CLUSTERS]
    assert [response.type_url for response in due(session, changed)] == [CLUSTERS, ENDPOINTS]


def test_a_type_that_is_not_served_is_left_unanswered() -> None:
    session = Session()
    session.take(asks("type.googleapis.com/envoy.service.runtime.v3.Runtime", "x"))
    assert due(session, world(at(1))) == []


class Client:
    """A raw stream to the control plane."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call: Any = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()

    async def send(self, request: Any) -> None:
        await self.call.write(request)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.call.read(), SOON)

    async def is_silent(self) -> bool:
        reading = asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait([reading], timeout=SILENCE)
        return not done


@asynccontextmanager
async def serving(discovery: Discovery) -> AsyncIterator[tuple[grpc.aio.Server, grpc.aio.Channel]]:
    server = grpc.aio.server()
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(discovery, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel
    await server.stop(0)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 3 * SOON))


def make(shown: Sequence[View], counted: list[Caller], caller: Caller) -> Resources:
    counted.append(caller)
    return resources.build(shown, caller)


def test_before_anything_is_known_nothing_is_answered_and_then_everything() -> None:
    async def story() -> None:
        discovery = Discovery()
        async with serving(discovery) as (_, channel):
            client, late = Client(channel), Client(channel)
            await client.send(asks(LISTENERS, "redeem"))
            assert await client.is_silent()
            discovery.publish(partial(resources.build, views(at(1))))
            await late.send(asks(LISTENERS, "redeem"))
            assert len((await late.next()).resources) == 1

    run(story)


def test_a_client_that_refuses_goes_on_being_told_of_changes() -> None:
    async def story() -> None:
        discovery = Discovery()
        discovery.publish(partial(resources.build, views(at(1))))
        async with serving(discovery) as (_, channel):
            client = Client(channel)
            await client.send(asks(ENDPOINTS, "redeem"))
            first = await client.next()
            await client.send(asks(ENDPOINTS, "redeem", after=first, refusing="cannot be"))
            discovery.publish(partial(resources.build, views(at(2))))
            second = await client.next()
            assert second.version_info != first.version_info

    run(story)


def test_hundreds_of_clients_are_told_of_a_change_that_is_worked_out_once_a_zone() -> None:
    async def story() -> None:
        discovery, counted = Discovery(), list[Caller]()
        discovery.publish(partial(make, views(at(1)), counted))
        async with serving(discovery) as (_, channel):
            clients = [Client(channel) for _ in range(300)]
            for number, client in enumerate(clients):
                await client.send(asks(ENDPOINTS, "redeem", zone=f"zone-{number % 3}"))
            await asyncio.gather(*(client.next() for client in clients))
            assert len(counted) == 3
            counted.clear()
            discovery.publish(partial(make, views(at(1), at(2)), counted))
            told = await asyncio.gather(*(client.next() for client in clients))
            assert len({response.version_info for response in told}) == 1
            assert sorted(caller.zone for caller in counted) == ["zone-0", "zone-1", "zone-2"]

    run(story)


def test_streams_end_in_good_order_when_the_plane_is_closed() -> None:
    async def story() -> None:
        discovery = Discovery()
        discovery.publish(partial(resources.build, views(at(1))))
        async with serving(discovery) as (_, channel):
            client = Client(channel)
            await client.send(asks(ENDPOINTS, "redeem"))
            await client.next()
            discovery.close()
            assert await client.next() is grpc.aio.EOF
            assert await client.call.code() is grpc.StatusCode.OK

    run(story)


def test_a_stream_of_nonsense_ends_alone() -> None:
    async def story() -> None:
        discovery = Discovery()
        discovery.publish(partial(resources.build, views(at(1))))
        async with serving(discovery) as (_, channel):
            path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
            raw: Any = channel.stream_stream(path)()
            await raw.write(b"\xff\xff\xff")
            assert await asyncio.wait_for(raw.read(), SOON) is grpc.aio.EOF
            client = Client(channel)
            await client.send(asks(ENDPOINTS, "redeem"))
            assert len((await client.next()).resources) == 1

    run(story)
