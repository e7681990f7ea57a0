"""Images: whose they are, and who may see them; their pixels are the gallery's."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.chassis import database
from services.chassis.call import Call
from services.chassis.names import name, uid_of
from services.entry.pictures import Picture
from services.schema import access, replay
from services.schema.tables import Image, Publication, PublicationImage

Plain = Mapping[str, Any]


def check_owner(call: Call, plain: Plain) -> None:
    """Raise NotFound unless the merchant is the caller's: no stranger's picture is worth decoding."""
    access.merchant(call, plain["merchant"], "merchant")


def keep_image(call: Call, plain: Plain, picture: Picture, now: datetime) -> dict[str, Any]:
    """Enter a picture that the gallery has kept; in the shape of Image. The same picture is entered once."""

    def command() -> str:
        with suppress(IntegrityError):  # The merchant has this picture already, which is as good.
            Image.insert(merchant_id=merchant.id, **picture.facts(), create_time=now).execute()
        return picture.uid

    with database.write():
        merchant = access.merchant(call, plain["merchant"], "merchant")
        uid, _ = replay.once(call, merchant.uid, command, now)
    image = Image.get(Image.merchant_id == merchant.id, Image.uid == uid)
    return {
        "name": name("images", image.uid),
        "merchant": name("merchants", merchant.uid),
        "content_type": image.content_type,
        "width": image.width,
        "height": image.height,
        "size_bytes": image.size_bytes,
        "create_time": image.create_time,
    }


def find_image(call: Call, plain: Plain) -> tuple[str, str]:
    """The uid and the content type of a picture that the caller may see; else NotFound."""
    uid = uid_of("images", plain["name"])
    images = Image.select().where(Image.uid == uid)
    image = images.first() if access.sees_all(call) or _is_public(uid) else _own(call, images)
    if image is None:
        raise access.not_found("images", uid)
    return image.uid, image.content_type


def _own(call: Call, images: Any) -> Image | None:
    ids = access.merchant_ids(call)
    return images.where(Image.merchant_id << ids).first() if ids else None


def _is_public(uid: str) -> bool:
    return bool(
        PublicationImage.select()
        .join(Publication, on=(Publication.id == PublicationImage.publication_id))
        .where(PublicationImage.image == uid, Publication.state == "LIVE")
        .exists()
    )
