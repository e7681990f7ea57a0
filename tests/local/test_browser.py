from pathlib import Path

import pytest
from PIL import Image

from local import browser
from local.browser import Unseen

RED, GREEN = (255, 0, 0), (0, 128, 0)


@pytest.mark.slow
def test_a_picture_is_taken_once_the_page_is_as_wanted(tmp_path: Path) -> None:
    page, file = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text("""<body style="background: red"><script>
        setTimeout(() => { document.body.style.background = "green"; document.title = "done" }, 1000)
    </script>""")
    for until, color in (("true", RED), ("document.title === 'done'", GREEN)):
        browser.screenshot(page.as_uri(), file, 300, 200, until=until)
        with Image.open(file) as image:
            assert image.size == (300, 200)
            assert image.convert("RGB").getpixel((150, 100)) == color


@pytest.mark.slow
def test_a_page_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unseen, match="ERR_FILE_NOT_FOUND"):
        browser.screenshot((tmp_path / "none.html").as_uri(), tmp_path / "page.png")
