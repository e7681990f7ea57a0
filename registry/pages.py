"""What the gateway's routes say of web pages and of paths that nobody knows: Envoy reads both from routes alone."""

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2

# What a page may send, and read of an answer; gRPC-Web's own among it.
SENT = "authorization, content-type, accept-language, grpc-timeout, x-grpc-web, x-user-agent, traceparent"
READ = "grpc-status, grpc-message, grpc-status-details-bin, retry-after"
# Browsers ask once in so many seconds; most forget sooner.
REMEMBERED_SECONDS = 86_400
_NOWHERE = "nowhere"


def admit(host: route_components_pb2.VirtualHost) -> None:
    """Let pages of any origin call; to be done last, since a route for all other paths is added.

    Any origin is safe: a caller is known by a token that the page must have, never by a cookie. The gateway's own
    --origins refuses others before this is asked. REST requests match that last route until they are transcoded, and a
    policy counts on none that is answered at once: so it leads to a cluster that does not exist, and is a 404.
    """
    policy = cors_pb2.CorsPolicy(
        allow_methods="GET, POST, PATCH, DELETE, OPTIONS",
        allow_headers=SENT,
        expose_headers=READ,
        max_age=str(REMEMBERED_SECONDS),
    )
    policy.allow_origin_string_match.add().safe_regex.regex = ".*"
    host.typed_per_filter_config["envoy.filters.http.cors"].Pack(policy)
    action = route_components_pb2.RouteAction(
        cluster=_NOWHERE, cluster_not_found_response_code=route_components_pb2.RouteAction.NOT_FOUND
    )
    host.routes.append(route_components_pb2.Route(match=route_components_pb2.RouteMatch(prefix="/"), route=action))
