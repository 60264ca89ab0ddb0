"""Drawings as pages: at the size that is wanted, with nothing that acts or loads."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.engine.sandbox import Chain, ChainSource
from secure_delivery.plugin import Corrupt, MemoryFile, SecureDeliveryError, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import SimpleWorkshop, bind
from secure_delivery.plugin.testing_previews import PreviewerContract, previewed
from secure_delivery_images.tasks import transformations as pictures
from secure_delivery_svg.previewers import previewers

SVG = previewers()["svg"]
NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
HALVES = (
    f'<svg {NS} viewBox="0 0 40 20"><rect width="20" height="20" fill="red"/>'
    '<rect x="20" width="20" height="20" fill="blue"/></svg>'
)


class TestSvg(PreviewerContract):
    previewer = SVG

    def sample_media(self) -> MemoryFile:
        return drawing(HALVES)


def drawing(text: str | bytes) -> MemoryFile:
    return MemoryFile(text.encode() if isinstance(text, str) else text, "image/svg+xml", "drawing.svg")


def test_a_drawing_is_one_page_of_its_own_size(opened: Any) -> None:
    """Whatever pages are asked for."""
    (page,) = previewed(SVG, drawing(HALVES), pages="all")
    assert (page.number, page.total, page.media.dimensions()) == (1, 1, (40, 20))  # type: ignore[attr-defined]
    assert opened(page.media).convert("RGB").getpixel((39, 10)) == (0, 0, 255)
    assert previewed(SVG, drawing(HALVES), pages="2") == []


def test_each_size_is_drawn_at_that_size(opened: Any) -> None:
    """Enlarged by the engine, edges are as sharp as drawn."""
    (page,) = previewed(SVG, drawing(HALVES), size=(800, 0))
    resize = pictures()["resize"]
    image = opened(resize.apply(page.media, bind(resize, w="800"), SimpleWorkshop())).convert("RGB")
    assert image.size == (800, 400)
    assert [image.getpixel((x, 200)) for x in (0, 398, 401, 799)] == [(255, 0, 0)] * 2 + [(0, 0, 255)] * 2


@pytest.mark.parametrize("scheme", ["file://", "", "http://127.0.0.1:9"])
def test_nothing_outside_is_shown(scheme: str, tmp_path: Path, opened: Any) -> None:
    """A picture beside the file, by any kind of address, stays out of the page."""
    from PIL import Image

    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.png")
    text = f'<svg {NS} width="8" height="8"><image width="8" height="8" xlink:href="{scheme}{tmp_path}/secret.png"/></svg>'
    (page,) = previewed(SVG, drawing(text))
    assert opened(page.media).convert("RGBA").getextrema()[3] == (0, 0)


def test_the_probe_knows_a_drawing_by_its_first_element() -> None:
    """Not by its name."""
    assert SVG.probe(HALVES.encode(), "a.txt") and not SVG.probe(b"<html><svg/></html>", "a.svg")  # type: ignore[attr-defined]


def test_hostile_drawings_end_in_faults() -> None:
    """Entities, nesting, bombs of pixels, rubbish."""
    bomb = f'<!DOCTYPE svg [<!ENTITY a "{"x" * 99}">]><svg {NS}>&a;</svg>'
    for text, fault in ((bomb, Unsupported), ("<svg", Corrupt), (f"<svg {NS}>" + "<g>" * 900, Unsupported), ("", Corrupt)):
        with pytest.raises(fault):
            previewed(SVG, drawing(text))
    with pytest.raises(TooLarge):
        previewed(
            SVG, drawing(f'<svg {NS} width="9999" height="9999"/>'), shop=SimpleWorkshop(limits=WorkLimits(pixels=1_000_000))
        )
    chance = random.Random(3)
    for _ in range(30):
        damaged = bytearray(HALVES.encode())
        for place in chance.sample(range(len(damaged)), 4):
            damaged[place] = chance.randrange(256)
        try:
            for page in previewed(SVG, drawing(bytes(damaged))):
                page.media.open().close()
        except SecureDeliveryError:
            continue


def test_drawings_are_previewed_in_confinement(sandbox: Any, opened: Any) -> None:
    """Text and all, at the size that is wanted."""
    text = (
        f'<svg {NS} viewBox="0 0 40 20"><rect width="40" height="20" fill="red"/><text y="15" font-size="9">Text</text></svg>'
    )
    options = {"pages": "1", "sizes": [(400, 0, False, "400")], "hint": (400, 0), "format": "png", "address": None}
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as output:
        file.write(text.encode())
        file.flush()
        source = ChainSource(file.fileno(), "image/svg+xml", "drawing.svg")
        tasks = [("preview:svg", {**options, "most_pages": 1, "readers": []})]
        outcome = sandbox.run(Chain(tasks=tasks, sources=[source], output=output.fileno()))
        start, length = outcome.extra["document"]
        output.seek(start)
        (page,) = json.loads(output.read(length))["pages"]
        output.seek(page["pictures"][0]["offset"])
        image = opened(MemoryFile(output.read(page["pictures"][0]["length"]), "image/png", "a.png")).convert("RGB")
    assert (page["width"], page["height"], image.size) == (40, 20, (400, 200))
    assert image.getpixel((390, 5)) == (255, 0, 0)
