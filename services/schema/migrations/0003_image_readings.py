"""What was read in pictures, and whether an audit had it: null in rows that the release before writes."""

from peewee import BigIntegerField, BooleanField, CharField, Database, Model
from playhouse.migrate import SchemaMigrator

from services.schema.tables import JsonField


def up(migrator: SchemaMigrator, db: Database) -> None:
    class ImageReading(Model):
        uid = CharField(max_length=64, primary_key=True)
        reader = CharField(max_length=100)
        passages = JsonField()
        create_time = BigIntegerField()

        class Meta:
            database = db
            table_name = "image_reading"

    db.create_tables([ImageReading])
    migrator.migrate(migrator.add_column("audit", "is_image_text_checked", BooleanField(null=True)))
