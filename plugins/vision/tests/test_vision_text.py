"""The detector `ocr`: words, lines, areas, and where they stand."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

INVOICE = [(40, 40, "Invoice 2024-117"), (40, 90, "Three wooden chairs, oak"), (40, 300, "Total due: 1,250.00 EUR")]
TEXT = "\n".join(text for _, _, text in INVOICE)


def _lines(answer: Any) -> list[Any]:
    return [line for area in answer["document"]["text_areas"] for line in area["lines"]]


def test_printed_lines_are_read(found: Any, written: Any) -> None:
    """Letters, digits and punctuation, in reading order."""
    assert found("ocr", written(INVOICE))["text"] == TEXT


def test_the_answer_has_the_documented_shape(found: Any, written: Any) -> None:
    """Areas of lines of words, each with four corners in whole pixels; nothing else."""
    answer = found("ocr", written(INVOICE))
    assert set(answer) == {"document", "text", "text_area_percentage"}
    assert set(answer["document"]) == {"text_areas"}
    for area in answer["document"]["text_areas"]:
        assert set(area) == {"bounding_box", "lines"}
        for line in area["lines"]:
            assert set(line) == {"bounding_box", "text", "words"}
            assert line["text"] == " ".join(word["text"] for word in line["words"])
            for part in (area, line, *line["words"]):
                assert len(part["bounding_box"]) == 4
                assert all(set(corner) == {"x", "y"} for corner in part["bounding_box"])
                assert all(type(value) is int for corner in part["bounding_box"] for value in corner.values())


def test_lines_and_words_are_where_they_stand(found: Any, written: Any) -> None:
    """Corners from the top left, clockwise, within a few pixels of what was drawn."""
    from PIL import ImageFont

    font = ImageFont.load_default(36)
    for line, (x, y, text) in zip(_lines(found("ocr", written(INVOICE))), INVOICE, strict=True):
        left, top, right, bottom = font.getbbox(text)
        corners = [(corner["x"], corner["y"]) for corner in line["bounding_box"]]
        drawn = [(x + left, y + top), (x + right, y + top), (x + right, y + bottom), (x + left, y + bottom)]
        assert [value for corner in corners for value in corner] == pytest.approx(
            [value for corner in drawn for value in corner], abs=9
        )
        start = 0
        for word, name in zip(line["words"], text.split(), strict=True):
            start = text.index(name, start)
            assert word["text"] == name
            assert word["bounding_box"][0]["x"] == pytest.approx(x + font.getlength(text[:start]), abs=14)
            assert word["bounding_box"][1]["x"] == pytest.approx(x + font.getlength(text[: start + len(name)]), abs=14)


def test_lines_that_belong_together_are_one_area(found: Any, written: Any) -> None:
    """What stands close below is the same area; what stands apart, or beside, is another."""
    beside = [*INVOICE, (600, 40, "Page 1")]
    areas = found("ocr", written(beside))["document"]["text_areas"]
    texts = [[line["text"] for line in area["lines"]] for area in areas]
    assert sorted(texts) == sorted([[INVOICE[0][2], INVOICE[1][2]], ["Page 1"], [INVOICE[2][2]]])


def test_the_share_of_text_is_told(found: Any, written: Any) -> None:
    """In per cent of the picture, a little more than the letters' own boxes."""
    answer = found("ocr", written([(40, 40, "Half of nothing")], size=(400, 400)))
    assert 3 < answer["text_area_percentage"] < 15


@pytest.mark.parametrize("degrees", [90, 180, 270, 12, -12])
def test_turned_text_is_read(degrees: int, found: Any, written: Any) -> None:
    """Pictures that lie on their side, stand on their head, or hang askew."""
    turned = written(INVOICE).rotate(degrees, expand=True, fillcolor="white")
    assert sorted(found("ocr", turned)["text"].split("\n")) == sorted(TEXT.split("\n"))


def test_a_page_on_its_head_is_read_from_its_own_top(found: Any, written: Any) -> None:
    """The order of lines is the reader's, not the camera's."""
    assert found("ocr", written(INVOICE).rotate(180))["text"] == TEXT


def test_white_on_black_and_small_print_are_read(found: Any, written: Any) -> None:
    """Inverted, and at eleven pixels."""
    from PIL import ImageOps

    assert found("ocr", ImageOps.invert(written(INVOICE)))["text"] == TEXT
    small = written([(10, 10, "Terms and conditions apply")], size=(400, 60), height=13)
    assert found("ocr", small)["text"] == "Terms and conditions apply"


def test_a_large_picture_is_answered_in_its_own_pixels(found: Any, saved: Any, written: Any) -> None:
    """It is looked at in a smaller copy, which nobody notices."""
    large = written([(400, 900, "Enormous letters")], size=(4000, 3000), height=300)
    (line,) = _lines(found("ocr", saved(large, "JPEG")))
    assert line["text"] == "Enormous letters"
    assert line["bounding_box"][0]["x"] == pytest.approx(400, abs=40)
    assert line["bounding_box"][0]["y"] == pytest.approx(960, abs=60)


@pytest.mark.parametrize("name", ["", "brick.png", "moon.png", "grass.png"])
def test_where_nothing_is_written_nothing_is_read(name: str, found: Any, photograph: Any) -> None:
    """An empty answer of the same shape."""
    image = photograph(name) if name else Image.new("RGB", (300, 200), "white")
    assert found("ocr", image) == {"document": {"text_areas": []}, "text": "", "text_area_percentage": 0}


@pytest.mark.parametrize("size", [(1, 1), (3000, 3), (3, 3000), (20, 20)])
def test_odd_shapes_are_looked_at(size: tuple[int, int], found: Any) -> None:
    """No shape of picture is a fault."""
    assert found("ocr", Image.new("RGB", size, "white"))["text"] == ""


def test_there_is_an_end_to_reading(found: Any, written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a picture may cost is bounded: with less allowed, the first lines are read and the rest is not."""
    from secure_delivery_vision import reading

    monkeypatch.setattr(reading, "_WORK", 800)
    answer = found("ocr", written(INVOICE))
    assert answer["text"] == "\n".join(TEXT.split("\n")[:2])
