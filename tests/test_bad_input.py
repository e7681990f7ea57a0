"""Whatever is wrong with a request to any RPC: the right refusal, in words of the contract, and nothing written."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.schema import tables
from sharemesh.v1 import entry_pb2, options_pb2
from sharemesh.v1.error_reason_pb2 import ErrorReason
from tests.conftest import empty_on
from tests.contracts import rpcs
from tests.damage import damages, places
from tests.good_requests import INVALID, NO_SUCH, OTHERS, ROWS, Row
from tests.mesh import started
from tests.world import ANYBODY, LIN, MALLORY, World

REASONS = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
# What only an inside could say.
IN_CHINESE = ("accept-language", "zh-CN")
CHINESE = re.compile("[\u4e00-\u9fff]")
INSIDES = re.compile(
    r"Traceback|\.py\b|peewee|pymysql|sqlite|SELECT|INSERT|NoneType|<class|Error\(|object at 0x|site-packages"
)
Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def world(backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all the refusals on a database: they change nothing in it."""
    folder = tmp_path_factory.mktemp("world")
    with started(empty_on(backend, request, folder), folder / "var") as mesh:
        yield World(mesh)


def test_there_is_a_row_for_every_rpc() -> None:
    assert set(ROWS) == set(rpcs())
    writes = {name for name, rpc in rpcs().items() if "request_id" in rpc.descriptor.input_type.fields_by_name}
    assert set(OTHERS) == writes


@pytest.mark.parametrize("rpc", list(ROWS))
def test_bad_input_is_refused_and_changes_nothing(world: World, rpc: str) -> None:
    row = ROWS[rpc]
    request = row.request(world)
    raw, own = request.SerializeToString(), world.metadata(row.who)
    wrong: list[str] = []
    before = rows_of(world)
    for title, headers, status, reason in strangers(world, rpc, row):
        wrong += faults(world, rpc, title, raw, headers, status, reason)
    for damaged in damages(request):
        wrong += faults(world, rpc, damaged.title, damaged.raw, own, INVALID, damaged.reason, damaged.field)
    for title, missing in unknown_names(request):
        wrong += faults(world, rpc, title, missing, own, "NOT_FOUND", "RESOURCE_NOT_FOUND")
    assert not wrong, "\n".join(wrong)
    assert rows_of(world) == before
    for title, (spoil, status, reason) in row.refusals.items():
        spoiled = spoil(world, row.request(world)).SerializeToString()
        before = rows_of(world)
        wrong += faults(world, rpc, title, spoiled, own, status, reason)
        assert rows_of(world) == before or wrong, title
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("rpc", list(OTHERS))
def test_a_request_id_counts_once(world: World, rpc: str) -> None:
    row = ROWS[rpc]
    request = row.request(world)
    own = world.metadata(row.who)
    first = world.send(rpc, request.SerializeToString(), own)
    world.settle()
    before = rows_of(world)
    again = world.send(rpc, request.SerializeToString(), own)
    assert what_it_names(rpc, again) == what_it_names(rpc, first)
    assert rows_of(world) == before
    other = OTHERS[rpc](world, request).SerializeToString()
    before = rows_of(world)
    assert list(faults(world, rpc, "another body", other, own, INVALID, "REQUEST_ID_REUSED")) == []
    assert rows_of(world) == before


def faults(
    world: World, rpc: str, title: str, raw: bytes, headers: Headers, status: str, reason: str, field: str = ""
) -> Iterator[str]:
    """What is wrong with the refusal of these bytes; a `reason` of "" is any, a `field` is to be blamed."""
    try:
        # The status is told in English whatever the caller reads.
        answer = world.send(rpc, raw, [*(one for one in headers if one[0] != "accept-language"), IN_CHINESE])
    except grpc.RpcError as error:
        given = refusal_of(error)
    else:
        yield f"{title}: not refused, but answered {answer!r:.100}"
        return
    said = f"{title}: {given.code} {given.info.reason} {given.text} {given.fields}"
    if given.code != status or given.info.reason != (reason or given.info.reason):
        yield f"not {status} {reason}: {said}"
    if given.info.reason not in REASONS or given.info.domain != "sharemesh" or not given.words:
        yield f"not in the contract's words: {said}"
    if given.info.reason == "INVALID_FIELD" and not any(one.startswith(field) for one in given.fields):
        yield f"does not blame {field or 'any field'}: {said}"
    # Templates are written by those who read JSON Schema, in its own words.
    if rpc != "CreateTemplate" and not all(CHINESE.search(told) for told in given.told):
        yield f"tells a Chinese caller in English: {said} {given.told}"
    if INSIDES.search(given.all):
        yield f"shows the inside: {said}"


class Refusal(NamedTuple):
    """A refusal with its details; `all` is everything of it as text."""

    code: str
    text: str
    info: error_details_pb2.ErrorInfo
    words: str
    fields: list[str]
    told: list[str]
    all: str


def refusal_of(error: Any) -> Refusal:
    info, words = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
    request = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        for message in (info, words, request):
            detail.Unpack(message)
    fields = [violation.field for violation in request.field_violations]
    told = [violation.description for violation in request.field_violations]
    everything = f"{error.details()} {status} {words} {request}"
    return Refusal(error.code().name, error.details(), info, words.message, fields, told, everything)


def strangers(world: World, rpc: str, row: Row) -> Iterator[tuple[str, Headers, str, str]]:
    """Everybody who must not make the row's request: without a good token, in another role, of another house."""
    role, subject = row.who if row.who != ANYBODY else ("CUSTOMER", "alice")
    good = world.mesh.token(role, subject)
    header, claims, signature = good.split(".")
    forged = jwt.encode(
        jwt.decode(good, options={"verify_signature": False}),
        Ed25519PrivateKey.generate(),
        algorithm="EdDSA",
        headers=jwt.get_unverified_header(good),
    )
    operator = world.mesh.token("operator", subject).split(".")[1]
    bad = {
        "a tampered token": f"Bearer {header}.{operator}.{signature}",
        "a token of another key": f"Bearer {forged}",
        "an unsigned token": f"Bearer {jwt.encode({'sub': subject, 'role': role}, '', algorithm='none')}",
        "no token of ours": "Bearer x",
        "another scheme": f"Basic {good}",
    }
    if operator == claims:
        del bad["a tampered token"]
    for title, authorization in bad.items():
        yield title, [("authorization", authorization)], "UNAUTHENTICATED", "TOKEN_INVALID"
    expired = [("authorization", f"Bearer {world.mesh.token(role, subject, ttl=-1)}")]
    yield "an expired token", expired, "UNAUTHENTICATED", "TOKEN_EXPIRED"
    served = {options_pb2.Role.Name(one) for one in rpcs()[rpc].descriptor.GetOptions().Extensions[options_pb2.roles]}
    if "ROLE_ANONYMOUS" not in served:
        yield "no token", [], "UNAUTHENTICATED", "TOKEN_MISSING"
    for one in ("CUSTOMER", "STAFF", "MERCHANT", "OPERATOR", "SERVICE"):
        if f"ROLE_{one}" not in served:
            yield f"a {one.lower()}", world.metadata((one, subject)), "PERMISSION_DENIED", "ROLE_NOT_ALLOWED"
    if row.foreigner:
        yield "a foreigner", world.metadata(row.foreigner), "NOT_FOUND", "RESOURCE_NOT_FOUND"


def unknown_names(request: Any) -> Iterator[tuple[str, bytes]]:
    """The request with one of the names in it replaced by one that is nobody's."""
    for path, holder, field in places(request):
        value = getattr(holder, field.name)
        if isinstance(value, str) and re.fullmatch(r"[a-z]+/[a-z0-9-]+", value) and path != "template.name":
            setattr(holder, field.name, f"{value.split('/')[0]}/{NO_SUCH}")
            yield f"a {path} of nobody's", request.SerializeToString()
            setattr(holder, field.name, value)


def rows_of(world: World) -> dict[str, int]:
    """Every row of every table, as one figure a table."""

    def read() -> dict[str, int]:
        return {table.__name__: hash(repr(list(rows_that_count(table).tuples()))) for table in tables.ALL}

    return world.mesh.db.run_here(read)


def rows_that_count(table: type[tables.Row]) -> Any:
    """A counter that counts nothing is the lock of whoever came first, and long rows written at the start stay."""
    if table in (tables.LexiconRelease, tables.Template):
        return table.select(table.create_time)
    if table is tables.CustomerCounter:
        return table.select().where(tables.CustomerCounter.claims > 0)
    if table is tables.DayStock:
        return table.select().where(tables.DayStock.taken > 0)
    return table.select()


def what_it_names(rpc: str, answer: bytes) -> Any:
    """Of an answer that which must be the same when a request is replayed: a resource's name, else all of it."""
    message: Any = GetMessageClass(rpcs()[rpc].descriptor.output_type).FromString(answer)
    return next((getattr(message, key) for key in ("name", "hold", "activity") if hasattr(message, key)), message)


def test_a_page_token_serves_only_who_got_it_for_what_was_asked(world: World) -> None:
    world.new_store(world.lin, world.merchant, "")
    asked = entry_pb2.ListStoresRequest(page_size=1, city="成都")
    asked.page_token = world.lin.entry.ListStores(asked).next_page_token
    assert asked.page_token
    assert world.lin.entry.ListStores(asked).stores
    lin, mallory = world.metadata(LIN), world.metadata(MALLORY)
    other = entry_pb2.ListStoresRequest(page_size=1, city="重庆", page_token=asked.page_token)
    wrong = [
        *faults(world, "ListStores", "another's", asked.SerializeToString(), mallory, INVALID, "INVALID_PAGE_TOKEN"),
        *faults(world, "ListStores", "another query", other.SerializeToString(), lin, INVALID, "INVALID_PAGE_TOKEN"),
    ]
    assert not wrong, "\n".join(wrong)
