"""What is sent: prebuilt messages for each kind of work, as gRPC's bytes, as JSON and as plain values."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from google.type.money_pb2 import Money

from bench import world
from bench.world import World
from services.chassis.names import name, new_uid
from sharemesh.v1 import redeem_pb2, share_pb2

REDEEM, MIXED, HOT, SPREAD = "redeem", "redeem mixed", "claim hot", "claim spread"
OFFER, MY_OFFER, OFFERS = "get offer", "get my offer", "list offers"
WRITES = (REDEEM, MIXED, HOT, SPREAD)
CLAIMS = (HOT, SPREAD)

OK, FAILED_PRECONDITION = 0, 9
PATHS = {
    REDEEM: "/sharemesh.v1.RedeemService/RedeemCoupon",
    MIXED: "/sharemesh.v1.RedeemService/RedeemCoupon",
    HOT: "/sharemesh.v1.ShareService/ClaimCoupon",
    SPREAD: "/sharemesh.v1.ShareService/ClaimCoupon",
    OFFER: "/sharemesh.v1.RedeemService/GetOffer",
    MY_OFFER: "/sharemesh.v1.RedeemService/GetOffer",
    OFFERS: "/sharemesh.v1.RedeemService/ListOffers",
}
ROLES = {REDEEM: "STAFF", MIXED: "STAFF", HOT: "CUSTOMER", SPREAD: "CUSTOMER", MY_OFFER: "CUSTOMER"}

_CODE, _ID = "6" * 16, "R" * 20
# A replay is of a request that was answered long ago, whatever the number of callers.
_LONG_AGO = 4 * world.MOST_CALLERS
# The basket, as (item, quantity, price in minor units): 128.00, so the offer's threshold is reached.
BASKET = (("noodles", 2, 4_900), ("tea", 1, 3_000))


@dataclass(frozen=True)
class Wish:
    """One call before it is bytes: the code to redeem or the uid of the activity to claim, and the request's id."""

    what: str
    request_id: str
    # Whether it uses its code up; not a replay, nor one that will be refused.
    is_fresh: bool = True


@dataclass(frozen=True)
class Traffic:
    """Wishes to be sent in this order; reads are few and sent again and again."""

    work: str
    wishes: list[Wish]

    @property
    def uses_codes(self) -> bool:
        """Whether a fresh wish uses a coupon's code up."""
        return self.work in (REDEEM, MIXED)

    @property
    def expected(self) -> frozenset[int]:
        """The statuses that a correct server answers with."""
        return frozenset({OK, FAILED_PRECONDITION} if self.work == MIXED else {OK})


_ids = itertools.count()
_run = new_uid()[:8]


def new_request_id() -> str:
    """An id of 20 characters that no other request of this run has."""
    return f"{_run}{next(_ids):012d}"


def traffic(work: str, count: int, shop: World) -> Traffic:
    """`count` calls' worth of traffic; redemptions take codes from the shop."""
    match work:
        case "redeem":
            wishes = [Wish(code, new_request_id()) for code in shop.take_codes(count)]
        case "redeem mixed":
            wishes = _mixed(count, shop)
        case "claim hot":
            wishes = [Wish(shop.hot.activity, new_request_id()) for _ in range(count)]
        case "claim spread":
            wishes = [Wish(random.choice(shop.spread).activity, new_request_id()) for _ in range(count)]
        case "get offer" | "get my offer":
            wishes = [Wish(offer.activity, "") for offer in shop.redeemed]
        case _:
            wishes = [Wish("", "")]
    return Traffic(work, wishes)


def _mixed(count: int, shop: World) -> list[Wish]:
    """Eight of ten redeem, one is a replay, one shows a coupon that is redeemed already."""
    codes, wishes = shop.take_codes(count), list[Wish]()
    for place in range(count):
        earlier = wishes[random.randrange(place - _LONG_AGO)] if place > _LONG_AGO else None
        lot = random.randrange(10)
        if earlier is None or not earlier.is_fresh or lot > 1:
            wishes.append(Wish(codes.pop(), new_request_id()))
        else:
            wishes.append(Wish(earlier.what, earlier.request_id if lot else new_request_id(), is_fresh=False))
    shop.give_back(codes)
    return wishes


def messages(sent: Traffic, shop: World) -> list[bytes]:
    """The traffic as serialized requests."""
    match sent.work:
        case "redeem" | "redeem mixed":
            return _filled(redemption(shop.store, _CODE, _ID).SerializeToString(), sent.wishes, _CODE)
        case "claim hot" | "claim spread":
            place = "a" * 20
            claim = share_pb2.ClaimCouponRequest(activity=name("activities", place), request_id=_ID)
            return _filled(claim.SerializeToString(), sent.wishes, place)
        case "get offer" | "get my offer":
            return [
                redeem_pb2.GetOfferRequest(activity=name("activities", wish.what)).SerializeToString()
                for wish in sent.wishes
            ]
        case _:
            return [redeem_pb2.ListOffersRequest(page_size=20).SerializeToString()]


def json_messages(sent: Traffic, shop: World) -> list[bytes]:
    """The traffic as JSON for the FastAPI app: claims and redemptions."""
    if sent.work in CLAIMS:
        return [_json({"activity": wish.what, "request_id": wish.request_id}) for wish in sent.wishes]
    basket = [{"item": item, "quantity": quantity, "unit_price": price} for item, quantity, price in BASKET]
    order = {"store": shop.store, "basket": basket, "order_id": "order-20261122-0001", "terminal": "till-1"}
    return [_json({"codes": [wish.what], "request_id": wish.request_id, **order}) for wish in sent.wishes]


def redemption(store: str, code: str, request_id: str) -> redeem_pb2.RedeemCouponRequest:
    """The request of a till: one code on an order of BASKET; `store` is a uid."""
    return redeem_pb2.RedeemCouponRequest(
        store=name("stores", store),
        codes=[code],
        basket=[
            redeem_pb2.BasketLine(
                item=item,
                quantity=quantity,
                unit_price=Money(currency_code="CNY", units=price // 100, nanos=price % 100 * 10_000_000),
            )
            for item, quantity, price in BASKET
        ],
        order_id="order-20261122-0001",
        terminal="till-1",
        request_id=request_id,
    )


def _filled(template: bytes, wishes: Sequence[Wish], what: str) -> list[bytes]:
    """The template with each wish's values, of the same length, in the place of its own."""
    head, rest = template.split(what.encode())
    middle, tail = rest.split(_ID.encode())
    return [b"".join((head, wish.what.encode(), middle, wish.request_id.encode(), tail)) for wish in wishes]


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
