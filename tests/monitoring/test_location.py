from collections.abc import Callable
from pathlib import Path

import pytest

from monitoring.business import Business
from monitoring.database import Database
from monitoring.sql.location import Servers, addresses, parse


@pytest.mark.parametrize("reader", [Business, Database])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "a:pass-word",
        "sqlite:",
        "sqlite:///",
        "sqlite://host/file",
        "mysql:///name",
        "mysql://root:pass-word@/name",
        "mysql://root:pass-word@host/",
        "mysql://root:pass-word@host:99999/name",
        "mysql://root:pass-word@ho st/name",
        "mysql://root:pass-word@[::1/name",
        "postgres://root:pass-word@host/name",
    ],
)
def test_a_url_that_names_no_database_is_refused_without_its_password(
    reader: Callable[[str], object], url: str
) -> None:
    with pytest.raises(ValueError) as refused:
        reader(url)
    assert "pass-word" not in str(refused.value)


def test_the_hosts_of_a_url_are_read_as_the_services_read_them() -> None:
    assert addresses("a,b:1,[::1]:2") == (("a", 3306), ("b", 1), ("::1", 2))


def test_names_and_passwords_may_have_any_sign() -> None:
    where = parse("mysql://r%40ot:pass%3Aword%2F@a,b:1/share%20mesh")
    assert where == Servers((("a", 3306), ("b", 1)), "r@ot", "pass:word/", "share mesh")
    assert "pass" not in repr(where)
    assert (parse("sqlite:///a%20b"), parse("sqlite:////a")) == (Path("a b"), Path("/a"))
