"""A real file for each previewer that the plugins of this repository bring: what stands behind the table of families.

Files are made when they are asked for, in a folder of the caller's, by the libraries or programs that are there anyway.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import wave
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Sample:
    """A file by its name, and how its bytes are made. `alone`: others that would be tried before it are set aside. `unread`:
    sections that its type promises and its bytes do not keep, with the code of the problem."""

    filename: str
    make: Callable[[Path], bytes]
    alone: bool = False
    unread: tuple[tuple[str, str], ...] = ()


@cache
def helper(path: str) -> ModuleType:
    """A module of a plugin's own tests, which knows how to write its files."""
    spec = importlib.util.spec_from_file_location(f"family_samples_{path.replace('/', '_')}", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def quarters(width: int = 160, height: int = 120) -> Image.Image:
    """A picture of four colours."""
    image = Image.new("RGB", (width, height), "#c03020")
    image.paste("#20a040", (width // 2, 0, width, height // 2))
    image.paste("#2040c0", (0, height // 2, width // 2, height))
    image.paste("#e0e0e0", (width // 2, height // 2, width, height))
    return image


def saved(form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    quarters().save(out, form, **options)
    return out.getvalue()


def zipped(members: Mapping[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _documents() -> Any:
    return helper("plugins/documents/tests/conftest.py")


def _docx(more: Mapping[str, bytes] | None = None) -> bytes:
    made: bytes = _documents().pack(_documents().docx("A document", "of two paragraphs", more=more))
    return made


def _with_thumbnail() -> bytes:
    odt: bytes = _documents().pack(
        _documents().odf("odt", "<text:p>x</text:p>", more={"Thumbnails/thumbnail.png": saved("PNG")})
    )
    return odt


def _illustrator() -> bytes:
    drawing: bytes = helper("plugins/documents/tests/test_documents_previews.py").drawing(shows="A drawing", thumbnail=None)
    return drawing


def _psd() -> bytes:
    from psd_tools import PSDImage

    out = io.BytesIO()
    PSDImage.frompil(quarters()).save(out)
    return out.getvalue()


def _raw() -> bytes:
    module = helper("plugins/raw/tests/conftest.py")
    made: bytes = module.dng(module.quadrants(640, 480))
    return made


def _letter() -> bytes:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "Ann <ann@example.org>", "bob@example.org", "Report"
    letter["Date"] = "Thu, 01 Jan 2026 10:00:00 +0000"
    letter.set_content("Dear Bob,\n\nhere is the report.\n")
    return letter.as_bytes()


def _tone() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(b"".join(((at * 37 % 200 - 100) * at).to_bytes(4, "little", signed=True)[:2] for at in range(8_000)))
    return out.getvalue()


def _ffmpeg(folder: Path, name: str, *words: str) -> bytes:
    target = folder / name
    command = ["ffmpeg", "-v", "error", "-y", *words, str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target.read_bytes()


def _song(folder: Path) -> bytes:
    """A second of sound, with a cover."""
    (folder / "cover.png").write_bytes(saved("PNG"))
    sound = ("-f", "lavfi", "-i", "sine=duration=1", "-i", str(folder / "cover.png"))
    return _ffmpeg(folder, "song.mp3", *sound, "-map", "0", "-map", "1", "-disposition:v", "attached_pic")


def _film(folder: Path) -> bytes:
    return _ffmpeg(folder, "film.mp4", "-f", "lavfi", "-i", "testsrc=duration=2:size=160x120:rate=10", "-pix_fmt", "yuv420p")


def _painting() -> bytes:
    return zipped({"mimetype": "application/x-krita", "maindoc.xml": "<DOC/>", "mergedimage.png": saved("PNG")})


def _book() -> bytes:
    """An EPUB 3 file with a cover (EPUB 3.3, sections 4.2 and 5)."""
    container = (
        '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:title>A book</dc:title></metadata><manifest>"
        '<item id="c" href="c.png" properties="cover-image" media-type="image/png"/></manifest></package>'
    )
    parts = {"META-INF/container.xml": container, "book.opf": package, "c.png": saved("PNG")}
    return zipped({"mimetype": "application/epub+zip", **parts})


_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><rect width="30" height="40" fill="#c03020"/></svg>'
_HTML = b"<!doctype html><html><head><title>A page</title></head><body><h1>A page</h1><p>With words.</p></body></html>"
_PROGRAM = b'def main() -> None:\n    """Say something."""\n    print("hello")\n'

#: By the name of the previewer that must make the picture.
SAMPLES: dict[str, Sample] = {
    "picture": Sample("photo.jpg", lambda _: saved("JPEG", quality=90)),
    "psd": Sample("poster.psd", lambda _: _psd()),
    # By its first bytes it is a TIFF, whose pixels no reader of TIFF knows.
    "raw": Sample("shot.dng", lambda _: _raw(), unread=(("image", "corrupt"),)),
    "svg": Sample("drawing.svg", lambda _: _SVG),
    "illustrator": Sample("logo.ai", lambda _: _illustrator()),
    "pdf": Sample("paper.pdf", lambda _: _documents().pdf("First", "Second")),
    "office": Sample("letter.docx", lambda _: _docx()),
    "office_thumbnail": Sample("letter.odt", lambda _: _with_thumbnail(), alone=True),
    "text": Sample("notes.txt", lambda _: b"Some notes\nof two lines\n"),
    "source": Sample("hello.py", lambda _: _PROGRAM),
    "markdown": Sample("readme.md", lambda _: b"# A heading\n\nSome *words*, and `code`.\n"),
    "markup_source": Sample("page.html", lambda _: _HTML, alone=True),
    "webpage": Sample("page.html", lambda _: _HTML),
    "mail": Sample("letter.eml", lambda _: _letter()),
    "audio": Sample("song.mp3", _song),
    "waveform": Sample("tone.wav", lambda _: _tone()),
    "video": Sample("film.mp4", _film),
    "book": Sample("story.epub", lambda _: _book()),
    "font": Sample(
        "letters.ttf", lambda _: (ROOT / "plugins/images/src/secure_delivery_images/lettering/DejaVuSans.ttf").read_bytes()
    ),
    "archive": Sample("work.zip", lambda _: zipped({"a.txt": "a", "folder/b.txt": "b" * 99})),
    "kept_picture": Sample("painting.kra", lambda _: _painting()),
    "icon": Sample("thing.xyzzy", lambda _: bytes(range(256)) * 8),
}
