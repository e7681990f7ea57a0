"""What the books say of a customer at a merchant: how often they claimed there, and whether they came before."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

from services.chassis import cache
from services.ledger import rows
from services.ledger.customers import Tags
from services.schema.tables import Customer, CustomerCounter

# A subject and a merchant's id.
Key = tuple[str, int]


@dataclass(frozen=True)
class Custom:
    """A customer's claims by activity id, and whether no redemption of theirs stands at the merchant."""

    claims: Mapping[int, int]
    is_new: bool


def topic(key: Key) -> Hashable:
    """What a cache is told of under when change() was called for the key's subject."""
    return "custom", key[0]


def change(subject: str) -> None:
    """Tell this process's caches that a claim of the subject was committed, or may have been."""
    cache.HERE.tell(topic((subject, 0)))


def customs(keys: Collection[Key], tags: Tags) -> dict[Key, Custom]:
    """The custom of each of these; one query each for names, counters and redemptions, whatever their number."""
    subjects, merchants = {key[0] for key in keys}, {key[1] for key in keys}
    met = Customer.select().where(Customer.subject.in_(subjects), Customer.merchant_id.in_(merchants))
    pseudonyms = {(row.subject, row.merchant_id): row.pseudonym for row in met}
    # Who was erased has no pseudonym before they come back, but counters all the same.
    known_as = {key: pseudonyms.get(key) or tags.of(key[1], key[0]) for key in keys}
    claims: dict[str, dict[int, int]] = {customer: {} for customer in known_as.values()}
    for row in CustomerCounter.select().where(CustomerCounter.customer.in_(list(claims))):
        claims[row.customer][row.activity_id] = row.claims
    old = rows.old_customers(claims)
    return {key: Custom(claims[customer], customer not in old) for key, customer in known_as.items()}
