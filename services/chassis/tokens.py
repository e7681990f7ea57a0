"""Tokens of our own: the development issuer, and what a service shows when it calls another."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from services.chassis import jwks
from services.chassis.auth import TOKEN_ROLES, Verifier
from services.chassis.jwks import KeySet
from services.chassis.keys import kept
from services.chassis.settings import BadSetting, Settings

DEV_KEY = "dev-issuer.pem"
_SERVICE_TOKEN_SECONDS = 3600


class DevIssuer:
    """Issues tokens with an Ed25519 key made on the first run; whoever can read the file is trusted."""

    def __init__(self, key_file: Path, issuer: str, audience: str, clock: Callable[[], float] = time.time) -> None:
        key = load_pem_private_key(kept(key_file, _new_key), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise BadSetting(f"{key_file} is not an Ed25519 key")
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        digest = Hash(SHA256())
        digest.update(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self._kid = digest.finalize().hex()[:16]

    @classmethod
    def of(cls, settings: Settings) -> "DevIssuer":
        """The issuer of these settings' var folder."""
        return cls(settings.var / DEV_KEY, settings.issuer, settings.audience)

    def issue(self, role: str, subject: str, ttl: float = 3600) -> str:
        """A token for `ttl` seconds; ValueError unless the role is one that tokens carry ("merchant", "STAFF")."""
        if role.upper() not in TOKEN_ROLES:
            raise ValueError(f"{role} is none of {', '.join(sorted(TOKEN_ROLES))}")
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "role": role.upper(),
            "iat": now,
            "exp": int(now + ttl),
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._kid})

    def jwks(self) -> str:
        """The public key as a JWKS document."""
        key = jwt.algorithms.OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**key, "kid": self._kid, "alg": "EdDSA", "use": "sig"}]})


def verifier(settings: Settings) -> Verifier:
    """The verifier for whoever signs tokens by the settings."""
    load = DevIssuer.of(settings).jwks if settings.auth == "dev" else jwks.loader(settings.auth.removeprefix("jwks="))
    return Verifier(KeySet(load), settings.issuer, settings.audience)


def service_token(settings: Settings, service: str) -> Callable[[], str]:
    """What gives the service a token that is good now: the file's, or in development one of our own.

    Raises BadSetting when neither is there.
    """
    if settings.service_token:
        return _from_file(Path(settings.service_token))
    if settings.auth != "dev":
        raise BadSetting("--service-token is needed with --auth jwks=...")
    return _issued(DevIssuer.of(settings), service)


def _from_file(path: Path) -> Callable[[], str]:
    if not path.is_file():
        raise BadSetting(f"--service-token: there is no file {path}")
    read: tuple[int, str] | None = None

    def token() -> str:
        nonlocal read
        changed = path.stat().st_mtime_ns
        if read is None or read[0] != changed:
            read = changed, path.read_text(encoding="ascii").strip()
        return read[1]

    return token


def _issued(issuer: DevIssuer, service: str) -> Callable[[], str]:
    issued: tuple[float, str] | None = None

    def token() -> str:
        nonlocal issued
        if issued is None or time.monotonic() - issued[0] > _SERVICE_TOKEN_SECONDS / 2:
            issued = time.monotonic(), issuer.issue("SERVICE", service, _SERVICE_TOKEN_SECONDS)
        return issued[1]

    return token


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
