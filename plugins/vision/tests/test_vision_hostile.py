"""Files that were made to harm: every detector and task ends in a result or in a fault of the tree."""

from __future__ import annotations

import random
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import SecureDeliveryError, TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_vision.detectors import detectors
from secure_delivery_vision.tasks import transformations


@pytest.mark.parametrize("name", sorted(detectors()))
def test_rubbish_is_answered_or_refused(name: str, found: Any, saved: Any, astronaut: Image.Image) -> None:
    """Cut short, overwritten, made of chance: nothing but faults of the tree comes out."""
    small = astronaut.resize((96, 96))
    for form in ("JPEG", "PNG", "WEBP"):
        data = saved(small, form).data
        chance = random.Random(form)
        cases = [b"", data[:1], data[: len(data) // 2], data[:40] + chance.randbytes(900), chance.randbytes(900)]
        for _ in range(4):
            damaged = bytearray(data)
            for place in chance.sample(range(len(data)), 9):
                damaged[place] ^= 1 << chance.randrange(8)
            cases.append(bytes(damaged))
        for case in cases:
            try:
                found(name, MemoryFile(case, f"image/{form.lower()}", "photo"))
            except SecureDeliveryError:
                continue


@pytest.mark.parametrize("name", sorted(detectors()))
def test_noise_and_stripes_are_looked_at(name: str, found: Any) -> None:
    """The pictures that have most of everything: edges, outlines, red."""
    noise = Image.effect_noise((500, 400), 120)
    stripes = Image.new("RGB", (500, 400))
    stripes.paste(
        (255, 0, 0), (0, 0, 500, 400), Image.linear_gradient("L").resize((500, 400)).point(lambda level: level % 8 * 32)
    )
    for image in (noise, noise.convert("RGB"), stripes):
        assert found(name, image) is not None


@pytest.mark.parametrize("task", sorted(transformations()))
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5)])
def test_the_thinnest_pictures_go_through_every_task(task: str, size: tuple[int, int], run: Any, saved: Any) -> None:
    """No side is divided by, no rectangle is empty."""
    try:
        assert content(run(task, saved(Image.new("RGB", size, "red"))))
    except SecureDeliveryError as fault:
        assert task == "crop_faces", fault  # there is no face to be cut out


@pytest.mark.parametrize("task", sorted(transformations()))
def test_a_bomb_is_refused_by_its_header(task: str, run: Any, saved: Any) -> None:
    """Before anything is decoded or looked at."""
    with pytest.raises(TooLarge):
        run(task, saved(Image.new("1", (3000, 3000))), WorkLimits(pixels=1_000_000))


@pytest.mark.parametrize(
    "face",
    [
        {"x": -500, "y": -500, "width": 2000, "height": 2000},
        {"x": 10_000, "y": 10, "width": 50, "height": 50},
        {"x": 63, "y": 63, "width": 1, "height": 1},
        {"x": -(10**12), "y": 0, "width": 2 * 10**12, "height": 10**12},
    ],
)
def test_faces_outside_the_picture_do_no_harm(face: dict[str, int], saved: Any) -> None:
    """Another detector may be wrong; tasks work on what of a face is inside the picture."""
    from secure_delivery.plugin.testing import SimpleWorkshop, bind

    class Wrong:
        version = "1"

        def detect(self, media: Any, options: Any, limits: Any) -> Any:
            return {"faces": [face], "width": 64, "height": 64}

    shop = SimpleWorkshop(detectors={"faces": Wrong()})
    media = saved(Image.radial_gradient("L").resize((64, 64)).convert("RGB"))
    for name, task in transformations().items():
        for options in ({},) if name != "crop_faces" else ({"width": "30", "height": "20"}, {"mode": "crop"}, {"mode": "fill"}):
            if name != "doc_detection":
                assert content(task.apply(media, bind(task, **options), shop))
