"""The tables of release 0.1.0: a frozen copy, because a script that was applied somewhere never changes."""

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    Database,
    IntegerField,
    Model,
    TextField,
)
from playhouse.migrate import SchemaMigrator


class LongTextField(TextField):
    """Text of any length: MariaDB's TEXT ends at 64 KiB."""

    field_type = "LONGTEXT"


def up(migrator: SchemaMigrator, db: Database) -> None:
    class Activity(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        merchant_id = BigIntegerField(index=True)
        template = CharField(max_length=40)
        content = LongTextField()
        state = CharField(max_length=20)
        revision = IntegerField(default=1)
        version = IntegerField(default=1)
        snapshot = LongTextField(null=True)
        digest = CharField(null=True, max_length=64)
        audit_id = BigIntegerField(null=True)
        publication_id = BigIntegerField(null=True)
        sequence = BigIntegerField(default=0)
        lease_until = BigIntegerField(null=True)
        create_time = BigIntegerField()
        update_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "activity"
            indexes = ((("state", "lease_until"), False),)

    db.create_tables([Activity])

    class ActivityStore(Model):
        activity_id = BigIntegerField()
        store_id = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "activity_store"
            primary_key = CompositeKey("activity_id", "store_id")

    db.create_tables([ActivityStore])

    class Audit(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        activity_id = BigIntegerField(index=True)
        merchant_id = BigIntegerField(index=True)
        revision = IntegerField()
        digest = CharField(max_length=64)
        lexicon_release = CharField(max_length=64)
        decision = CharField(max_length=20)
        state = CharField(max_length=20)
        findings = LongTextField()
        categories = CharField(max_length=500)
        create_time = BigIntegerField()
        appeal = CharField(max_length=500, default="")
        appeal_time = BigIntegerField(null=True)
        resolve_time = BigIntegerField(null=True)
        resolution = CharField(max_length=500, default="")
        resolver = CharField(max_length=40, default="")
        stale_time = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "audit"
            indexes = ((("state", "id"), False),)

    db.create_tables([Audit])

    class Coupon(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        code = CharField(unique=True, max_length=16)
        activity_id = BigIntegerField()
        merchant_id = BigIntegerField()
        share_id = BigIntegerField()
        state = CharField(max_length=20)
        publication_id = BigIntegerField(null=True)
        customer = CharField(null=True, max_length=40)
        claim_time = BigIntegerField(null=True)
        start_time = BigIntegerField(null=True)
        expire_time = BigIntegerField(null=True)
        reserved = BigIntegerField(default=0)
        hold = CharField(index=True, null=True, max_length=40)
        hold_store_id = BigIntegerField(null=True)
        hold_until = BigIntegerField(null=True)
        redemption_id = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "coupon"
            indexes = ((("activity_id", "share_id", "state", "id"), False), (("customer", "claim_time", "id"), False))

    db.create_tables([Coupon])

    class CouponEvent(Model):
        id = BigAutoField()
        coupon_id = BigIntegerField(index=True)
        merchant_id = BigIntegerField()
        from_state = CharField(max_length=20)
        to_state = CharField(max_length=20)
        time = BigIntegerField()
        actor_role = CharField(max_length=20)
        actor = CharField(max_length=40)
        reason = CharField(max_length=200)

        class Meta:
            database = db
            table_name = "coupon_event"

    db.create_tables([CouponEvent])

    class Customer(Model):
        id = BigAutoField()
        merchant_id = BigIntegerField()
        subject = CharField(index=True, max_length=128)
        pseudonym = CharField(unique=True, max_length=40)
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "customer"
            indexes = ((("merchant_id", "subject"), True),)

    db.create_tables([Customer])

    class CustomerCounter(Model):
        activity_id = BigIntegerField()
        customer = CharField(index=True, max_length=40)
        claims = IntegerField(default=0)

        class Meta:
            database = db
            table_name = "customer_counter"
            primary_key = CompositeKey("activity_id", "customer")

    db.create_tables([CustomerCounter])

    class DayStock(Model):
        activity_id = BigIntegerField()
        date = CharField(max_length=10)
        taken = IntegerField(default=0)

        class Meta:
            database = db
            table_name = "day_stock"
            primary_key = CompositeKey("activity_id", "date")

    db.create_tables([DayStock])

    class Image(Model):
        id = BigAutoField()
        uid = CharField(index=True, max_length=64)
        merchant_id = BigIntegerField()
        content_type = CharField(max_length=20)
        width = IntegerField()
        height = IntegerField()
        size_bytes = IntegerField()
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "image"
            indexes = ((("merchant_id", "uid"), True),)

    db.create_tables([Image])

    class LexiconHead(Model):
        id = IntegerField(primary_key=True)
        release = CharField(max_length=64)

        class Meta:
            database = db
            table_name = "lexicon_head"

    db.create_tables([LexiconHead])

    class LexiconRelease(Model):
        release = CharField(primary_key=True, max_length=64)
        terms = LongTextField()
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "lexicon_release"

    db.create_tables([LexiconRelease])

    class Merchant(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        owner = CharField(index=True, max_length=128)
        display_name = CharField(max_length=60)
        currency = CharField(max_length=3)
        version = IntegerField(default=1)
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "merchant"

    db.create_tables([Merchant])

    class Publication(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        activity_id = BigIntegerField(index=True)
        merchant_id = BigIntegerField(index=True)
        revision = IntegerField()
        state = CharField(max_length=20)
        digest = CharField(max_length=64)
        snapshot = LongTextField()
        audit_id = BigIntegerField()
        publish_time = BigIntegerField()
        claim_start = BigIntegerField()
        claim_end = BigIntegerField()
        version = IntegerField(default=1)

        class Meta:
            database = db
            table_name = "publication"
            indexes = ((("state", "claim_end"), False),)

    db.create_tables([Publication])

    class PublicationImage(Model):
        image = CharField(max_length=64)
        publication_id = BigIntegerField()

        class Meta:
            database = db
            table_name = "publication_image"
            primary_key = CompositeKey("image", "publication_id")

    db.create_tables([PublicationImage])

    class PublicationStore(Model):
        publication_id = BigIntegerField()
        store_id = BigIntegerField(index=True)
        city = CharField(max_length=40)
        category = CharField(max_length=40)

        class Meta:
            database = db
            table_name = "publication_store"
            primary_key = CompositeKey("publication_id", "store_id")
            indexes = ((("city", "category"), False),)

    db.create_tables([PublicationStore])

    class RedeemedCoupon(Model):
        id = BigAutoField()
        redemption_id = BigIntegerField(index=True)
        merchant_id = BigIntegerField()
        coupon_id = BigIntegerField()
        activity_id = BigIntegerField(index=True)
        share_id = BigIntegerField()
        customer = CharField(max_length=40)
        discount = BigIntegerField()
        gifts = LongTextField()
        standing = IntegerField(null=True, default=1)

        class Meta:
            database = db
            table_name = "redeemed_coupon"
            indexes = (
                (("coupon_id", "standing"), True),
                (("share_id", "standing"), False),
                (("customer", "standing"), False),
            )

    db.create_tables([RedeemedCoupon])

    class Redemption(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        merchant_id = BigIntegerField()
        store_id = BigIntegerField()
        order_id = CharField(max_length=64)
        terminal = CharField(max_length=64)
        operator = CharField(max_length=40)
        use_time = BigIntegerField()
        currency = CharField(max_length=3)
        order_amount = BigIntegerField()
        discount = BigIntegerField()
        reverse_until = BigIntegerField()
        reverse_time = BigIntegerField(null=True)
        reverse_reason = CharField(max_length=200, default="")

        class Meta:
            database = db
            table_name = "redemption"
            indexes = (
                (("merchant_id", "use_time", "id"), False),
                (("store_id", "use_time", "id"), False),
                (("use_time", "id"), False),
                (("merchant_id", "order_id"), False),
            )

    db.create_tables([Redemption])

    class Replay(Model):
        key = CharField(primary_key=True, max_length=64)
        digest = CharField(max_length=64)
        outcome = TextField()
        create_time = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "replay"

    db.create_tables([Replay])

    class Reward(Model):
        id = BigAutoField()
        merchant_id = BigIntegerField()
        activity_id = BigIntegerField()
        share_id = BigIntegerField(index=True)
        sharer = CharField(max_length=40)
        redemption_id = BigIntegerField(index=True)
        amount = BigIntegerField()
        state = CharField(max_length=20)
        grant_time = BigIntegerField()
        revoke_time = BigIntegerField(null=True)
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "reward"
            indexes = ((("activity_id", "sharer"), False),)

    db.create_tables([Reward])

    class Ruling(Model):
        id = BigAutoField()
        digest = CharField(max_length=64)
        term = CharField(max_length=200)
        audit_id = BigIntegerField()
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "ruling"
            indexes = ((("digest", "term"), True),)

    db.create_tables([Ruling])

    class Share(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        code = CharField(unique=True, max_length=20)
        activity_id = BigIntegerField()
        merchant_id = BigIntegerField()
        publication_id = BigIntegerField()
        parent_id = BigIntegerField(null=True)
        channel = CharField(max_length=20)
        sharer_role = CharField(max_length=20)
        sharer = CharField(index=True, max_length=40)
        state = CharField(max_length=20)
        report = CharField(max_length=200, default="")
        report_time = BigIntegerField(null=True)
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "share"
            indexes = ((("activity_id", "id"), False),)

    db.create_tables([Share])

    class StaffBinding(Model):
        id = BigAutoField()
        store_id = BigIntegerField()
        subject = CharField(index=True, max_length=128)
        display_name = CharField(max_length=40)
        title = CharField(max_length=40)
        rights = LongTextField()
        is_shown = BooleanField(default=False)
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "staff_binding"
            indexes = ((("store_id", "subject"), True),)

    db.create_tables([StaffBinding])

    class Store(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        merchant_id = BigIntegerField(index=True)
        zone = CharField(max_length=64)
        city = CharField(max_length=40)
        category = CharField(max_length=40)
        profile = LongTextField()
        version = IntegerField(default=1)
        create_time = BigIntegerField()
        update_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "store"

    db.create_tables([Store])

    class Supply(Model):
        activity_id = BigIntegerField(primary_key=True)
        merchant_id = BigIntegerField()
        publication_id = BigIntegerField()
        state = CharField(max_length=20)
        stock = IntegerField()
        day_stock = IntegerField()
        taken = IntegerField(default=0)
        redeemed = IntegerField(default=0)
        budget = BigIntegerField(null=True)
        committed = BigIntegerField(default=0)
        rewarded = BigIntegerField(default=0)
        is_stopped = BooleanField(default=False)

        class Meta:
            database = db
            table_name = "supply"

    db.create_tables([Supply])

    class Template(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        content = LongTextField()
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "template"

    db.create_tables([Template])

    class Transition(Model):
        id = BigAutoField()
        activity_id = BigIntegerField()
        sequence = BigIntegerField()
        subject = CharField(max_length=20)
        revision = IntegerField()
        from_state = CharField(max_length=20)
        to_state = CharField(max_length=20)
        time = BigIntegerField()
        actor_role = CharField(max_length=20)
        actor = CharField(max_length=40)
        reason = CharField(max_length=500)

        class Meta:
            database = db
            table_name = "transition"
            indexes = ((("activity_id", "sequence"), True),)

    db.create_tables([Transition])

    class Visit(Model):
        share_id = BigIntegerField()
        visitor = CharField(max_length=40)
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "visit"
            primary_key = CompositeKey("share_id", "visitor")

    db.create_tables([Visit])
