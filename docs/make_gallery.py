"""The gallery of docs/transformations.md: `python docs/make_gallery.py` makes its pictures with the engine itself.

Knows: the URLs of the gallery and how the server's parts run one. Must not know: pictures; plugins make them.

Each URL is read by the server's grammar, bound to the installed tasks and run by a confined decoder on the picture that the
server brings along, so that the page cannot show what the engine does not do.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

from secure_delivery.engine import Engine, build
from secure_delivery.engine.convert import bind
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import Application
from secure_delivery.gate.taskurl import parse

DOCS = Path(__file__).parent
PAGE = DOCS / "transformations.md"
MARK = re.compile(r"(<!-- gallery -->\n).*?(<!-- end -->)", re.DOTALL)


class Picture(NamedTuple):
    """One picture of the gallery: the name of its file, its chain, and what to look for."""

    name: str
    tasks: str
    says: str


#: Small ones: `max` keeps every file far below what a page can bear.
GALLERY = (
    Picture("resize.jpg", "resize=width:320", "the other side follows"),
    Picture("clip.jpg", "resize=width:200,height:200", "`clip`: fits inside the box"),
    Picture("crop.jpg", "resize=width:200,height:200,fit:crop", "`crop`: fills the box"),
    Picture("align.jpg", "resize=width:200,height:200,fit:crop,align:right", "the right side is kept"),
    Picture("scale.jpg", "resize=width:200,height:200,fit:scale", "`scale`: distorts"),
    Picture("part.jpg", "crop=dim:[500,300,640,427]/resize=width:320", "a part, then smaller"),
    Picture("rotate.jpg", "resize=width:240/rotate=deg:15,background:steelblue", "clockwise"),
    Picture("flip.jpg", "resize=width:240/flip", "top to bottom"),
    Picture("flop.jpg", "resize=width:240/flop", "left to right"),
    Picture("quality.jpg", "resize=width:320/quality=value:10", "few bytes"),
    Picture("output.webp", "resize=width:320/output=format:webp,quality:60", "another format"),
)


def section() -> str:
    """The Markdown of the gallery."""
    rows = [f"| ![{name}](gallery/{name}) | `{tasks}`<br>{says} |" for name, tasks, says in GALLERY]
    return "\n".join(["| result | tasks |", "| --- | --- |", *rows])


def filled(page: str) -> str:
    """The page with its gallery."""
    return MARK.sub(lambda found: f"{found[1]}\n{section()}\n\n{found[2]}", page)


def make(engine: Engine, application: Application, link: FileLink, tasks: str) -> bytes:
    """The bytes that a request for `/tasks/HANDLE` would be answered with."""
    plan = bind(engine.registry, parse(f"/{tasks}/{link.handle}").tasks)
    with engine.renditions.open(engine.renditions.get(application, link, plan)) as stream:
        return stream.read()


def main() -> None:
    """Make every picture and write the page."""
    folder = DOCS / "gallery"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as data:
        engine = build(Settings.read({"data": data}))
        try:
            application, _ = engine.records.create_application("gallery")
            with (
                as_file(files("secure_delivery.engine") / "assets" / "sample.jpg") as sample,
                engine.files.begin(application, Target(filename="sample.jpg")) as upload,
            ):
                upload.write(sample.read_bytes())
                link = engine.files.add(application, upload)
            for picture in GALLERY:
                content = make(engine, application, link, picture.tasks)
                (folder / picture.name).write_bytes(content)
                sys.stdout.write(f"{picture.name}: {len(content)} bytes\n")
        finally:
            engine.close()
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
