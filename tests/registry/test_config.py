from pathlib import Path

import pytest

from registry import config
from registry.config import Consul, Static


def test_a_static_list_gives_targets_by_service() -> None:
    assert config.parse("static:entry=127.0.0.1:1, audit=[::1]:2") == Static(
        {"entry": "127.0.0.1:1", "audit": "[::1]:2"}
    )
    assert config.parse("static:") == Static({})


def test_a_consul_has_one_address_or_several_in_order() -> None:
    assert config.parse("consul://127.0.0.1:8500") == Consul(("127.0.0.1:8500",))
    assert config.parse("consul://b:1,a:2,[::1]:3/") == Consul(("b:1", "a:2", "[::1]:3"))
    assert config.parse("consul+tls://a:8501") == Consul(("a:8501",), is_tls=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "begins with none of static: consul:// consul+tls://"),
        ("127.0.0.1:8500", "begins with none of"),
        ("Consul://a:1", "begins with none of"),
        ("consul://", "'' is not host:port"),
        ("consul://a", "'a' is not host:port"),
        ("consul://a:1,", "'' is not host:port"),
        ("consul://a:0", "'a:0' is not host:port"),
        ("consul://a:65536", "'a:65536' is not host:port"),
        ("consul://a:١", "is not host:port"),
        ("consul://:8500", "':8500' is not host:port"),
        ("consul://::1:8500", "'::1:8500' is not host:port"),
        ("consul://a:8500/dc1", "'a:8500/dc1' is not host:port"),
        ("consul://a/b:8500", "'a/b:8500' is not host:port"),
        ("consul://a:1,a:1", "lists an address twice"),
        ("static:entry", "'entry' is not service=host:port"),
        ("static:entry=a", "'entry=a' is not service=host:port"),
        ("static:entry=a:1,entry=a:2", "entry is listed twice"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("+", r"\+")):
        config.parse(text)


@pytest.mark.parametrize("text", ["consul://s3cret@a:8500", "consul://:s3cret@a:8500", "consul://a:8500?token=s3cret"])
def test_a_token_in_the_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="--registry-token") as refused:
        config.parse(text)
    assert "s3cret" not in str(refused.value)


def test_an_address_is_split_and_joined() -> None:
    for host, port in [("a", 1), ("127.0.0.1", 65535), ("::1", 80)]:
        assert config.split(config.joined(host, port)) == (host, port)


def test_the_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = config.token_in(file)
    with pytest.raises(OSError, match="token"):
        token()
    file.write_text("one\n")
    assert token() == "one"
    file.write_text("two")
    assert token() == "two"
    file.write_text("")
    assert token() == ""
