"""What native apps and web pages without gRPC get: JSON by the contracts' own addresses."""

import base64
import io
import json

import grpc
import pytest
from PIL import Image

from local.mesh import Mesh
from sharemesh.v1 import entry_pb2, entry_pb2_grpc
from tests.gateway.doors import Door, ask, bearer
from tests.mesh import request_id

PAGE = {"origin": "https://shop.example"}


def new_merchant(mesh: Mesh, door: Door, subject: str) -> str:
    """The name of a merchant that this subject owns."""
    body = {"display_name": "川味小馆", "currency": "CNY"}
    made = ask(door, "POST", f"/v1/merchants?request_id={request_id()}", body, bearer(mesh, subject=subject))
    assert made.status == 200, made.body
    return str(made.json["name"])


def test_what_is_written_by_json_is_read_by_json_and_by_grpc(mesh: Mesh, door: Door) -> None:
    name = new_merchant(mesh, door, "writer")
    read = ask(door, "GET", f"/v1/{name}", headers=bearer(mesh, subject="writer"))
    assert (read.status, read.json["displayName"]) == (200, "川味小馆")
    with grpc.insecure_channel(door.address) as channel:
        token = tuple(bearer(mesh, subject="writer").items())
        merchant = entry_pb2_grpc.EntryServiceStub(channel).GetMerchant(
            entry_pb2.GetMerchantRequest(name=name), metadata=token, timeout=20
        )
    assert merchant.display_name == "川味小馆"


def test_a_patch_and_a_delete_arrive_as_the_contract_says(mesh: Mesh, door: Door) -> None:
    name, owner = new_merchant(mesh, door, "patcher"), bearer(mesh, subject="patcher")
    path = f"/v1/{name}?update_mask=displayName&request_id={request_id()}"
    patched = ask(door, "PATCH", path, {"display_name": "新川味"}, owner)
    assert (patched.status, patched.json["displayName"]) == (200, "新川味")
    gone = ask(door, "DELETE", f"/v1/activities/nosuch?request_id={request_id()}", headers=owner)
    assert (gone.status, gone.reason) == (404, "RESOURCE_NOT_FOUND")


def test_a_refusal_of_a_service_is_a_status_in_json(door: Door) -> None:
    refused = ask(door, "GET", "/v1/merchants", headers={"accept-language": "en"})
    assert (refused.status, refused.json["code"], refused.reason) == (401, 16, "TOKEN_MISSING")
    assert refused.headers["content-type"] == "application/json"
    assert "Please sign in." in [detail.get("message") for detail in refused.json["details"]]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"display_name": x}', "Unexpected token"),
        (b'{"display_name": "x"', "Unexpected end of string"),
        (b'{"display_name": 1.5, "currency": []}', ""),
        (b"\xff\xfe\x00", ""),
        (b"[" * 10_000, ""),
    ],
)
def test_malformed_json_is_the_callers_fault_and_says_where(mesh: Mesh, door: Door, body: bytes, told: str) -> None:
    headers = {**bearer(mesh), "content-type": "application/json"}
    answer = ask(door, "POST", f"/v1/merchants?request_id={request_id()}", body, headers)
    assert (answer.status, answer.json["code"], answer.reason) == (400, 3, "INVALID_FIELD"), answer.body
    assert told in answer.json["message"]


def test_a_misspelt_filter_does_not_become_no_filter(door: Door) -> None:
    answer = ask(door, "GET", "/v1/offers?citty=x")
    assert (answer.status, answer.reason) == (400, "INVALID_FIELD")
    assert "citty" in answer.json["message"]


@pytest.mark.parametrize("path", ["/nosuch", "/v1/nosuch", "/", "/v1/offers/x/y", "/sharemesh.v1.Nope/Nope"])
def test_a_path_that_nobody_knows_is_not_found_in_json(door: Door, path: str) -> None:
    answer = ask(door, "GET", path)
    assert (answer.status, answer.json["code"], answer.reason) == (404, 5, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("path", ["/v1/%2e%2e/offers%2fx", "/v1/off\\ers%5c..%2f"])
def test_a_path_with_hidden_slashes_is_refused(door: Door, path: str) -> None:
    assert ask(door, "GET", path).status in (400, 404)


def test_a_picture_goes_in_and_comes_out_as_itself(mesh: Mesh, door: Door) -> None:
    name, owner = new_merchant(mesh, door, "painter"), bearer(mesh, subject="painter")
    # As gRPC's callers do, REST's may ask for more time than the 10 s that suit most.
    owner["grpc-timeout"] = "50S"
    file = io.BytesIO()
    Image.effect_noise((1024, 1024), 90).convert("RGB").save(file, "PNG")
    content = base64.b64encode(file.getvalue()).decode()
    assert len(content) > 3 * 1024 * 1024
    kept = ask(door, "POST", f"/v1/{name}/images", {"content": content, "request_id": request_id()}, owner)
    assert kept.status == 200, kept.body
    picture = ask(door, "GET", f"/v1/{kept.json['name']}", headers=owner)
    assert (picture.status, picture.headers["content-type"]) == (200, kept.json["contentType"])
    assert len(picture.body) == kept.json["sizeBytes"]
    assert Image.open(io.BytesIO(picture.body)).size == (kept.json["width"], kept.json["height"])


def test_a_page_of_any_origin_may_call_and_read_the_reason(door: Door) -> None:
    wish = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-grpc-web"}
    for path in ("/v1/offers", "/sharemesh.v1.RedeemService/ListOffers"):
        allowed = ask(door, "OPTIONS", path, headers={**PAGE, **wish})
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE["origin"]
        assert {"authorization", "x-grpc-web"} <= set(allowed.headers["access-control-allow-headers"].split(", "))
        # No cookie is ever read, which is what makes any origin safe.
        assert "access-control-allow-credentials" not in allowed.headers
    answer = ask(door, "GET", "/v1/offers", headers=PAGE)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE["origin"])
    assert "grpc-status" in answer.headers["access-control-expose-headers"]


def test_answers_tell_nothing_of_the_inside(door: Door) -> None:
    for path in ("/v1/offers", "/v1/merchants", "/nosuch"):
        answer = ask(door, "GET", path)
        told = json.dumps(dict(answer.headers)) + answer.body.decode()
        assert not [word for word in ("Traceback", "envoy", "python", "File ") if word in told], told
