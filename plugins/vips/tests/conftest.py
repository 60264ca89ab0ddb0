"""What the tests of the pictures' plugin draw with, and decoding by Pillow or by libvips as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from math import log10
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from secure_delivery.plugin import Media, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images import engines
from secure_delivery_images.tasks import transformations
from secure_delivery_vips import decode

TASKS = transformations()
MAKERS = {"PNG": decode.png, "TIFF": decode.tiff}
SIZE = (620, 437)


def photograph(mode: str = "RGB") -> Image.Image:
    """Ramps, edges and, where there is transparency, colours that nobody sees beside seen ones."""
    ramp = Image.linear_gradient("L").resize(SIZE)
    waves = ImageChops.invert(Image.radial_gradient("L")).resize(SIZE)
    image = Image.merge("RGB", (ramp, waves, ImageChops.difference(ramp, waves)))
    image.paste((200, 30, 40), (100, 80, 333, 222))
    if mode == "I;16":
        return ramp.convert("I").point(lambda level: level * 257).convert("I;16")
    if mode in ("RGBA", "LA"):
        image.putalpha(waves.point([min(255, max(0, (level - 90) * 255 // 70)) for level in range(256)]))
    if mode in ("P", "1"):
        return image.quantize(64) if mode == "P" else image.convert("1", dither=Image.Dither.NONE)
    return image.convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> MemoryFile:
    out = BytesIO()
    image.save(out, form, **options)
    return MemoryFile(out.getvalue(), f"image/{form.lower()}", f"drawing.{form.lower()}")


def run(media: Media, *tasks: Any, limits: WorkLimits | None = None) -> Image.Image:
    """The picture that tasks make, each a name or a name and options."""
    shop = SimpleWorkshop(limits=limits or WorkLimits())
    for task in (*tasks, ("output", {"format": "png"})):
        name, options = (task, {}) if isinstance(task, str) else task
        media = TASKS[name].apply(media, bind(TASKS[name], **options), shop)
    image = Image.open(BytesIO(content(media)))
    image.load()
    return image


def likeness(one: Image.Image, other: Image.Image) -> float:
    """Decibels, the worse of on black and on white."""
    values = []
    for ground in ("black", "white"):
        seen = [Image.alpha_composite(Image.new("RGBA", each.size, ground), each.convert("RGBA")) for each in (one, other)]
        error = (sum(value**2 for value in ImageStat.Stat(ImageChops.difference(*seen).convert("RGB")).rms) / 3) ** 0.5
        values.append(255 / max(error, 1e-3))
    return 20 * log10(min(values))


@pytest.fixture
def by_vips() -> Iterator[None]:
    """Pictures are decoded with libvips, where it takes them."""
    for form, maker in MAKERS.items():
        engines.provide(form, maker)
    yield
    for form in MAKERS:
        engines.withdraw(form)


@pytest.fixture
def by_pillow() -> Callable[[Callable[[], Any]], Any]:
    """Calls a function while Pillow decodes everything."""

    def call(function: Callable[[], Any]) -> Any:
        for form in MAKERS:
            engines.withdraw(form)
        try:
            return function()
        finally:
            for form, maker in MAKERS.items():
                engines.provide(form, maker)

    return call


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """What tests are made of."""
    return SimpleNamespace(photograph=photograph, saved=saved, run=run, likeness=likeness)
