import asyncio
import io
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from services.chassis import database, errors, parameters
from services.entry.gallery import Gallery
from services.entry.pictures import picture_of
from services.schema import lifecycle
from services.schema.lifecycle import Actor, Why
from services.schema.tables import Image as ImageRow
from sharemesh.v1 import entry_pb2
from tests.entry.desk import NOW, Desk, png, publication
from tests.mesh import Mesh, request_id

STILL = ("JPEG", "PNG", "WEBP")


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(width: int = 60, height: int = 40) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def refusal(content: bytes) -> str:
    with pytest.raises(errors.Invalid) as refused:
        picture_of(content)
    assert refused.value.violations[0].field == "content"
    return refused.value.reason


@pytest.fixture
def small_limits() -> Iterator[None]:
    before = parameters.swap(replace(parameters.current(), image_bytes=100_000, image_pixels=10_000, image_edge=50))
    yield
    parameters.swap(before)


@pytest.mark.parametrize("file_format", STILL)
def test_a_still_picture_is_kept_in_its_format_under_the_hash_of_its_bytes(file_format: str) -> None:
    content = saved(noise(), file_format)
    picture = picture_of(content)
    assert picture == picture_of(content)
    assert (picture.content_type, picture.width, picture.height) == (f"image/{file_format.lower()}", 60, 40)
    assert Image.open(io.BytesIO(picture.content)).format == file_format


@pytest.mark.parametrize("file_format", STILL)
def test_a_picture_that_compresses_badly_is_kept_smaller_so_that_a_message_holds_it(file_format: str) -> None:
    before = parameters.swap(replace(parameters.current(), image_kept_bytes=20_000))
    try:
        picture = picture_of(saved(noise(400, 200), file_format))
    finally:
        parameters.swap(before)
    assert 5_000 < len(picture.content) <= 20_000
    assert 1.9 < picture.width / picture.height < 2.1
    with Image.open(io.BytesIO(picture.content)) as kept:
        assert (kept.size, kept.format) == ((picture.width, picture.height), file_format)


@pytest.mark.parametrize("file_format", STILL)
def test_position_maker_and_comments_are_gone_and_the_picture_stands_upright(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Lies on its side.
    exif[0x010F] = "CameraMaker"
    exif.get_ifd(0x8825)[2] = (30.0, 39.0, 26.0)
    lying = Image.new("RGB", (60, 40), (255, 255, 255))
    lying.paste((200, 0, 0), (0, 0, 30, 40))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<secret/>")
    options: Any = {"PNG": {"pnginfo": text}, "JPEG": {"comment": b"secret"}, "WEBP": {"xmp": b"<secret/>"}}[
        file_format
    ]
    content = saved(lying, file_format, exif=exif, icc_profile=b"secret-profile", **options)
    assert b"CameraMaker" in content
    picture = picture_of(content)
    assert (picture.width, picture.height) == (40, 60)
    kept = Image.open(io.BytesIO(picture.content))
    kept.load()
    assert not dict(kept.getexif())
    assert b"secret" not in picture.content
    assert b"CameraMaker" not in picture.content
    top, bottom = (kept.convert("RGB").getpixel((20, y)) for y in (10, 50))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert (top[1] < 60, bottom[1] > 200) == (True, True)


def test_a_large_picture_is_made_smaller_and_a_small_one_is_not_made_larger(small_limits: None) -> None:
    picture = picture_of(saved(noise(100, 60), "JPEG"))
    assert (picture.width, picture.height) == (50, 30)
    assert picture_of(png(size=(8, 6))).width == 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_png_keeps_its_brightness(mode: str) -> None:
    grey = Image.new("I;16", (9, 9), 40_000) if mode == "I;16" else Image.new("L", (9, 9), 255).convert(mode)
    kept = Image.open(io.BytesIO(picture_of(saved(grey, "PNG")).content)).convert("L")
    assert kept.getpixel((4, 4)) == (156 if mode == "I;16" else 255)


def test_a_phones_jpeg_with_a_preview_behind_it_is_a_still_picture() -> None:
    picture = picture_of(saved(noise(), "MPO", save_all=True, append_images=[noise(6, 4)]))
    assert (picture.content_type, picture.width) == ("image/jpeg", 60)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_what_moves_is_refused(file_format: str) -> None:
    assert refusal(saved(noise(), file_format, save_all=True, append_images=[noise()])) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_refused_whatever_they_are_called(file_format: str) -> None:
    assert refusal(saved(noise(), file_format)) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize(
    "content", [b"x", b"<svg/>", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + b"\0" * 64]
)
def test_bytes_that_are_no_picture_are_refused(content: bytes) -> None:
    assert refusal(content) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("file_format", STILL)
@pytest.mark.parametrize("part", [0.02, 0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused(file_format: str, part: float) -> None:
    content = saved(noise(), file_format)
    assert refusal(content[: int(len(content) * part)]) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("file_format", STILL)
@pytest.mark.parametrize("missing", [1, 2, 4, 8, 12])
def test_a_picture_without_its_last_bytes_is_refused(file_format: str, missing: int) -> None:
    content = saved(noise(), file_format)
    assert picture_of(content + b"more").width == 60
    assert refusal(content[:-missing]) == "IMAGE_UNREADABLE"


def test_a_jpeg_of_thousands_of_passes_is_refused_before_one_is_unpacked() -> None:
    """Each takes a hundred bytes, and a pass over all pixels of whoever unpacks it."""
    jpeg = saved(Image.new("RGB", (4_000, 3_000), (200, 30, 40)), "JPEG", progressive=True)
    last_scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert picture_of(jpeg).width == 2048
    assert picture_of(jpeg[:-2] + last_scan * 5 + jpeg[-2:]).width == 2048
    before = time.process_time()
    assert refusal(jpeg[:-2] + last_scan * 20_000 + jpeg[-2:]) == "IMAGE_UNREADABLE"
    assert time.process_time() - before < 1


def test_what_a_phone_appends_to_a_jpeg_does_not_count_as_passes() -> None:
    video = b"\xff\xda\x00\x02" * 1_000
    jpeg = saved(noise(), "JPEG", comment=video[:60_000])
    assert picture_of(jpeg + video).width == 60


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 1}, {"progressive": True, "optimize": True}])
def test_no_kind_of_jpeg_is_taken_for_one_of_too_many_passes(options: dict[str, Any]) -> None:
    assert picture_of(saved(noise(1_600, 1_200), "JPEG", quality=95, **options)).width == 1_600


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(STILL), st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), max_size=8), st.integers(0)
)
def test_damaged_files_are_pictures_or_refused(file_format: str, damage: list[tuple[int, int]], end: int) -> None:
    content = bytearray(saved(Image.linear_gradient("L").resize((40, 30)).convert("RGB"), file_format))
    for place, value in damage:
        content[place % len(content)] = value
    with suppress(errors.Invalid):
        picture = picture_of(bytes(content[: len(content) - end % 50]))
        assert max(picture.width, picture.height) <= 2048


@pytest.mark.parametrize("file_format", STILL)
def test_too_many_pixels_are_refused(file_format: str, small_limits: None) -> None:
    assert refusal(saved(Image.new("L", (101, 100)), file_format)) == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize("edge", [7_000, 50_000])
def test_a_bomb_is_refused_by_its_header(edge: int) -> None:
    """A PNG of a hundred bytes that says it is gigabytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    assert refusal(bomb) == "IMAGE_TOO_LARGE"


def test_too_many_bytes_are_refused(small_limits: None) -> None:
    assert refusal(b"x" * 100_001) == "IMAGE_TOO_LARGE"


def test_a_gallery_keeps_whole_files_by_name_and_leaves_no_drafts(tmp_path: Path) -> None:
    async def kept_and_read() -> tuple[bytes, bytes, str]:
        first = await gallery.keep(png())
        again = await gallery.keep(png())
        assert first == again
        return first.content, await gallery.read(first.uid), first.uid

    gallery = Gallery(f"file://{tmp_path}/images")
    content, read, uid = asyncio.run(kept_and_read())
    gallery.close()
    assert content == read
    assert [file.name for file in (tmp_path / "images").rglob("*") if file.is_file()] == [uid]


def test_a_gallery_that_is_away_says_so(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("no folder")
    gallery = Gallery(f"file://{tmp_path}/images")
    for act in (gallery.keep(png()), gallery.read("a" * 64)):
        with pytest.raises(errors.Unavailable) as refused:
            asyncio.run(act)
        assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    gallery.close()


def test_the_same_picture_has_the_same_name_and_one_row_a_merchant(desk: Desk) -> None:
    first = desk.owner.upload(png(), desk.merchant, "upload-1")
    assert desk.owner.upload(png(), desk.merchant, "upload-1") == first
    assert desk.owner.upload(png(), desk.merchant) == first
    other = desk.person("MERCHANT", "wang")
    theirs = other("CreateMerchant", merchant={"display_name": "w", "currency": "CNY"})["name"]
    assert other.upload(png(), theirs)["name"] == first["name"]
    assert desk.db.run_here(ImageRow.select().count) == 2
    with pytest.raises(errors.NotFound):
        other.upload(png(), desk.merchant)


def test_a_picture_is_public_while_a_live_publication_shows_it(desk: Desk) -> None:
    image = desk.owner.upload(png(), desk.merchant)["name"]
    strangers = [desk.person(*who) for who in (("ANONYMOUS", ""), ("CUSTOMER", "a"), ("MERCHANT", "wang"))]
    activity = desk.enter(images=[image])

    def seen_by_strangers() -> list[bool]:
        seen = []
        for stranger in strangers:
            try:
                seen.append(stranger.find_image(image)[1] == "image/png")
            except errors.NotFound:
                seen.append(False)
        return seen

    def withdraw() -> None:
        with database.write():
            locked = lifecycle.lock(activity["name"].removeprefix("activities/"))
            lifecycle.move_publication(locked, published, "WITHDRAWN", Why(Actor("SERVICE"), NOW))

    assert seen_by_strangers() == [False, False, False]
    activity = desk.move(activity, "PENDING_AUDIT", "APPROVED")
    published = publication(desk.db, activity)
    assert seen_by_strangers() == [True, True, True]
    desk.db.run_here(withdraw)
    assert seen_by_strangers() == [False, False, False]
    assert desk.owner.find_image(image) == desk.person("OPERATOR", "op").find_image(image)


def test_pictures_travel_through_a_running_service(mesh: Mesh) -> None:
    owner = mesh.person("merchant", "lin")
    business = entry_pb2.Merchant(display_name="川味小馆", currency="CNY")
    merchant = owner.entry.CreateMerchant(
        entry_pb2.CreateMerchantRequest(merchant=business, request_id=request_id())
    ).name
    upload = entry_pb2.UploadImageRequest(merchant=merchant, content=png(), request_id=request_id())
    image = owner.entry.UploadImage(upload)
    assert owner.entry.UploadImage(upload) == image
    body = owner.entry.GetImage(entry_pb2.GetImageRequest(name=image.name))
    assert (body.content_type, len(body.data)) == ("image/png", image.size_bytes)
    with pytest.raises(grpc.RpcError) as unseen:
        mesh.person().entry.GetImage(entry_pb2.GetImageRequest(name=image.name))
    assert unseen.value.code() == grpc.StatusCode.NOT_FOUND
    upload.content, upload.request_id = b"GIF89a", request_id()
    with pytest.raises(grpc.RpcError) as unreadable:
        owner.entry.UploadImage(upload)
    assert unreadable.value.code() == grpc.StatusCode.INVALID_ARGUMENT
