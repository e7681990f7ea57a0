"""What xDS clients are told of the services: listeners, routes, clusters and endpoints, from plain values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from envoy.config.core.v3 import config_source_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from registry import sockets, traffic
from registry.instance import Instance
from registry.view import GATEWAY, Caller, View

LISTENERS, ROUTES, CLUSTERS, ENDPOINTS = TYPES = tuple(
    f"type.googleapis.com/{kind.DESCRIPTOR.full_name}"
    for kind in (
        listener_pb2.Listener,
        route_pb2.RouteConfiguration,
        cluster_pb2.Cluster,
        endpoint_pb2.ClusterLoadAssignment,
    )
)

# Serialised resources by type and name. The same content is the same bytes, here and at the other replica.
Resources = Mapping[str, Mapping[str, Any]]

# Calls, connections and retries at once that one client may have in one cluster. The defaults, 1024 and for Envoy's
# retries 3, would refuse calls just when an instance has died; the services themselves know what is too much.
AT_ONCE = 1_000_000
# To take an instance out: so many calls in an interval, nearly all failed. It is for the one that is up and broken, so
# it is sure rather than quick; one that is gone leaves by its health. gRPC counts refusals such as NOT_FOUND as
# failures too: a client that is refused everywhere loses half of its instances for a few seconds, and no call.
INTERVAL = Duration(seconds=1)
EJECTION = Duration(seconds=3)
LONGEST_EJECTION = Duration(seconds=30)
FAILED_PERCENT = 90
FAILED_CALLS = 20
# Of all instances that may be out at the same time.
EJECTED_PERCENT = 50
# One answer in this time on a network that works; Envoy's default of 5 s is long for a call that waits.
CONNECT = Duration(seconds=1)
# Envoy's own health checks: as often as Consul's, so that either sees a dead instance within a second or two.
CHECK = Duration(seconds=1)
# How long Envoy, when it starts, waits for a service that nobody offers yet; by default 15 s.
FIRST_ENDPOINTS = Duration(seconds=1)
# A host that vanished without a word is noticed in half a minute; the services allow pings this often.
PING = Duration(seconds=20)
PING_ANSWER = Duration(seconds=10)


def build(views: Sequence[View], caller: Caller, is_tls: bool = False) -> Resources:
    """All resources for such a caller. Endpoints that are not known yet are left out: no answer, rather than none."""
    made: dict[str, dict[str, Any]] = {kind: {} for kind in TYPES}
    if caller.is_gateway:
        # Its listeners stand in its bootstrap.
        made[ROUTES][GATEWAY] = _packed(traffic.configuration(GATEWAY, views, is_gateway=True))
    for view in views:
        if not caller.is_gateway:
            made[LISTENERS][view.service] = _packed(_listener(view.service))
            made[ROUTES][view.service] = _packed(traffic.configuration(view.service, [view], is_gateway=False))
        for name, chosen in _clusters(view):
            made[CLUSTERS][name] = _packed(_cluster(name, view.service, caller, is_tls))
            if view.instances is not None:
                made[ENDPOINTS][name] = _packed(_endpoints(name, view.instances, chosen, caller.zone))
    return made


def _clusters(view: View) -> Iterator[tuple[str, Callable[[Instance], bool]]]:
    """The service's clusters with whom they are for: one a version, and one for those without a share of their own."""
    own = view.canaries
    yield view.service, lambda instance: instance.version not in own
    for version in sorted(view.clusters):
        yield view.cluster_of(version), lambda instance, version=version: instance.version == version  # type: ignore[misc]


def _listener(name: str) -> listener_pb2.Listener:
    """What "xds:///redeem" is looked up as: its routes come by RDS."""
    manager = http_connection_manager_pb2.HttpConnectionManager()
    manager.rds.route_config_name = name
    manager.rds.config_source.CopyFrom(_by_ads())
    manager.http_filters.add(name="envoy.filters.http.router").typed_config.Pack(router_pb2.Router())
    listener = listener_pb2.Listener(name=name)
    listener.api_listener.api_listener.Pack(manager)
    return listener


def _cluster(name: str, service: str, caller: Caller, is_tls: bool) -> cluster_pb2.Cluster:
    cluster = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        lb_policy=cluster_pb2.Cluster.ROUND_ROBIN,
        connect_timeout=CONNECT,
        outlier_detection=_outliers(caller.is_gateway),
    )
    cluster.eds_cluster_config.eds_config.CopyFrom(_by_ads())
    most = UInt32Value(value=AT_ONCE)
    cluster.circuit_breakers.thresholds.append(
        circuit_breaker_pb2.CircuitBreakers.Thresholds(
            max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most
        )
    )
    if is_tls:
        cluster.transport_socket.CopyFrom(sockets.upstream(service, caller.secrets))
    if caller.is_gateway:
        _suit_envoy(cluster)
    return cluster


def _outliers(is_gateway: bool) -> outlier_detection_pb2.OutlierDetection:
    found = outlier_detection_pb2.OutlierDetection(
        interval=INTERVAL,
        base_ejection_time=EJECTION,
        max_ejection_time=LONGEST_EJECTION,
        max_ejection_percent=UInt32Value(value=EJECTED_PERCENT),
        # By comparison with the others: two of them are too few to compare.
        enforcing_success_rate=UInt32Value(value=0),
        enforcing_failure_percentage=UInt32Value(value=100),
        failure_percentage_threshold=UInt32Value(value=FAILED_PERCENT),
        failure_percentage_minimum_hosts=UInt32Value(value=2),
        failure_percentage_request_volume=UInt32Value(value=FAILED_CALLS),
    )
    if is_gateway:
        # Envoy also counts five failures in a row, and knows a refusal from a failure. Not those such as INTERNAL, by
        # default: a stranger's broken request (`grpc-timeout: -1S`) gets it everywhere, and would take all out in turn.
        found.enforcing_consecutive_5xx.value = 0
        found.enforcing_consecutive_gateway_failure.value = 100
        found.always_eject_one_host.value = True
    return found


def _suit_envoy(cluster: cluster_pb2.Cluster) -> None:
    cluster.eds_cluster_config.eds_config.initial_fetch_timeout.CopyFrom(FIRST_ENDPOINTS)
    # Whoever left Consul is left, also if he still answers: he drains.
    cluster.ignore_health_on_host_removal = True
    check = health_check_pb2.HealthCheck(
        interval=CHECK,
        # By default a minute, where there is no traffic.
        no_traffic_interval=CHECK,
        timeout=CHECK,
        unhealthy_threshold=UInt32Value(value=2),
        healthy_threshold=UInt32Value(value=1),
        reuse_connection=BoolValue(value=True),
    )
    check.grpc_health_check.SetInParent()
    cluster.health_checks.append(check)
    options = http_protocol_options_pb2.HttpProtocolOptions()
    http2 = options.explicit_http_config.http2_protocol_options
    http2.connection_keepalive.interval.CopyFrom(PING)
    http2.connection_keepalive.timeout.CopyFrom(PING_ANSWER)
    cluster.typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].Pack(options)


def _endpoints(
    name: str, instances: Iterable[Instance], chosen: Callable[[Instance], bool], zone: str
) -> endpoint_pb2.ClusterLoadAssignment:
    """The instances by priority: those the cluster is for, in the caller's zone, then elsewhere; then all others.

    The others take over at once when none of its own is left, before Consul knows. A level that nobody is in is left
    out, since gRPC refuses gaps. Each is one locality, so that round robin goes over all of it.
    """
    levels: dict[tuple[bool, bool], list[Instance]] = {}
    for instance in _distinct(instances):
        is_near = bool(zone) and instance.zone == zone
        levels.setdefault((not chosen(instance), not is_near), []).append(instance)
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for priority, ((is_other, is_far), members) in enumerate(sorted(levels.items())):
        group = assignment.endpoints.add(priority=priority, load_balancing_weight=UInt32Value(value=len(members)))
        # Names that stay when levels come and go, so that connections do.
        group.locality.zone = "elsewhere" if is_far else zone
        group.locality.sub_zone = "other versions" if is_other else ""
        group.lb_endpoints.extend(map(_endpoint, members))
    return assignment


def _distinct(instances: Iterable[Instance]) -> list[Instance]:
    """In order, one for each address: gRPC refuses a set that names one twice.

    A process that died is known to Consul for a minute; the next one on its port would make it pass.
    """
    by_address: dict[tuple[str, int], Instance] = {}
    for instance in sorted(instances):
        by_address.setdefault((instance.host, instance.port), instance)
    return list(by_address.values())


def _endpoint(instance: Instance) -> endpoint_components_pb2.LbEndpoint:
    made = endpoint_components_pb2.LbEndpoint()
    made.endpoint.address.socket_address.address = instance.host
    made.endpoint.address.socket_address.port_value = instance.port
    return made


def _by_ads() -> config_source_pb2.ConfigSource:
    source = config_source_pb2.ConfigSource(resource_api_version=config_source_pb2.ApiVersion.V3)
    source.ads.SetInParent()
    return source


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message, deterministic=True)
    return packed
