import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyzabbix import ZabbixMetric, ZabbixSender
from zabbix_utils import Sender, ZabbixAPI

from local import frontend, zabbix
from local.process import NotReady, is_open
from local.zabbix import Stack
from registry import certs
from tests.mesh import poll

# A new item is known in about a second, on a busy machine in some.
KNOWN_SECONDS = 30.0
TRAPPER, NUMBER = 2, 3
BY_CERTIFICATE = 4


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = zabbix.start(tmp_path / "zabbix")
    yield stack
    stack.stop()


def item_of(api: ZabbixAPI, **more: object) -> str:
    """The id of a new item "coffees" of a new host "shop", which takes whole numbers."""
    group = api.hostgroup.create(name="shops")["groupids"][0]
    host = api.host.create(host="shop", groups=[{"groupid": group}], **more)["hostids"][0]
    item = {"hostid": host, "name": "coffees", "key_": "coffees", "type": TRAPPER, "value_type": NUMBER}
    return str(api.item.create(**item)["itemids"][0])


def is_taken(stack: Stack, value: int) -> bool:
    # Of two values of the same second, the server keeps the first.
    clock = int(time.time()) - 60 + value
    sender = ZabbixSender("127.0.0.1", stack.port, timeout=5)
    return bool(sender.send([ZabbixMetric("shop", "coffees", value, clock)]).processed == 1)


def values_of(api: ZabbixAPI, item: str) -> list[str]:
    return [one["value"] for one in api.history.get(itemids=item, history=NUMBER, sortfield="clock")]


def is_gone(group: int) -> bool:
    """Whether a process group has nobody left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_values_are_taken_and_kept_when_the_server_is_killed_and_comes_back(stack: Stack) -> None:
    api = stack.api()
    item = item_of(api)
    poll(lambda: is_taken(stack, 7), KNOWN_SECONDS)
    poll(lambda: values_of(api, item) == ["7"], KNOWN_SECONDS)

    stack.crash_server()
    assert not is_open(stack.address)
    assert values_of(api, item) == ["7"]
    stack.start_server_again()
    poll(lambda: is_taken(stack, 8), KNOWN_SECONDS)
    poll(lambda: values_of(api, item) == ["7", "8"], KNOWN_SECONDS)


def test_links_of_the_pages_become_what_they_lead_to(tmp_path: Path) -> None:
    """Without the font, which is elsewhere, graphs have no words."""
    pages, fonts = tmp_path / "usr/share/zabbix", tmp_path / "usr/share/fonts"
    for folder in (pages / "include/classes/core", pages / "conf", pages / "fonts", fonts):
        folder.mkdir(parents=True)
    (pages / "include/classes/core/CConfigFile.php").write_text(frontend.DEBIANS_PLACE)
    (fonts / "Sans.ttf").write_text("a font")
    (pages / "fonts/Sans.ttf").symlink_to("../../fonts/Sans.ttf")
    (pages / "fonts/None.ttf").symlink_to("../../fonts/None.ttf")
    frontend.copied(pages, tmp_path / "copy/pages")
    assert [file.name for file in (tmp_path / "copy/pages/fonts").iterdir()] == ["Sans.ttf"]
    assert (tmp_path / "copy/pages/fonts/Sans.ttf").read_text() == "a font"


def test_it_ends_with_all_its_processes(stack: Stack) -> None:
    groups = [stack.server.pid, stack.pages.pid]
    maria = stack.mariadb.process.pid
    assert not any(map(is_gone, groups))
    stack.stop()
    poll(lambda: all(map(is_gone, groups)))
    assert not Path(f"/proc/{maria}").exists()


def test_one_whose_server_cannot_start_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    directory = tmp_path / "zabbix"
    with pytest.raises(NotReady, match=r"nowhere/ca\.pem"):
        zabbix.start(directory, tls=tmp_path / "nowhere")
    assert "Shutdown complete" in (directory / "mariadb.log").read_text()
    # Twenty such lines of a process that starts last would leave no room for the reason.
    assert "Cannot find module" not in (directory / "zabbix_server.log").read_text()


def test_with_certificates_a_host_is_heard_that_shows_its_own_alone(tmp_path: Path) -> None:
    certs.make(tmp_path / "tls")
    ours, theirs = tmp_path / "tls" / "gateway", tmp_path / "tls" / "redeem"
    context = ssl.create_default_context(cafile=theirs / "ca.pem")
    context.load_cert_chain(theirs / "cert.pem", theirs / "key.pem")

    def shown(plain: socket.socket, *_: object) -> ssl.SSLSocket:
        return context.wrap_socket(plain, server_hostname="localhost")

    stack = zabbix.start(tmp_path / "zabbix", tls=ours)
    try:
        item_of(stack.api(), tls_accept=BY_CERTIFICATE)
        sender = Sender("127.0.0.1", stack.port, socket_wrapper=shown)
        poll(lambda: bool(sender.send_value("shop", "coffees", "7").processed == 1), KNOWN_SECONDS)
        assert not is_taken(stack, 8)
    finally:
        stack.stop()
