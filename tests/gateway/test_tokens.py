"""Who gets past the gateway: anybody without a token, nobody with a bad one."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.mesh import Mesh
from services.chassis.settings import Settings
from services.chassis.tokens import DevIssuer
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc
from tests.gateway.doors import SECONDS, Answer, Door, ask, bearer, issuer, opened, reason_of
from tests.mesh import poll

DEV = Settings()


def shown(door: Door, token: str, path: str = "/v1/offers") -> Answer:
    return ask(door, "GET", path, headers={"authorization": f"Bearer {token}"})


def token_of(mesh: Mesh) -> str:
    """A good token of the mesh's issuer."""
    return issuer(mesh).issue("customer", "alice")


def altered(token: str, **claims: object) -> str:
    """The token with other claims and its old signature."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "==")) | claims
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip('=')}.{signature}"


def test_anybody_may_call_what_is_open_and_a_good_token_is_passed_on(mesh: Mesh, door: Door) -> None:
    assert ask(door, "GET", "/v1/offers").status == 200
    assert shown(door, token_of(mesh), "/v1/coupons").status == 200


def test_a_forged_token_is_refused_at_the_edge(mesh: Mesh, door: Door, tmp_path: Path) -> None:
    good = token_of(mesh)
    unsigned = jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", algorithm="none")
    strangers = DevIssuer(tmp_path / "other.pem", DEV.issuer, DEV.audience).issue("operator", "mallory")
    for token in (
        altered(good, sub="mallory"),
        altered(good, role="OPERATOR"),
        unsigned,
        strangers,
        "x.y.z",
        good[:-4],
    ):
        refused = shown(door, token)
        assert (refused.status, refused.reason) == (401, "TOKEN_INVALID"), token
        assert not _passes(door, token)


def test_a_token_for_another_issuer_or_audience_is_refused(mesh: Mesh, door: Door) -> None:
    key = mesh.directory / "var" / "dev-issuer.pem"
    for place in (("https://elsewhere.example", DEV.audience), (DEV.issuer, "another")):
        refused = shown(door, DevIssuer(key, *place).issue("customer", "alice"))
        assert (refused.status, refused.reason) == (401, "TOKEN_INVALID") or refused.status == 403, refused.body


@pytest.mark.parametrize("age", [-10, -100])
def test_an_expired_token_is_refused_at_the_edge_or_behind_it(mesh: Mesh, door: Door, age: float) -> None:
    refused = ask(door, "GET", "/v1/offers", headers=bearer(mesh, ttl=age))
    assert (refused.status, refused.reason) == (401, "TOKEN_EXPIRED")


def test_grpc_callers_get_the_reason_in_the_trailers(mesh: Mesh, door: Door) -> None:
    with grpc.insecure_channel(door.address) as channel, pytest.raises(grpc.RpcError) as refusal:
        redeem_pb2_grpc.RedeemServiceStub(channel).ListOffers(
            redeem_pb2.ListOffersRequest(), metadata=tuple(bearer(mesh, ttl=-100).items()), timeout=SECONDS
        )
    assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(refusal.value) == "TOKEN_EXPIRED"


def test_a_token_in_a_query_string_is_none(mesh: Mesh, door: Door) -> None:
    """It would end up in logs; an unknown parameter is a misspelt one."""
    assert ask(door, "GET", f"/v1/coupons?access_token={token_of(mesh)}").status in (400, 401)


class Issuer:
    """An issuer of its own, whose keys are in a file and at a URL."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.keys: dict[str, Ed25519PrivateKey | ec.EllipticCurvePrivateKey] = {}

    def publish(self, *kids: str) -> None:
        """Replaces the key set by these keys, new ones among them; those whose id begins with "es" are ES256."""
        for kid in kids:
            fresh = ec.generate_private_key(ec.SECP256R1()) if kid.startswith("es") else Ed25519PrivateKey.generate()
            self.keys.setdefault(kid, fresh)
        keys = []
        for kid in kids:
            kind: Any = jwt.algorithms.ECAlgorithm if kid.startswith("es") else jwt.algorithms.OKPAlgorithm
            public = kind.to_jwk(self.keys[kid].public_key(), as_dict=True)
            keys.append({**public, "kid": kid, "alg": "ES256" if kid.startswith("es") else "EdDSA", "use": "sig"})
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"keys": keys}))
        new.replace(self.file)

    def token(self, kid: str) -> str:
        claims = {"iss": DEV.issuer, "aud": DEV.audience, "sub": "alice", "role": "CUSTOMER", "iat": 1, "exp": 2**31}
        algorithm = "ES256" if kid.startswith("es") else "EdDSA"
        return jwt.encode(claims, self.keys[kid], algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def other(tmp_path: Path) -> Issuer:
    made = Issuer(tmp_path / "jwks" / "keys.json")
    made.file.parent.mkdir()
    made.publish("first")
    return made


@pytest.fixture
def url(other: Issuer) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(other.file.read_bytes())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_come_from_a_file_and_are_read_anew_when_it_is_replaced(mesh: Mesh, other: Issuer, tmp_path: Path) -> None:
    with opened(mesh, tmp_path / "door", "--auth", f"jwks={other.file}") as door:
        assert _passes(door, other.token("first"))
        other.publish("es-second")
        poll(lambda: _passes(door, other.token("es-second")))
        poll(lambda: not _passes(door, other.token("first")))


def test_keys_come_from_a_url(mesh: Mesh, other: Issuer, url: str, tmp_path: Path) -> None:
    with opened(mesh, tmp_path / "door", "--auth", f"jwks={url}") as door:
        poll(lambda: _passes(door, other.token("first")))
        other.keys["made-up"] = Ed25519PrivateKey.generate()
        assert not _passes(door, other.token("made-up"))


def _passes(door: Door, token: str) -> bool:
    """Whether the gateway passes it on; the services here know the development issuer alone, and refuse it."""
    before = len(door.lines())
    assert shown(door, token).status == 401
    poll(lambda: len(door.lines()) > before)
    return door.lines()[-1]["instance"] is not None
