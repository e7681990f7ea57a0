"""What any entered text, zone, amount or picture must satisfy, beyond the contract's field rules."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.chassis import errors
from services.chassis.errors import Violation, Words
from services.chassis.names import uid_of
from services.ledger.checks import MOST_MINOR, NO_ZONE, zones
from services.schema import access
from services.schema.tables import Image, Merchant

_EMPTY = Words("不能为空", "must not be empty")


def check_filled(plain: Mapping[str, Any], keys: Iterable[str], at: str = "") -> None:
    """Raise Invalid(INVALID_FIELD) with each of the keys, below `at` in the request, that is missing or blank."""
    blank = [f"{at}.{key}" if at else key for key in keys if not str(plain.get(key) or "").strip()]
    if blank:
        raise errors.Invalid("INVALID_FIELD", violations=[Violation(path, _EMPTY) for path in blank])


def check_zone(zone: str, at: str) -> None:
    """Raise Invalid(INVALID_FIELD) unless it is a zone of the IANA database."""
    if zone not in zones():
        raise errors.invalid_field(at, NO_ZONE)


def check_currency(merchant: Merchant, moneys: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise Invalid(CURRENCY_MISMATCH) for plain Moneys, given with their paths, in another currency."""
    foreign = [(path, money["currency"]) for path, money in moneys if money["currency"] != merchant.currency]
    if foreign:
        saying = Words(f"必须使用 {merchant.currency}", f"must be in {merchant.currency}")
        raise errors.Invalid(
            "CURRENCY_MISMATCH",
            violations=[Violation(path, saying) for path, _ in foreign],
            currency=foreign[0][1],
        )


def check_prices(prices: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise Invalid(INVALID_FIELD) for plain Moneys, given with their paths, that no item can cost."""
    wrong = [path for path, money in prices if not 0 <= money["minor"] <= MOST_MINOR]
    if wrong:
        most = f"{MOST_MINOR // 100}.00"
        saying = Words(f"应在 0 到 {most} 之间", f"must be from zero to {most}")
        raise errors.Invalid("INVALID_FIELD", violations=[Violation(path, saying) for path in wrong])


def check_images(merchant: Merchant, names: Iterable[tuple[str, str]]) -> None:
    """Raise NotFound for the first image, given with its path, that the merchant has not uploaded."""
    uids = [uid_of("images", wire_name, path) for path, wire_name in names]
    if not uids:
        return
    known = {row.uid for row in Image.select(Image.uid).where(Image.merchant_id == merchant.id, Image.uid << uids)}
    for uid in uids:
        if uid not in known:
            raise access.not_found("images", uid)
