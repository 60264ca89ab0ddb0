"""The face tasks: what their results show."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from secure_delivery.plugin import NotProvided, Unsupported
from secure_delivery.plugin.testing import SimpleWorkshop, bind, content
from secure_delivery_vision.tasks import transformations


def _changed(before: Image.Image, after: Image.Image, least: int = 12) -> tuple[int, int, int, int] | None:
    """The box of what is different to the eye."""
    difference = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).convert("L")
    return difference.point(lambda level: 255 if level > least else 0).getbbox()


def _detail(image: Image.Image, box: tuple[int, int, int, int]) -> float:
    """How much pixels differ from their neighbours."""
    part = image.convert("L").crop(box)
    return float(ImageStat.Stat(ImageChops.difference(part, ImageChops.offset(part, 1, 0))).mean[0])


def _group(astronaut: Image.Image) -> Image.Image:
    """Two people, the larger one on the right."""
    group = Image.new("RGB", (900, 512), (90, 110, 120))
    group.paste(astronaut.resize((300, 300), Image.Resampling.LANCZOS), (20, 100))
    group.paste(astronaut, (380, 0))
    return group


# --------------------------------------------------------------------------------------------------------- detect_faces


def test_detect_faces_draws_a_frame(run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any) -> None:
    """In the colour asked for, along the face, and nothing else changes."""
    result = opened(run("detect_faces", saved(astronaut), color="lime"))
    box = _changed(astronaut, result)
    assert box == pytest.approx(face, abs=4)
    assert result.getpixel((box[0], (box[1] + box[3]) // 2)) == (0, 255, 0)
    inside = (box[0] + 6, box[1] + 6, box[2] - 6, box[3] - 6)
    assert _changed(astronaut.crop(inside), result.crop(inside)) is None


def test_detect_faces_is_dim_grey_unless_told(run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any) -> None:
    """The documented default; on a grey picture too."""
    for image in (astronaut, astronaut.convert("L")):
        result = opened(run("detect_faces", saved(image))).convert("RGB")
        box = _changed(image, result)
        assert box is not None
        assert result.getpixel((box[0], (box[1] + box[3]) // 2)) == (105, 105, 105)


def test_detect_faces_exports_a_list(run: Any, saved: Any, astronaut: Image.Image, face: Any) -> None:
    """Rectangles in whole pixels, the largest first."""
    result = run("detect_faces", saved(_group(astronaut)), export="true")
    assert result.mimetype == "application/json"
    faces = json.loads(content(result))
    assert [set(item) for item in faces] == [{"x", "y", "width", "height"}] * 2
    assert faces[0]["x"] == pytest.approx(380 + face[0], abs=6)
    assert faces[1]["x"] == pytest.approx(20 + face[0] * 300 / 512, abs=6)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ({"minsize": "90"}, 1),
        ({"maxsize": "90"}, 1),
        ({"minsize": "0.01"}, 2),
        ({"minsize": "300"}, 0),
        ({"n": "0.35", "x": "0.35"}, 2),
    ],
)
def test_sizes_leave_faces_out(sizes: dict[str, str], count: int, run: Any, saved: Any, astronaut: Image.Image) -> None:
    """In pixels and in shares of the middle dimension."""
    assert len(json.loads(content(run("detect_faces", saved(_group(astronaut)), export="true", **sizes)))) == count


def test_an_empty_picture_stays_as_it_is(run: Any, saved: Any, opened: Any, photograph: Any) -> None:
    """Without a face there is nothing to frame, hide or list."""
    coffee = photograph("coffee.png")
    media = saved(coffee)
    assert json.loads(content(run("detect_faces", media, export="true"))) == []
    for task in ("detect_faces", "pixelate_faces", "blur_faces", "redeye"):
        assert opened(run(task, media)).tobytes() == coffee.tobytes()


# ----------------------------------------------------------------------------------------------------------- crop_faces


def _face_in(result: Image.Image, found: Any) -> Any:
    (face,) = found("faces", result)["faces"]
    return face


def test_thumb_shows_the_face(run: Any, saved: Any, opened: Any, found: Any, astronaut: Image.Image) -> None:
    """It fills most of the thumbnail, which has exactly the size asked for."""
    result = opened(run("crop_faces", saved(astronaut), width="200", height="200"))
    assert result.size == (200, 200)
    face = _face_in(result, found)
    assert face["height"] > 160
    assert face["x"] + face["width"] / 2 == pytest.approx(100, abs=12)


def test_buffer_shows_more_around_the_face(run: Any, saved: Any, opened: Any, found: Any, astronaut: Image.Image) -> None:
    """A hundred per cent: the face takes half of the height."""
    result = opened(run("crop_faces", saved(astronaut), width="200", height="200", buffer="100"))
    assert _face_in(result, found)["height"] == pytest.approx(100, abs=14)


def test_without_a_size_the_face_is_cut_out_as_it_is(
    run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any
) -> None:
    """Its own pixels; with a width or a height alone the other side follows."""
    result = opened(run("crop_faces", saved(astronaut)))
    assert result.size == pytest.approx((face[2] - face[0], face[3] - face[1]), abs=4)
    wide = opened(run("crop_faces", saved(astronaut), width="300"))
    assert wide.width == 300
    assert wide.height / wide.width == pytest.approx(result.height / result.width, abs=0.02)
    assert opened(run("crop_faces", saved(astronaut), height="50")).height == 50


def test_crop_cuts_pixels_around_the_face(run: Any, saved: Any, opened: Any, found: Any, astronaut: Image.Image) -> None:
    """Unscaled, the face in the middle as far as the picture allows; no larger than the picture."""
    result = opened(run("crop_faces", saved(astronaut), mode="crop", width="180", height="160"))
    assert result.size == (180, 160)
    face = _face_in(result, found)
    assert face["height"] == pytest.approx(113, abs=8)
    assert face["x"] + face["width"] / 2 == pytest.approx(90, abs=6)
    assert opened(run("crop_faces", saved(astronaut), mode="crop", width="9000", height="160")).size == (512, 160)
    assert opened(run("crop_faces", saved(astronaut), mode="crop", width="300")).width == 300


def test_fill_shows_as_much_as_it_can(run: Any, saved: Any, opened: Any, found: Any, astronaut: Image.Image) -> None:
    """The whole width, cut at the top and bottom so that the face is in it."""
    result = opened(run("crop_faces", saved(astronaut), mode="fill", width="400", height="200"))
    assert result.size == (400, 200)
    assert _face_in(result, found)["width"] == pytest.approx(91 * 400 / 512, abs=8)
    assert opened(run("crop_faces", saved(astronaut), mode="fill", width="100")).size == (100, 100)
    assert opened(run("crop_faces", saved(astronaut), mode="fill")).size == (512, 512)


def test_the_selector_chooses_whom_to_show(run: Any, saved: Any, opened: Any, astronaut: Image.Image) -> None:
    """The largest unless told; the second; everybody in one picture."""
    media = saved(_group(astronaut))
    widths = [opened(run("crop_faces", media, faces=which)).width for which in ("1", "2", "all", ("2", "1"))]
    assert widths[0] == pytest.approx(91, abs=5)
    assert widths[1] == pytest.approx(53, abs=5)
    assert widths[2] == widths[3] == pytest.approx(380 + 269 - 20 - 104, abs=8)


def test_a_face_that_is_not_there_is_told(run: Any, saved: Any, astronaut: Image.Image, photograph: Any) -> None:
    """A picture of no one's face would be a lie."""
    for media, options in (
        (saved(photograph("coffee.png")), {}),
        (saved(astronaut), {"faces": "2"}),
        (saved(astronaut), {"n": "400"}),
    ):
        with pytest.raises(Unsupported, match="no face"):
            run("crop_faces", media, **options)


# --------------------------------------------------------------------------------------------------------------- hiding


@pytest.mark.parametrize(("task", "amount"), [("pixelate_faces", "25"), ("blur_faces", "20")])
def test_a_hidden_face_is_no_face_any_more(
    task: str, amount: str, run: Any, saved: Any, opened: Any, found: Any, astronaut: Image.Image, face: Any
) -> None:
    """Strongly hidden, not even the detector finds it; what is not near the face stays as it was, to the pixel."""
    for side in (256, 512, 1500):
        image = astronaut.resize((side, side), Image.Resampling.LANCZOS)
        result = opened(run(task, saved(image), amount=amount))
        assert found("faces", result)["faces"] == []
        factor = side / 512
        allowed = [edge * factor + more for edge, more in zip(face, (-26, -26, 26, 26), strict=True)]
        box = _changed(image, result, 0)
        assert box is not None
        assert box[0] >= allowed[0]
        assert box[1] >= allowed[1]
        assert box[2] <= allowed[2]
        assert box[3] <= allowed[3]


def test_pixelate_makes_squares_of_a_share_of_the_face(
    run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any
) -> None:
    """Amount 10: ten squares along the longer side, each of one colour."""
    result = opened(run("pixelate_faces", saved(astronaut), blur="0"))
    row = [result.getpixel((face[0] + 45, y)) for y in range(face[1] + 8, face[3] - 8)]
    changes = sum(one != two for one, two in pairwise(row))
    assert 6 <= changes <= 11
    single = opened(run("pixelate_faces", saved(astronaut), blur="0", amount="100"))
    assert _detail(single, (face[0] + 5, face[1] + 5, face[2] - 5, face[3] - 5)) < 2


def test_blur_grows_with_its_amount(run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any) -> None:
    """The more, the less is left; nothing for 0."""
    left = [_detail(opened(run("blur_faces", saved(astronaut), amount=amount)), face) for amount in ("0", "1", "4", "20")]
    assert left[0] == _detail(astronaut, face)
    assert left == sorted(left, reverse=True)
    assert left[3] < left[0] / 4


def test_oval_leaves_the_corners(run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any) -> None:
    """A face has none; its rectangle has."""
    for task in ("pixelate_faces", "blur_faces"):
        result = opened(run(task, saved(astronaut), type="oval", blur="0"))
        left, top, _, _ = face
        corner = (left + 3, top + 3, left + 12, top + 12)
        assert _changed(astronaut.crop(corner), result.crop(corner), 0) is None
        middle = (left + 25, top + 40, left + 65, top + 70)
        assert _changed(astronaut.crop(middle), result.crop(middle)) is not None


def test_buffer_hides_more_than_the_face(run: Any, saved: Any, opened: Any, astronaut: Image.Image) -> None:
    """Half the buffer on each side, in per cent of the face."""
    near, far = (
        _changed(astronaut, opened(run("pixelate_faces", saved(astronaut), blur="0", buffer=buffer))) for buffer in ("0", "60")
    )
    assert near is not None
    assert far is not None
    assert far[2] - far[0] == pytest.approx((near[2] - near[0]) * 1.6, abs=14)


def test_blur_of_the_edge_is_outwards(run: Any, saved: Any, opened: Any, astronaut: Image.Image, face: Any) -> None:
    """However soft the edge, the face itself is hidden in full."""
    middle = (face[0] + 2, face[1] + 2, face[2] - 2, face[3] - 2)
    hard, soft = (opened(run("blur_faces", saved(astronaut), blur=edge)) for edge in ("0", "20"))
    assert _changed(hard.crop(middle), soft.crop(middle), 3) is None
    outer, inner = _changed(astronaut, soft, 4), _changed(astronaut, hard, 4)
    assert outer is not None
    assert inner is not None
    assert outer[0] < inner[0] - 10


def test_the_selector_chooses_whom_to_hide(run: Any, saved: Any, opened: Any, found: Any, astronaut: Image.Image) -> None:
    """Only the second: the first is still seen."""
    result = opened(run("blur_faces", saved(_group(astronaut)), faces=("2",), amount="20"))
    (face,) = found("faces", result)["faces"]
    assert face["x"] > 380


def test_everything_works_on_transparent_and_grey_pictures(run: Any, saved: Any, opened: Any, astronaut: Image.Image) -> None:
    """Modes stay what they were."""
    clear = astronaut.copy()
    clear.putalpha(Image.linear_gradient("L").resize(clear.size).point(lambda level: max(level, 200)))
    for image in (clear, astronaut.convert("L"), clear.convert("LA")):
        for task in ("pixelate_faces", "blur_faces", "redeye"):
            result = opened(run(task, saved(image)))
            assert (result.mode, result.size) == (image.mode, image.size)
        if image.mode != "L":
            hidden = opened(run("pixelate_faces", saved(image), blur="0"))
            assert hidden.getchannel("A").getpixel((5, 500)) == image.getchannel("A").getpixel((5, 500))


def test_a_chain_is_encoded_once(run: Any, saved: Any, opened: Any, astronaut: Image.Image, found: Any) -> None:
    """Tasks follow each other on the same pixels: a second look sees what the first did."""
    first = run("blur_faces", saved(_group(astronaut)), faces="1")
    assert first.size is None
    second = run("crop_faces", first, width="100", height="100")
    assert opened(second).size == (100, 100)
    assert json.loads(content(run("detect_faces", first, export="true")))[0]["x"] < 200


def test_without_a_detector_the_tasks_say_so(saved: Any, astronaut: Image.Image) -> None:
    """Nothing is hidden half."""
    for name, task in transformations().items():
        if name != "doc_detection":
            with pytest.raises(NotProvided):
                task.apply(saved(astronaut), bind(task), SimpleWorkshop())


def test_another_detector_is_asked_when_it_is_the_one(saved: Any, opened: Any, astronaut: Image.Image) -> None:
    """Tasks ask by name; whoever answers decides where faces are."""

    class Corner:
        version = "1"

        def detect(self, media: Any, options: Any, limits: Any) -> Any:
            return {"faces": [{"x": 400, "y": 400, "width": 50, "height": 50, "score": 1}], "width": 512, "height": 512}

    task = transformations()["pixelate_faces"]
    result = opened(task.apply(saved(astronaut), bind(task, blur="0"), SimpleWorkshop(detectors={"faces": Corner()})))
    assert _changed(astronaut, result, 0) == pytest.approx((400, 400, 450, 450), abs=5)
