"""`sharemesh zabbix provision` against a real Zabbix: what it makes, keeps, changes, and says when it cannot."""

import socket
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from zabbix_utils import ZabbixAPI

from local.zabbix import Stack
from tests.monitoring import watch

KEPT = {"kept"}


@pytest.fixture(autouse=True)
def tidied(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that asks Zabbix leaves no host behind."""
    with watch.tidy(request.getfixturevalue("api")) if "stack" in request.fixturenames else nullcontext():
        yield


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a web server that is no Zabbix, and answers anything with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_second_run_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    arguments = ("--host", "twice-1", "--host", "twice-2", "--wanted", "redeem=2", "--webhook", "http://127.0.0.1:9/a")
    first = watch.outcomes(watch.provision(stack, tmp_path, *arguments))
    assert first["host twice-1"] == first["host twice-2"] == "made"
    assert first.keys() >= {"template Sharemesh host", "template Sharemesh mesh", "host sharemesh"}
    second = watch.outcomes(watch.provision(stack, tmp_path, *arguments))
    assert second.keys() == first.keys()
    assert set(second.values()) == KEPT


def test_what_differs_is_changed_and_nothing_else(stack: Stack, tmp_path: Path) -> None:
    watch.outcomes(watch.provision(stack, tmp_path, "--host", "differs", "--webhook", "http://127.0.0.1:9/a"))
    other = ("--host", "differs", "--webhook", "http://127.0.0.1:9/b")
    told = watch.outcomes(watch.provision(stack, tmp_path, *other))
    assert {name for name, outcome in told.items() if outcome != "kept"} == {
        'secret macro {$SHAREMESH.WEBHOOK.URL:"generic"}'
    }
    severe = watch.outcomes(watch.provision(stack, tmp_path, *other, "--severity", "high"))
    assert {name: outcome for name, outcome in severe.items() if outcome != "kept"} == {
        "user sharemesh-alerts": "changed"
    }


def test_what_somebody_undid_is_done_again(stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    arguments = ("--host", "undone", "--webhook", "http://127.0.0.1:9/a")
    watch.outcomes(watch.provision(stack, tmp_path, *arguments))
    (trigger,) = api.trigger.get(
        host="Sharemesh host", filter={"description": "Database: Is down"}, output=["triggerid"]
    )
    api.trigger.update(triggerid=trigger["triggerid"], priority=1)
    (host,) = api.host.get(filter={"host": "undone"}, output=["hostid"], selectParentTemplates=["templateid"])
    api.host.massremove(hostids=[host["hostid"]], templateids_clear=[host["parentTemplates"][0]["templateid"]])
    told = watch.outcomes(watch.provision(stack, tmp_path, *arguments))
    assert told["template Sharemesh host"] == told["host undone"] == "changed"
    assert set(watch.outcomes(watch.provision(stack, tmp_path, *arguments)).values()) == KEPT


def test_what_others_gave_a_host_stays(stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    (group,) = api.hostgroup.create(name="of others")["groupids"]
    api.host.create(
        host="theirs",
        groups=[{"groupid": group}],
        macros=[{"macro": "{$SHAREMESH.LOAD}", "value": "9"}],
    )
    assert watch.outcomes(watch.provision(stack, tmp_path, "--host", "theirs"))["host theirs"] == "changed"
    (host,) = api.host.get(filter={"host": "theirs"}, selectHostGroups=["name"], selectMacros=["macro", "value"])
    assert {one["name"] for one in host["hostgroups"]} == {"of others", "Sharemesh"}
    assert [(one["macro"], one["value"]) for one in host["macros"]] == [("{$SHAREMESH.LOAD}", "9")]


def test_a_second_shape_is_told_besides_the_first(stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    for shape in ("generic", "slack"):
        watch.outcomes(
            watch.provision(stack, tmp_path, "--host", "shapes", "--webhook", "http://127.0.0.1:9/a", "--shape", shape)
        )
    (user,) = api.user.get(filter={"username": "sharemesh-alerts"}, selectMedias=["sendto"])
    assert {one["sendto"] for one in user["medias"]} >= {"webhook", "Slack"}


def test_the_way_sidecars_connect_is_set(stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("5a" * 32)
    psk = ("--tls-accept", "psk", "--psk-identity", "machine 1", "--psk-file", str(key))
    cert = ("--tls-accept", "cert", "--tls-subject", "CN=sidecar")
    for arguments, accepts in ((("--tls-accept", "unencrypted"), "1"), (psk, "2"), (cert, "4")):
        watch.outcomes(watch.provision(stack, tmp_path, "--host", "encrypted", *arguments))
        (host,) = api.host.get(filter={"host": "encrypted"}, output=["tls_accept", "tls_subject"])
        assert (host["tls_accept"], host["tls_subject"]) == (accepts, "CN=sidecar" if accepts == "4" else "")
    # A run that says nothing of it leaves it.
    assert set(watch.outcomes(watch.provision(stack, tmp_path, "--host", "encrypted")).values()) == KEPT


def test_an_api_token_does_as_well_and_the_environment_does_not_interfere(
    stack: Stack, api: ZabbixAPI, tmp_path: Path
) -> None:
    (token,) = api.token.create(name="of a test", userid="1")["tokenids"]
    file = tmp_path / "token"
    file.write_text(api.token.generate(token)[0]["token"] + "\n")
    arguments = ("--url", stack.url, "--token", str(file), "--host", "by-token")
    done = watch.command(*arguments, ZABBIX_USER="nobody", ZABBIX_PASSWORD="wrong")
    assert watch.outcomes(done)["host by-token"] == "made"


def test_a_wrong_password_is_said_and_never_shown(stack: Stack, tmp_path: Path) -> None:
    done = watch.provision(stack, tmp_path, "--host", "never", password="hunter2hunter2")
    assert done.code == 2
    assert "--user, --password-file: Zabbix lets nobody in by it: Incorrect user name or password" in done.err
    assert "hunter2" not in done.out + done.err


def test_a_session_ends_with_the_command(stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    logout = 4

    def logouts() -> int:
        return int(api.auditlog.get(countOutput=True, filter={"action": logout}))

    before = logouts()
    watch.outcomes(watch.provision(stack, tmp_path, "--host", "leaves"))
    assert logouts() == before + 1


def test_a_wrong_token_is_said(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0" * 64)
    done = watch.run("--url", stack.url, "--token", str(file), "--host", "never")
    assert (done.code, done.out) == (2, "")
    assert "--token: Zabbix lets nobody in by it" in done.err


def test_somebody_who_may_not_is_told_before_anything_is_made(stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    (group,) = api.usergroup.create(name="guests of a test")["usrgrpids"]
    role = api.role.get(filter={"type": 2}, output=["roleid"])[0]["roleid"]
    api.user.create(username="guest-1", passwd="x9!kLmQ2rT7", roleid=role, usrgrps=[{"usrgrpid": group}])
    file = tmp_path / "password"
    file.write_text("x9!kLmQ2rT7")
    done = watch.run("--url", stack.url, "--user", "guest-1", "--password-file", str(file), "--host", "never")
    assert (done.code, done.out) == (2, "")
    assert "guest-1 is no Super admin" in done.err
    assert api.host.get(filter={"host": "never"}) == []


def test_a_page_that_is_no_zabbix_is_said(stack: Stack, page: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("any")
    for url in (page, f"{stack.url}/nothing"):
        done = watch.run("--url", url, "--user", "Admin", "--password-file", str(file), "--host", "never")
        assert done.code == 2
        assert "--url: no Zabbix API is at" in done.err


def test_a_zabbix_that_is_away_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        file = tmp_path / "password"
        file.write_text("any")
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = watch.run("--url", url, "--user", "Admin", "--password-file", str(file), "--host", "never")
    assert done.code == 1
    assert "Connection refused" in done.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--host: name the machines' hosts"),
        (("--host", "a/b"), "'a/b' is no name of a host"),
        (("--host", "sharemesh"), "the mesh needs one of its own"),
        (("--host", "a"), "give --token FILE, or --user NAME with --password-file FILE"),
        (("--host", "a", "--user", "Admin"), "give --token FILE, or --user NAME with --password-file FILE"),
        (("--host", "a", "--token", "no/such"), "--token: no/such cannot be read"),
        (("--host", "a", "--wanted", "redeem"), "is not SERVICE=N"),
        (("--host", "a", "--webhook", "example"), "--webhook: give a URL"),
        (("--host", "a", "--webhook", "http://a", "--secret-file", "x"), "--secret-file is for DingTalk's signature"),
        (("--host", "a", "--tls-accept", "psk"), "belong together"),
        (("--host", "a", "--tls-subject", "CN=a"), "are for --tls-accept cert"),
    ],
)
def test_a_flag_that_makes_no_sense_is_named(arguments: tuple[str, ...], complaint: str) -> None:
    done = watch.run("--url", "http://127.0.0.1:9", *arguments)
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err
