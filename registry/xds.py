"""The xDS protocol, aggregated and state of the world: who subscribed to what, was told what, and is to be told now.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf.any_pb2 import Any as Packed

from registry.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resources
from registry.sockets import SECRETS
from registry.view import GATEWAY, Caller

_log = logging.getLogger("sharemesh.registry")

# Clusters before the routes that lead to them, so that no call is sent to what its client has not heard of.
ORDER = (CLUSTERS, ENDPOINTS, LISTENERS, ROUTES)
# Of these an answer is the whole truth: what it lacks does not exist. Of the others it is what is known.
_WHOLE = (LISTENERS, CLUSTERS)
_ALL = "*"
# Zones are what callers say: so many of them are worth remembering.
_MOST_CALLERS = 256


@dataclass
class _Subscription:
    """One type on one stream."""

    names: frozenset[str]
    is_wildcard: bool
    # A name was asked for since the last answer.
    is_asked: bool = True
    nonce: str = ""
    sent: Mapping[str, bytes] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        return self.is_wildcard or name in self.names


class Session:
    """One client's stream: requests in, the responses that are due out."""

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self._node = ""
        self._subscriptions: dict[str, _Subscription] = {}
        self._answers = 0

    def take(self, request: Any) -> None:
        """Learn from a DiscoveryRequest whom this is, and what it wants, has got, or refuses."""
        if self.caller is None:
            # Only the first request has to say it.
            self._node, self.caller = request.node.id, _caller(request.node)
        known = self._subscriptions.get(request.type_url)
        if known is None:
            if request.type_url in ORDER:
                self._subscriptions[request.type_url] = _first(request)
            return
        if request.response_nonce != known.nonce:
            # About an answer before the last one: what it says to the last is under way.
            return
        if request.HasField("error_detail"):
            # Sent again it would be refused again: it waits until the content changes.
            told = {"type": request.type_url, "node": self._node, "error": request.error_detail.message}
            _log.warning("answer_refused", told)
        self._resubscribe(known, frozenset(request.resource_names))

    def due(self, resources: Resources) -> Iterable[Any]:
        """The DiscoveryResponses that bring the client up to date, in the order in which it must get them."""
        for kind in ORDER:
            if kind in self._subscriptions:
                yield from self._due(kind, self._subscriptions[kind], resources[kind])

    def _resubscribe(self, known: _Subscription, names: frozenset[str]) -> None:
        if known.is_wildcard and not names:
            return
        known.is_wildcard = _ALL in names
        known.is_asked |= bool(names - known.names)
        known.names = names
        # What it has let go of it may have forgotten.
        known.sent = {name: content for name, content in known.sent.items() if known.wants(name)}

    def _due(self, kind: str, known: _Subscription, offered: Mapping[str, Packed]) -> Iterable[Any]:
        wanted = {name: packed for name, packed in offered.items() if known.wants(name)}
        content = {name: packed.value for name, packed in wanted.items()}
        is_new = any(known.sent.get(name) != value for name, value in content.items())
        if kind in _WHOLE:
            is_new = is_new or known.is_asked or len(content) < len(known.sent)
        if not is_new:
            return
        if kind == CLUSTERS and ENDPOINTS in self._subscriptions:
            # Envoy takes a changed cluster in use only once it has been told its endpoints again.
            endpoints = self._subscriptions[ENDPOINTS]
            same = {name for name, value in content.items() if known.sent.get(name) == value}
            endpoints.sent = {name: value for name, value in endpoints.sent.items() if name in same}
        self._answers += 1
        known.is_asked, known.nonce, known.sent = False, str(self._answers), content
        yield discovery_pb2.DiscoveryResponse(
            version_info=_version(content), nonce=known.nonce, type_url=kind, resources=wanted.values()
        )


class Discovery(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc] # Ships no types.
    """The ADS service: nothing is said before the first publish(), and then what was published last."""

    def __init__(self) -> None:
        self._build: Callable[[Caller], Resources] | None = None
        self._built: dict[Caller, Resources] = {}
        self._streams: set[asyncio.Event] = set()
        self._is_closed = False

    def publish(self, build: Callable[[Caller], Resources]) -> None:
        """From now on, tell what `build` makes for each kind of caller."""
        self._build, self._built = build, {}
        self._wake()

    def close(self) -> None:
        """End all streams in good order; their clients go to another replica."""
        self._is_closed = True
        self._wake()

    async def StreamAggregatedResources(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        """Answers as long as the client stays; a slow one is told the latest, not all that was."""
        session, woken = Session(), asyncio.Event()
        self._streams.add(woken)
        reader = asyncio.create_task(_read(requests, session, woken))
        try:
            while not (self._is_closed or reader.done()):
                await woken.wait()
                woken.clear()
                for response in self._due(session):
                    yield response
        finally:
            self._streams.discard(woken)
            reader.cancel()
            # Whatever its client did, it is the end of this stream alone.
            await asyncio.gather(reader, return_exceptions=True)

    def _due(self, session: Session) -> Iterable[Any]:
        if self._build is None or session.caller is None or self._is_closed:
            return ()
        if session.caller not in self._built:
            if len(self._built) >= _MOST_CALLERS:
                self._built.clear()
            self._built[session.caller] = self._build(session.caller)
        return list(session.due(self._built[session.caller]))

    def _wake(self) -> None:
        for woken in self._streams:
            woken.set()


async def _read(requests: AsyncIterator[Any], session: Session, woken: asyncio.Event) -> None:
    try:
        async for request in requests:
            session.take(request)
            woken.set()
    finally:
        # The client has ended: so does its stream.
        woken.set()


def _first(request: Any) -> _Subscription:
    """What the first request of a type wants; of listeners and clusters no names mean all."""
    names = frozenset(request.resource_names)
    return _Subscription(names, is_wildcard=_ALL in names or (not names and request.type_url in _WHOLE))


def _caller(node: Any) -> Caller:
    secrets = node.metadata.fields[SECRETS].string_value if SECRETS in node.metadata.fields else ""
    return Caller(node.locality.zone, is_gateway=node.cluster == GATEWAY, secrets=secrets)


def _version(content: Mapping[str, bytes]) -> str:
    """The same for the same content, whoever is told it, by whichever replica."""
    digest = hashlib.sha256()
    for name, value in sorted(content.items()):
        digest.update(f"{name} {len(value)} ".encode() + value)
    return digest.hexdigest()[:16]
