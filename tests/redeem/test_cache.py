"""Offers and shareables come from memory, and still nobody sees for long what is over."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from local import mariadb
from services.chassis import database, errors, parameters
from services.chassis.database import Database
from services.journey.people import Person, refusal_of
from services.ledger import supply
from services.schema import lifecycle, migrate
from services.schema.lifecycle import Actor, Why
from services.schema.tables import CustomerCounter, Supply
from sharemesh.v1 import entry_pb2, error_reason_pb2, publish_pb2, redeem_pb2, share_pb2
from tests.mesh import NOON, Mesh, poll, request_id
from tests.redeem import showcase
from tests.share import shop as shops
from tests.share.shop import NOW, Shop, call
from tests.world import World

BOUND = parameters.Parameters.cache_seconds


@pytest.fixture
def world(mesh: Mesh) -> World:
    return World(mesh)


@pytest.fixture
def lasting() -> Iterator[None]:
    """Entries last for a minute, so that what is seen earlier was told within the process."""
    before = parameters.swap(replace(parameters.current(), cache_seconds=60.0, cache_refresh_seconds=60.0))
    yield
    parameters.swap(before)


def offer(who: Person, activity: str) -> redeem_pb2.Offer:
    return who.redeem.GetOffer(redeem_pb2.GetOfferRequest(activity=activity))


def listed(who: Person) -> list[redeem_pb2.Offer]:
    return list(who.redeem.ListOffers(redeem_pb2.ListOffersRequest()).offers)


def shareable(who: Person) -> list[str]:
    return [one.activity for one in who.share.ListShareable(share_pb2.ListShareableRequest()).shareables]


def is_shown(who: Person, activity: str) -> bool:
    """Whether anything shows the activity."""
    try:
        offer(who, activity)
    except grpc.RpcError as error:
        if refusal_of(error).reason != "RESOURCE_NOT_FOUND":
            raise
        return activity in shareable(who) or activity in [one.activity for one in listed(who)]
    return True


def claim(who: Person, activity: str) -> None:
    who.share.ClaimCoupon(share_pb2.ClaimCouponRequest(activity=activity, request_id=request_id()))


def suspend(url: str, uid: str, done: Any) -> None:
    """What a process of the audit does, and when it was committed, on the clock of the machine."""
    db = database.bind(url, pool=1)

    def move() -> None:
        with database.write():
            activity = lifecycle.lock(uid)
            publication = lifecycle.publication_of(activity)
            assert publication is not None
            why = Why(Actor("SERVICE"), NOON)
            supply.follow(lifecycle.move_publication(activity, publication, "SUSPENDED", why))

    db.run_here(move)
    done.send(time.monotonic())
    db.close()


@pytest.mark.usefixtures("lasting")
def test_what_is_told_from_memory_is_what_was_read_for_everybody(world: World) -> None:
    activity = world.published.name
    claim(world.alice, activity)
    callers = [world.mesh.person(), world.alice, world.mesh.person("customer", "bob"), world.jie, world.lin]
    first = [(offer(who, activity), listed(who), shareable(who)) for who in callers]
    world.mesh.db.run_here(lambda: Supply.update(taken=Supply.taken + 1).execute())
    assert [(offer(who, activity), listed(who), shareable(who)) for who in callers] == first
    for one, page, names in first:
        assert (page, names) == ([one], [activity])
    no_token, limit = error_reason_pb2.ERROR_REASON_TOKEN_MISSING, error_reason_pb2.ERROR_REASON_UNSPECIFIED
    assert [one.reason for one, _, _ in first[:3]] == [no_token, limit, limit]
    assert [one.claimed_by_me for one, _, _ in first] == [0, 1, 0, 0, 0]
    assert all(one.message for one, _, _ in first if one.reason)


@pytest.mark.usefixtures("lasting")
def test_what_its_merchant_withdraws_in_this_process_is_gone_at_once(world: World) -> None:
    activity = world.published.name
    assert is_shown(world.alice, activity)
    assert [one.activity for one in listed(world.alice)] == shareable(world.alice) == [activity]
    world.lin.publish.WithdrawActivity(
        publish_pb2.WithdrawActivityRequest(name=activity, reason="售罄", request_id=request_id())
    )
    assert not is_shown(world.alice, activity)


@pytest.mark.usefixtures("lasting")
def test_what_is_published_or_stopped_in_this_process_shows_at_once(world: World) -> None:
    first = world.published.name
    assert shareable(world.alice) == [one.activity for one in listed(world.alice)] == [first]
    second = world.submitted()
    assert second.state == entry_pb2.ACTIVITY_STATE_APPROVED
    assert shareable(world.alice) == [one.activity for one in listed(world.alice)] == [second.name, first]
    assert offer(world.alice, first).can_claim
    world.lin.publish.AdjustSupply(
        publish_pb2.AdjustSupplyRequest(name=first, is_issuing_stopped=True, request_id=request_id())
    )
    assert offer(world.alice, first).reason == error_reason_pb2.ERROR_REASON_ISSUING_STOPPED


def test_what_another_process_suspends_is_shown_to_nobody_who_asks_a_second_later(world: World) -> None:
    activity = world.published.name
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    arguments = world.mesh.settings.database, activity.removeprefix("activities/"), sender
    process = multiprocessing.get_context("spawn").Process(target=suspend, args=arguments)
    process.start()
    asked: list[float] = []
    anybody = world.mesh.person()

    def is_gone() -> bool:
        began = time.monotonic()
        if not is_shown(anybody, activity):
            return True
        asked.append(began)
        return False

    poll(is_gone, 30)
    process.join(30)
    assert process.exitcode == 0
    # Asked again and again, it was seen by then.
    assert max(asked) <= receiver.recv() + BOUND
    for show in (listed, shareable):
        poll(lambda show=show: not show(anybody), 2 * BOUND)  # type: ignore[misc]


def test_what_was_suspended_elsewhere_is_not_shown_to_who_asks_for_the_first_time_since(world: World) -> None:
    activity = world.published.name
    assert is_shown(world.alice, activity)
    world.mesh.db.run_here(lambda: Supply.update(state="SUSPENDED").execute())
    since = time.monotonic()
    poll(lambda: time.monotonic() > since + BOUND)
    with pytest.raises(grpc.RpcError) as refusal:
        offer(world.alice, activity)
    assert refusal_of(refusal.value)[:2] == ("NOT_FOUND", "RESOURCE_NOT_FOUND")


@pytest.mark.usefixtures("lasting")
def test_who_claims_in_this_process_sees_it_at_once(world: World) -> None:
    activity = world.published.name
    for number in range(3):
        assert offer(world.alice, activity).claimed_by_me == number
        assert [one.claimed_by_me for one in listed(world.alice)] == [number]
        claim(world.alice, activity)


def test_what_was_claimed_elsewhere_is_seen_within_the_bound(world: World) -> None:
    activity = world.published.name
    claim(world.alice, activity)
    assert offer(world.alice, activity).claimed_by_me == 1
    left = offer(world.alice, activity).remaining

    def elsewhere() -> None:
        CustomerCounter.update(claims=7).execute()
        Supply.update(taken=Supply.taken + 6).execute()

    world.mesh.db.run_here(elsewhere)
    poll(lambda: offer(world.alice, activity).claimed_by_me == 7, 2 * BOUND)
    poll(lambda: offer(world.alice, activity).remaining < left, 2 * BOUND)


@pytest.mark.usefixtures("lasting")
def test_the_clock_alone_ends_an_offer_that_is_in_memory(world: World) -> None:
    activity = world.published.name
    assert offer(world.alice, activity).can_claim
    assert shareable(world.alice) == [one.activity for one in listed(world.alice)] == [activity]
    world.mesh.clock.advance(days=366)
    alice = world.mesh.person("customer", "alice")
    assert offer(alice, activity).reason == error_reason_pb2.ERROR_REASON_ACTIVITY_ENDED
    assert (listed(alice), shareable(alice)) == ([], [])


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize(
    "terms, hours, before, after",
    [
        # Tests' shops offer from the 1st to the 31st of March, in Shanghai.
        ({}, 12 + 21 * 24, "UNSPECIFIED", "ACTIVITY_ENDED"),
        ({}, -12 - 9 * 24, "ACTIVITY_NOT_STARTED", "UNSPECIFIED"),
        ({"day_stock": 1, "per_customer": 2}, 12, "DAY_STOCK_EXHAUSTED", "UNSPECIFIED"),
    ],
)
def test_an_offer_in_memory_turns_with_the_clock_to_the_moment(
    db: Database, terms: dict[str, Any], hours: int, before: str, after: str
) -> None:
    shop = db.run_here(Shop.open)
    activity = shop.publish(**terms)
    if "day_stock" in terms:
        shops.claim(call("CUSTOMER", "wang"), activity=activity)
    clock = [NOW + timedelta(hours=hours, microseconds=-1)]
    offers = showcase.opened(db, lambda: clock[0])

    async def reasons() -> list[str]:
        told = []
        for _ in range(2):
            offer = redeem_pb2.Offer.FromString(b"".join(await offers.get(call("CUSTOMER", "li"), activity)))
            told.append(error_reason_pb2.ErrorReason.Name(offer.reason))
            clock[0] += timedelta(microseconds=1)
        return told

    assert asyncio.run(reasons()) == [f"ERROR_REASON_{before}", f"ERROR_REASON_{after}"]


def test_without_the_database_an_offer_is_unavailable_rather_than_stale(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    server = mariadb.start(tmp_path_factory.mktemp("away"))
    try:
        db = database.bind(server.fresh("away"), pool=2)
        db.run_here(migrate.up)
        activity = db.run_here(Shop.open).publish()
        offers = showcase.opened(db)

        async def go() -> None:
            first = await offers.get(call("CUSTOMER", "li"), activity)
            server.process.kill()
            await asyncio.to_thread(server.process.wait)
            gone = time.monotonic()
            served: list[float] = []

            async def ask_on() -> None:
                while True:
                    began = time.monotonic()
                    assert await offers.get(call("CUSTOMER", "li"), activity) == first
                    served.append(began)
                    await asyncio.sleep(0.01)

            with pytest.raises(errors.Unavailable, match="DATABASE_UNAVAILABLE"):
                await ask_on()
            assert max(served, default=gone) <= gone + BOUND

        asyncio.run(go())
        db.close()
    finally:
        server.stop()
