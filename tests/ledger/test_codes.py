"""Coupon codes: typed by cashiers, read by lasers, made up by nobody."""

import pytest

from services.chassis.keys import Keyring
from services.ledger.codes import CouponCodes

KEYS = Keyring(b"the master secret of these tests")


def test_a_code_is_16_digits_that_begin_no_payment_code() -> None:
    codes = [CouponCodes(KEYS, generation).new() for generation in range(8) for _ in range(50)]
    assert all(len(code) == 16 and code.isascii() and code.isdigit() for code in codes)
    assert {code[0] for code in codes} == {"6", "7", "8", "9"}
    assert len(set(codes)) == len(codes)


def test_a_code_is_known_to_whoever_has_the_key_and_to_nobody_else() -> None:
    code = CouponCodes(KEYS).new()
    assert CouponCodes(KEYS).is_authentic(code)
    assert not CouponCodes(Keyring(b"the master secret of other tests")).is_authentic(code)


def test_every_mistyped_digit_is_noticed() -> None:
    """A digit wrong in the body changes the MAC but for one chance in 10,000; of 300 such codes at most 2 may pass."""
    codes = CouponCodes(KEYS)
    wrong = [
        code[:place] + str((int(code[place]) + 1) % 10) + code[place + 1 :]
        for code in (codes.new() for _ in range(20))
        for place in range(1, 16)
    ]
    assert sum(map(codes.is_authentic, wrong)) <= 2


def test_all_but_about_one_forged_code_in_ten_thousand_are_refused() -> None:
    codes = CouponCodes(KEYS)
    forged = (f"6{number:011d}0000" for number in range(30_000))
    assert sum(map(codes.is_authentic, forged)) <= 15


@pytest.mark.parametrize(
    "code", ["", "6", "6" * 15, "6" * 17, "1234567890123456", "６" * 16, "6" + "²" * 15, "6abc" * 4]
)
def test_what_is_no_code_is_refused(code: str) -> None:
    assert not CouponCodes(KEYS).is_authentic(code)


def test_codes_of_the_three_generations_before_still_count() -> None:
    made = [CouponCodes(KEYS, generation).new() for generation in range(6)]
    assert [CouponCodes(KEYS, 5).is_authentic(code) for code in made] == [False, False, True, True, True, True]


def test_a_generation_that_is_not_begun_yet_counts_for_nothing() -> None:
    assert not CouponCodes(KEYS, 0).is_authentic(CouponCodes(KEYS, 1).new())
