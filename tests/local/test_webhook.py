import json
import threading
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from urllib.error import HTTPError

import pytest

from local.webhook import Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.stop()


def post(webhook: Webhook, path: str, body: bytes) -> str:
    request = urllib.request.Request(webhook.url + path, body, {"X-Color": "red"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read()).decode()


def test_what_is_posted_is_kept(webhook: Webhook) -> None:
    webhook.answer = "thanks"
    assert post(webhook, "alerts?a=1", json.dumps({"problem": "coffee is out"}).encode()) == "thanks"
    assert post(webhook, "", b"no JSON") == "thanks"
    first, second = webhook.received
    assert (first.method, first.path, first.body) == ("POST", "/alerts?a=1", {"problem": "coffee is out"})
    assert first.headers["X-Color"] == "red"
    assert second.body == "no JSON"
    assert first.time <= second.time


def test_one_waits_for_what_is_meant_and_is_told_what_came_instead(webhook: Webhook) -> None:
    post(webhook, "", b"1")
    later = threading.Timer(0.2, post, (webhook, "", b"2"))
    later.start()
    assert webhook.await_one(lambda request: request.body == 2).body == 2
    later.join()
    with pytest.raises(TimeoutError, match=r"what came: \[1, 2\]"):
        webhook.await_one(lambda request: request.body == 3, 0.1)
    webhook.forget()
    assert webhook.received == []


def test_it_refuses_when_told_to(webhook: Webhook) -> None:
    webhook.status = HTTPStatus.SERVICE_UNAVAILABLE
    with pytest.raises(HTTPError, match="503"):
        post(webhook, "", b"{}")
    assert webhook.received[0].body == {}
