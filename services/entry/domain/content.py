"""What an activity says and promises, judged before it is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.chassis import errors
from services.chassis.errors import Violation, Words
from services.chassis.names import uid_of
from services.entry.domain.checks import check_currency, check_filled, check_images
from services.entry.templates import check_fields
from services.ledger import checks as ledger_checks
from services.ledger.terms import moneys
from services.schema import access
from services.schema.tables import Merchant, Store, Template, locked

Plain = Mapping[str, Any]

# What Activity.content keeps, and all that an update can change.
PARTS = ("title", "description", "fields", "images", "terms")


def content_of(given: Plain) -> dict[str, Any]:
    """The content in a plain Activity; fields and terms that are not set are empty."""
    whole = {part: given[part] for part in ("title", "description", "images")}
    return {**whole, "fields": given.get("fields", {}), "terms": given.get("terms", {})}


def check_content(merchant: Merchant, template: Template, content: Plain, locale: str) -> None:
    """Raise Invalid for what cannot be offered, and NotFound for an image that is not the merchant's.

    Reasons: BENEFIT_NOT_ALLOWED, TEMPLATE_FIELDS_INVALID, CURRENCY_MISMATCH, PERIOD_INVALID, BUDGET_NEEDS_CAP,
    INVALID_FIELD. Violations are below `activity`.
    """
    check_filled(content, ("title",), "activity")
    _check_kind(template, content["terms"])
    if found := check_fields(template.content, content["fields"], locale):
        raise errors.Invalid("TEMPLATE_FIELDS_INVALID", violations=_violations("activity.fields", found))
    check_currency(merchant, ((f"activity.terms.{path}", money) for path, money in moneys(content["terms"])))
    if wrong := ledger_checks.check(content["terms"]):
        reasons = {_reason(content["terms"], path) for path, _ in wrong}
        reason = reasons.pop() if len(reasons) == 1 else "INVALID_FIELD"
        raise errors.Invalid(reason, violations=_violations("activity.terms", wrong))
    check_images(merchant, ((f"activity.images[{place}]", image) for place, image in enumerate(content["images"])))


def stores_of(merchant: Merchant, content: Plain) -> list[int]:
    """The ids of the stores in the scope; Invalid if there is none, NotFound for one that is not the merchant's."""
    names = content["terms"].get("scope", {}).get("stores", [])
    if not names:
        raise errors.invalid_field(
            "activity.terms.scope.stores", Words("请至少选择一家门店", "must name at least one store")
        )
    uids = [uid_of("stores", wire_name, f"activity.terms.scope.stores[{at}]") for at, wire_name in enumerate(names)]
    rows = Store.select(Store.id, Store.uid).where(Store.merchant_id == merchant.id, Store.uid << uids)
    own = {store.uid: store.id for store in rows}
    for uid in uids:
        if uid not in own:
            raise access.not_found("stores", uid)
    return list(own.values())


def locked_stores_of(merchant: Merchant, content: Plain, known: set[int]) -> list[int]:
    """stores_of(), with the stores that are not `known` locked, each in key order.

    Who changes a store locks it and then the activities that show it: an activity that begins to show it meanwhile has
    to wait, or it would be missed. One that shows it already must not wait, or both would wait for each other.
    """
    ids = stores_of(merchant, content)
    new = sorted(set(ids) - known)
    if new:
        list(locked(Store.select(Store.id).where(Store.id << new).order_by(Store.id)))
    return ids


def _check_kind(template: Template, terms: Plain) -> None:
    kinds = list(terms.get("benefit", {}))
    allowed = template.content["benefit"]
    if kinds and kinds != [allowed]:
        saying = Words("请使用模板规定的优惠类型", f"must be {allowed}, as the template says")
        raise errors.Invalid(
            "BENEFIT_NOT_ALLOWED",
            violations=[Violation("activity.terms.benefit", saying)],
            benefit=kinds[0],
        )


def _reason(terms: Plain, path: str) -> str:
    if path.startswith(("claim_period", "validity.period")):
        return "PERIOD_INVALID"
    kind, benefit = next(iter(terms.get("benefit", {}).items()), ("", {}))
    if path == f"benefit.{kind}.cap" and "cap" not in benefit:
        return "BUDGET_NEEDS_CAP"
    return "INVALID_FIELD"


def _violations(at: str, found: Sequence[tuple[str, Words | str]]) -> list[Violation]:
    return [Violation(f"{at}.{path}" if path else at, told) for path, told in found]
