"""The registry: who serves what, where and how well, and the keys that steer it; the one module that knows Consul."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import aiohttp
import consul  # type: ignore[import-untyped]
import consul.aio  # type: ignore[import-untyped]
from consul.callback import CB  # type: ignore[import-untyped]

from registry import config
from registry.entries import Lock, instances_of, lock_of, state_of, text_of, values_of
from registry.instance import CRITICAL, PASSING, Instance

T = TypeVar("T")
_log = logging.getLogger("sharemesh.registry")

# An agent on this machine answers in milliseconds, one that waits for a new leader in a second or two; past that the
# next address is asked.
CALL_SECONDS = 2.0
# Consul answers a blocking query after this at the latest, and adds up to a sixteenth so that all do not come at once.
# An agent that hangs, or whose machine has lost its power, is only noticed when it is late: hence not Consul's minutes.
WAIT_SECONDS = 5
# What shows nobody is asked again this soon: a token that was mended changes no index, so no blocking query returns.
DOUBT_SECONDS = 2
WATCH_SECONDS = WAIT_SECONDS + WAIT_SECONDS / 16 + CALL_SECONDS
# How often Consul asks an instance for its health, and how long it may take: less, so that checks do not pile up.
CHECK_INTERVAL = "1s"
CHECK_TIMEOUT = "900ms"
# An instance that went without a word is forgotten after this; Consul takes no less than a minute.
FORGET_AFTER = "1m"
# Pauses between attempts while Consul is away double from the first to the longest: back within two seconds, and the
# jitter keeps a fleet from coming at once.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


class RegistryAway(Exception):
    """Consul does not answer, or refuses; the message says at which address and why."""


class Consul:
    """One Consul by any of its addresses, tried in turn from the one that answered last.

    To be used as an async context manager. `token` gives the ACL token anew for each call; `tls` is the folder of this
    process's own certificate (ca.pem, cert.pem, key.pem), read anew when it changes.
    """

    def __init__(self, place: config.Consul, token: Callable[[], str] | None = None, tls: Path | None = None) -> None:
        self._place = place
        self._token = token or str
        self._tls = tls
        self._at = 0
        self._is_open = False
        self._clients: dict[str, tuple[object, Any]] = {}
        self._retired: list[Any] = []

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_open = False
        clients = [client for _, client in self._clients.values()] + self._retired
        self._clients, self._retired = {}, []
        for client in clients:
            await client.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The agents, each host:port."""
        return self._place.addresses

    async def register(self, instance: Instance, is_tls: bool, has_passed: bool = False, at: str = "") -> None:
        """Make the instance known to the agent at one of the addresses, or to the first that answers.

        Again is harmless. It is critical until Consul's own first check has passed, under a second later: a dead port
        never gets a call. `has_passed` skips that, for one that Consul knew as good before it forgot it. Raises
        RegistryAway.
        """

        async def ask(client: Any, token: str) -> None:
            _done(
                await client.agent.service.register(
                    instance.service,
                    service_id=instance.id,
                    address=instance.host,
                    port=instance.port,
                    tags=instance.tags,
                    meta={"metrics": instance.metrics} if instance.metrics else None,
                    check=_check(instance, is_tls, has_passed),
                    token=token,
                )
            )

        await (self._ask_at(at, ask) if at else self._ask(ask))

    async def deregister(self, id: str) -> None:
        """Forget the instance at every address, since it may have been registered at any; RegistryAway if all fail."""

        async def ask(client: Any, token: str) -> None:
            # To deregister what an agent does not know is an error to it.
            if id in await client.agent.services(filter_expr=f'ID == "{id}"', token=token):
                _done(await client.agent.service.deregister(id, token=token))

        answers = await asyncio.gather(
            *(self._ask_at(address, ask) for address in self._place.addresses), return_exceptions=True
        )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(failed) == len(answers):
            raise RegistryAway("; ".join(map(str, failed)))

    async def state_of(self, id: str, at: str = "") -> str | None:
        """The instance's state by the agent at one of the addresses, or the first that answers; None: unknown there.

        Raises RegistryAway.
        """

        async def ask(client: Any, token: str) -> str | None:
            checks = await client.agent.checks(filter_expr=f'ServiceID == "{id}"', token=token)
            # Nothing at all, not even an empty object, is py-consul's word for a 404.
            _done(checks is not None)
            return state_of(checks.values()) if checks else None

        return await (self._ask_at(at, ask) if at else self._ask(ask))

    async def instances(self, service: str) -> list[Instance]:
        """All that are registered, whatever their state, in order. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> list[Instance]:
            return instances_of((await _found(client, service, token))[1])

        return await self._ask(ask)

    async def put(self, key: str, value: str) -> None:
        """Set a key. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> None:
            _done(await client.kv.put(key, value.encode(), token=token))

        await self._ask(ask)

    async def delete(self, key: str) -> None:
        """Remove a key, if it is there. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> None:
            _done(await client.kv.delete(key, token=token))

        await self._ask(ask)

    async def value(self, key: str) -> str | None:
        """What the key is set to; None: it is not. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> str | None:
            found = (await client.kv.get(key, token=token))[1]
            return None if found is None else text_of(found["Value"])

        return await self._ask(ask)

    async def values(self, prefix: str) -> dict[str, str]:
        """All keys that begin so, with their values. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> dict[str, str]:
            return values_of((await client.kv.get(prefix, recurse=True, token=token))[1])

        return await self._ask(ask)

    def watch_instances(self, service: str, is_any_state: bool = False) -> AsyncIterator[list[Instance]]:
        """The passing instances now, and again whenever they have changed; while Consul is away, nothing.

        [] is also what Consul answers to a token that may not see the service. `is_any_state`: those that do not pass,
        too.
        """

        wait = WAIT_SECONDS
        wanted = {} if is_any_state else {"passing": "1"}

        async def ask(index: int | None, client: Any, token: str) -> tuple[int, list[Instance]]:
            nonlocal wait
            more = wanted | {"wait": f"{wait}s"} | ({"index": str(index)} if index else {})
            at, nodes = await _found(client, service, token, **more)
            wait = WAIT_SECONDS if nodes else DOUBT_SECONDS
            return at, instances_of(nodes)

        return self._watch(service, ask)

    def watch_values(self, prefix: str) -> AsyncIterator[dict[str, str]]:
        """The keys that begin so with their values now, and again whenever they have changed; likewise."""

        async def ask(index: int | None, client: Any, token: str) -> tuple[int, dict[str, str]]:
            answer = client.kv.get(prefix, recurse=True, index=index, wait=f"{WAIT_SECONDS}s", token=token)
            at, entries = await answer
            return int(at), values_of(entries)

        return self._watch(prefix, ask)

    async def session(self, name: str, ttl: int, delay: int) -> str:
        """A new session, which ends unless it is renewed within `ttl` seconds (Consul takes up to twice that).

        A lock that it holds then is free `delay` seconds later. Raises RegistryAway.
        """

        async def ask(client: Any, token: str) -> str:
            with _needing("session:write"):
                # Without checks: by default it would end with the agent that it was made with, whom all can do without.
                return str(await client.session.create(name, checks=[], ttl=ttl, lock_delay=delay, token=token))

        return await self._ask(ask)

    async def renew(self, session: str) -> bool:
        """Whether the session still is, and goes on. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> bool:
            with _needing("session:write"):
                try:
                    await client.session.renew(session, token=token)
                except consul.NotFound:
                    return False
            return True

        return await self._ask(ask)

    async def end(self, session: str) -> None:
        """End the session. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> None:
            with _needing("session:write"):
                _done(await client.session.destroy(session, token=token))

        await self._ask(ask)

    async def acquire(self, key: str, value: str, session: str) -> bool:
        """Lock the key for the session, and set it, unless another has it or had it a moment ago. RegistryAway."""
        return await self._lock(key, value, acquire=session)

    async def release(self, key: str, session: str) -> None:
        """Free the key, and empty it, if it is the session's; others may have it at once. Raises RegistryAway."""
        await self._lock(key, "", release=session)

    async def _lock(self, key: str, value: str, **how: str) -> bool:
        async def ask(client: Any, token: str) -> bool:
            with _needing("key:write"):
                return bool(await client.kv.put(key, value.encode(), **how, token=token))

        return await self._ask(ask)

    async def lock(self, key: str) -> Lock:
        """Who holds the key now. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> Lock:
            with _needing("key:read"):
                return lock_of((await client.kv.get(key, token=token))[1])

        return await self._ask(ask)

    def watch_lock(self, key: str) -> AsyncIterator[Lock]:
        """Who holds the key now, and again whenever that has changed; while Consul is away, nothing."""

        async def ask(index: int | None, client: Any, token: str) -> tuple[int, Lock]:
            at, entry = await client.kv.get(key, index=index, wait=f"{WAIT_SECONDS}s", token=token)
            return int(at), lock_of(entry)

        return self._watch(key, ask)

    async def leader(self, at: str) -> str:
        """The leader, host:port of its Raft, by the agent at one of the addresses; "": none. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> str:
            return str(await client.status.leader() or "")

        return await self._ask_at(at, ask)

    async def servers(self, at: str) -> list[str]:
        """The servers, host:port of their Raft each, by the agent at one of the addresses. Raises RegistryAway."""

        async def ask(client: Any, token: str) -> list[str]:
            return [str(server) for server in await client.status.peers() or ()]

        return await self._ask_at(at, ask)

    async def _watch(
        self, what: str, ask: Callable[[int | None, Any, str], Awaitable[tuple[int, T]]]
    ) -> AsyncIterator[T]:
        """Yields each new answer, by Consul's rules for blocking queries."""
        query = _Query(ask)
        last: T | None = None
        failures = 0
        while True:
            try:
                answer = await self._ask(query, WATCH_SECONDS)
            except RegistryAway as error:
                if not failures:
                    _log.warning("watch_interrupted", {"watch": what, "error": str(error)})
                query.forget()
                await asyncio.sleep(pause(failures))
                failures += 1
                continue
            if failures:
                _log.warning("watch_resumed", {"watch": what})
                failures = 0
            if last is not None and answer == last:
                # Rare, unless whoever answers does not wait: never ask him in a tight loop.
                await asyncio.sleep(pause(0))
                continue
            last = answer
            yield answer

    async def _ask(self, ask: Callable[[Any, str], Awaitable[T]], seconds: float = CALL_SECONDS) -> T:
        """The first answer of any address, each within `seconds`; the next call begins where this one ended."""
        complaints = []
        for _ in self._place.addresses:
            at = self._at
            try:
                return await self._ask_at(self._place.addresses[at], ask, seconds)
            except RegistryAway as error:
                complaints.append(str(error))
                if self._at == at:
                    self._at = (at + 1) % len(self._place.addresses)
        raise RegistryAway("; ".join(complaints))

    async def _ask_at(self, address: str, ask: Callable[[Any, str], Awaitable[T]], seconds: float = CALL_SECONDS) -> T:
        if not self._is_open:
            raise RuntimeError("Consul is asked outside of its async context")
        try:
            async with asyncio.timeout(seconds):
                return await ask(await self._client(address), self._token())
        except TimeoutError as error:
            raise RegistryAway(f"{address} gave no answer within {seconds:.0f} s") from error
        except Exception as error:
            # py-consul passes on whatever aiohttp, ssl and json raise, and what stands there may be no Consul at all.
            raise RegistryAway(f"{address} {_complaint(error)}") from error

    async def _client(self, address: str) -> Any:
        """The client of this address, made in the loop that uses it, and anew when the certificate was replaced."""
        files = [self._tls / name for name in TLS_FILES] if self._tls and self._place.is_tls else []
        stamp = [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files]
        known, client = self._clients.get(address, (None, None))
        if known == stamp:
            return client
        host, port = config.split(address)
        ca, *own = map(str, files) if files else (True,)
        made = consul.aio.Consul(
            f"[{host}]" if ":" in host else host,
            port,
            scheme="https" if self._place.is_tls else "http",
            verify=ca if self._place.is_tls else False,
            cert=tuple(own) or None,
            # Servers that come back read their log from its beginning, and would tell of what they have read so far:
            # instances that died long ago, passing. https://developer.hashicorp.com/consul/api-docs/features/consistency
            consistency="consistent",
        )
        # Else CONSUL_HTTP_TOKEN of the environment would be sent wherever there is no token.
        made.token = None
        self._clients[address] = (stamp, made)
        if client is not None:
            # Its watches under way end as they would; the one before it has had that time.
            self._retired.append(client)
            kept = len(self._place.addresses)
            # Taken off the list before the first wait: other calls come by here meanwhile.
            ended, self._retired = self._retired[:-kept], self._retired[-kept:]
            for old in ended:
                await old.close()
        return made


class _Query(Generic[T]):
    """A blocking query, and where in Consul's history its last answer was."""

    def __init__(self, ask: Callable[[int | None, Any, str], Awaitable[tuple[int, T]]]) -> None:
        self._ask = ask
        self._client: Any = None
        self._index: int | None = None

    async def __call__(self, client: Any, token: str) -> T:
        # An index is of the one who gave it: in another's future it would be waited for.
        index = self._index if client is self._client else None
        told, answer = await self._ask(index, client, token)
        self._client, self._index = client, next_index(index, told)
        return answer

    def forget(self) -> None:
        """Ask for the present state next, since even the same address may be a Consul that begins anew."""
        self._index = None


async def _found(client: Any, service: str, token: str, **more: str) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """The index and the entries of a service's instances; `more` are parameters of the query.

    py-consul's own health.service() knows no consistency.
    """
    params = [("consistent", "1"), *more.items()]
    headers = client.prepare_headers(token)
    index, nodes = await client.http.get(
        CB.json(index=True), f"/v1/health/service/{service}", params=params, headers=headers
    )
    return int(index), nodes


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row before the last: doubling up to a limit, and jittered."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


def next_index(asked: int | None, told: int) -> int | None:
    """The index to ask with after this answer to a blocking query; None to ask at once, for the present state.

    https://developer.hashicorp.com/consul/api-docs/features/blocking: an index that goes backwards is one of another
    history, and 0 would make a query that does not block.
    """
    return None if asked is not None and told < asked else max(told, 1)


def _check(instance: Instance, is_tls: bool, has_passed: bool) -> dict[str, object]:
    check: dict[str, object] = {
        "GRPC": f"{instance.address}/{instance.health}" if instance.health else instance.address,
        "Interval": CHECK_INTERVAL,
        "Timeout": CHECK_TIMEOUT,
        "DeregisterCriticalServiceAfter": FORGET_AFTER,
        "Status": PASSING if has_passed else CRITICAL,
    }
    if is_tls:
        # A certificate names what its owner is, callers check that; Consul checks health, at an address. (The
        # names are the HTTP API's: py-consul's own "grpc_use_tls" is one that Consul 1.8 refuses.)
        check |= {"GRPCUseTLS": True, "TLSSkipVerify": True}
    return check


@contextmanager
def _needing(right: str) -> Iterator[None]:
    """Says which right it is that an ACL token has not: older Consuls leave it at "Permission denied"."""
    try:
        yield
    except consul.ACLPermissionDenied as error:
        raise consul.ACLPermissionDenied(f"{error} ({right} is needed)") from error


def _complaint(error: Exception) -> str:
    if isinstance(error, consul.ACLPermissionDenied | consul.ACLDisabled):
        said = f"refuses: {error}: check the ACL token"
    elif type(error) is aiohttp.ClientConnectorError and (error.errno or 0) > 0:
        said = f"cannot be asked: {os.strerror(error.errno or 0)}"
    elif isinstance(error, OSError):
        said = f"cannot be asked: {error}"
    else:
        said = f"does not answer as a working Consul does: {str(error) or type(error).__name__}"
    # A stranger's page may be long.
    return " ".join(said.split())[:300]


def _done(is_done: bool) -> None:
    """py-consul says False for a 404."""
    if not is_done:
        raise ValueError("404 Not Found")
