"""Words on a sheet: nothing hidden in them, nothing wider than its column, and always a picture."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from secure_delivery_images.lettering import Pen, harmless, scale_for


def drawn(pen: Pen, text: str, width: int = 400) -> Image.Image:
    image = Image.new("RGB", (width, 40), "white")
    pen.write(ImageDraw.Draw(image), (5, 5), text)
    return image


def test_what_hides_or_turns_a_text_is_shown() -> None:
    """Control characters, zero width ones and those that turn the direction are there for everyone to see."""
    assert harmless("a\x00b\x1b[31mc\u202egnp.exe\u200b\ud800") == "a\ufffdb\ufffd[31mc\ufffdgnp.exe\ufffd\ufffd"
    assert harmless("Grüße, мир, 漢字") == "Grüße, мир, 漢字"
    assert harmless("x" * 9_000, 10) == "x" * 10


@pytest.mark.parametrize(
    "text", ["the quick brown fox " * 50, "x" * 3_000, "漢字" * 900, "a " * 700, "\t\tindented", "é\u0301" * 400]
)
def test_no_line_is_wider_than_its_column(text: str) -> None:
    """Words go to the next line, words wider than the column are cut; no letter is lost."""
    pen = Pen(13)
    lines = pen.wrapped(text, 300)
    assert all(pen.width(line) <= 300 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\t", "")


def test_the_number_of_lines_is_bounded() -> None:
    assert len(Pen(10).wrapped("a\n" * 5_000, 100, most=7)) == 7
    assert len(Pen(10).wrapped("word " * 200_000, 100, most=7)) == 7
    assert Pen(10).wrapped("", 100) == [""]


def test_a_name_is_cut_where_the_column_ends() -> None:
    pen = Pen(13)
    assert pen.cut("short", 200) == "short"
    cut = pen.cut("a very long name of a file " * 10, 200)
    assert cut.endswith("…") and pen.width(cut) <= 200


@pytest.mark.parametrize("text", ["Hello", "Ελληνικά", "Русский", "עברית", "العربية", "漢字", "😀", "\ud800", "\U0010ffff"])
def test_every_text_leaves_ink(text: str) -> None:
    """Where no font has a letter, its empty box is drawn."""
    assert drawn(Pen(20), harmless(text)).getextrema() != ((255, 255),) * 3


def test_bold_letters_have_more_ink() -> None:
    dark = [sum(drawn(Pen(20, bold=bold), "weight").convert("L").histogram()[:128]) for bold in (False, True)]
    assert dark[1] > dark[0] * 1.15


@pytest.mark.parametrize(
    ("size", "scale"),
    [(None, 1.0), ((800, 0), 1.0), ((0, 600), 1.0), ((1600, 600), 1.0), ((10, 10), 0.3), ((99_999, 0), 2.5), ((0, 0), 1.0)],
)
def test_a_sheet_is_drawn_about_as_large_as_its_picture(size: tuple[int, int] | None, scale: float) -> None:
    assert scale_for(size, (800, 600)) == scale
