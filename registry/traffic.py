"""Which call goes to which cluster, and how often it is tried: route configurations for gRPC clients and for Envoy."""

from collections.abc import Iterable, Iterator, Sequence

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from registry import pages, policy
from registry.view import View

HEADER = "x-sharemesh-version"

# gRPC makes five attempts at most, whatever it is told, and of the conditions knows "unavailable", "cancelled",
# "deadline-exceeded", "internal" and "resource-exhausted" (gRFC A44). UNAVAILABLE is a connection that broke or a
# service without its database; CANCELLED comes from an instance that ended under its calls (a caller's own
# cancellation is not retried). Not INTERNAL, a fault that would be the same next time; not RESOURCE_EXHAUSTED, which
# tells how long to wait; a deadline is the whole call's.
RETRIES = 4
RETRY_ON = "unavailable,cancelled"
# Envoy sees the connection too, and can tell what was never sent.
GATEWAY_RETRY_ON = f"{RETRY_ON},reset,connect-failure,refused-stream"
# 50, 100, 200, 400 ms: the first finds another instance, all of them outlast one that starts again at once.
BACKOFF_MS, LONGEST_BACKOFF_MS = 50, 1000
# How often Envoy looks for a host that a call has not tried yet.
SELECTION_ATTEMPTS = 5
# The contract's longest deadline is 60 s, and the service keeps it; Envoy's own, by default 15 s, comes after it.
UNARY_SECONDS = 65


def configuration(name: str, views: Sequence[View], is_gateway: bool) -> route_pb2.RouteConfiguration:
    """The routes to these services, under any host name: by version header, then by each version's share."""
    host = route_components_pb2.VirtualHost(name=name, domains=["*"])
    for view in views:
        host.routes.extend(_routes(view, is_gateway))
    if is_gateway:
        pages.admit(host)
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def _routes(view: View, is_gateway: bool) -> Iterator[route_components_pb2.Route]:
    for version in sorted(view.routed):
        wanted = string_pb2.StringMatcher(exact=version)
        header = route_components_pb2.HeaderMatcher(name=HEADER, string_match=wanted)
        yield from _by_method(view, {view.cluster_of(version): 100}, [header], is_gateway)
    yield from _by_method(view, _weights(view), [], is_gateway)


def _weights(view: View) -> dict[str, int]:
    """Percent by cluster, 100 together; a version that calls may not be sent to yet leaves its share to the others."""
    own = {view.cluster_of(version): share for version, share in view.canaries.items() if version in view.routed}
    weights = own | {view.service: 100 - sum(own.values())}
    return {cluster: share for cluster, share in weights.items() if share}


def _by_method(
    view: View, weights: dict[str, int], headers: Iterable[route_components_pb2.HeaderMatcher], is_gateway: bool
) -> Iterator[route_components_pb2.Route]:
    """A route for each RPC that may be retried, and one without retries for all else (health checks among it)."""
    for method in policy.methods_of(view.service):
        if method.is_retryable or is_gateway:
            match = route_components_pb2.RouteMatch(path=method.path, headers=headers)
            action = _action(weights, is_gateway, method.is_streaming)
            if method.is_retryable:
                action.retry_policy.CopyFrom(_retry(is_gateway))
            yield route_components_pb2.Route(match=match, route=action)
    prefix = f"/{policy.service_of(view.service)}/" if is_gateway else ""
    match = route_components_pb2.RouteMatch(prefix=prefix, headers=headers)
    yield route_components_pb2.Route(match=match, route=_action(weights, is_gateway, is_streaming=False))


def _action(weights: dict[str, int], is_gateway: bool, is_streaming: bool) -> route_components_pb2.RouteAction:
    action = route_components_pb2.RouteAction()
    if len(weights) == 1:
        (action.cluster,) = weights
    else:
        for cluster, share in weights.items():
            action.weighted_clusters.clusters.add(name=cluster, weight=UInt32Value(value=share))
    if is_gateway:
        # 0: none. The service ends a stream at its caller's deadline, with a status; Envoy could only break off what
        # has begun, which a caller sees as INTERNAL.
        action.timeout.CopyFrom(Duration(seconds=0 if is_streaming else UNARY_SECONDS))
        if not is_streaming:
            # 0: whatever the caller asks for in grpc-timeout.
            action.max_stream_duration.grpc_timeout_header_max.CopyFrom(Duration())
    return action


def _retry(is_gateway: bool) -> route_components_pb2.RetryPolicy:
    retry = route_components_pb2.RetryPolicy(
        retry_on=GATEWAY_RETRY_ON if is_gateway else RETRY_ON, num_retries=UInt32Value(value=RETRIES)
    )
    retry.retry_back_off.base_interval.FromMilliseconds(BACKOFF_MS)
    retry.retry_back_off.max_interval.FromMilliseconds(LONGEST_BACKOFF_MS)
    if is_gateway:
        # Another host than those that failed, and where a version has no other, another version.
        hosts = retry.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
        hosts.typed_config.Pack(previous_hosts_pb2.PreviousHostsPredicate())
        retry.host_selection_retry_max_attempts = SELECTION_ATTEMPTS
        retry.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        retry.retry_priority.typed_config.Pack(
            previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=1)
        )
    return retry
