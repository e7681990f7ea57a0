import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.chassis.keys import Keyring
from services.share.codes import ShareCodes, Visitors

KEYS = Keyring(b"k" * 32)
CODES = ShareCodes(KEYS)


def test_a_code_is_twelve_characters_that_nobody_confuses() -> None:
    code = CODES.signed(CODES.new())
    assert len(code) == 12
    assert not set(code) & set("ILOU")


def test_a_code_is_read_as_people_type_it() -> None:
    part = "01ABCD01"
    code = CODES.signed(part)
    typed = (code[:4] + "-" + code[4:]).lower().replace("0", "o").replace("1", "l")
    assert CODES.read(typed) == CODES.read(code) == part


@pytest.mark.parametrize("code", ["", "A", "AAAAAAAAAAAA", "上海上海上海上海上海上海", "A" * 64, "ÀAAAAAAAAAAA"])
def test_what_was_never_signed_is_refused(code: str) -> None:
    with pytest.raises(Invalid, match="SHARE_CODE_INVALID"):
        CODES.read(code)


@given(st.integers(0, 11), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_character_is_seen(place: int, character: str) -> None:
    code = CODES.signed("7Q3M9KTZ")
    changed = code[:place] + character + code[place + 1 :]
    if changed != code:
        with pytest.raises(Invalid, match="SHARE_CODE_INVALID"):
            CODES.read(changed)


def test_another_masters_code_is_forged_here() -> None:
    others = ShareCodes(Keyring(secrets.token_bytes(32)))
    with pytest.raises(Invalid, match="SHARE_CODE_INVALID"):
        CODES.read(others.signed(others.new()))


def test_a_visitors_marks_at_two_shares_cannot_be_matched() -> None:
    visitors = Visitors(KEYS)
    assert visitors.mark("device-1", "a") == visitors.mark("device-1", "a")
    assert len({visitors.mark("device-1", "a"), visitors.mark("device-1", "b"), visitors.mark("device-2", "a")}) == 3
