"""A rival: FastAPI over SQLAlchemy Core with raw SQL, doing the same job for the same tokens, one worker."""

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
import jwt
import orjson
import uvicorn
from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, create_engine

from bench import job
from services.chassis import settings
from services.chassis.call import Call, Principal
from services.chassis.keys import Keyring
from services.chassis.settings import Settings
from services.chassis.tokens import DevIssuer
from services.ledger.codes import CouponCodes
from services.schema import replay
from services.start import MASTER_KEY

# On two cores 2, 4, 8, 16 and 40 threads, and the same on asyncmy or aiomysql in the loop, all cost 1.7 to 2.4 ms of
# CPU a redemption: none is better beyond the noise.
_THREADS = 8
_STORE = (
    "SELECT merchant.id, merchant.uid, store.id, store.uid, staff_binding.rights FROM store"
    " JOIN merchant ON merchant.id = store.merchant_id"
    " JOIN staff_binding ON staff_binding.store_id = store.id AND staff_binding.subject = %s WHERE store.uid = %s"
)
_MERCHANT = (
    "SELECT merchant.id, merchant.uid FROM activity JOIN merchant ON merchant.id = activity.merchant_id"
    " WHERE activity.uid = %s"
)


class Line(BaseModel):
    """One line of a basket, in minor units."""

    item: str = Field(min_length=1, max_length=64)
    quantity: int = Field(ge=1, le=10_000)
    unit_price: int = Field(ge=0)


class RedeemRequest(BaseModel):
    """What the till sends."""

    store: str = Field(pattern="^[a-z0-9]{1,40}$")
    codes: list[Annotated[str, Field(pattern="^[0-9]{16}$")]] = Field(min_length=1, max_length=1)
    basket: list[Line] = Field(min_length=1, max_length=200)
    order_id: str = Field(min_length=1, max_length=64)
    terminal: str = Field(max_length=64)
    request_id: str = Field(pattern="^[A-Za-z0-9._:-]{8,64}$")


class ClaimRequest(BaseModel):
    """What the customer's app sends."""

    activity: str = Field(pattern="^[a-z0-9]{1,40}$")
    request_id: str = Field(pattern="^[A-Za-z0-9._:-]{8,64}$")


class Gate:
    """Who calls, by a token that is verified once."""

    def __init__(self, of: Settings) -> None:
        jwks = jwt.PyJWKSet.from_json(DevIssuer.of(of).jwks())
        self._key = jwks.keys[0]
        self._settings = of
        self._known: dict[str, tuple[Principal, float]] = {}

    def principal(self, authorization: Annotated[str, Header()]) -> Principal:
        """The bearer of the request's token; 401 without a good one."""
        known = self._known.get(authorization)
        if known is None:
            try:
                claims = jwt.decode(
                    authorization.removeprefix("Bearer "),
                    self._key,
                    algorithms=["EdDSA"],
                    audience=self._settings.audience,
                    issuer=self._settings.issuer,
                )
            except jwt.PyJWTError:
                raise HTTPException(401, "TOKEN_INVALID") from None
            known = self._known[authorization] = Principal(claims["role"], claims["sub"]), claims["exp"]
        if known[1] <= time.time():
            raise HTTPException(401, "TOKEN_EXPIRED")
        return known[0]


class Till:
    """The two endpoints' work, each in one transaction."""

    def __init__(self, of: Settings) -> None:
        self._engine = create_engine(
            of.database.replace("mysql://", "mysql+pymysql://"),
            isolation_level="READ COMMITTED",
            pool_size=_THREADS,
            max_overflow=0,
            # Every transaction below ends by itself, so another ROLLBACK would be a round trip for nothing.
            pool_reset_on_return=None,
        )
        self._codes = CouponCodes(Keyring.open(of.var / MASTER_KEY))
        self._terms = job.Terms()

    def redeem(self, who: Principal, asked: RedeemRequest, digest: str) -> dict[str, Any]:
        """Redeem a code at a store that binds the caller."""
        if not self._codes.is_authentic(asked.codes[0]):
            raise job.Refused("COUPON_REFUSED")
        with self._engine.begin() as connection:
            execute = _execute(connection)
            found = execute(_STORE, (who.subject, asked.store)).fetchone()
            if found is None or "REDEEM" not in orjson.loads(found[4]):
                raise job.Refused("RESOURCE_NOT_FOUND")
            shop = job.Shop(*found[:4])
            key = replay.key(Call(who, "RedeemService.RedeemCoupon", asked.request_id), shop.merchant)
            basket = [(line.item, line.quantity, line.unit_price) for line in asked.basket]
            order = job.Order(asked.codes[0], basket, asked.order_id, asked.terminal, who.subject, key, digest)
            return job.redeem(execute, shop, order, self._terms)

    def claim(self, who: Principal, asked: ClaimRequest, digest: str) -> dict[str, Any]:
        """Claim a coupon of an activity."""
        with self._engine.begin() as connection:
            execute = _execute(connection)
            found = execute(_MERCHANT, (asked.activity,)).fetchone()
            if found is None:
                raise job.Refused("RESOURCE_NOT_FOUND")
            shop = job.Shop(found[0], found[1], 0, "")
            key = replay.key(Call(who, "ShareService.ClaimCoupon", asked.request_id), shop.merchant)
            wish = job.Claim(asked.activity, who.subject, key, digest)
            return job.claim(execute, shop, wish, self._codes, self._terms)


def app(of: Settings) -> FastAPI:
    """The application on the database of these settings."""
    made, gate, till = FastAPI(), Gate(of), Till(of)
    limiter = CapacityLimiter(_THREADS)

    async def answer(work: Callable[[], dict[str, Any]]) -> Response:
        try:
            found = await anyio.to_thread.run_sync(work, limiter=limiter)
        except job.Refused as refusal:
            return Response(orjson.dumps({"reason": str(refusal)}), 409, media_type="application/json")
        return Response(orjson.dumps(found), media_type="application/json")

    async def principal(authorization: Annotated[str, Header()]) -> Principal:
        return gate.principal(authorization)

    @made.post("/redeem")
    async def redeem(asked: RedeemRequest, request: Request, who: Annotated[Principal, Depends(principal)]) -> Response:
        return await answer(partial(till.redeem, who, asked, job.digest_of(await request.body())))

    @made.post("/claim")
    async def claim(asked: ClaimRequest, request: Request, who: Annotated[Principal, Depends(principal)]) -> Response:
        return await answer(partial(till.claim, who, asked, job.digest_of(await request.body())))

    return made


def _execute(connection: Connection) -> job.Execute:
    def execute(sql: str, args: Any) -> Any:
        return connection.exec_driver_sql(sql, tuple(args))

    return execute


def main() -> None:
    """Serve on a free port, which is printed, until SIGTERM."""
    parser = argparse.ArgumentParser("python -m bench.fastapi_app")
    settings.add_flags(parser)
    made = app(settings.read(parser.parse_args(), os.environ))
    config = uvicorn.Config(made, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"fastapi 127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
