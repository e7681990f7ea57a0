"""What xDS clusters say about certificates, in gRPC's words and in Envoy's."""

import json
from pathlib import Path

from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import (
    common_pb2,
    secret_pb2,
    tls_pb2,
)
from envoy.type.matcher.v3 import string_pb2

from registry import identity
from registry.tls import PROVIDER

# Where Envoy's node metadata names the folder of write_secrets.
SECRETS = "sharemesh.secrets"
# The secrets, each in a file of its name.
_OWN, _TRUSTED = "own", "trusted"


def upstream(service: str, secrets: str = "") -> base_pb2.TransportSocket:
    """A cluster's transport socket: shows the caller's certificate, and accepts the service's SPIFFE name and no other.

    gRPC takes certificates from the provider in its bootstrap. Envoy knows none: for it, `secrets` is the folder of
    write_secrets on its own machine, which it tells in its node's metadata under SECRETS.
    """
    context = tls_pb2.UpstreamTlsContext()
    common = context.common_tls_context
    if secrets:
        common.alpn_protocols.append("h2")
        common.tls_certificate_sds_secret_configs.append(_secret(secrets, _OWN))
        combined = common.combined_validation_context
        combined.validation_context_sds_secret_config.CopyFrom(_secret(secrets, _TRUSTED))
        name = string_pb2.StringMatcher(exact=identity.spiffe(service))
        matcher = common_pb2.SubjectAltNameMatcher(san_type=common_pb2.SubjectAltNameMatcher.URI, matcher=name)
        combined.default_validation_context.match_typed_subject_alt_names.append(matcher)
    else:
        common.tls_certificate_provider_instance.instance_name = PROVIDER
        common.validation_context.ca_certificate_provider_instance.instance_name = PROVIDER
        # Of the two forms of this list gRPC reads the untyped one only, and would take any name without it.
        common.validation_context.match_subject_alt_names.add(exact=identity.spiffe(service))
    socket = base_pb2.TransportSocket(name="envoy.transport_sockets.tls")
    socket.typed_config.Pack(context)
    return socket


def write_secrets(folder: Path, secrets: Path) -> None:
    """Write the files that tell Envoy where the identity's certificates are, and to read them again when they change.

    They hold paths, no secrets. Raises BadCertificate.
    """
    identity.check(folder)
    folder = folder.absolute()
    ca, cert, key = ({"filename": str(folder / name)} for name in (identity.CA, identity.CERT, identity.KEY))
    watched = {"watched_directory": {"path": str(folder)}}
    secrets.mkdir(parents=True, exist_ok=True)
    for name, content in (
        (_OWN, {"tls_certificate": {"certificate_chain": cert, "private_key": key, **watched}}),
        (_TRUSTED, {"validation_context": {"trusted_ca": ca, **watched}}),
    ):
        resource = {"@type": f"type.googleapis.com/{secret_pb2.Secret.DESCRIPTOR.full_name}", "name": name, **content}
        (secrets / f"{name}.json").write_text(json.dumps({"resources": [resource]}))


def _secret(secrets: str, name: str) -> secret_pb2.SdsSecretConfig:
    source = config_source_pb2.ConfigSource(resource_api_version=config_source_pb2.ApiVersion.V3)
    source.path_config_source.path = f"{secrets}/{name}.json"
    return secret_pb2.SdsSecretConfig(name=name, sds_config=source)
