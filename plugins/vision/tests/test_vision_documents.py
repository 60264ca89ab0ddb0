"""The detector and the task `doc_detection`: a sheet of paper in a photograph."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from PIL import Image, ImageStat

from secure_delivery.plugin import Corrupt
from secure_delivery.plugin.testing import SimpleWorkshop, bind, content
from secure_delivery_vision.tasks import transformations

STRAIGHT = ((260, 240), (980, 300), (1060, 1380), (180, 1300))
TILTED = ((500, 150), (1150, 260), (1000, 1080), (330, 900))


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("kind", ["planks", "mottled", "desk"])
@pytest.mark.parametrize(("corners", "size"), [(STRAIGHT, (1200, 1600)), (TILTED, (1600, 1200))])
def test_corners_are_found_to_a_few_pixels(
    corners: Any, size: tuple[int, int], kind: str, shadow: bool, found: Any, photographed: Any
) -> None:
    """On planks, on something mottled, on a bright desk; in even light and in shadow; seen from above and aslant."""
    answer = found("doc_detection", photographed(corners, kind, size, shadow))
    assert (answer["width"], answer["height"]) == size
    assert max(math.dist(seen, there) for seen, there in zip(answer["corners"], corners, strict=True)) < 5


def test_a_large_photograph_is_answered_in_its_own_pixels(found: Any, photographed: Any, saved: Any) -> None:
    """It is looked at in a copy of at most 2000 pixels a side."""
    corners = [(900, 200), (2100, 300), (2200, 1800), (800, 1700)]
    answer = found("doc_detection", saved(photographed(corners, "planks", (3000, 2000)), "JPEG"))
    assert max(math.dist(seen, there) for seen, there in zip(answer["corners"], corners, strict=True)) < 8


@pytest.mark.parametrize(
    "name", ["astronaut.png", "chelsea.png", "coffee.png", "grass.png", "rocket.jpg", "moon.png", "page.png"]
)
def test_where_no_sheet_lies_none_is_found(name: str, found: Any, photograph: Any) -> None:
    """People, cats, cups and grass have no corners."""
    assert found("doc_detection", photograph(name))["corners"] is None


@pytest.mark.parametrize("size", [(1, 1), (2000, 2), (3, 900), (640, 480)])
def test_an_empty_picture_has_no_sheet(size: tuple[int, int], found: Any) -> None:
    """Whatever its shape."""
    assert found("doc_detection", Image.new("RGB", size, "white"))["corners"] is None


def test_the_sheet_is_cut_out_and_seen_from_above(run: Any, saved: Any, opened: Any, found: Any, photographed: Any) -> None:
    """The result has no table in it, sides as long as the longer of each pair, and can be read like the sheet."""
    result = opened(run("doc_detection", saved(photographed(TILTED, "planks", (1600, 1200), True))))
    longest = [max(math.dist(TILTED[one], TILTED[two]) for one, two in pair) for pair in (((0, 1), (3, 2)), ((1, 2), (0, 3)))]
    assert result.size == pytest.approx(longest, abs=8)
    text = found("ocr", result)["text"]
    assert "INVOICE" in text
    assert "Item 21: wooden chair, oak, 788.00 EUR" in text


def test_preprocess_whitens_paper_and_lifts_shadows(run: Any, saved: Any, opened: Any, photographed: Any) -> None:
    """With it the paper is white everywhere and print is dark; without it colours are those of the photograph."""
    media = saved(photographed(STRAIGHT, "planks", shadow=True))
    made, plain = opened(run("doc_detection", media)), opened(run("doc_detection", media, preprocess="false"))
    assert made.size == plain.size
    left, right = (20, 20, 60, made.height - 20), (made.width - 60, 20, made.width - 20, made.height - 20)
    for part in (left, right):
        assert min(ImageStat.Stat(made.crop(part)).mean) > 250
    assert ImageStat.Stat(plain.crop(right)).mean[0] - ImageStat.Stat(plain.crop(left)).mean[0] > 40
    assert made.convert("L").getextrema()[0] < 60


def test_coords_answers_with_the_upright_rectangle(run: Any, saved: Any, photographed: Any) -> None:
    """`coords` gives x, y, width and height instead of a picture."""
    result = run("doc_detection", saved(photographed(STRAIGHT)), coords="true", preprocess="false")
    assert result.mimetype == "application/json"
    coords = json.loads(content(result))["coords"]
    assert [coords[name] for name in ("x", "y", "width", "height")] == pytest.approx([180, 240, 880, 1140], abs=5)
    assert set(coords) == {"x", "y", "width", "height"}


def test_a_picture_without_a_sheet_is_the_document(run: Any, saved: Any, opened: Any, written: Any) -> None:
    """A scan fills its picture: it is cleaned but not cut; `coords` says that nothing was found."""
    scan = written([(40, 40, "A scan")]).point(lambda level: level * 9 // 10)
    assert opened(run("doc_detection", saved(scan))).size == scan.size
    assert opened(run("doc_detection", saved(scan))).getpixel((5, 400)) == (255, 255, 255)
    untouched = run("doc_detection", saved(scan), preprocess="false")
    assert opened(untouched).tobytes() == scan.tobytes()
    assert json.loads(content(run("doc_detection", saved(scan), coords="true"))) == {"coords": None}


def test_a_result_has_at_most_2000_pixels_a_side(run: Any, saved: Any, opened: Any, photographed: Any) -> None:
    """As documented, however large the photograph is."""
    corners = [(100, 100), (5900, 150), (5800, 3900), (150, 3850)]
    assert max(opened(run("doc_detection", saved(photographed(corners, "desk", (6000, 4000)), "JPEG"))).size) == 2000


@pytest.mark.parametrize("answer", [None, {}, {"corners": 7}, {"corners": [[1, 2]]}, {"corners": [["a", 1]] * 4}])
def test_a_detector_that_answers_otherwise_is_a_fault(answer: Any, saved: Any) -> None:
    """Another plugin may provide the detector; what it says is not trusted to have the right shape."""

    class Odd:
        version = "1"

        def detect(self, media: Any, options: Any, limits: Any) -> Any:
            return answer

    task = transformations()["doc_detection"]
    with pytest.raises(Corrupt):
        task.apply(saved(Image.new("RGB", (9, 9))), bind(task), SimpleWorkshop(detectors={"doc_detection": Odd()}))
