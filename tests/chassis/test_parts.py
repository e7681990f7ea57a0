import pytest

from services.chassis.parts import repeated, serialized, text
from sharemesh.v1 import redeem_pb2


def test_parts_with_different_fields_joined_are_one_message() -> None:
    parts = serialized(redeem_pb2.Offer, {"activity": "activities/a"}), serialized(redeem_pb2.Offer, {"remaining": 7})
    assert redeem_pb2.Offer.FromString(b"".join(parts)) == redeem_pb2.Offer(activity="activities/a", remaining=7)


@pytest.mark.parametrize("length", [0, 1, 100, 127, 128, 16_383, 16_384, 3_000_000])
def test_elements_of_any_length_are_what_protobuf_makes_of_them(length: int) -> None:
    offers = [redeem_pb2.Offer(activity="a" * length, remaining=3), redeem_pb2.Offer(), redeem_pb2.Offer(remaining=1)]
    parts = [
        (redeem_pb2.Offer(activity=offer.activity).SerializeToString(), redeem_pb2.Offer(remaining=offer.remaining))
        for offer in offers
    ]
    page = redeem_pb2.ListOffersResponse(offers=offers, next_page_token="t")
    made = repeated(1, ((first, second.SerializeToString()) for first, second in parts)) + text(2, "t")
    assert made == page.SerializeToString()


def test_no_text_takes_no_bytes() -> None:
    assert text(2, "") == b""
