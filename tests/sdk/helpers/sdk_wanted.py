"""What comes of each chain of tasks: the size of a picture, a type, or the members of a JSON object."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from PIL import Image

Wanted = tuple[int, int] | str | frozenset[str]
SAME = (400, 200)
STORED = frozenset({"handle", "url", "filename", "size", "type", "key", "container"})

#: By the name of the task, for both clients.
TASKS: Mapping[str, Wanted] = {
    "animate": "image/gif",
    "ascii": "text/html",
    "border": (410, 210),
    "collage": (200, 100),
    "crop": (60, 40),
    "crop_faces": (60, 60),
    "detect_faces": (512, 512),
    "blur_faces": (512, 512),
    "pixelate_faces": (512, 512),
    "doc_to_images": "application/zip",
    "fallback": (50, 50),  # the other file, as it is
    "imagesize": frozenset({"width", "height"}),
    "minify_css": "text/css",
    "minify_js": "text/javascript",
    "pdfconvert": "application/pdf",
    "pdfcreate": "application/pdf",
    "pdfinfo": frozenset({"numpages", "dimensions"}),
    "polaroid": "image/jpeg",
    "resize": (100, 50),
    "rotate": (200, 400),
    "sfw": frozenset({"sfw"}),
    "shadow": "image/jpeg",
    "smart_crop": (50, 50),
    "store": STORED,
    "tags": frozenset({"tags"}),
    "upscale": (80, 40),
    "urlscreenshot": (320, 240),
    "zip": "application/zip",
}

#: Where the case has another name than the task, or another result.
JS: Mapping[str, Wanted] = {
    "URLScreenshot": TASKS["urlscreenshot"],
    "PDFInfo": TASKS["pdfinfo"],
    "PDFConvert": TASKS["pdfconvert"],
    "smartCrop": TASKS["smart_crop"],
    "cropFaces": TASKS["crop_faces"],
    "detectFaces": TASKS["detect_faces"],
    "detectFaces as JSON": "application/json",
    "blurFaces": TASKS["blur_faces"],
    "pixelateFaces": TASKS["pixelate_faces"],
    "minifyCss": TASKS["minify_css"],
    "minifyJs": TASKS["minify_js"],
    "rotate by EXIF": SAME,
    "cache": (100, 50),
    "cache off": (100, 50),
    "output of a PDF": (60, 80),
    "addTask": (100, 50),
    "setBase64": (100, 50),
    "setBase64, from outside": (9, 5),
    "setBase64, a list": "application/zip",
    "setCname": (100, 50),
    "setCustomDomain": (100, 50),
    "setUseValidator": (100, 50),
    "setSource": (100, 50),
    "reset": (100, 50),
    "a source from outside": (9, 5),
    "a source from an alias": (9, 5),
    "a list with a source from outside": "application/zip",
    "four tasks": (150, 300),
}
PYTHON: Mapping[str, Wanted] = {
    "pdf_info": TASKS["pdfinfo"],
    "pdf_convert": TASKS["pdfconvert"],
    "rotate by EXIF": SAME,
    "filetype_conversion of a PDF": (60, 80),
    "four tasks": (150, 300),
    "Client.transform_external": (9, 5),
    "Client.transform_external with a query": (9, 5),
    "Client.urlscreenshot": TASKS["urlscreenshot"],
}


def check(name: str, wanted: Wanted, content: bytes, kind: str | None = None) -> None:
    """A content against what was wanted. Where the client tells no type (Python), the content has to tell it."""
    if isinstance(wanted, frozenset):
        assert wanted <= json.loads(content).keys(), (name, content)
        return
    if isinstance(wanted, tuple) or wanted.startswith("image/"):
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert wanted in (image.size, image.get_format_mimetype()), (name, image.size, image.format)
        return
    assert kind is None or kind.partition(";")[0] == wanted, (name, kind)
    if wanted == "application/zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None and archive.namelist(), name
    else:
        assert content.startswith(_BEGINS.get(wanted, b"")), (name, content[:40])


_BEGINS = {"application/pdf": b"%PDF-", "text/html": b"<!DOCTYPE html>", "text/css": b"body{", "text/javascript": b"function"}


def content_of(value: Any) -> bytes:
    """The bytes of an outcome of a driver."""
    if "base64" in value:
        return base64.b64decode(value["base64"])
    data = value["data"]
    return data.encode() if isinstance(data, str) else json.dumps(data).encode()
