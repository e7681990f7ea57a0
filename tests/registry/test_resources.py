"""What clients are told, from plain values: no server is needed."""

from collections.abc import Mapping
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from registry import policy, resources, traffic
from registry.instance import Instance
from registry.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES
from registry.routes import Route
from registry.view import Caller, View

MESH, GATEWAY = Caller(), Caller(is_gateway=True)
BOTH = frozenset({"v1", "v2"})


def at(port: int, **more: Any) -> Instance:
    return Instance("redeem", f"redeem-{port}", "10.0.0.1", port, **more)


def told(view: View, caller: Caller = MESH, is_tls: bool = False) -> Mapping[str, Mapping[str, Any]]:
    """The resources by type and name, unpacked."""
    kinds = {
        LISTENERS: listener_pb2.Listener,
        ROUTES: route_pb2.RouteConfiguration,
        CLUSTERS: cluster_pb2.Cluster,
        ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    }
    built = resources.build([view], caller, is_tls)
    return {
        kind: {name: make.FromString(built[kind][name].value) for name in built[kind]} for kind, make in kinds.items()
    }


def levels(view: View, cluster: str = "redeem", caller: Caller = MESH) -> list[list[int]]:
    """The ports of a cluster's endpoints by priority, which must have no gap."""
    groups = told(view, caller)[ENDPOINTS][cluster].endpoints
    assert [group.priority for group in groups] == list(range(len(groups)))
    assert all(group.load_balancing_weight.value == len(group.lb_endpoints) for group in groups)
    return [[one.endpoint.address.socket_address.port_value for one in group.lb_endpoints] for group in groups]


def routes_of(view: View, caller: Caller = MESH) -> list[Any]:
    name = "gateway" if caller.is_gateway else "redeem"
    (host,) = told(view, caller)[ROUTES][name].virtual_hosts
    assert host.domains == ["*"]
    return list(host.routes)


def test_a_service_is_one_name_from_listener_to_endpoints() -> None:
    made = told(View("redeem", (at(1),)))
    assert {kind: list(named) for kind, named in made.items()} == {kind: ["redeem"] for kind in resources.TYPES}
    manager = http_connection_manager_pb2.HttpConnectionManager()
    assert made[LISTENERS]["redeem"].api_listener.api_listener.Unpack(manager)
    assert manager.rds.route_config_name == "redeem"
    assert manager.rds.config_source.HasField("ads")
    assert manager.http_filters[-1].name == "envoy.filters.http.router"
    assert made[CLUSTERS]["redeem"].eds_cluster_config.eds_config.HasField("ads")
    assert made[CLUSTERS]["redeem"].lb_policy == cluster_pb2.Cluster.ROUND_ROBIN


@pytest.mark.parametrize("service", policy.SERVICES)
@pytest.mark.parametrize("caller", [MESH, GATEWAY], ids=["mesh", "gateway"])
def test_each_rpc_has_its_retries_and_anything_else_has_none(service: str, caller: Caller) -> None:
    view = View(service, ())
    (host,) = told(view, caller)[ROUTES]["gateway" if caller.is_gateway else service].virtual_hosts
    # The gateway's last route is for paths of no service.
    *exact, rest = host.routes[:-1] if caller.is_gateway else host.routes
    assert [route.match.path for route in exact] == [method.path for method in policy.methods_of(service)]
    for route in exact:
        assert route.route.retry_policy.num_retries.value == traffic.RETRIES
        assert set(route.route.retry_policy.retry_on.split(",")) >= {"unavailable", "cancelled"}
    assert rest.match.WhichOneof("path_specifier") == "prefix"
    assert not rest.route.HasField("retry_policy")


def test_grpc_is_told_of_retries_only_what_it_understands() -> None:
    known = {"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}
    policies = [route.route.retry_policy for route in routes_of(View("redeem", ()))[:-1]]
    assert all(set(retry.retry_on.split(",")) <= known for retry in policies)
    # grpc makes five attempts at most.
    assert all(retry.num_retries.value <= 4 for retry in policies)
    assert not any(retry.retry_host_predicate or retry.HasField("retry_priority") for retry in policies)


def test_envoy_tries_other_hosts_and_gives_streams_no_end_of_its_own() -> None:
    found = told(View("publish", ()), GATEWAY)[ROUTES]["gateway"].virtual_hosts[0].routes
    by_path = {route.match.path or route.match.prefix: route.route for route in found}
    watch = by_path["/sharemesh.v1.PublishService/WatchActivity"]
    assert watch.timeout.ToSeconds() == 0
    assert by_path["/sharemesh.v1.PublishService/SubmitActivity"].timeout.ToSeconds() > 60
    assert [one.name for one in watch.retry_policy.retry_host_predicate] == [
        "envoy.retry_host_predicates.previous_hosts"
    ]
    assert "reset" in watch.retry_policy.retry_on.split(",")
    assert "/sharemesh.v1.PublishService/" in by_path


def test_the_gateway_gets_all_services_in_one_route_configuration_and_no_listener() -> None:
    built = resources.build([View(name, ()) for name in policy.SERVICES], GATEWAY)
    assert not built[LISTENERS]
    assert list(built[ROUTES]) == ["gateway"]
    assert set(built[CLUSTERS]) == set(policy.SERVICES)
    configuration = route_pb2.RouteConfiguration.FromString(built[ROUTES]["gateway"].value)
    # Each RPC, all else of each service, and paths of none.
    assert len(configuration.virtual_hosts[0].routes) == 63 + 5 + 1


def test_without_canaries_all_instances_are_equal() -> None:
    assert levels(View("redeem", (at(1), at(2, version="v2"), at(3)))) == [[1, 2, 3]]


def test_endpoints_of_the_callers_zone_come_first_and_no_level_is_empty() -> None:
    view = View("redeem", (at(1, zone="east"), at(2, zone="west"), at(3)))
    assert levels(view, caller=Caller("west")) == [[2], [1, 3]]
    assert levels(view, caller=Caller("north")) == [[1, 2, 3]]
    assert levels(view, caller=Caller("")) == [[1, 2, 3]]


def test_a_version_with_a_share_has_its_own_cluster_in_which_the_others_stand_by() -> None:
    view = View("redeem", (at(1), at(2), at(3, version="v2")), Route({"v2": 10}), clusters=BOTH, routed=BOTH)
    assert levels(view) == [[1, 2], [3]]
    assert levels(view, "redeem/v2") == [[3], [1, 2]]
    assert weights(routes_of(view)[-1]) == {"redeem": 90, "redeem/v2": 10}


def weights(route: Any) -> dict[str, int]:
    parts = route.route.weighted_clusters.clusters
    return {one.name: one.weight.value for one in parts} if parts else {route.route.cluster: 100}


def test_within_a_version_the_callers_zone_comes_first() -> None:
    members = (at(1, zone="east"), at(2), at(3, zone="east", version="v2"), at(4, version="v2"))
    view = View("redeem", members, Route({"v2": 10}), clusters=BOTH, routed=BOTH)
    assert levels(view, "redeem/v2", Caller("east")) == [[3], [4], [1], [2]]


def test_a_version_is_sent_no_calls_before_its_cluster_has_settled() -> None:
    view = View("redeem", (at(1), at(3, version="v2")), Route({"v2": 10}), clusters=BOTH)
    assert levels(view) == [[1], [3]]
    assert weights(routes_of(view)[-1]) == {"redeem": 100}
    assert set(told(view)[CLUSTERS]) == {"redeem", "redeem/v1", "redeem/v2"}


def test_a_cluster_whose_version_has_gone_is_served_by_the_others() -> None:
    assert levels(View("redeem", (at(1),), clusters=BOTH), "redeem/v2") == [[1]]


def test_a_rule_wins_over_tags_and_a_share_of_nothing_is_not_routed() -> None:
    members = (at(1), at(3, version="v2", canary=50))
    assert weights(routes_of(View("redeem", members, None, BOTH, BOTH))[-1]) == {"redeem": 50, "redeem/v2": 50}
    assert weights(routes_of(View("redeem", members, Route({"v2": 0}), BOTH, BOTH))[-1]) == {"redeem": 100}
    assert weights(routes_of(View("redeem", members, Route({"v2": 100}), BOTH, BOTH))[-1]) == {"redeem/v2": 100}


def test_the_header_picks_a_version_for_every_rpc_before_anything_else() -> None:
    found = routes_of(View("redeem", (at(1), at(3, version="v2")), None, BOTH, BOTH))
    by_header = [route for route in found if route.match.headers]
    assert found[: len(by_header)] == by_header
    assert len(by_header) == 2 * (13 + 1)
    for route in by_header:
        (header,) = route.match.headers
        assert header.name == "x-sharemesh-version"
        assert route.route.cluster == f"redeem/{header.string_match.exact}"


def test_unknown_endpoints_are_not_told_and_none_are() -> None:
    assert not told(View("redeem"))[ENDPOINTS]
    assert levels(View("redeem", ())) == []


def test_an_address_is_told_once_whoever_else_was_known_by_it() -> None:
    assert levels(View("redeem", (at(1), Instance("redeem", "dead", "10.0.0.1", 1), at(2)))) == [[1, 2]]


def test_broken_instances_are_taken_out_but_never_more_than_half() -> None:
    for caller in (MESH, GATEWAY):
        cluster = told(View("redeem", ()), caller)[CLUSTERS]["redeem"]
        assert cluster.outlier_detection.enforcing_failure_percentage.value == 100
        assert cluster.outlier_detection.max_ejection_percent.value == 50
        # The default of three retries at once would lose calls when an instance dies.
        assert cluster.circuit_breakers.thresholds[0].max_retries.value > 1000
    envoys = told(View("redeem", ()), GATEWAY)[CLUSTERS]["redeem"].outlier_detection
    assert envoys.always_eject_one_host.value
    # UNAVAILABLE tells of the instance, INTERNAL may be of the request.
    assert envoys.enforcing_consecutive_gateway_failure.value == 100
    assert (envoys.HasField("enforcing_consecutive_5xx"), envoys.enforcing_consecutive_5xx.value) == (True, 0)


def test_envoy_alone_checks_health_by_itself_and_is_told_to_speak_http2() -> None:
    mesh, gateway = (told(View("redeem", ()), caller)[CLUSTERS]["redeem"] for caller in (MESH, GATEWAY))
    assert not mesh.health_checks
    assert not mesh.typed_extension_protocol_options
    assert gateway.health_checks[0].HasField("grpc_health_check")
    assert gateway.ignore_health_on_host_removal
    assert "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" in gateway.typed_extension_protocol_options


def test_with_tls_each_cluster_names_the_service_that_it_expects() -> None:
    view = View("redeem", (at(1), at(2, version="v2")), None, BOTH, BOTH)
    for caller in (MESH, Caller(is_gateway=True, secrets="/run/secrets")):
        for cluster in told(view, caller, is_tls=True)[CLUSTERS].values():
            assert b"spiffe://sharemesh/redeem" in cluster.transport_socket.typed_config.value
    assert not told(view)[CLUSTERS]["redeem"].HasField("transport_socket")


def test_the_same_values_are_the_same_bytes() -> None:
    view = View("redeem", (at(1), at(2, version="v2", canary=5)), None, BOTH, BOTH)
    assert resources.build([view], GATEWAY) == resources.build([view], GATEWAY)
