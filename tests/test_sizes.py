"""However much a merchant writes, every answer fits in the 4 MiB that clients of gRPC take."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from services.audit import lexicon
from services.audit.judge import judge
from services.audit.matcher import Matcher
from services.audit.views import finding_views
from services.chassis import parameters
from services.chassis.wire import to_message
from services.journey import content
from services.journey.people import refusal_of
from sharemesh.v1 import audit_pb2, entry_pb2, promotion_pb2, publish_pb2, redeem_pb2, share_pb2
from tests.mesh import Mesh, request_id
from tests.world import World

MOST = 4 * 1024 * 1024
STORE_BYTES = 60_000


@pytest.fixture
def world(mesh: Mesh) -> World:
    return World(mesh)


@pytest.fixture
def small_pages() -> Iterator[None]:
    before = parameters.swap(replace(parameters.current(), page_bytes=int(2.5 * STORE_BYTES)))
    yield
    parameters.swap(before)


def talkative(world: World) -> str:
    """A store that says as much as the rules let it."""
    store = content.store(world.merchant, world.image)
    del store.hot_items[:]
    for number in range(30):
        store.hot_items.append(
            promotion_pb2.HotItem(item=f"{number}" * 32, title="🍲" * 60, description="🍲" * 300, price=content.yuan(1))
        )
    store.description = "🍲" * 2000
    return world.lin.entry.CreateStore(entry_pb2.CreateStoreRequest(store=store, request_id=request_id())).name


def shown_in(world: World, *stores: str) -> str:
    """The name of a draft that shows these stores."""
    activity = world.activity_of_lin()
    activity.terms.scope.stores[:] = stores
    return world.lin.entry.CreateActivity(
        entry_pb2.CreateActivityRequest(activity=activity, request_id=request_id())
    ).name


def submit(world: World, activity: str) -> entry_pb2.Activity:
    return world.lin.publish.SubmitActivity(publish_pb2.SubmitActivityRequest(name=activity, request_id=request_id()))


def pages(method: Callable[[Any], Any], request: Any) -> Iterator[Any]:
    """Every page of a list, each asked for whole."""
    request.page_size = 200
    while True:
        yield (page := method(request))
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def test_a_page_ends_early_and_no_row_is_lost(world: World, small_pages: None) -> None:
    stores = [talkative(world) for _ in range(5)]
    activities = [submit(world, shown_in(world, store)).name for store in stores]
    listed = [page.stores for page in pages(world.lin.entry.ListStores, entry_pb2.ListStoresRequest())]
    assert [store.name for page in listed for store in page] == [*stores[::-1], world.store]
    assert [len(page) for page in listed] == [2, 2, 2]
    offers = [page.offers for page in pages(world.alice.redeem.ListOffers, redeem_pb2.ListOffersRequest())]
    assert [offer.activity for page in offers for offer in page] == activities[::-1]
    shareables = [page.shareables for page in pages(world.jie.share.ListShareable, share_pb2.ListShareableRequest())]
    assert [one.activity for page in shareables for one in page] == activities[::-1]
    assert [len(page) for page in offers] == [len(page) for page in shareables] == [2, 2, 1]


def test_a_row_above_the_limit_is_a_page_of_its_own(world: World) -> None:
    stores = [talkative(world) for _ in range(2)]
    before = parameters.swap(replace(parameters.current(), page_bytes=10))
    try:
        listed = [page.stores for page in pages(world.lin.entry.ListStores, entry_pb2.ListStoresRequest())]
    finally:
        parameters.swap(before)
    assert [[store.name for store in page] for page in listed] == [[name] for name in (*stores[::-1], world.store)]


def test_a_snapshot_that_no_message_would_hold_is_neither_shown_nor_submitted(world: World) -> None:
    draft = shown_in(world, *(talkative(world) for _ in range(10)))
    preview = entry_pb2.PreviewActivityRequest(name=draft)
    for refused in (lambda: submit(world, draft), lambda: world.lin.entry.PreviewActivity(preview)):
        with pytest.raises(grpc.RpcError) as refusal:
            refused()
        assert refusal_of(refusal.value)[:2] == ("INVALID_ARGUMENT", "INVALID_FIELD")
    kept = world.lin.entry.GetActivity(entry_pb2.GetActivityRequest(name=draft))
    assert kept.state == entry_pb2.ACTIVITY_STATE_DRAFT


def test_the_worst_text_is_told_in_one_message_that_names_every_term() -> None:
    terms = lexicon.load()
    worst = "。".join(term.text for term in terms.terms) * 40
    judgement = judge([("description", worst)], Matcher(terms))
    views = finding_views(judgement.findings, {"description": worst})
    assert {view["term"] for view in views} == {finding.term for finding in judgement.findings}
    assert to_message(audit_pb2.Audit, {"findings": views}).ByteSize() < MOST / 2
