"""What a person is told of a field that breaks one of the contract's rules: words for protovalidate's."""

import re
from collections.abc import Mapping

from services.chassis.errors import Words

_FORM = Words("格式不正确", "is not in the expected form")
_BETWEEN = Words("应在 {0} 到 {1} 之间", "must be from {0} to {1}")
_ALLOWED = Words("不在可选的范围内", "is not one of the values that are allowed here")
_EMPTY = Words("不能为空", "must not be empty")

# By the rule's id; {0} and {1} are the numbers in protovalidate's own message.
WORDS: Mapping[str, Words] = {
    "required": Words("请填写此项", "is required"),
    "string.pattern": _FORM,
    "string.min_len": Words("至少 {0} 个字符", "must have at least {0} characters"),
    "string.max_len": Words("最多 {0} 个字符", "must have at most {0} characters"),
    "string.len": Words("应为 {0} 个字符", "must have {0} characters"),
    "bytes.min_len": _EMPTY,
    "repeated.min_items": Words("至少 {0} 项", "must have at least {0} items"),
    "repeated.max_items": Words("最多 {0} 项", "must have at most {0} items"),
    "repeated.unique": Words("不能有重复的项", "must not name anything twice"),
    "enum.defined_only": Words("请选择列出的选项之一", "must be one of the values that the contract defines"),
    "enum.in": _ALLOWED,
    "string.in": _ALLOWED,
    "enum.not_in": Words("请选择一个选项", "must be chosen"),
    "int32.gte": Words("不能小于 {0}", "must be at least {0}"),
    "int32.lte": Words("不能大于 {0}", "must be at most {0}"),
    "int32.gte_lte": _BETWEEN,
    "duration.gte_lte": Words("应在 {0} 到 {1} 秒之间", "must be from {0} to {1} seconds"),
    "merchant.complete": Words("请填写商户名称和币种", "display_name and currency are required"),
    "store.complete": Words(
        "请填写商户、门店名称、时区、城市和类别", "merchant, display_name, zone, city and category are required"
    ),
    "activity.complete": Words("请填写商户、模板、标题和活动条款", "merchant, template, title and terms are required"),
    "verify.hold_needs_request_id": Words("锁券需要填写 request_id", "request_id is required with hold_coupons"),
}


def words_of(rule: str, message: str) -> Words | str:
    """What to tell of a broken rule, given its id and protovalidate's English message, which unknown rules keep."""
    words, numbers = WORDS.get(rule), re.findall(r"-?\d+", message)
    if words is None or len(numbers) < words.en.count("{"):
        return message or rule
    if (rule, numbers) == ("string.min_len", ["1"]):
        return _EMPTY
    return Words(_with(words.zh_cn, numbers), _with(words.en, numbers))


def _with(text: str, numbers: list[str]) -> str:
    return re.sub(r"\{(\d)\}", lambda place: numbers[int(place[1])], text)
