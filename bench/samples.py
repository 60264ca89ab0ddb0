"""Files to preview, made here, and what a bare library call for each family is.

Knows: libraries of the families. Must not know: how a previewer uses them.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage

from PIL import Image, ImageDraw

QUALITY = 85  # as the engine writes previews, with tables made for the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A file of a family: which previewer is for it, and its library alone."""

    previewer: str
    filename: str
    mimetype: str
    library: str
    make: Callable[[], bytes]
    bare: Callable[[bytes, int], object]


def photo(width: int, height: int) -> bytes:
    """A JPEG with as much detail as a camera's."""
    image = Image.effect_noise((width // 4, height // 4), 60).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    return _written(image, "JPEG", quality=88)


def drawing(width: int, height: int) -> bytes:
    """A PNG of shapes."""
    image = Image.new("RGB", (width, height), "white")
    pen, dice = ImageDraw.Draw(image), random.Random(1)
    for _ in range(400):
        box = sorted(dice.sample(range(width), 2)), sorted(dice.sample(range(height), 2))
        pen.ellipse((box[0][0], box[1][0], box[0][1], box[1][1]), outline=tuple(dice.choices(range(256), k=3)), width=3)
    return _written(image, "PNG")


def paper(number: int = 0) -> bytes:
    """A PDF page of text and lines, of which no two are alike."""
    import pikepdf

    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(595, 842))
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    text = f"(Line {{}} of paper {number}, with words that go on for a while longer.)"
    lines = [f"BT /F1 9 Tf 50 {800 - 11 * n} Td {text.format(n)} Tj ET" for n in range(68)]
    page.Contents = pdf.make_stream("\n".join(lines).encode())
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def letter() -> bytes:
    """A message with a text and an attachment."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.org", "bob@example.org", "Minutes"
    message.set_content("Dear Bob,\n\n" + "these are the minutes of the meeting.\n" * 40)
    message.add_attachment(b"x" * 2000, maintype="application", subtype="octet-stream", filename="minutes.bin")
    return message.as_bytes()


def archive() -> bytes:
    """A ZIP of a few folders."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(60):
            file.writestr(f"folder-{number % 7}/file-{number}.txt", "text " * 50)
    return out.getvalue()


def svg() -> bytes:
    """A drawing of some hundred shapes."""
    shapes = "".join(
        f'<circle cx="{n * 7 % 400}" cy="{n * 13 % 300}" r="{n % 20 + 2}" fill="hsl({n},60%,50%)"/>' for n in range(300)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300">{shapes}</svg>'.encode()


def _written(image: Image.Image, form: str, **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


# ------------------------------------------------------------------------------------------------------ libraries alone


def _pillow(data: bytes, side: int) -> bytes:
    """As Pillow is used well: decoded no larger than needed (performance notes, draft and reducing_gap)."""
    with Image.open(io.BytesIO(data)) as image:
        height = round(side * image.height / image.width)
        image.draft("RGB", (side, height))
        small = image.convert("RGB") if image.mode not in ("RGB", "RGBA", "L") else image
        small = small.resize((side, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return _written(small.convert("RGB"), "JPEG", quality=QUALITY, optimize=True)


def _pdfium(data: bytes, side: int) -> bytes:
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    page = document[0]
    bitmap = page.render(scale=side / page.get_width(), limit_image_cache=True)
    made = _written(bitmap.to_pil().convert("RGB"), "JPEG", quality=QUALITY, optimize=True)
    page.close()
    document.close()
    return made


def _resvg(data: bytes, side: int) -> bytes:
    import resvg_py

    drawn = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), width=side, dpi=96))
    with Image.open(io.BytesIO(drawn)) as image:
        return _written(image.convert("RGB"), "JPEG", quality=QUALITY, optimize=True)


BARE: dict[str, Sample] = {
    "JPEG of 12 megapixels": Sample(
        previewer="picture", filename="photo.jpg", mimetype="image/jpeg", library="Pillow",
        make=lambda: photo(4000, 3000), bare=_pillow,
    ),
    "PNG of 6 megapixels": Sample(
        previewer="picture", filename="drawing.png", mimetype="image/png", library="Pillow",
        make=lambda: drawing(3000, 2000), bare=_pillow,
    ),
    "PDF": Sample(
        previewer="pdf", filename="paper.pdf", mimetype="application/pdf", library="pypdfium2",
        make=lambda: paper(), bare=_pdfium,
    ),
    "SVG": Sample(
        previewer="svg", filename="drawing.svg", mimetype="image/svg+xml", library="resvg", make=svg, bare=_resvg,
    ),
}  # fmt: skip

#: Families that preview-generator has as well, by a name whose extension tells it what they are.
SHARED: dict[str, Callable[[int], bytes]] = {
    "photo.jpg": lambda number: photo(3000 + number, 2000),
    "drawing.png": lambda number: drawing(2000 + number, 1500),
    "paper.pdf": lambda number: paper(number),
}

#: What a thousand files are made of.
MIXED = (
    ("photo.jpg", lambda: photo(1600, 1200)),
    ("drawing.png", lambda: drawing(800, 600)),
    ("paper.pdf", lambda: paper()),
    ("drawing.svg", svg),
    ("letter.eml", letter),
    ("work.zip", archive),
    ("notes.txt", lambda: b"Notes of a day\n" * 60),
    ("code.py", lambda: b"def answer() -> int:\n    return 42\n" * 20),
    ("page.md", lambda: b"# Title\n\nSome *words* and a [link](http://example.org).\n" * 10),
    ("unknown.bin", lambda: bytes(range(256)) * 40),
)
