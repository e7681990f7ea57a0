"""Who a customer is to the books: a pseudonym per merchant, and the one table that can forget whose it is."""

from datetime import datetime

from services.chassis.names import new_uid
from services.schema.tables import Customer


def pseudonym(merchant_id: int, subject: str, now: datetime) -> str:
    """The subject's pseudonym at the merchant; made at the first meeting. Call it outside of a write()."""
    known = find(merchant_id, subject)
    if known is not None:
        return known
    # Two first meetings at once: one row wins, and both read it.
    Customer.insert(
        merchant_id=merchant_id, subject=subject, pseudonym=new_uid(), create_time=now
    ).on_conflict_ignore().execute()
    return str(Customer.get(Customer.merchant_id == merchant_id, Customer.subject == subject).pseudonym)


def find(merchant_id: int, subject: str) -> str | None:
    """The subject's pseudonym at the merchant, None before their first meeting."""
    row = Customer.get_or_none(Customer.merchant_id == merchant_id, Customer.subject == subject)
    return None if row is None else row.pseudonym


def pseudonyms(subject: str) -> list[str]:
    """The subject's pseudonyms at all merchants."""
    return [row.pseudonym for row in Customer.select(Customer.pseudonym).where(Customer.subject == subject)]


def erase(subject: str) -> int:
    """Forget whose the subject's pseudonyms are; returns how many merchants knew it. The books stay as they are."""
    return int(Customer.delete().where(Customer.subject == subject).execute())
