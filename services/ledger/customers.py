"""Who a customer is to the books: a pseudonym per merchant, and the one table that can forget whose it is."""

import hmac
from datetime import datetime

from services.chassis import database
from services.chassis.keys import Keyring
from services.chassis.names import new_uid
from services.ledger import rows
from services.schema.tables import Customer, CustomerCounter

# Longer than any pseudonym, so that none is ever taken for a tag.
_TAG = 40


class Tags:
    """What an erased customer's counters stand under until the same subject comes back: only the key tells whose."""

    def __init__(self, keys: Keyring) -> None:
        self._key = keys.derive("customer-tag")

    def of(self, merchant_id: int, subject: str) -> str:
        """The subject's tag at the merchant, 40 hexadecimal digits."""
        return hmac.digest(self._key, f"{merchant_id}\x00{subject}".encode(), "sha256").hex()[:_TAG]


def pseudonym(merchant_id: int, subject: str, tags: Tags, now: datetime) -> str:
    """The subject's pseudonym at the merchant; made at the first meeting, and at the first one after an erasure.

    Whoever was erased goes on with the counters that were kept under the tag. Call it outside of a write().
    """
    known = find(merchant_id, subject)
    if known is not None:
        return known
    with database.write():
        # Two first meetings at once: one row wins, and both read it.
        Customer.insert(
            merchant_id=merchant_id, subject=subject, pseudonym=new_uid(), create_time=now
        ).on_conflict_ignore().execute()
        made = str(Customer.get(Customer.merchant_id == merchant_id, Customer.subject == subject).pseudonym)
        _rename(tags.of(merchant_id, subject), made)
    return made


def find(merchant_id: int, subject: str) -> str | None:
    """The subject's pseudonym at the merchant, None before their first meeting."""
    row = Customer.get_or_none(Customer.merchant_id == merchant_id, Customer.subject == subject)
    return None if row is None else row.pseudonym


def pseudonyms(subject: str) -> list[str]:
    """The subject's pseudonyms at all merchants."""
    return [row.pseudonym for row in Customer.select(Customer.pseudonym).where(Customer.subject == subject)]


def erase(subject: str, tags: Tags) -> int:
    """Forget whose the subject's pseudonyms are, inside a write(); returns how many merchants knew it.

    The books stay as they are, but for the counters: they go to the subject's tags, with a mark where the subject has
    redeemed. So the limits hold for who comes back.
    """
    known = rows.lock_customers(pseudonyms(subject))
    old = rows.old_customers(known)
    for customer, row in known.items():
        if customer in old:
            rows.mark_old(customer)
        _rename(customer, tags.of(row.merchant_id, subject))
    return int(Customer.delete().where(Customer.pseudonym.in_(list(known))).execute())


def _rename(before: str, after: str) -> None:
    CustomerCounter.update(customer=after).where(CustomerCounter.customer == before).execute()
