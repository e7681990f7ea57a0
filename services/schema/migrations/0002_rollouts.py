"""Rollouts of lexicons; who made a lexicon and why: null in rows that the release before writes."""

from peewee import BigAutoField, BigIntegerField, CharField, Database, IntegerField, Model
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Database) -> None:
    class Rollout(Model):
        id = BigAutoField()
        uid = CharField(unique=True, max_length=40)
        release = CharField(max_length=64)
        previous = CharField(default="", max_length=64)
        kind = CharField(max_length=20)
        state = CharField(max_length=20)
        actor = CharField(default="", max_length=40)
        reason = CharField(default="", max_length=500)
        create_time = BigIntegerField()
        end_time = BigIntegerField(null=True)
        stage = CharField(max_length=20)
        done_id = BigIntegerField(default=0)
        worker = CharField(default="", max_length=40)
        lease_until = BigIntegerField(null=True)
        total_count = IntegerField(default=0)
        judged_count = IntegerField(default=0)
        suspended_count = IntegerField(default=0)
        restored_count = IntegerField(default=0)
        published_count = IntegerField(default=0)
        rejected_count = IntegerField(default=0)
        review_count = IntegerField(default=0)
        failed_count = IntegerField(default=0)

        class Meta:
            database = db
            table_name = "rollout"
            indexes = ((("state", "id"), False), (("release", "id"), False))

    db.create_tables([Rollout])
    counts = ("term_count", "added_count", "changed_count", "removed_count")
    migrator.migrate(
        migrator.add_column("lexicon_release", "base", CharField(null=True, max_length=64)),
        *(migrator.add_column("lexicon_release", count, IntegerField(null=True)) for count in counts),
        migrator.add_column("lexicon_release", "actor", CharField(null=True, max_length=40)),
        migrator.add_column("lexicon_release", "reason", CharField(null=True, max_length=500)),
    )
