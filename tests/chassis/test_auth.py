import asyncio
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from services.chassis import jwks, tokens
from services.chassis.auth import Verifier
from services.chassis.call import Principal
from services.chassis.errors import Unauthenticated, Unavailable
from services.chassis.jwks import KeySet
from services.chassis.settings import BadSetting, Settings
from services.chassis.tokens import DevIssuer

ISSUER, AUDIENCE = "https://issuer.test", "sharemesh"
NOW = int(time.time())
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "m1", "role": "merchant", "iat": NOW, "exp": NOW + 60}
KEY = ec.generate_private_key(ec.SECP256R1())


def document(**keys: ec.EllipticCurvePrivateKey) -> str:
    found = [
        jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "alg": "ES256"}
        for kid, key in keys.items()
    ]
    return json.dumps({"keys": found})


def signed(claims: dict[str, Any], key: Any = KEY, kid: str | None = "k1", algorithm: str = "ES256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def verifier(clock: Callable[[], float] = lambda: float(NOW)) -> Verifier:
    return Verifier(KeySet(lambda: document(k1=KEY)), ISSUER, AUDIENCE, clock)


def principal(token: str, by: Verifier | None = None) -> Principal:
    return asyncio.run((by or verifier()).bearer(f"Bearer {token}")).principal


def test_a_good_token_names_its_bearer() -> None:
    assert principal(signed(CLAIMS)) == Principal("MERCHANT", "m1")


def test_no_token_is_an_anonymous() -> None:
    assert asyncio.run(verifier().bearer(None)).principal == Principal("ANONYMOUS", "")


def test_a_bearer_is_good_for_as_long_as_the_token_remembered_or_not() -> None:
    now = [float(NOW)]
    by = verifier(lambda: now[0])
    assert asyncio.run(by.bearer(f"Bearer {signed(CLAIMS)}")).seconds == 60
    token = signed(CLAIMS)
    assert asyncio.run(by.bearer(f"Bearer {token}")).seconds == 60
    now[0] += 45
    assert asyncio.run(by.bearer(f"Bearer {token}")).seconds == 15
    assert asyncio.run(by.bearer(None)).seconds == float("inf")


def test_a_token_without_a_key_id_is_checked_with_the_only_key() -> None:
    assert principal(signed(CLAIMS, kid=None)) == Principal("MERCHANT", "m1")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "garbage",
        "a.b.c",
        signed(CLAIMS)[:-4] + "AAAA",
        signed(CLAIMS | {"iss": "https://elsewhere"}),
        signed(CLAIMS | {"aud": "other"}),
        signed(CLAIMS | {"role": "emperor"}),
        signed(CLAIMS | {"role": "anonymous"}),
        signed(CLAIMS | {"role": "unspecified"}),
        signed(CLAIMS | {"role": 7}),
        signed(CLAIMS | {"sub": ""}),
        signed(CLAIMS | {"sub": "m1 "}),  # MariaDB takes it for m1.
        signed(CLAIMS | {"sub": " m1"}),
        signed(CLAIMS | {"sub": "m\x001"}),
        signed(CLAIMS | {"sub": "\ud800"}),
        signed(CLAIMS | {"sub": "m" * 129}),
        signed(CLAIMS | {"exp": "soon"}),
        signed(CLAIMS | {"iat": NOW + 120}),
        signed(CLAIMS | {"nbf": NOW + 120}),
        *(signed({name: value for name, value in CLAIMS.items() if name != missing}) for missing in CLAIMS),
        signed(CLAIMS, kid="unknown"),
        signed(CLAIMS, key=ec.generate_private_key(ec.SECP256R1())),
        signed(CLAIMS, key=ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA"),
        jwt.encode(CLAIMS, "x" * 32, algorithm="HS256", headers={"kid": "k1"}),
        jwt.encode(CLAIMS, "", algorithm="none", headers={"kid": "k1"}),
    ],
)
def test_a_bad_token_is_invalid_and_never_quoted(token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        principal(token)
    assert refusal.value.reason == "TOKEN_INVALID"
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert not token or token not in str(refusal.value)


def test_another_scheme_is_invalid() -> None:
    with pytest.raises(Unauthenticated, match="TOKEN_INVALID"):
        asyncio.run(verifier().bearer("Basic bTE6cHc="))


def test_an_expired_token_says_so() -> None:
    with pytest.raises(Unauthenticated, match="TOKEN_EXPIRED"):
        principal(signed(CLAIMS | {"exp": NOW}))


def test_a_remembered_token_still_expires() -> None:
    now = [float(NOW)]
    by = verifier(lambda: now[0])
    token = signed(CLAIMS)
    assert principal(token, by) == principal(token, by)
    now[0] += 60
    with pytest.raises(Unauthenticated, match="TOKEN_EXPIRED"):
        principal(token, by)


def test_a_remembered_token_is_refused_minutes_after_its_key_was_withdrawn() -> None:
    now, published = [float(NOW)], {"k1": KEY}
    keys = KeySet(lambda: document(**published), lambda: now[0])
    by = Verifier(keys, ISSUER, AUDIENCE, lambda: now[0])
    token = signed(CLAIMS | {"exp": NOW + 100_000})

    async def main() -> None:
        await by.bearer(f"Bearer {token}")
        published["k2"] = published.pop("k1")
        now[0] += 3600
        with pytest.raises(Unauthenticated, match="TOKEN_INVALID"):
            await by.bearer(f"Bearer {token}")

    asyncio.run(main())


def test_a_new_key_is_fetched_but_made_up_ids_are_no_load_on_the_issuer() -> None:
    new, now, fetched = ec.generate_private_key(ec.SECP256R1()), [0.0], [0]
    published = {"k1": KEY}

    def load() -> str:
        fetched[0] += 1
        return document(**published)

    async def main() -> None:
        by = Verifier(KeySet(load, lambda: now[0]), ISSUER, AUDIENCE, lambda: float(NOW))
        await by.bearer("Bearer " + signed(CLAIMS))
        published["k2"] = new
        for attempt in range(20):
            with pytest.raises(Unauthenticated):
                await by.bearer("Bearer " + signed(CLAIMS | {"jti": attempt}, key=new, kid="k2"))
        assert fetched == [1]
        now[0] += 10
        bearer = await by.bearer("Bearer " + signed(CLAIMS, key=new, kid="k2"))
        assert bearer.principal == Principal("MERCHANT", "m1")
        assert fetched == [2]

    asyncio.run(main())


def test_the_last_good_keys_are_kept_while_the_issuer_is_away() -> None:
    now, is_away = [0.0], [True]

    def load() -> str:
        if is_away[0]:
            raise OSError("away")
        return document(k1=KEY)

    async def main() -> None:
        by = Verifier(KeySet(load, lambda: now[0]), ISSUER, AUDIENCE, lambda: float(NOW))
        with pytest.raises(Unavailable, match="DEPENDENCY_UNAVAILABLE"):
            await by.bearer("Bearer " + signed(CLAIMS))
        is_away[0] = False
        now[0] += 10
        await by.bearer("Bearer " + signed(CLAIMS))
        is_away[0] = True
        now[0] += 4000
        await by.bearer("Bearer " + signed(CLAIMS | {"jti": "2"}))

    asyncio.run(main())


def test_a_made_up_id_keeps_nobody_with_a_known_key_waiting_for_a_slow_issuer() -> None:
    now, is_asked, gate = [0.0], Event(), Event()
    gate.set()

    def load() -> str:
        is_asked.set()
        gate.wait()
        return document(k1=KEY)

    async def main() -> None:
        keys = KeySet(load, lambda: now[0])
        assert await keys.find("k1") is not None
        gate.clear()
        is_asked.clear()
        now[0] += 10
        stranger = asyncio.create_task(keys.find("made-up"))
        await asyncio.to_thread(is_asked.wait)
        try:
            assert await asyncio.wait_for(keys.find("k1"), 1) is not None
            assert not stranger.done()
        finally:
            gate.set()
        assert await stranger is None

    asyncio.run(main())


def test_an_issuer_that_never_answers_is_waited_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "_FETCH_SECONDS", 0.1)
    gate = Event()

    def load() -> str:
        gate.wait()
        return document(k1=KEY)

    async def main() -> None:
        try:
            with pytest.raises(Unavailable, match="DEPENDENCY_UNAVAILABLE"):
                await asyncio.wait_for(KeySet(load).find("k1"), 2)
        finally:
            gate.set()

    asyncio.run(main())


def test_keys_come_from_a_url_or_a_file(tmp_path: Path) -> None:
    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(document(k1=KEY).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to say."""

    with HTTPServer(("127.0.0.1", 0), Issuer) as server:
        Thread(target=server.handle_request).start()
        assert jwks.loader(f"http://127.0.0.1:{server.server_port}/jwks")() == document(k1=KEY)
    (tmp_path / "keys.json").write_text(document(k1=KEY))
    assert jwks.loader(str(tmp_path / "keys.json"))() == document(k1=KEY)


def test_development_tokens_are_good_in_every_process_that_shares_var(settings: Settings) -> None:
    token = DevIssuer.of(settings).issue("staff", "s1")
    assert principal(token, tokens.verifier(settings)) == Principal("STAFF", "s1")


def test_only_roles_that_tokens_carry_are_issued(settings: Settings) -> None:
    for role in ("anonymous", "emperor"):
        with pytest.raises(ValueError, match="is none of"):
            DevIssuer.of(settings).issue(role, "x")


def test_a_service_shows_its_own_token(settings: Settings) -> None:
    token = tokens.service_token(settings, "publish")
    assert token() == token()
    assert principal(token(), tokens.verifier(settings)) == Principal("SERVICE", "publish")


def test_a_service_token_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    token = tokens.service_token(Settings(service_token=str(path)), "publish")
    assert token() == "one"
    path.write_text("second\n")
    assert token() == "second"


def test_a_foreign_issuer_without_a_service_token_fails_at_start() -> None:
    with pytest.raises(BadSetting, match="--service-token"):
        tokens.service_token(Settings(auth="jwks=https://issuer.test/jwks"), "publish")
