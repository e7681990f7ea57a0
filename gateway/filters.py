"""The filters that each request passes on its way in, in their order."""

import base64
from typing import Any

from gateway.config import Config
from gateway.descriptors import SERVICES, descriptor_set
from gateway.replies import RETRY_SECONDS

HEALTH = "/healthz"
ISSUER_CLUSTER = "issuer"
# In the gateway's folder: the filter for tokens with the keys of a file.
TOKENS = "tokens.json"
_TOKEN_FILTER = "jwt_authn.v3.JwtAuthentication"
# Where a picture goes, by gRPC and by REST; a `+` or a query does not make it another path.
UPLOADS = r"/sharemesh\.v1\.EntryService/UploadImage|/v1/merchants/[^/?]+/images(\?.*)?"
_HTTP = "type.googleapis.com/envoy.extensions.filters.http."
# As the services allow an issuer's clock; they refuse an expired token to the second.
_CLOCK_SKEW_SECONDS = 30
# A withdrawn key goes some time; the issuer answers from a cache.
_JWKS_SECONDS = 300
_FETCH_SECONDS = 3


def filters(config: Config) -> list[dict[str, Any]]:
    """Envoy's http_filters. Cheap refusals come first, and nothing of a stranger's is parsed before its limits."""
    found = [_health(), _filter("grpc_web", "grpc_web.v3.GrpcWeb")]
    if config.origins:
        found.append(_origins(config))
    found.append(_filter("cors", "cors.v3.Cors"))
    if config.calls_per_address:
        # An IPv6 subscriber has a /64 of addresses.
        whole = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}
        found.append(_rate_limit("address", "masked_remote_address", whole, config.calls_per_address, config))
    found.append(_tokens(config))
    if config.calls_per_principal:
        path = [{"key": "claims"}, {"key": "sub"}]
        subject = {
            "metadata": {
                "descriptor_key": "principal",
                "metadata_key": {"key": "envoy.filters.http.jwt_authn", "path": path},
                "skip_if_absent": True,
            }
        }
        found.append(_rate_limit("principal", "principal", subject, config.calls_per_principal, config))
    return [
        *found,
        _small_bodies(config),
        _bodies(config),
        _transcoder(config),
        _filter("router", "router.v3.Router", suppress_envoy_headers=True),
    ]


def _filter(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": _HTTP + kind, **settings}}


def _health() -> dict[str, Any]:
    """200 as long as calls are taken, 503 while the gateway drains."""
    path = {"name": ":path", "string_match": {"exact": HEALTH}}
    return _filter("health_check", "health_check.v3.HealthCheck", pass_through_mode=False, headers=[path])


def _origins(config: Config) -> dict[str, Any]:
    """Refuses web pages of other origins; the policy in the routes, which come from the control plane, allows all."""
    allowed = [
        {"header": {"name": "origin", "present_match": True, "invert_match": True}},
        *({"header": {"name": "origin", "string_match": {"exact": origin}}} for origin in config.origins),
    ]
    policy = {"permissions": [{"any": True}], "principals": [{"or_ids": {"ids": allowed}}]}
    return _filter("rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"origins": policy}})


def _rate_limit(name: str, key: str, action: dict[str, Any], rate: int, config: Config) -> dict[str, Any]:
    """A bucket for each value that `action` gives; who gives none is not limited here."""
    bucket = {"max_tokens": rate * config.burst_seconds, "tokens_per_fill": rate, "fill_interval": "1s"}
    return _filter(
        "local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix=name,
        token_bucket={"max_tokens": 2**32 - 1, "fill_interval": "1s"},
        always_consume_default_token_bucket=False,
        filter_enabled={"default_value": {"numerator": 100}},
        filter_enforced={"default_value": {"numerator": 100}},
        rate_limits=[{"actions": [action]}],
        # Without a value it is a pattern: each value gets a bucket of its own.
        descriptors=[{"entries": [{"key": key}], "token_bucket": bucket}],
        max_dynamic_descriptors=config.callers,
        rate_limited_as_resource_exhausted=True,
        response_headers_to_add=[{"header": {"key": "retry-after", "value": str(RETRY_SECONDS)}}],
    )


def token_file(config: Config, document: str) -> dict[str, Any]:
    """The file by which Envoy takes the filter for tokens with these keys, a JWKS document; a new one replaces it."""
    found = _token_filter(config, {"local_jwks": {"inline_string": document}})
    return {"resources": [{"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", **found}]}


def _tokens(config: Config) -> dict[str, Any]:
    """No token is well, since some RPCs serve anybody; a bad one is not. The services check again."""
    if config.has_key_file:
        path = str((config.folder / TOKENS).absolute())
        watched = {"path_config_source": {"path": path}, "resource_api_version": "V3"}
        source = {"config_source": watched, "type_urls": [_HTTP + _TOKEN_FILTER]}
        return {"name": "envoy.filters.http.jwt_authn", "config_discovery": source}
    if config.jwks.startswith("{"):
        return _token_filter(config, {"local_jwks": {"inline_string": config.jwks}})
    keys = {
        "http_uri": {"uri": config.jwks, "cluster": ISSUER_CLUSTER, "timeout": f"{_FETCH_SECONDS}s"},
        "cache_duration": f"{_JWKS_SECONDS}s",
        # Fetched before the first token comes, but an issuer that is away does not keep the gateway from starting.
        "async_fetch": {"fast_listener": True},
    }
    return _token_filter(config, {"remote_jwks": keys})


def _token_filter(config: Config, keys: dict[str, Any]) -> dict[str, Any]:
    provider = {
        "issuer": config.issuer,
        "audiences": [config.audience],
        "require_expiration": True,
        "clock_skew_seconds": _CLOCK_SKEW_SECONDS,
        "forward": True,
        # Named, since Envoy else takes tokens from query strings too, which end up in logs.
        "from_headers": [{"name": "authorization", "value_prefix": scheme} for scheme in ("Bearer ", "bearer ")],
        "payload_in_metadata": "claims",
        **keys,
    }
    # Whoever brings anything must bring a good token: a scheme spelt "BEARER", which the services understand, would
    # else pass by this check and by the rate of its subject.
    said = {"prefix": "/", "headers": [{"name": "authorization", "present_match": True}]}
    return _filter(
        "jwt_authn",
        _TOKEN_FILTER,
        providers={"issuer": provider},
        rules=[{"match": said, "requires": {"provider_name": "issuer"}}],
        bypass_cors_preflight=True,
    )


def _small_bodies(config: Config) -> dict[str, Any]:
    """The limit of all requests but those with a picture in them."""
    small = _filter("buffer", "buffer.v3.Buffer", max_request_bytes=config.request_bytes)
    header = {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    skip = {"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}
    uploads = {
        "predicate": {
            "single_predicate": {
                "input": {"name": "path", "typed_config": header},
                "value_match": {"safe_regex": {"google_re2": {}, "regex": UPLOADS}},
            }
        },
        "on_match": {"action": {"name": "skip", "typed_config": skip}},
    }
    return {
        "name": "small_bodies",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": small,
            "xds_matcher": {"matcher_list": {"matchers": [uploads]}},
        },
    }


def _bodies(config: Config) -> dict[str, Any]:
    """Takes a whole request in before a service hears of it: a slow sender costs no service anything."""
    return _filter("buffer", "buffer.v3.Buffer", max_request_bytes=config.image_request_bytes)


def _transcoder(config: Config) -> dict[str, Any]:
    return _filter(
        "grpc_json_transcoder",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor_bin=base64.b64encode(descriptor_set()).decode(),
        services=list(SERVICES),
        convert_grpc_status=True,
        max_request_body_size=config.image_request_bytes,
        max_response_body_size=config.response_bytes,
        # A misspelt filter must not become no filter; what is neither REST nor gRPC goes to no service.
        request_validation_options={"reject_unknown_method": True, "reject_unknown_query_parameters": True},
    )
