"""What the product itself says to customers, sharers and merchants passes the product's own audit."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import services
from services.audit import lexicon
from services.audit.matcher import Matcher
from services.journey import content
from sharemesh.v1 import error_reason_pb2, options_pb2

SERVICES = Path(services.__file__).parent
# What a merchant or an app would say of a reward that the contract's Reward describes: an amount for the sharer once a
# friend has redeemed, capped, held and taken back on reversal, and no reward for the sharing itself.
REWARD_WORDS = (
    "好友到店核销后，您可获得5元奖励，每人最多领取10份。",
    "奖励在核销7天后到账，订单撤销时奖励一并收回。",
    "活动预算用完后不再发放奖励，好友的优惠券照常使用。",
    "奖励只发给直接分享的人，以好友实际核销为准。",
    "分享给好友，好友可领取一张满100减20元券。",
    "When a friend redeems the coupon, you get 5 yuan, for at most 10 friends.",
)


def templates() -> Iterator[tuple[str, str]]:
    """Every text of the built-in templates that a person reads, with what stands in an answer by their example."""
    for path in sorted((SERVICES / "entry" / "templates").glob("*.json")):
        for place, text in strings(json.loads(path.read_text()), path.stem):
            if place.rpartition(".")[2] in ("zh_cn", "en"):
                yield place, text


def strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from strings(part, f"{place}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from strings(part, f"{place}[{index}]")


def reasons() -> Iterator[tuple[str, str]]:
    """The message of every refusal, and the words that fill it."""
    for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values:
        message = value.GetOptions().Extensions[options_pb2.message]
        words = value.GetOptions().Extensions[options_pb2.words]
        yield value.name, message.zh_cn
        yield value.name, message.en
        for word in words:
            yield f"{value.name}.{word.value}", word.zh_cn
            yield f"{value.name}.{word.value}", word.en


def violations() -> Iterator[tuple[str, str]]:
    """What is told of a field that is wrong: the constants in Words(...), wherever a rule says them."""
    for path in sorted(SERVICES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Words":
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{path.name}:{node.lineno}", part.value


def journey() -> Iterator[tuple[str, str]]:
    """What the people of `make demo` enter, but for what the audit is to find there."""
    for name, value in vars(content).items():
        if name.isupper() and not name.startswith("ILLEGAL"):
            yield from strings(value, name)


def rewards() -> Iterator[tuple[str, str]]:
    for number, text in enumerate(REWARD_WORDS):
        yield f"reward {number}", text


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(lexicon.load())


@pytest.mark.parametrize("words", [templates, reasons, violations, journey, rewards], ids=lambda words: words.__name__)
def test_the_products_own_words_pass_its_audit(matcher: Matcher, words: Any) -> None:
    texts = list(words())
    assert texts
    found = [(place, text, finding.category, finding.term) for place, text in texts for finding in matcher.find(text)]
    assert not found, "\n".join(map(str, found))
