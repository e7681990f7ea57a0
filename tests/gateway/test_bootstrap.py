"""What Envoy is told, without Envoy."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.json_format import ParseDict

from gateway.bootstrap import bootstrap
from gateway.config import Config
from gateway.descriptors import SERVICES, descriptor_set
from gateway.flags import FLAGS, add_arguments, config_of
from gateway.replies import REPLIES
from gateway.run import KeyFile
from sharemesh.v1 import error_reason_pb2

KEYS = '{"keys": []}'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    planes = (("127.0.0.1", 18000), ("plane.example", 18001))
    return Config(planes, KEYS, "https://issuer.example", "sharemesh", tmp_path / "gateway", tmp_path / "log.jsonl")


def manager_of(config: Config) -> dict[str, Any]:
    """The part that speaks HTTP."""
    (listener,) = bootstrap(config, "admin.sock")["static_resources"]["listeners"]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def names(config: Config) -> list[str]:
    return [one["name"].rpartition(".")[2] for one in manager_of(config)["http_filters"]]


def test_the_descriptors_are_whole_and_have_every_service() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set())
    pool = descriptor_pool.DescriptorPool()
    # Each file after those it imports, or this fails.
    for file in files.file:
        pool.Add(file)
    methods = [method for name in SERVICES for method in pool.FindServiceByName(name).methods]
    assert (len(SERVICES), len(methods)) == (5, 63)
    # What errors carry is told in JSON too.
    for name in ("ErrorInfo", "BadRequest", "RetryInfo", "QuotaFailure", "LocalizedMessage", "Status"):
        assert pool.FindMessageTypeByName(f"google.rpc.{name}").fields
    assert descriptor_set() == descriptor_set()


def test_the_outline_is_what_envoys_own_messages_have(config: Config) -> None:
    outline = bootstrap(config, "admin.sock")
    for name in ("listeners", "clusters"):
        outline["static_resources"][name] = []
    outline.pop("overload_manager")
    parsed = ParseDict(outline, bootstrap_pb2.Bootstrap())
    assert (parsed.node.cluster, parsed.admin.address.pipe.mode) == ("gateway", 0o600)


def test_limits_come_before_whatever_costs_more(config: Config) -> None:
    order = names(replace(config, origins=("https://shop.example",)))
    cheap_to_dear = ["health_check", "grpc_web", "rbac", "cors", "local_ratelimit", "jwt_authn", "local_ratelimit"]
    assert order == [*cheap_to_dear, "small_bodies", "buffer", "grpc_json_transcoder", "router"]


def test_nobody_outside_speaks_to_envoy_in_its_own_headers(config: Config) -> None:
    (strip,) = manager_of(config)["early_header_mutation_extensions"]
    removed = [{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}, {"remove": "x-sharemesh-version"}]
    assert strip["typed_config"]["mutations"] == removed


def test_keys_that_cannot_be_taken_end_nothing_and_are_told_once(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.json"
    file.touch()
    keys = KeyFile(replace(config, jwks=str(file)))
    assert not keys.follow()
    file.write_text(KEYS)
    # There is no folder to write to, as on a disk that is full.
    assert not keys.follow()
    assert not keys.follow()
    assert len(capsys.readouterr().err.splitlines()) == 2
    config.folder.mkdir()
    assert keys.follow()


def test_a_rate_of_zero_is_no_limit(config: Config) -> None:
    assert "local_ratelimit" not in names(replace(config, calls_per_address=0, calls_per_principal=0))


def test_only_what_is_trusted_says_where_a_caller_is(config: Config) -> None:
    assert manager_of(config)["xff_num_trusted_hops"] == 0
    assert manager_of(config)["use_remote_address"]
    assert manager_of(replace(config, trusted_hops=2))["xff_num_trusted_hops"] == 2


def test_a_key_set_by_https_is_fetched_from_that_host_alone(config: Config) -> None:
    clusters = bootstrap(replace(config, jwks="https://issuer.example/keys"), "s")["static_resources"]["clusters"]
    (issuer,) = (cluster for cluster in clusters if cluster["name"] == "issuer")
    context = issuer["transport_socket"]["typed_config"]
    assert context["sni"] == "issuer.example"
    (name,) = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert name["matcher"] == {"exact": "issuer.example"}


def test_every_answer_of_envoys_own_has_a_reason_of_the_contract() -> None:
    assert {f"ERROR_REASON_{reply.reason}" for reply in REPLIES} <= set(error_reason_pb2.ErrorReason.keys())


def test_a_flag_counts_before_its_variable_and_that_before_the_default(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given: dict[str, Any] = {"control_planes": (("p", 1),), "jwks": KEYS, "issuer": "i", "audience": "a"}
    given |= {"folder": tmp_path, "log": tmp_path / "log"}
    environment = {"SHAREMESH_GATEWAY_LISTEN": "[::1]:81", "SHAREMESH_GATEWAY_CALLS_PER_ADDRESS": "7"}
    config = config_of(parser.parse_args(["--listen", "0.0.0.0:82"]), environment, **given)
    assert (config.host, config.port, config.calls_per_address, config.trusted_hops) == ("0.0.0.0", 82, 7, 0)
    assert config_of(parser.parse_args([]), environment, **given).host == "::1"
    with pytest.raises(ValueError, match="SHAREMESH_GATEWAY_MEMORY is not a number"):
        config_of(parser.parse_args([]), {"SHAREMESH_GATEWAY_MEMORY": "much"}, **given)


def test_the_help_tells_the_defaults_that_hold(config: Config) -> None:
    for flag in FLAGS:
        told = flag.help.rpartition("[")[2].removesuffix("]") if flag.help.endswith("]") else ""
        if told and flag.name != "listen":
            assert flag.parse(told) == tuple(getattr(config, name) for name in flag.sets), flag.name
