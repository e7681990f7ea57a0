"""Envoy takes what the control plane tells it, and loses no call while instances and versions come and go."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc.aio

from local import envoy, ports
from local.consul import Agent
from local.process import Process
from registry import policy, routes
from registry.routes import Route
from tests.registry.patients import PATIENCE, until
from tests.registry.scene import Scene

# A call every 10 ms finds the gap that a cluster without hosts, or a missing retry, would leave.
PAUSE = 0.01
DEADLINE = 5.0
WATCHED = 2.0
TYPE = "type.googleapis.com/envoy.extensions.filters."


def bootstrap(plane: str, listen: int, admin: Path) -> dict[str, Any]:
    """The least that Envoy needs to take its clusters, endpoints and routes from a control plane."""
    host, _, port = plane.rpartition(":")
    ads = {"ads": {}, "resource_api_version": "V3"}
    http2 = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    manager = {
        "@type": f"{TYPE}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "rds": {"route_config_name": "gateway", "config_source": ads},
        "http_filters": [
            {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{TYPE}http.cors.v3.Cors"}},
            {"name": "router", "typed_config": {"@type": f"{TYPE}http.router.v3.Router"}},
        ],
    }
    return {
        "node": {"id": "envoy", "cluster": "gateway"},
        "admin": {"address": {"pipe": {"path": str(admin)}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "plane"}}],
            },
            "cds_config": ads,
        },
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": listen}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "plane",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                        | {"explicit_http_config": {"http2_protocol_options": {}}}
                    },
                    "load_assignment": {"cluster_name": "plane", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        },
    }


class Gateway:
    """Envoy under steady load; counts who answers through it, and what fails."""

    def __init__(self, directory: Path, plane: str) -> None:
        self.port = ports.free_one()
        self._admin = directory / "admin"
        file = directory / "envoy.json"
        file.write_text(json.dumps(bootstrap(plane, self.port, self._admin)))
        command = [str(envoy.find()), "-c", str(file), "--use-dynamic-base-id", "--log-level", "warning"]
        self.process = Process("envoy", "gateway", command, directory, directory / "envoy.log")
        self.process.address = f"127.0.0.1:{self.port}"
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.version = ""

    async def load(self) -> None:
        path = policy.methods_of("redeem")[0].path
        calls: set[asyncio.Task[None]] = set()
        async with grpc.aio.insecure_channel(self.process.address) as channel:
            stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            while True:
                task = asyncio.create_task(self._call(stub))
                calls.add(task)
                task.add_done_callback(calls.discard)
                await asyncio.sleep(PAUSE)

    async def _call(self, stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        metadata = (("x-sharemesh-version", self.version),) if self.version else ()
        try:
            self.answers[(await stub(b"", timeout=DEADLINE, metadata=metadata)).decode()] += 1
        except grpc.aio.AioRpcError as error:
            self.failures[f"{error.code().name} {error.details()}"] += 1

    async def until(self, is_so: Callable[[Counter[str]], bool]) -> None:
        """Waits until half a second's answers are so; none may fail meanwhile."""

        async def are() -> bool:
            self.answers.clear()
            await asyncio.sleep(0.5)
            assert not self.failures
            return is_so(self.answers)

        await until(are)

    async def refused(self) -> int:
        """How many of the control plane's answers Envoy has refused."""
        reader, writer = await asyncio.open_unix_connection(self._admin)
        writer.write(b"GET /stats?filter=update_rejected HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        text = (await asyncio.wait_for(reader.read(), DEADLINE)).decode()
        writer.close()
        counts = [int(line.rpartition(" ")[2]) for line in text.splitlines() if "update_rejected" in line]
        assert len(counts) > 2
        return sum(counts)


def run(agent: Agent, directory: Path, story: Callable[[Scene, Gateway], Coroutine[Any, Any, None]]) -> None:
    """Plays it with a gateway that serves, under load."""

    async def play() -> None:
        async with Scene(agent, directory) as scene:
            gateway = Gateway(directory, (await scene.plane()).address)
            gateway.process.launch()
            loading = None
            try:
                await asyncio.to_thread(gateway.process.await_open)
                await scene.instance()
                await until(lambda: answers(gateway))
                loading = asyncio.create_task(gateway.load())
                await story(scene, gateway)
                assert await gateway.refused() == 0
            finally:
                if loading is not None:
                    loading.cancel()
                    with suppress(asyncio.CancelledError):
                        await loading
                await asyncio.to_thread(gateway.process.kill)

    asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE))


async def answers(gateway: Gateway) -> bool:
    async with grpc.aio.insecure_channel(gateway.process.address) as channel:
        stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(policy.methods_of("redeem")[0].path)
        try:
            return bool(await stub(b"", timeout=DEADLINE))
        except grpc.aio.AioRpcError:
            return False


def test_versions_come_and_go_at_the_gateway_and_no_call_fails(agent: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene, gateway: Gateway) -> None:
        await scene.consul.put(routes.key_of("redeem"), Route({"v2": 30}).text())
        process, new, _ = await scene.instance(version="v2")
        await gateway.until(lambda seen: 0.1 < seen[new.id] / max(1, seen.total()) < 0.5)
        gateway.version = "v2"
        await gateway.until(lambda seen: set(seen) == {new.id})
        gateway.version = ""
        # The only one of its version: the others take its share at once.
        process.kill()
        await asyncio.sleep(WATCHED)
        await gateway.until(lambda seen: seen.total() > 10 and new.id not in seen)
        await scene.consul.delete(routes.key_of("redeem"))

    run(agent, tmp_path, story)


def test_an_instance_killed_under_load_costs_no_call_at_the_gateway(agent: Agent, tmp_path: Path) -> None:
    async def story(scene: Scene, gateway: Gateway) -> None:
        process, other, registration = await scene.instance()
        await gateway.until(lambda seen: len(seen) == 2)
        process.kill()
        await asyncio.sleep(WATCHED)
        await gateway.until(lambda seen: seen.total() > 10 and other.id not in seen)
        process, drained, registration = await scene.instance()
        await gateway.until(lambda seen: drained.id in seen)
        await registration.leave()
        await gateway.until(lambda seen: seen.total() > 10 and drained.id not in seen)

    run(agent, tmp_path, story)
