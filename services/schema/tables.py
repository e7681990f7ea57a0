"""The tables of Sharemesh; every service reads and writes through these models, the hot statements beside them.

They stand in one file, long as it is, because a schema is read as a whole.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    Field,
    IntegerField,
    Model,
    ModelSelect,
    TextField,
)

from services.chassis import database

T = TypeVar("T", bound=Model)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InstantField(BigIntegerField):
    """An aware UTC datetime, kept as microseconds since the epoch: the same order and precision in every database."""

    def db_value(self, value: datetime | None) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class JsonField(TextField):
    """A JSON value in canonical form (sorted keys, no spaces, UTF-8)."""

    # MariaDB's TEXT ends at 64 KiB, a snapshot of a hundred stores does not. SQLite reads any ...TEXT as text.
    field_type = "LONGTEXT"

    def db_value(self, value: Any) -> str | None:
        return None if value is None else canonical(value)

    def python_value(self, value: str | None) -> Any:
        return None if value is None else json.loads(value)


def canonical(value: Any) -> str:
    """The one JSON text of a value, so that equal values have equal digests."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def locked(query: "ModelSelect[T]") -> "ModelSelect[T]":
    """The query with its rows locked until the transaction ends. SQLite locks the whole file at BEGIN already."""
    return query if database.dialect() == "sqlite" else query.for_update()


def shared(query: "ModelSelect[T]") -> "ModelSelect[T]":
    """The query with its rows kept as they are until the transaction ends; others may keep them too."""
    # FOR SHARE is not MariaDB's, this is everybody's.
    return query if database.dialect() == "sqlite" else query.for_update("LOCK IN SHARE MODE")  # type: ignore[arg-type]


def without(table: type[Model], *large: Field) -> list[Field]:
    """The columns of a table but for large ones that the reader does not need."""
    return [column for column in table._meta.sorted_fields if column not in large]


class Row(Model):
    """A row of any table."""

    class Meta:
        database = database.proxy
        legacy_table_names = False


class Merchant(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    owner = CharField(128, index=True)
    display_name = CharField(60)
    currency = CharField(3)
    version = IntegerField(default=1)
    create_time = InstantField()


class Store(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    merchant_id = BigIntegerField(index=True)
    zone = CharField(64)
    city = CharField(40)
    category = CharField(40)
    # display_name, description, address, phone, hot_items, images: in the shape of the message.
    profile = JsonField()
    version = IntegerField(default=1)
    create_time = InstantField()
    update_time = InstantField()


class StaffBinding(Row):
    id = BigAutoField()
    store_id = BigIntegerField()
    subject = CharField(128, index=True)
    display_name = CharField(40)
    title = CharField(40)
    rights = JsonField()
    is_shown = BooleanField(default=False)
    create_time = InstantField()

    class Meta:
        indexes = ((("store_id", "subject"), True),)


class Image(Row):
    id = BigAutoField()
    # The SHA-256 of the re-encoded picture: the same for every merchant that has it, so unique only with the merchant.
    uid = CharField(64, index=True)
    merchant_id = BigIntegerField()
    content_type = CharField(20)
    width = IntegerField()
    height = IntegerField()
    size_bytes = IntegerField()
    create_time = InstantField()

    class Meta:
        indexes = ((("merchant_id", "uid"), True),)


class Template(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    # The whole of it, in the shape of the message.
    content = JsonField()
    create_time = InstantField()


class Activity(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    merchant_id = BigIntegerField(index=True)
    template = CharField(40)
    # title, description, fields, images, terms of the present revision, in the shape of the message.
    content = JsonField()
    state = CharField(20)
    revision = IntegerField(default=1)
    version = IntegerField(default=1)
    # What was submitted last; set while PENDING_AUDIT or IN_REVIEW, kept for an appeal while REJECTED.
    snapshot = JsonField(null=True)
    digest = CharField(64, null=True)
    audit_id = BigIntegerField(null=True)
    publication_id = BigIntegerField(null=True)
    # The number of the last transition: handed out under this row's lock.
    sequence = BigIntegerField(default=0)
    # Until when one sweeper has the pending audit to itself.
    lease_until = InstantField(null=True)
    create_time = InstantField()
    update_time = InstantField()

    class Meta:
        indexes = ((("state", "lease_until"), False),)


class ActivityStore(Row):
    activity_id = BigIntegerField()
    store_id = BigIntegerField(index=True)

    class Meta:
        primary_key = CompositeKey("activity_id", "store_id")


class Transition(Row):
    id = BigAutoField()
    activity_id = BigIntegerField()
    sequence = BigIntegerField()
    subject = CharField(20)
    revision = IntegerField()
    from_state = CharField(20)
    to_state = CharField(20)
    time = InstantField()
    actor_role = CharField(20)
    actor = CharField(40)
    reason = CharField(500)

    class Meta:
        indexes = ((("activity_id", "sequence"), True),)


class Publication(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    activity_id = BigIntegerField(index=True)
    merchant_id = BigIntegerField(index=True)
    revision = IntegerField()
    state = CharField(20)
    digest = CharField(64)
    snapshot = JsonField()
    audit_id = BigIntegerField()
    publish_time = InstantField()
    # The claim period as instants, the end exclusive.
    claim_start = InstantField()
    claim_end = InstantField()
    # Counts up with every change of state.
    version = IntegerField(default=1)

    class Meta:
        indexes = ((("state", "claim_end"), False),)


class PublicationStore(Row):
    publication_id = BigIntegerField()
    store_id = BigIntegerField(index=True)
    # As the snapshot shows them.
    city = CharField(40)
    category = CharField(40)

    class Meta:
        primary_key = CompositeKey("publication_id", "store_id")
        indexes = ((("city", "category"), False),)


class PublicationImage(Row):
    image = CharField(64)
    publication_id = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("image", "publication_id")


class Audit(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    activity_id = BigIntegerField(index=True)
    merchant_id = BigIntegerField(index=True)
    revision = IntegerField()
    digest = CharField(64)
    lexicon_release = CharField(64)
    decision = CharField(20)
    state = CharField(20)
    findings = JsonField()
    # ",category,category," so that one LIKE finds a category.
    categories = CharField(500)
    create_time = InstantField()
    appeal = CharField(500, default="")
    appeal_time = InstantField(null=True)
    resolve_time = InstantField(null=True)
    resolution = CharField(500, default="")
    resolver = CharField(40, default="")
    stale_time = InstantField(null=True)
    # Null in what the release before wrote.
    is_image_text_checked = BooleanField(null=True)

    class Meta:
        indexes = ((("state", "id"), False),)


class ImageReading(Row):
    """What was read in a picture, of whichever merchant."""

    # The SHA-256 of the picture's bytes.
    uid = CharField(64, primary_key=True)
    # Which releases of which libraries read it: another reader reads it again.
    reader = CharField(100)
    # As audit's passages.Reading has it.
    passages = JsonField()
    create_time = InstantField()


class Ruling(Row):
    """A human's PASS for a term in a snapshot."""

    id = BigAutoField()
    digest = CharField(64)
    term = CharField(200)
    audit_id = BigIntegerField()
    create_time = InstantField()

    class Meta:
        indexes = ((("digest", "term"), True),)


class LexiconRelease(Row):
    release = CharField(64, primary_key=True)
    # The terms, as lexicon.from_json reads them.
    terms = JsonField()
    create_time = InstantField()
    # The release it was made of, and what became of its terms; null in what came with the program.
    base = CharField(64, null=True)
    term_count = IntegerField(null=True)
    added_count = IntegerField(null=True)
    changed_count = IntegerField(null=True)
    removed_count = IntegerField(null=True)
    actor = CharField(40, null=True)
    reason = CharField(500, null=True)


class LexiconHead(Row):
    """The one row that says which release decides now."""

    id = IntegerField(primary_key=True)
    release = CharField(64)


class Rollout(Row):
    """A change of the head, and how far the judging by the new one has come."""

    id = BigAutoField()
    uid = CharField(40, unique=True)
    release = CharField(64)
    previous = CharField(64, default="")
    # ADOPTION, RELEASE or ROLLBACK.
    kind = CharField(20)
    # RUNNING, DONE or SUPERSEDED.
    state = CharField(20)
    actor = CharField(40, default="")
    reason = CharField(500, default="")
    create_time = InstantField()
    end_time = InstantField(null=True)
    # Where the walk over the activities stands: PUBLICATIONS, then SUBMISSIONS, and the id that was done last.
    stage = CharField(20)
    done_id = BigIntegerField(default=0)
    # Which worker walks, and until when nobody takes its place.
    worker = CharField(40, default="")
    lease_until = InstantField(null=True)
    total_count = IntegerField(default=0)
    judged_count = IntegerField(default=0)
    suspended_count = IntegerField(default=0)
    restored_count = IntegerField(default=0)
    published_count = IntegerField(default=0)
    rejected_count = IntegerField(default=0)
    review_count = IntegerField(default=0)
    failed_count = IntegerField(default=0)

    class Meta:
        indexes = ((("state", "id"), False), (("release", "id"), False))


class Customer(Row):
    """The one table that tells whose a pseudonym is; erasing its rows leaves the books whole and nameless."""

    id = BigAutoField()
    merchant_id = BigIntegerField()
    subject = CharField(128, index=True)
    pseudonym = CharField(40, unique=True)
    create_time = InstantField()

    class Meta:
        indexes = ((("merchant_id", "subject"), True),)


class Share(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    # The random part of the code; the rest is its signature.
    code = CharField(20, unique=True)
    activity_id = BigIntegerField()
    merchant_id = BigIntegerField()
    publication_id = BigIntegerField()
    parent_id = BigIntegerField(null=True)
    channel = CharField(20)
    sharer_role = CharField(20)
    # The sharer's pseudonym at the merchant.
    sharer = CharField(40, index=True)
    state = CharField(20)
    report = CharField(200, default="")
    report_time = InstantField(null=True)
    create_time = InstantField()

    class Meta:
        indexes = ((("activity_id", "id"), False),)


class Visit(Row):
    share_id = BigIntegerField()
    # A keyed hash of the id that the visitor's device keeps.
    visitor = CharField(40)
    create_time = InstantField()

    class Meta:
        primary_key = CompositeKey("share_id", "visitor")


# The ledger's tables. Only services/ledger writes them.


class Supply(Row):
    """What an activity has left to give; the row that every claim and redemption of the activity locks first."""

    activity_id = BigIntegerField(primary_key=True)
    merchant_id = BigIntegerField()
    publication_id = BigIntegerField()
    # The publication's state, so that a claim need not lock the publication.
    state = CharField(20)
    stock = IntegerField()
    day_stock = IntegerField()
    taken = IntegerField(default=0)
    redeemed = IntegerField(default=0)
    # Minor units; NULL means no budget.
    budget = BigIntegerField(null=True)
    committed = BigIntegerField(default=0)
    rewarded = BigIntegerField(default=0)
    is_stopped = BooleanField(default=False)


class DayStock(Row):
    activity_id = BigIntegerField()
    date = CharField(10)
    taken = IntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("activity_id", "date")


class CustomerCounter(Row):
    """A customer's claims in an activity. Activity 0 is no activity: its row is the lock of the customer himself, and
    counts 1 for who had redeemed at the merchant before being erased."""

    activity_id = BigIntegerField()
    # A pseudonym; between an erasure and the next meeting the subject's tag.
    customer = CharField(40, index=True)
    claims = IntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("activity_id", "customer")


class Coupon(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    code = CharField(16, unique=True)
    activity_id = BigIntegerField()
    merchant_id = BigIntegerField()
    # 0 is the pool of those who come by no share.
    share_id = BigIntegerField()
    state = CharField(20)
    publication_id = BigIntegerField(null=True)
    customer = CharField(40, null=True)
    claim_time = InstantField(null=True)
    start_time = InstantField(null=True)
    expire_time = InstantField(null=True)
    # What the claim reserved of the budget.
    reserved = BigIntegerField(default=0)
    hold = CharField(40, null=True, index=True)
    hold_store_id = BigIntegerField(null=True)
    hold_until = InstantField(null=True)
    redemption_id = BigIntegerField(null=True)

    class Meta:
        indexes = (
            # The pool that a claim takes from, in its order. No other index may begin with share_id: the optimizer
            # would weigh the two, and now and then scan the table, locking other activities' coupons on its way.
            (("activity_id", "share_id", "state", "id"), False),
            (("customer", "claim_time", "id"), False),
        )


class CouponEvent(Row):
    """The history of coupons: one row for each change of state, written with it."""

    id = BigAutoField()
    coupon_id = BigIntegerField(index=True)
    merchant_id = BigIntegerField()
    from_state = CharField(20)
    to_state = CharField(20)
    time = InstantField()
    actor_role = CharField(20)
    actor = CharField(40)
    reason = CharField(200)


class Redemption(Row):
    id = BigAutoField()
    uid = CharField(40, unique=True)
    merchant_id = BigIntegerField()
    store_id = BigIntegerField()
    order_id = CharField(64)
    terminal = CharField(64)
    operator = CharField(40)
    use_time = InstantField()
    currency = CharField(3)
    order_amount = BigIntegerField()
    discount = BigIntegerField()
    # Until when it can be reversed, exclusive.
    reverse_until = InstantField()
    reverse_time = InstantField(null=True)
    reverse_reason = CharField(200, default="")

    class Meta:
        indexes = (
            (("merchant_id", "use_time", "id"), False),
            (("store_id", "use_time", "id"), False),
            # For operators, who look at all of them.
            (("use_time", "id"), False),
            (("merchant_id", "order_id"), False),
        )


class RedeemedCoupon(Row):
    id = BigAutoField()
    redemption_id = BigIntegerField(index=True)
    merchant_id = BigIntegerField()
    coupon_id = BigIntegerField()
    activity_id = BigIntegerField(index=True)
    share_id = BigIntegerField()
    customer = CharField(40)
    discount = BigIntegerField()
    gifts = JsonField()
    # 1 while the redemption stands, NULL once it is reversed: so the database itself admits one standing use a coupon.
    standing = IntegerField(null=True, default=1)

    class Meta:
        indexes = (
            (("coupon_id", "standing"), True),
            (("share_id", "standing"), False),
            (("customer", "standing"), False),
        )


class Reward(Row):
    id = BigAutoField()
    merchant_id = BigIntegerField()
    activity_id = BigIntegerField()
    share_id = BigIntegerField(index=True)
    # The pseudonym of who gets it.
    sharer = CharField(40)
    redemption_id = BigIntegerField(index=True)
    amount = BigIntegerField()
    # HELD or REVOKED; a HELD one counts as GRANTED from grant_time on.
    state = CharField(20)
    grant_time = InstantField()
    revoke_time = InstantField(null=True)
    create_time = InstantField()

    class Meta:
        indexes = ((("activity_id", "sharer"), False),)


class Replay(Row):
    """A committed outcome, so that the same request gets it again."""

    # SHA-256 of tenant, role, subject, RPC and request_id.
    key = CharField(64, primary_key=True)
    digest = CharField(64)
    outcome = TextField()
    create_time = InstantField(index=True)


ALL: tuple[type[Row], ...] = tuple(Row.__subclasses__())
