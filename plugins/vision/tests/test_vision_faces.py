"""The detector `faces`: what is a face, where it is, and what is none."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageOps

from secure_delivery.plugin import WorkLimits
from secure_delivery.plugin.testing import MemoryFile


def _box(face: Any) -> tuple[int, int, int, int]:
    return face["x"], face["y"], face["x"] + face["width"], face["y"] + face["height"]


def test_a_face_is_found_where_it_is(found: Any, astronaut: Image.Image, face: Any, overlap: Any) -> None:
    """One face, its rectangle within a few pixels, its eyes inside it, and the size of the picture."""
    answer = found("faces", astronaut)
    assert (answer["width"], answer["height"]) == (512, 512)
    (seen,) = answer["faces"]
    assert overlap(_box(seen), face) > 0.85
    assert 0.9 < seen["score"] <= 1
    (right, left) = seen["eyes"]
    assert right == pytest.approx((203, 102), abs=5)
    assert left == pytest.approx((246, 102), abs=5)


@pytest.mark.parametrize("side", [90, 128, 256, 1024, 2048, 4000])
def test_the_size_of_the_picture_does_not_matter(
    side: int, found: Any, astronaut: Image.Image, face: Any, overlap: Any
) -> None:
    """The same face is found in thumbnails and in large pictures, with coordinates of the picture that was asked about."""
    answer = found("faces", astronaut.resize((side, side), Image.Resampling.LANCZOS))
    (seen,) = answer["faces"]
    assert overlap(_box(seen), [edge * side / 512 for edge in face]) > 0.7


def test_a_face_that_fills_the_picture_is_found(found: Any, astronaut: Image.Image, overlap: Any) -> None:
    """However large it is shown."""
    for side in (200, 800, 1600):
        close = astronaut.crop((160, 20, 290, 200)).resize((side, side * 180 // 130), Image.Resampling.LANCZOS)
        (seen,) = found("faces", close)["faces"]
        factor = side / 130
        assert overlap(_box(seen), (18 * factor, 42 * factor, 109 * factor, 156 * factor)) > 0.7


def test_several_faces_come_the_largest_first(found: Any, astronaut: Image.Image, overlap: Any) -> None:
    """Four people of different sizes, each found once."""
    group = Image.new("RGB", (1000, 700), (90, 110, 120))
    for left, top, side in ((20, 150, 200), (250, 40, 500), (770, 300, 220), (790, 40, 160)):
        group.paste(astronaut.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    faces = found("faces", group)["faces"]
    assert [round(face["width"] / 91 * 512, -1) for face in faces] == pytest.approx([500, 220, 200, 160], abs=45)
    assert overlap(_box(faces[0]), (250 + 174, 40 + 61, 250 + 263, 40 + 172)) > 0.7


def test_grey_mirrored_and_dim_pictures_are_no_obstacle(found: Any, astronaut: Image.Image) -> None:
    """Neither colour nor full light is needed."""
    dim = astronaut.point(lambda level: level // 3)
    for image in (astronaut.convert("L"), ImageOps.mirror(astronaut), dim, astronaut.convert("RGBA")):
        assert len(found("faces", image)["faces"]) == 1


@pytest.mark.parametrize(
    "name",
    ["coffee.png", "chelsea.png", "rocket.jpg", "brick.png", "grass.png", "gravel.png", "page.png", "moon.png", "coins.png"],
)
def test_what_is_no_face_is_left_alone(name: str, found: Any, photograph: Any) -> None:
    """A cat, a cup, a moon, coins with heads on them: nobody."""
    assert found("faces", photograph(name))["faces"] == []


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 2), (40, 40), (1600, 900), (9000, 12)])
def test_an_empty_picture_has_no_face(size: tuple[int, int], found: Any) -> None:
    """Whatever its shape."""
    assert found("faces", Image.new("RGB", size, "white")) == {"faces": [], "width": size[0], "height": size[1]}


def test_a_picture_is_looked_at_upright(found: Any, saved: Any, astronaut: Image.Image, face: Any, overlap: Any) -> None:
    """Coordinates are those of the picture as people see it, after the orientation tag."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = astronaut.resize((512, 400)).transpose(Image.Transpose.ROTATE_90)
    answer = found("faces", saved(lying, "JPEG", exif=exif.tobytes()))
    assert (answer["width"], answer["height"]) == (512, 400)
    (seen,) = answer["faces"]
    assert overlap(_box(seen), (face[0], face[1] * 400 / 512, face[2], face[3] * 400 / 512)) > 0.75


def test_what_is_transparent_is_not_looked_at(found: Any, astronaut: Image.Image) -> None:
    """A face that nobody can see is none."""
    hidden = astronaut.copy()
    hidden.putalpha(0)
    assert found("faces", hidden)["faces"] == []


def test_the_same_picture_gives_the_same_answer(found: Any, astronaut: Image.Image) -> None:
    """Results are kept; what one worker saw another must see."""
    assert found("faces", astronaut) == found("faces", astronaut)


def test_limits_are_those_of_pictures(found: Any, saved: Any, astronaut: Image.Image) -> None:
    """A picture over the limit of pixels is not looked at, nor is what is no picture."""
    from secure_delivery.plugin import TooLarge, Unsupported

    with pytest.raises(TooLarge):
        found("faces", saved(astronaut), WorkLimits(pixels=512 * 512 - 1))
    with pytest.raises(Unsupported):
        found("faces", MemoryFile(BytesIO(b"%PDF-1.7").getvalue(), "application/pdf", "a.pdf"))
