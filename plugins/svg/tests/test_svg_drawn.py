"""Drawings as pictures: every task takes them, at any size, and they look as a browser shows them."""

from __future__ import annotations

import base64
import json
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from secure_delivery.plugin import Corrupt, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import TransformationContract, bind, content
from secure_delivery_images.tasks import Output as PictureOutput
from secure_delivery_svg.size import natural_size
from secure_delivery_svg.tasks import transformations

OUTPUT = transformations()["output"]
NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
RED, BLUE = (255, 0, 0), (0, 0, 255)
HALVES = (
    f'<svg {NS} viewBox="0 0 40 20"><rect width="20" height="20" fill="red"/>'
    '<rect x="20" width="20" height="20" fill="blue"/></svg>'
)

RICH = f"""<svg {NS} width="320" height="200" viewBox="0 0 320 200">
<style>.soft {{ fill: url(#sky); opacity: .8 }}
@media screen {{ #t {{ fill: navy }} }} g > circle {{ stroke: #063; stroke-width: 4 }}</style>
<defs>
<linearGradient id="sky" x2="0" y2="1"><stop offset="0" stop-color="#8cf"/><stop offset="1" stop-color="#fff"/></linearGradient>
<radialGradient id="sun"><stop offset="0" stop-color="#ff0"/><stop offset="1" stop-color="#f80"/></radialGradient>
<pattern id="dots" width="10" height="10" patternUnits="userSpaceOnUse"><circle cx="5" cy="5" r="3" fill="#393"/></pattern>
<clipPath id="round"><circle cx="260" cy="60" r="40"/></clipPath>
<mask id="fade"><rect x="0" y="120" width="320" height="80" fill="#fff" opacity=".7"/></mask>
<filter id="blur"><feGaussianBlur stdDeviation="3"/></filter>
<symbol id="leaf" viewBox="0 0 10 10"><path d="M0 10 Q5 -5 10 10 Z" fill="#2a2"/></symbol>
<marker id="tip" markerWidth="6" markerHeight="6" refX="3" refY="3" orient="auto"><path d="M0 0 L6 3 L0 6 Z"/></marker>
</defs>
<rect class="soft" width="320" height="200"/>
<g><circle cx="60" cy="60" r="30" fill="url(#sun)"/></g>
<rect x="220" y="20" width="80" height="80" fill="url(#dots)" clip-path="url(#round)"/>
<rect y="120" width="320" height="80" fill="#484" mask="url(#fade)"/>
<use xlink:href="#leaf" x="120" y="100" width="50" height="50" transform="rotate(10 145 125)"/>
<path d="M20 180 C80 120 160 200 300 150" fill="none" stroke="#900" stroke-width="3" stroke-dasharray="12 4"
 marker-end="url(#tip)"/>
<ellipse cx="200" cy="160" rx="30" ry="12" fill="#00f" style="filter:url(#blur);mix-blend-mode:normal"/>
<polygon points="150,20 180,20 165,50" fill="purple" transform="translate(10,5) scale(1.2)"/>
</svg>"""


def png(width: int, height: int) -> str:
    out = BytesIO()
    Image.new("RGB", (width, height), (0, 160, 0)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures on white, 0 to 255."""
    flat = []
    for image in (one, other):
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        flat.append(white.convert("RGB"))
    return max(ImageStat.Stat(ImageChops.difference(*flat)).mean)


class TestOutput(TransformationContract):
    transformation = OUTPUT

    def sample_media(self) -> Any:
        from secure_delivery.plugin import MemoryFile

        return MemoryFile(RICH.encode(), "image/svg+xml", "rich.svg")


class TestOutputAsPicture(TestOutput):
    def sample_options(self) -> dict[str, Any]:
        return {"format": "png"}


# --------------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("form", ["jpg", "pjpg", "png", "webp", "gif", "bmp", "tiff", "avif"])
def test_every_format_of_pictures_is_made(form: str, chain: Any, opened: Any) -> None:
    """A drawing becomes any kind of picture, of its own size and colours."""
    made = chain(HALVES, ("output", {"format": form}))
    assert made.filename == f"drawing.{'jpg' if form == 'pjpg' else form}"
    image = opened(made).convert("RGB")
    assert image.size == (40, 20)
    for place, colour in (((5, 10), RED), ((35, 10), BLUE)):
        assert all(abs(seen - wanted) < 40 for seen, wanted in zip(image.getpixel(place), colour, strict=True))


@pytest.mark.parametrize(
    ("task", "options", "size"),
    [
        ("resize", {"width": "300"}, (300, 150)),
        ("resize", {"height": "10"}, (20, 10)),
        ("resize", {"width": "100", "height": "100", "fit": "crop"}, (100, 100)),
        ("resize", {"width": "100", "height": "100", "fit": "scale"}, (100, 100)),
        ("resize", {"width": "100", "height": "100", "fit": "max"}, (40, 20)),
        ("crop", {"dim": ("0", "0", "20", "20")}, (20, 20)),
        ("rotate", {"deg": "90"}, (20, 40)),
        ("flip", {}, (40, 20)),
        ("flop", {}, (40, 20)),
        ("compress", {}, (40, 20)),
        ("no_metadata", {}, (40, 20)),
    ],
)
def test_tasks_of_pictures_take_drawings(task: str, options: Any, size: tuple[int, int], chain: Any, opened: Any) -> None:
    """Whatever is done to a picture can be done to a drawing; the result is a PNG."""
    made = chain(HALVES, (task, options))
    assert (made.mimetype, made.filename) == ("image/png", "drawing.png")
    assert opened(made).size == size


def test_a_drawing_is_drawn_at_the_size_that_is_needed(chain: Any, opened: Any) -> None:
    """Enlarged, edges stay sharp: nothing is drawn small and stretched."""
    image = opened(chain(HALVES, ("resize", {"width": "4000"}))).convert("RGB")
    assert image.size == (4000, 2000)
    assert [image.getpixel((x, 1000)) for x in (0, 1998, 2001, 3999)] == [RED, RED, BLUE, BLUE]


def test_its_size_is_told_without_drawing(chain: Any) -> None:
    """`imagesize` reads the head of the file."""
    assert json.loads(content(chain(RICH, "imagesize"))) == {"width": 320, "height": 200}


def test_chains_go_on_from_a_drawing(chain: Any, opened: Any) -> None:
    """resize, rotate and output of another format in one chain."""
    made = chain(HALVES, ("resize", {"w": "200"}), ("rotate", {"d": "180"}), ("output", {"f": "jpg", "q": "95"}))
    assert made.mimetype == "image/jpeg"
    assert opened(made).getpixel((20, 50))[2] > 200


def test_density_says_how_large_it_is_drawn(chain: Any, opened: Any) -> None:
    """At 96 dots an inch a drawing has its own size, at 192 twice that."""
    sizes = [opened(chain(HALVES, ("output", {"f": "png", "density": d}))).size for d in ("96", "192", "48")]
    assert sizes == [(40, 20), (80, 40), (20, 10)]
    with pytest.raises(Unsupported, match="density"):
        chain(f'<svg {NS} width="9000" height="9"/>', ("output", {"f": "png", "density": "300"}))


@pytest.mark.parametrize("form", ["docx", "html", "odt", "pdf", "txt", "xlsx"])
def test_documents_are_not_made(form: str, chain: Any) -> None:
    """A format of documents is refused and named, and so is `docinfo`, and a second page."""
    with pytest.raises(Unsupported):
        chain(HALVES, ("output", {"format": form}))
    with pytest.raises(Unsupported):
        chain(HALVES, ("output", {"docinfo": "true"}))
    with pytest.raises(Unsupported):
        content(chain(HALVES, ("output", {"format": "png", "page": "2"})))


def test_options_are_those_of_pictures() -> None:
    """One URL serves both: names, bounds and defaults are the same objects."""
    assert OUTPUT.params is PictureOutput.params
    assert bind(OUTPUT, f="svg", s="true")["secure"] is True


# --------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ({"width": "100", "height": "50"}, (100, 50)),
        ({"width": "100px", "height": " 50 px "}, (100, 50)),
        ({"width": "1in", "height": "2.54cm"}, (96, 96)),
        ({"width": "25.4mm", "height": "72pt"}, (96, 96)),
        ({"width": "6pc", "height": "1e2"}, (96, 100)),
        ({"width": "2em", "height": "2ex"}, (32, 16)),
        ({"viewBox": "0 0 200 100"}, (200, 100)),
        ({"viewBox": "-10,-10,200,100", "width": "50"}, (50, 25)),
        ({"viewBox": "0 0 200 100", "height": "50"}, (100, 50)),
        ({"viewBox": "0 0 200 100", "width": "100%", "height": "100%"}, (200, 100)),
        ({"viewBox": "0 0 200 100", "width": "50", "height": "50"}, (50, 50)),
        ({}, (300, 150)),
        ({"width": "abc", "viewBox": "1 2 3"}, (300, 150)),
        ({"viewBox": "0 0 0 100"}, (300, 150)),
    ],
)
def test_a_drawing_says_its_size(root: dict[str, str], size: tuple[float, float], chain: Any, opened: Any) -> None:
    """Units, per cent and view boxes as in browsers; the picture has that size."""
    assert natural_size(root) == pytest.approx(size)
    attributes = " ".join(f'{name}="{value}"' for name, value in root.items())
    image = opened(
        chain(f'<svg {NS} {attributes}><rect x="-99" y="-99" width="999" height="999"/></svg>', ("output", {"f": "png"}))
    )
    assert image.size == size


@pytest.mark.parametrize(
    "root", [{"width": "0", "height": "9"}, {"width": "-5", "height": "9"}, {"width": "1e308", "height": "1e308"}]
)
def test_a_drawing_without_area_is_a_fault(root: dict[str, str]) -> None:
    """No width, less than none, or more than any number: refused."""
    with pytest.raises(Corrupt):
        natural_size(root)


def test_too_many_pixels_are_refused_before_drawing(chain: Any, opened: Any) -> None:
    """The limit of pixels itself is allowed, one column more is not, and neither is a result that would exceed it."""
    limits = WorkLimits(pixels=10_000)
    drawing = '<svg {} width="{}" height="100"><rect width="9" height="9"/></svg>'
    assert opened(chain(drawing.format(NS, 100), ("output", {"f": "png"}), limits=limits)).size == (100, 100)
    for width in ("101", "1e9", "999999999999"):
        with pytest.raises(TooLarge):
            chain(drawing.format(NS, width), ("output", {"f": "png"}), limits=limits)
        with pytest.raises(TooLarge):
            chain(drawing.format(NS, width), ("resize", {"w": "10"}), limits=limits)
    with pytest.raises(TooLarge):
        chain(f'<svg {NS} viewBox="0 0 1e15 1e15"/>', "imagesize")


def test_pictures_inside_are_seen_and_bounded(chain: Any, opened: Any) -> None:
    """A picture held in the file is drawn; one with too many pixels, or many small ones together, are refused."""
    image = f'<image width="40" height="20" xlink:href="{png(4, 2)}"/>'
    seen = opened(chain(f'<svg {NS} viewBox="0 0 40 20">{image}</svg>', ("output", {"f": "png"}))).convert("RGB")
    assert seen.getpixel((20, 10)) == (0, 160, 0)
    for count, side in ((1, 200), (5, 50)):
        inside = f'<image width="4" height="4" xlink:href="{png(side, side)}"/>' * count
        with pytest.raises(TooLarge):
            chain(f'<svg {NS} viewBox="0 0 4 4">{inside}</svg>', ("output", {"f": "png"}), limits=WorkLimits(pixels=10_000))


# --------------------------------------------------------------------------------------------------------------- looks

BROWSERS = ("/usr/lib/chromium/chromium", "/usr/lib/chromium-browser/chromium-browser", "/opt/google/chrome/chrome")


def in_a_browser(drawing: str, size: tuple[int, int], tmp_path: Path) -> Image.Image:
    browser = next((path for path in BROWSERS if Path(path).exists()), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = tmp_path / "drawing.svg"
    page.write_text(drawing, encoding="utf-8")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
    words += [f"--screenshot={tmp_path / 'a.png'}", f"--window-size={size[0]},{size[1]}", page.as_uri()]
    subprocess.run([browser, *words], check=True, capture_output=True, timeout=60)
    return Image.open(tmp_path / "a.png").convert("RGB")


def test_a_drawing_looks_as_in_a_browser(chain: Any, opened: Any, tmp_path: Path) -> None:
    """Gradients, patterns, clips, masks, filters, markers, symbols and style sheets: as Chromium draws the file."""
    ours = opened(chain(RICH, ("output", {"f": "png"})))
    assert distance(ours, in_a_browser(RICH, (320, 200), tmp_path)) < 3


def test_a_cleaned_drawing_looks_the_same_in_a_browser(cleaned: Any, tmp_path: Path) -> None:
    """Cleaning takes nothing away that is seen."""
    assert distance(in_a_browser(cleaned(RICH), (320, 200), tmp_path), in_a_browser(RICH, (320, 200), tmp_path)) < 0.01


# ------------------------------------------------------------------------------------------------------------ confined


def test_drawings_are_drawn_in_confinement(confined: Any, chain: Any, opened: Any) -> None:
    """The worker has all it needs, fonts included, and gives what comes out outside it."""
    text = f'<svg {NS} viewBox="0 0 100 30"><text x="5" y="22" font-size="20">Text</text></svg>'
    for drawing in (RICH, text, HALVES):
        for tasks in ((("resize", {"w": "200"}),), (("output", {"f": "png"}),), (("output", {"f": "svg"}),)):
            assert confined(drawing, *tasks).data == content(chain(drawing, *tasks))
    assert opened(confined(text, ("output", {"f": "jpg"}))).convert("L").getextrema()[0] < 60


def test_a_hundred_megapixels_are_drawn_in_confinement(confined: Any, opened: Any) -> None:
    """The largest legal drawing becomes a picture within a worker's memory and time."""
    drawing = f'<svg {NS} width="10000" height="10000"><rect width="5000" height="10000" fill="red"/></svg>'
    assert opened(confined(drawing, ("rotate", {"d": "90"}), ("resize", {"w": "50"}))).size == (50, 50)
    with pytest.raises(TooLarge):
        confined(f'<svg {NS} width="10001" height="10000"/>', ("output", {"f": "png"}))


@pytest.mark.parametrize("family", ["", "serif", "sans-serif", "monospace", "Times New Roman", "No Such Font"])
def test_text_is_drawn_with_the_fonts_that_are_there(chain: Any, opened: Any, family: str) -> None:
    """A server rarely has the fonts that resvg takes for the generic families; text must not vanish for that."""
    attribute = f' font-family="{family}"' if family else ""
    text = f'<svg {NS} viewBox="0 0 100 30"><text x="5" y="22" font-size="20"{attribute}>Text</text></svg>'
    assert opened(chain(text, ("output", {"f": "jpg"}))).convert("L").getextrema()[0] < 60
