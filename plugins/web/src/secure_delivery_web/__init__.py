"""Tasks around the web for secure-delivery: `urlscreenshot`, `minify_css`, `minify_js`, `qr`, `zip`; pages as previews.

Knows: the hooks. Must not know: the libraries behind the tasks, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import (
    Extractor,
    Previewer,
    Program,
    Settings,
    Transformation,
    check_installed,
    hookimpl,
)

from .archive import Zip
from .codes import Qr
from .facts import WebpageFacts
from .minify import MinifyCss, MinifyJs
from .pages import Webpage
from .screenshot import PROGRAMS, UrlScreenshot

_NEEDED = {
    "lightningcss": "lightningcss",
    "lxml": "lxml",
    "minify_html": "minify-html",
    "rcssmin": "rcssmin",
    "segno": "segno",
    "zxingcpp": "zxing-cpp",
    "secure_delivery_images": "secure-delivery-images",
}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why these tasks cannot work here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """All tasks; there are no settings."""
    return transformations()


@hookimpl
def register_programs(settings: Settings) -> Mapping[str, Program]:
    """The browser behind `urlscreenshot` and the previews of pages."""
    return PROGRAMS


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """The first screen of a page."""
    return {"webpage": Webpage()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """What a page says about itself."""
    return {"webpage": WebpageFacts()}


def transformations() -> dict[str, Transformation]:
    """Every task by its name in URLs."""
    return {
        "urlscreenshot": UrlScreenshot(),
        "minify_css": MinifyCss(),
        "minify_js": MinifyJs(),
        "qr": Qr(),
        "zip": Zip(),
    }
