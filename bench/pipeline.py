"""What each part of the pipeline around a call costs, timed on the real functions.

`python -m bench.pipeline <var folder>` prints microseconds of each part, and of the whole pipeline around a servicer
that does nothing, as JSON.
"""

import hashlib
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import protovalidate
import uvloop

from bench.people import Tokens
from bench.traffic import PATHS, REDEEM, redemption
from services.chassis import contract, logs, tokens, trace
from services.chassis.auth import Verifier
from services.chassis.contract import Method
from services.chassis.interceptors import Pipeline
from services.chassis.keys import Keyring
from services.chassis.settings import Settings
from services.chassis.tallies import RPCS
from services.chassis.telemetry import Record, Telemetry
from services.start import MASTER_KEY
from sharemesh.v1 import redeem_pb2

_REPEATS = 7
_CALLS = 3000
_SERVICE = "redeem"


class _Context:
    """What the pipeline asks of a call's context."""

    def __init__(self, token: str) -> None:
        self._metadata = (("user-agent", "sharemesh-bench"), ("authorization", f"Bearer {token}"))

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def time_remaining(self) -> float:
        return 5.0


async def _measured(var: Path) -> dict[str, float]:
    settings = Settings(var=var)
    logs.to_file(_SERVICE, var / "pipeline log")
    telemetry = Telemetry(_SERVICE, Keyring.open(var / MASTER_KEY))
    verifier = tokens.verifier(settings)
    (token,) = Tokens(var).of(REDEEM, 1)
    method = contract.methods_of("sharemesh.v1.RedeemService")[PATHS[REDEEM]]
    asked = redemption("a" * 20, "6" * 16, "request-of-the-bench")
    context, raw = _Context(token), asked.SerializeToString()
    parts = await _parts(verifier, telemetry, method, f"Bearer {token}", raw)

    async def answer(request: object, context: object) -> redeem_pb2.Redemption:
        return redeem_pb2.Redemption()

    handler: Any = SimpleNamespace(unary_unary=answer)
    around: Any = Pipeline(verifier, telemetry).around(method, handler).unary_unary
    parts["the whole pipeline"] = await _microseconds_awaited(lambda: around(raw, context))
    return parts


async def _parts(
    verifier: Verifier, telemetry: Telemetry, method: Method, authorization: str, raw: bytes
) -> dict[str, float]:
    principal = (await verifier.bearer(authorization)).principal
    request = method.request.FromString(raw)
    record = Record(method.rpc, trace.follow(None), time.monotonic())

    def digest() -> None:
        hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()

    timings: dict[str, Callable[[], object]] = {
        "pseudonym": lambda: telemetry.pseudonym(principal),
        "admission": lambda: method.admit(principal),
        "trace": lambda: trace.follow(None),
        "parsing": lambda: method.request.FromString(raw),
        "parsing and validation": lambda: method.parse(raw),
        "validation by protovalidate alone": lambda: protovalidate.collect_violations(request),
        "digest": digest,
        "metrics": lambda: RPCS.of(method.rpc).count("OK", 0.001),
        "metrics and event line": lambda: telemetry.close(record),
    }
    token = await _microseconds_awaited(lambda: verifier.bearer(authorization))
    return {"token": token, **{name: _microseconds(part) for name, part in timings.items()}}


def _microseconds(part: Callable[[], object]) -> float:
    """The time that one call of `part` takes: the median of some series."""

    def series() -> float:
        began = time.perf_counter()
        for _ in range(_CALLS):
            part()
        return time.perf_counter() - began

    return statistics.median(series() for _ in range(_REPEATS)) / _CALLS * 1e6


async def _microseconds_awaited(part: Callable[[], Awaitable[object]]) -> float:
    """The same of what is awaited."""

    async def series() -> float:
        began = time.perf_counter()
        for _ in range(_CALLS):
            await part()
        return time.perf_counter() - began

    return statistics.median([await series() for _ in range(_REPEATS)]) / _CALLS * 1e6


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(_measured(Path(sys.argv[1])))))
