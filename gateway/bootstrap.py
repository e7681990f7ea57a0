"""Envoy's bootstrap: one listener for native apps; clusters, endpoints and routes come from the control planes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.json_format import MessageToDict

from gateway.config import Config
from gateway.filters import ISSUER_CLUSTER, filters
from gateway.replies import local_replies
from registry import identity, sockets
from registry.traffic import HEADER
from registry.view import GATEWAY

CONTROL_PLANE = "control_plane"
MESH_SECRETS = "secrets"
EDGE_SECRETS = "edge.json"
_TYPE = "type.googleapis.com/"
_TLS = _TYPE + "envoy.extensions.transport_sockets.tls.v3."
_V3 = {"resource_api_version": "V3"}
# What asks for nothing is either idle or dead: an app on a phone reconnects in no time.
_IDLE_CONNECTION_SECONDS = 600
# A phone that went into a tunnel is found out within a minute; a control plane that hangs, within seconds.
_PING = {"interval": "30s", "timeout": "15s"}
_PLANE_PING = {"interval": "3s", "timeout": "3s"}


def bootstrap(config: Config, admin: str) -> dict[str, Any]:
    """The whole of Envoy's configuration as JSON has it; `admin` is the path of the admin interface's socket."""
    return {
        "node": _node(config),
        # A socket that only its owner can open: whoever reaches the interface can stop the gateway.
        "admin": {"address": {"pipe": {"path": admin, "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": CONTROL_PLANE}}],
            },
            "cds_config": _ads(),
        },
        "static_resources": {
            "listeners": [_listener(config)],
            "clusters": [_control_plane(config), *_issuer(config)],
        },
        "overload_manager": _overload(config),
    }


def edge_secret(config: Config) -> dict[str, Any]:
    """The file that tells Envoy where the certificate for apps is; read anew when files beside it are replaced."""
    certificate, key = Path(config.certificate or "").absolute(), Path(config.key or "").absolute()
    pair = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
    watched = {"watched_directory": {"path": str(certificate.parent)}}
    return {"resources": [{"@type": _TLS + "Secret", "name": "edge", "tls_certificate": {**pair, **watched}}]}


def _secrets(config: Config) -> str:
    """The folder of what registry.sockets.write_secrets writes, on this machine."""
    return str((config.folder / MESH_SECRETS).absolute())


def _node(config: Config) -> dict[str, Any]:
    node: dict[str, Any] = {"id": f"gateway-{config.port}", "cluster": GATEWAY, "locality": {"zone": config.zone}}
    # So that the control plane can name the files in the clusters it sends.
    return node | ({} if config.identity is None else {"metadata": {sockets.SECRETS: _secrets(config)}})


def _ads() -> dict[str, Any]:
    # Until the first answer the listener stays closed: "nobody there" sends a balancer elsewhere, a 404 would not.
    return {"ads": {}, **_V3, "initial_fetch_timeout": "0s"}


def _listener(config: Config) -> dict[str, Any]:
    manager = {"name": "http", "typed_config": _http(config)}
    chain: dict[str, Any] = {"filters": [manager]}
    if config.certificate is not None:
        source = {"path_config_source": {"path": str((config.folder / EDGE_SECRETS).absolute())}, **_V3}
        context = {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [{"name": "edge", "sds_config": source}],
        }
        chain["transport_socket"] = _socket("DownstreamTlsContext", {"common_tls_context": context})
        chain["transport_socket_connect_timeout"] = f"{config.headers_seconds}s"
    return {
        "name": "apps",
        "address": _address(config.host, config.port),
        "filter_chains": [chain],
        # Flow control begins there: a stranger's connection holds no more than this, but for its one request.
        "per_connection_buffer_limit_bytes": 64 * 1024,
    }


def _http(config: Config) -> dict[str, Any]:
    # Envoy believes its own headers of private addresses: how often and how long to try, and the transcoder's, which
    # path a request had.
    stripped: list[dict[str, Any]] = [{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}]
    stripped += [] if config.can_pick_version else [{"remove": HEADER}]
    kind = _TYPE + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    strip = {"@type": kind, "mutations": stripped}
    return {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "apps",
        "rds": {"route_config_name": GATEWAY, "config_source": _ads()},
        "http_filters": filters(config),
        "local_reply_config": local_replies(),
        "access_log": [_access_log(config)],
        # The caller's address is that of the connection, or what so many trusted proxies say; no address is an insider.
        "use_remote_address": True,
        "xff_num_trusted_hops": config.trusted_hops,
        "internal_address_config": {"unix_sockets": False},
        "early_header_mutation_extensions": [{"name": "strip", "typed_config": strip}],
        # What reaches a service is what was matched here.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": f"{config.headers_seconds}s",
        "request_timeout": f"{config.request_seconds}s",
        "stream_idle_timeout": f"{config.idle_seconds}s",
        "drain_timeout": f"{config.drain_seconds}s",
        "common_http_protocol_options": {
            "idle_timeout": f"{_IDLE_CONNECTION_SECONDS}s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            # A picture goes up at 256 KiB a round trip; a whole connection holds no more than 1 MiB.
            "initial_stream_window_size": 256 * 1024,
            "initial_connection_window_size": 1024 * 1024,
            "connection_keepalive": _PING,
        },
    }


def _access_log(config: Config) -> dict[str, Any]:
    """A line of JSON for each request, without what tells who somebody is or opens something.

    No query strings, headers of the caller's, bodies or tokens; of an address the network only.
    """
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "rpc": "%PATH(NQ:PATH)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
        "cause": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "network": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24)%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "instance": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "traceparent": "%REQ(TRACEPARENT)%",
    }
    kind = _TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog"
    settings = {"@type": kind, "path": str(config.log), "log_format": {"json_format": fields}}
    health = {"header": {"name": ":path", "string_match": {"exact": "/healthz"}, "invert_match": True}}
    return {"name": "lines", "filter": {"header_filter": health}, "typed_config": settings}


def _control_plane(config: Config) -> dict[str, Any]:
    """All replicas in one cluster: the stream goes to one that is healthy, and on to the next when that one dies."""
    cluster: dict[str, Any] = {
        "name": CONTROL_PLANE,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": _endpoints(CONTROL_PLANE, config.control_planes),
        "typed_extension_protocol_options": _http2(_PLANE_PING),
        "health_checks": [
            {
                # Soon enough that a dead replica is not tried twice in a row.
                "interval": "1s",
                "no_traffic_interval": "1s",
                "timeout": "1s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
    }
    if config.identity is not None:
        socket = sockets.upstream(identity.CONTROL_PLANE, _secrets(config))
        cluster["transport_socket"] = MessageToDict(socket, preserving_proto_field_name=True)
    return cluster


def _issuer(config: Config) -> list[dict[str, Any]]:
    if not config.jwks.startswith(("http://", "https://")):
        return []
    url = urlsplit(config.jwks)
    host, is_tls = url.hostname or "", url.scheme == "https"
    cluster: dict[str, Any] = {
        "name": ISSUER_CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": _endpoints(ISSUER_CLUSTER, [(host, url.port or (443 if is_tls else 80))]),
    }
    if is_tls:
        trusted = {"filename": str(config.authorities)}
        names = [{"san_type": "DNS", "matcher": {"exact": host}}]
        context = {"validation_context": {"trusted_ca": trusted, "match_typed_subject_alt_names": names}}
        cluster["transport_socket"] = _socket("UpstreamTlsContext", {"sni": host, "common_tls_context": context})
    return [cluster]


def _overload(config: Config) -> dict[str, Any]:
    """Rather fewer served than all slowly: no more connections than agreed, and no more requests near the limit."""
    monitors = _TYPE + "envoy.extensions.resource_monitors."
    heap = {"@type": monitors + "fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": config.memory_bytes}
    kind = monitors + "downstream_connections.v3.DownstreamConnectionsConfig"
    connections = {"@type": kind, "max_active_downstream_connections": config.connections}

    def at(share: float) -> list[dict[str, Any]]:
        return [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}]

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": "envoy.resource_monitors.fixed_heap", "typed_config": heap},
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": connections},
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": at(0.90)},
            {"name": "envoy.overload_actions.disable_http_keepalive", "triggers": at(0.92)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": at(0.95)},
            {"name": "envoy.overload_actions.stop_accepting_connections", "triggers": at(0.98)},
        ],
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host.strip("[]"), "port_value": port}}


def _endpoints(name: str, places: Sequence[tuple[str, int]]) -> dict[str, Any]:
    return {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(*place)}} for place in places]}],
    }


def _socket(kind: str, context: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": _TLS + kind, **context}}


def _http2(ping: Mapping[str, str]) -> dict[str, Any]:
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        kind: {
            "@type": _TYPE + kind,
            "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": ping}},
        }
    }
