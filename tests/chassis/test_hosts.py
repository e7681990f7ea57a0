import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from local import mariadb
from services.chassis import database, hosts, stores
from services.chassis.database import Database, proxy
from services.chassis.errors import Unavailable
from services.chassis.hosts import Address, Hosts
from services.chassis.stores import MariaStore

A, B, C = ("a", 3306), ("b", 3306), ("c", 3306)


@dataclass
class Relay:
    """A second address of a server, that can be away: it passes bytes on while it is open."""

    port: int
    accepted: int = 0
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def relayed(port: int, to: int) -> Iterator[Relay]:
    relay = Relay(port)
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", port)))
        thread = threading.Thread(target=pass_on, args=(relay, listener, to, held))
        thread.start()
        try:
            yield relay
        finally:
            relay.closing.set()
            thread.join()


def pass_on(relay: Relay, listener: socket.socket, to: int, held: ExitStack) -> None:
    other_end: dict[socket.socket, socket.socket] = {}
    while not relay.closing.is_set():
        for ready in select.select([listener, *other_end], [], [], 0.02)[0]:
            if ready is listener:
                near = held.enter_context(listener.accept()[0])
                far = held.enter_context(socket.create_connection(("127.0.0.1", to)))
                other_end |= {near: far, far: near}
                relay.accepted += 1
            elif data := ready.recv(65536):
                other_end[ready].sendall(data)
            else:
                other_end.pop(ready).shutdown(socket.SHUT_WR)


@pytest.fixture
def closed_port() -> int:
    """One on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bound(*ports: int) -> Database:
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    return database.bind(f"mysql://root@{places}/chassis", pool=2)


def answer() -> int:
    (number,) = proxy.execute_sql("SELECT 7").fetchone()
    return int(number)


def test_the_first_host_that_is_there_is_used(maria: mariadb.Server, closed_port: int) -> None:
    maria.fresh("chassis")
    db = bound(closed_port, maria.port)
    assert db.run_here(answer) == 7
    assert db.ping()
    db.close()


def test_none_of_the_hosts_being_there_is_unavailable(closed_port: int) -> None:
    db = bound(closed_port, 1)
    with pytest.raises(Unavailable, match="DATABASE_UNAVAILABLE"):
        db.run_here(answer)
    assert not db.ping()
    db.close()


def test_a_wrong_password_is_told_and_not_tried_elsewhere(maria: mariadb.Server, closed_port: int) -> None:
    maria.fresh("chassis")
    with relayed(closed_port, maria.port) as relay:
        store = stores.store_of(f"mysql://root:wrong@127.0.0.1:{maria.port},127.0.0.1:{closed_port}/chassis")
        with pytest.raises(Exception, match="Access denied"):
            store.connect()
        assert relay.accepted == 0


def test_connections_leave_a_host_that_is_lost_and_go_back_when_a_health_check_finds_it(
    maria: mariadb.Server, closed_port: int
) -> None:
    maria.fresh("chassis")
    db = bound(closed_port, maria.port)
    with relayed(closed_port, maria.port) as relay:
        assert db.run_here(answer) == 7
        assert relay.accepted == 1
    assert db.run_here(answer) == 7  # On the second host.
    with relayed(closed_port, maria.port) as relay:
        assert db.run_here(answer) == 7
        assert relay.accepted == 0, "a caller waited for the look whether the host is back"
        assert db.ping()
        before = relay.accepted
        db.ping()
        assert db.run_here(answer) == 7
        assert relay.accepted == before + 1, "its own connection moved back, once"
        db.run_here(answer)
        assert relay.accepted == before + 1
    db.close()


def test_a_host_that_failed_somebody_is_tried_last_until_it_answers() -> None:
    three = Hosts((A, B, C))
    assert three.order() == [A, B, C]
    assert three.is_first(A)
    assert three.to_try_again() is None
    three.failed(A)
    assert three.order() == [B, C, A]
    assert three.is_first(B)
    three.failed(B)
    assert three.to_try_again() == A
    three.failed(A)
    assert three.to_try_again() == B
    assert three.order() == [C, A, B]
    three.answered(A)
    assert three.is_first(A)
    assert not three.is_first(C)


def test_an_only_host_is_always_the_first() -> None:
    one = Hosts((A,))
    one.failed(A)
    assert one.is_first(A)
    assert one.to_try_again() is None


def test_a_url_names_hosts_in_order() -> None:
    store = stores.store_of("mysql://us%40er:p%2Cw@one,two:3307,10.0.0.3:3308/shop")
    assert isinstance(store, MariaStore)
    assert store.addresses == (("one", 3306), ("two", 3307), ("10.0.0.3", 3308))
    assert (store.user, store.password, store.name) == ("us@er", "p,w", "shop")
    assert stores.store_of("mysql://u:a,b@one/shop").addresses == (("one", 3306),)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text, addresses",
    [("db", [("db", 3306)]), ("db:1,[::1]:2,[fe80::1]", [("db", 1), ("::1", 2), ("fe80::1", 3306)])],
)
def test_hosts_are_names_or_addresses_with_or_without_a_port(text: str, addresses: list[Address]) -> None:
    assert hosts.parse(text, 3306) == tuple(addresses)


@pytest.mark.parametrize(
    "places, words",
    [
        ("one,", "at place 2"),
        (",two", "at place 1"),
        ("one,,three", "at place 2"),
        ("one,two:", "at place 2"),
        ("one:x,two", "at place 1"),
        ("one:0,two", "at place 1"),
        ("one,two:65536", "at place 2"),
        ("one, two", "at place 2"),
        ("one,two:3306:3307", "at place 2"),
        ("one,two,one:3306", "twice"),
        ("one;two", "is not mysql://"),
        ("", "is not"),
    ],
)
def test_a_malformed_list_of_hosts_is_refused_and_not_repeated(places: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as complaint:
        stores.store_of(f"mysql://user:hunter2@{places}/name")
    assert "hunter2" not in str(complaint.value)
    assert not places or places not in str(complaint.value)
