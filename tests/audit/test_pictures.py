"""Whether what a person reads in a picture is read."""

import subprocess
import sys
import threading

import pytest
from PIL import Image, ImageDraw

from services.audit.pictures import reader as readers
from services.audit.pictures.passages import QR, WORDS, Box, Page, Passage, Reading
from services.audit.pictures.payloads import findings
from services.audit.pictures.reader import Reader, Unreadable
from services.entry.pictures import picture_of
from tests.audit import posters
from tests.audit.posters import BLACK, RED, WHITE, jpeg, poster, qr, saved, with_code

# Loaded once: the models are shared.
READER = Reader()
LINK = "https://u.wechat.com/EAAAAABBBBCCCC"
PHONE = "加店主微信领券13800000000"


def words(picture: Image.Image | bytes) -> str:
    """What is read, without spaces, which are no matter of the audit's."""
    content = picture if isinstance(picture, bytes) else jpeg(picture)
    return Page.of(READER.read(content)).text.replace(" ", "")


def codes(picture: Image.Image | bytes) -> list[Passage]:
    content = picture if isinstance(picture, bytes) else jpeg(picture)
    return [passage for passage in READER.read(content).passages if passage.kind == QR]


def line(
    text: str, height: int, ground: tuple[int, int, int] = WHITE, ink: tuple[int, int, int] = BLACK
) -> Image.Image:
    picture = Image.new("RGB", (720, 720), ground)
    ImageDraw.Draw(picture).text((20, 340), text, font=posters.font(height), fill=ink)
    return picture


def test_a_poster_is_read_from_the_top() -> None:
    lines = ["开业大酬宾", "全场八折满100减20", "招牌牛肉面38元", "活动时间：11月1日至11月30日", "每人限领一张"]
    assert words(poster(lines)) == "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "全省第一百年老店",
        "加微信13800000000",
        "加★微★信★领★券",
        "加薇信abc_000000",
        "加V信weixin：abc_000",
        "國家級品質",
        "壹贰叁元起",
        "包治糖尿病无效退款",
        "力口微信领券",
    ],
)
def test_evaded_words_come_out_as_they_are_written(text: str) -> None:
    assert text.replace("贰", "貳") in words(poster([text], (720, 300))).replace("贰", "貳")


@pytest.mark.parametrize("height", [12, 16, 24, 120])
def test_small_and_large_words_are_read(height: int) -> None:
    text = PHONE if height < 60 else "国家级"
    assert words(line(text, height)) == text


@pytest.mark.parametrize("degrees", [5, 30, 45, 90, 180, 270])
def test_words_are_read_however_they_are_turned(degrees: int) -> None:
    assert words(line(PHONE, 40).rotate(degrees, fillcolor=WHITE)) == PHONE


def test_columns_are_read_from_the_right() -> None:
    picture = Image.new("RGB", (720, 800), WHITE)
    for x, column in ((500, "全省第一加店主"), (300, "微信领券")):
        for index, character in enumerate(column):
            place = (x, 100 + 90 * index)
            ImageDraw.Draw(picture).text(place, character, font=posters.font(72), fill=BLACK)
    assert words(picture) == "全省第一加店主\n微信领券"


@pytest.mark.parametrize(("ground", "ink"), [((230,) * 3, (205,) * 3), (RED, (240, 60, 60)), ((10,) * 3, (60,) * 3)])
def test_faint_words_are_read(ground: tuple[int, int, int], ink: tuple[int, int, int]) -> None:
    assert words(line(PHONE, 40, ground, ink)) == PHONE


@pytest.mark.parametrize("ink", [WHITE, BLACK, (128, 128, 128)])
def test_words_on_nothing_are_read_whatever_an_app_shows_behind_them(ink: tuple[int, int, int]) -> None:
    picture = poster([PHONE], (720, 400), ground=(0, 0, 0, 0), ink=ink)
    for content in (saved(picture, "PNG"), saved(picture, "WEBP", lossless=True)):
        assert words(content).split("\n").count(PHONE) == 1


def test_what_an_upload_keeps_is_read_like_the_upload() -> None:
    large = poster([("全省第一", 300), (PHONE, 150)], (3000, 4000))
    kept = picture_of(jpeg(large)).content
    assert words(kept) == f"全省第一\n{PHONE}"


def test_a_box_tells_where_in_the_stored_picture() -> None:
    content = saved(line(PHONE, 40), "PNG")
    [passage] = READER.read(content).passages
    drawn = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((20, 340), PHONE, font=posters.font(40))
    box = passage.box
    for told, true in zip((box.x, box.y, box.right, box.bottom), drawn, strict=True):
        assert abs(told - true) <= 24


@pytest.mark.parametrize("size", [(1, 1), (1, 2048), (2048, 1), (2048, 20), (20, 2048), (31, 33)])
def test_strips_and_specks_are_read_as_empty(size: tuple[int, int]) -> None:
    assert READER.read(saved(Image.new("RGB", size, RED), "PNG")) == Reading()


def test_a_picture_full_of_words_costs_a_bounded_time_and_its_largest_are_read() -> None:
    lines: list[str | tuple[str, int]] = [("国家级品质全省最低价加店主微信领券" * 6, 20)] * 50
    reading = READER.read(jpeg(poster([*lines, ("特大字号", 200)], (2048, 2048), WHITE, BLACK)))
    assert not reading.is_whole
    assert len(reading.passages) < 40
    assert "特大字号" in [passage.text for passage in reading.passages]


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", jpeg(poster(["国家级"]))[:4000], saved(Image.new("1", (5000, 5000)), "PNG")],
)
def test_what_is_no_kept_picture_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable):
        READER.read(content)


def test_threads_share_one_reader() -> None:
    texts = ["全省第一", "国家级", "最低价", "加微信"]
    read: dict[str, str] = {}

    def run(text: str) -> None:
        read[text] = words(poster([text], (720, 300)))

    threads = [threading.Thread(target=run, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == {text: text for text in texts}


@pytest.mark.parametrize("scale", [2, 3, 6, 12])
@pytest.mark.parametrize("turn", [0, 15, 45, 180])
def test_codes_are_read_at_any_size_and_turn(scale: int, turn: int) -> None:
    [code] = codes(with_code(poster(["扫码有礼"]), qr(LINK, scale), (50, 150), turn))
    assert code.text == LINK


@pytest.mark.parametrize(
    ("dark", "light"),
    [
        ("#1040a0", "#ffe040"),
        ("#07c160", "#ffffff"),
        ("#f0c000", "#ffffff"),
        ("#ffffff", "#000000"),
        ("#fff0c8", "#c81e28"),
        ("#909090", "#c0c0c0"),
        # Of the same brightness.
        ("#d02020", "#2c8030"),
        ("#2020ff", "#80345a"),
    ],
)
def test_codes_are_read_in_any_colours(dark: str, light: str) -> None:
    [code] = codes(with_code(poster(["扫码有礼"], (720, 720)), qr(LINK, 6, dark, light), (100, 200)))
    assert code.text == LINK


def test_a_code_without_a_margin_is_read() -> None:
    assert [code.text for code in codes(with_code(poster([], (500, 500)), qr(LINK, 6, border=0), (100, 100)))] == [LINK]


def test_every_code_of_a_picture_is_read_once_with_its_box() -> None:
    picture = with_code(with_code(poster([]), qr(LINK), (100, 200)), qr("第二个：13800000000"), (400, 600))
    first, second = sorted(codes(picture), key=lambda code: code.box.y)
    assert (first.text, second.text) == (LINK, "第二个：13800000000")
    side = qr(LINK).width - 48
    for told, true in zip(
        (first.box.x, first.box.y, first.box.width, first.box.height), (124, 224, side, side), strict=True
    ):
        assert abs(told - true) <= 4


def test_twins_are_two_codes() -> None:
    assert len(codes(with_code(with_code(poster([]), qr(LINK), (100, 200)), qr(LINK), (400, 600)))) == 2


def test_words_with_a_frame_in_them_are_no_codes() -> None:
    assert codes(poster([("回味无穷回头客回国品", 40)] * 10, (720, 720))) == []
    assert codes(Image.effect_noise((720, 720), 120).convert("RGB")) == []


def found(payload: str) -> list[tuple[str, str, str]]:
    box = Box(0, 0, 9, 9)
    page = Page.of(Reading((Passage("网址 http://example.com", box), Passage(payload, box, QR))))
    return [(page.text[one.start : one.end], one.action, one.field) for one in findings("images[0]", page)]


@pytest.mark.parametrize(
    "payload",
    [
        LINK,
        "HTTP://EXAMPLE.COM/A",
        "example.com/join?id=1",
        "weixin://dl/add?x",
        "tel:13800000000",
        "SMSTO:13800000000:hi",
        "mailto:a@example.com",
        "MECARD:N:Li;TEL:13800000000;;",
        "BEGIN:VCARD\nFN:Li\nEND:VCARD",
        "tg://resolve?domain=a",
        " https://example.com",
    ],
)
def test_a_code_that_leads_away_is_rejected(payload: str) -> None:
    assert found(payload) == [(payload, "reject", "images[0]")]


@pytest.mark.parametrize("payload", ["wxp://f2f0AAA", "https://qr.alipay.com/fkx000", "HTTPS://QR.ALIPAY.COM/FKX"])
def test_a_code_that_asks_for_money_is_for_a_person_to_look_at(payload: str) -> None:
    assert found(payload) == [(payload, "review", "images[0]")]


@pytest.mark.parametrize(
    "payload",
    ["WIFI:S:Cafe;T:WPA;P:00000000;;", "A12号桌", "6901234567892", "geo:30.25,120.16", "满100减20", "3.5折", "Ver.2.0"],
)
def test_any_other_code_is_judged_by_its_words(payload: str) -> None:
    assert found(payload) == []
    assert Page.of(Reading((Passage(payload, Box(0, 0, 9, 9), QR),))).text == payload


@pytest.mark.parametrize(("passages", "span"), [((), (0, 0)), ((Passage("加", Box(0, 0, 9, 9)),), (0, 1))])
def test_a_picture_that_was_not_read_to_the_end_is_for_a_person_to_look_at(
    passages: tuple[Passage, ...], span: tuple[int, int]
) -> None:
    [one] = findings("images[0]", Page.of(Reading(passages, is_whole=False)))
    assert (one.action, (one.start, one.end)) == ("review", span)


def test_a_page_finds_the_boxes_of_a_passage_that_goes_on() -> None:
    first, second = Box(100, 100, 300, 50), Box(100, 160, 200, 50)
    page = Page.of(Reading((Passage("领券", second), Passage("加微信", first))))
    assert page.text == "加微信\n领券"
    assert page.box(0, 3) == first
    assert page.box(4, 6) == second
    assert page.box(2, 5) == Box(100, 100, 300, 110)
    assert page.box(6, 6) is None


def test_words_side_by_side_are_a_line_and_columns_of_a_table_are_not() -> None:
    row = (
        Passage("微", Box(180, 104, 50, 50)),
        Passage("加", Box(100, 100, 50, 50)),
        Passage("38元", Box(700, 98, 99, 50)),
    )
    assert Page.of(Reading(row)).text == "加 微\n38元"


def test_a_reading_survives_json() -> None:
    reading = Reading((Passage("加", Box(1, 2, 3, 4)), Passage("x", Box(0, 0, 1, 1), QR)), is_whole=False)
    assert Reading.of_plain(reading.to_plain()) == reading
    assert reading.passages[0].kind == WORDS


def test_a_box_stays_inside_the_picture() -> None:
    assert Box.around([(-3, -2), (104.6, 50), (20, 300)], 100, 200) == Box(0, 0, 100, 200)
    assert Box.around([(100, 200), (100, 200)], 100, 200) == Box(99, 199, 1, 1)


def test_without_the_extra_nothing_is_installed_and_nothing_is_loaded() -> None:
    code = (
        "import sys\n"
        "for name in ('rapidocr', 'onnxruntime', 'zxingcpp', 'cv2', 'numpy'):\n    sys.modules[name] = None\n"
        "from services.audit.pictures import passages, payloads, reader\n"
        "print(reader.is_installed())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert readers.is_installed()


def test_the_name_of_a_reader_tells_the_releases() -> None:
    assert READER.name.count(".") >= 6
    assert READER.name == Reader().name


def test_the_models_are_those_of_the_wheel_and_are_never_fetched() -> None:
    code = (
        "import socket, numpy\n"
        "def refuse(*arguments, **options):\n    raise AssertionError('the network was used')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from services.audit.pictures.words import Words\n"
        "print(Words().read(numpy.full((64, 64, 3), 255, numpy.uint8)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "([], True)"
