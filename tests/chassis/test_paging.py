import base64

import pytest

from services.chassis import paging, parameters
from services.chassis.call import Call, Principal
from services.chassis.errors import Invalid
from services.chassis.paging import Page, page_of, token_of

CALL = Call(Principal("MERCHANT", "m1"), "EntryService.ListStores")
QUERY = {"city": "Hangzhou", "order_by": ""}


def test_a_token_leads_to_the_page_behind_it() -> None:
    assert page_of(token_of([17, "b"], CALL, QUERY), 20, CALL, QUERY) == Page(20, [17, "b"])


def test_without_a_token_the_list_begins_at_its_start() -> None:
    assert page_of("", 20, CALL, QUERY) == Page(20, None)


def test_the_last_page_has_no_token() -> None:
    assert token_of(None, CALL, QUERY) == ""


def test_sizes_have_a_default_and_a_limit() -> None:
    limits = parameters.current()
    assert page_of("", 0, CALL, QUERY).size == limits.page_size
    assert page_of("", 10_000, CALL, QUERY).size == limits.page_size_limit


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(Invalid, match="INVALID_FIELD"):
        page_of("", -1, CALL, QUERY)


@pytest.mark.parametrize(
    "call, query",
    [
        (CALL._replace(rpc="EntryService.ListActivities"), QUERY),
        (CALL._replace(principal=Principal("MERCHANT", "m2")), QUERY),
        (CALL._replace(principal=Principal("OPERATOR", "m1")), QUERY),
        (CALL, QUERY | {"city": "Ningbo"}),
        (CALL, {}),
    ],
)
def test_a_token_is_good_for_nobody_else_and_nothing_else(call: Call, query: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="INVALID_PAGE_TOKEN"):
        page_of(token_of([17], CALL, QUERY), 20, call, query)


@pytest.mark.parametrize("token", ["x", "é", "====", "A" * 40, "not a token", "A" * 100_000])
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(Invalid, match="INVALID_PAGE_TOKEN"):
        page_of(token, 20, CALL, QUERY)


def test_a_token_shows_no_row_ids() -> None:
    token = token_of({"id": 123456789}, CALL, QUERY)
    assert b"123456789" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def test_processes_with_the_same_key_take_each_others_tokens() -> None:
    paging.encrypt_with(b"k" * 32)
    token = token_of([17], CALL, QUERY)
    paging.encrypt_with(b"k" * 32)
    assert page_of(token, 20, CALL, QUERY).after == [17]
    paging.encrypt_with(b"l" * 32)
    with pytest.raises(Invalid, match="INVALID_PAGE_TOKEN"):
        page_of(token, 20, CALL, QUERY)
