"""`urlscreenshot`: a picture of a page.

Knows: the documented options, the driver beside this module, the program that runs it. Must not know: the DevTools protocol,
which the driver speaks; the address guard, through which alone the browser reaches anything.

The program is Python with `driver.py`, which starts a headless Chromium in the same confinement and asks it, over a pipe, for
a picture. Chromium's own `--screenshot` was not enough: it cannot take a whole page (in a window as tall as the page, whatever
is sized by the window is as tall, too), cannot be a telephone, and without a page takes a picture of its own error message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from secure_delivery.plugin import (
    Corrupt,
    Media,
    MemoryFile,
    Param,
    Program,
    SourceFault,
    Unsupported,
    Workshop,
    choice,
    integer,
)

VERSION = "1"

_WIDTHS, _HEIGHTS, _DELAYS = range(1, 1921), range(1, 8001), range(20_001)
_AGENTS, _MODES = ("desktop", "mobile"), ("all", "window")
#: Windows of devices in CSS pixels, upright.
_DEVICES = {"iphone": (390, 844), "ipad": (820, 1180), "pixel": (412, 915), "galaxy": (360, 780)}
_PICTURE, _TROUBLE = "page.png", "trouble.json"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "/opt/google/chrome/chrome")
_INSTALL = "the packages python3 and chromium (Debian, Ubuntu, Fedora), or Google Chrome"
_PYTHON = ("-I", "-S", "-B", "{inputs}")
# Named from the scratch folder, where the program starts: Chromium puts a socket there, and the name of one has at most
# 108 bytes (unix(7)), which the whole path of a data folder soon exceeds.
_ENVIRONMENT = {"TMPDIR": "tmp"}

PROGRAMS = {
    "screenshot": Program(
        executables=("python3",),
        arguments=(
            *(*_PYTHON, "{uri}", "{out}", "{scratch}", "{proxy}"),
            *("{agent}", "{mode}", "{width}", "{height}", "{delay}"),
        ),
        choices={"agent": _AGENTS, "mode": _MODES, "width": _WIDTHS, "height": _HEIGHTS, "delay": _DELAYS},
        suffixes=(".py",),
        environment=_ENVIRONMENT,
        network=True,
        seconds=55.0,
        needs=_BROWSERS,
        install=_INSTALL,
    ),
    # The same for a page that is a file: no network, and the driver runs no script of it.
    "page_of_file": Program(
        executables=("python3",),
        arguments=(*_PYTHON, "{out}", "{scratch}", "-", "desktop", "window", "{width}", "{height}", "{delay}"),
        choices={"width": _WIDTHS, "height": _HEIGHTS, "delay": _DELAYS},
        suffixes=(".py", ".html"),
        environment=_ENVIRONMENT,
        seconds=55.0,
        needs=_BROWSERS,
        install=_INSTALL,
    ),
}


class UrlScreenshot:
    """`urlscreenshot`: the page at the source address as PNG.

    `agent` (a) desktop or mobile, `mode` (m) all (the whole page, up to 16,384 pixels) or window, `width` (w) 1 to 1920 (1024),
    `height` (h) 1 to 8000 (768), `delay` (d) 0 to 20000 milliseconds after the page has loaded (1000). `device` iphone, ipad,
    pixel or galaxy sets agent and window. `orientation` landscape lays a mobile window on its side; a desktop window has none.
    """

    params: ClassVar[tuple[Param, ...]] = (
        Param("agent", choice(*_AGENTS), ("a",), "desktop"),
        Param("mode", choice(*_MODES), ("m",), "all"),
        Param("width", integer(_WIDTHS[0], _WIDTHS[-1]), ("w",), 1024),
        Param("height", integer(_HEIGHTS[0], _HEIGHTS[-1]), ("h",), 768),
        Param("delay", integer(_DELAYS[0], _DELAYS[-1]), ("d",), 1000),
        Param("orientation", choice("portrait", "landscape"), (), "portrait"),
        Param("device", choice(*_DEVICES)),
    )
    version = VERSION
    visits = True

    def check(self, options: Mapping[str, Any]) -> None:
        if options["height"] > _WIDTHS[-1] and options["agent"] == "mobile" and options["orientation"] == "landscape":
            raise ValueError(f"height must be at most {_WIDTHS[-1]} with orientation:landscape.")

    def warm(self) -> None:
        warm()

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Corrupt` when there is no page, `Unsupported` without a browser, `ProcessingLimit` when it takes too long."""
        from secure_delivery_images import Picture

        return Picture.of(taken(shop, "screenshot", media, _choices(options)), shop.limits)


def warm() -> None:
    """Read the driver, and load pictures."""
    _driver()
    from secure_delivery_images import picture

    picture.warm()


def taken(shop: Workshop, program: str, media: Media, choices: Mapping[str, str | int]) -> Media:
    """The picture that the driver takes of a page, as PNG. `media` holds an address, or for `page_of_file` the page itself.

    Raises `Unsupported` without a browser or without a way out, `SourceFault` when there is no page, `Corrupt`,
    `ProcessingLimit`.
    """
    driver = MemoryFile(_driver(), "text/x-python", "driver.py")
    files = [driver, media] if program == "page_of_file" else [media, driver]
    results = {result.filename: result for result in shop.run(program, files, choices)}
    if _TROUBLE in results:
        raise _trouble(results[_TROUBLE])
    if _PICTURE not in results:
        raise Corrupt("the browser left no picture")
    return results[_PICTURE]


def _choices(options: Mapping[str, Any]) -> dict[str, str | int]:
    agent, width, height = options["agent"], options["width"], options["height"]
    if options["device"] is not None:
        agent, (width, height) = "mobile", _DEVICES[options["device"]]
    if agent == "mobile" and options["orientation"] == "landscape":
        width, height = height, width
    return {"agent": agent, "mode": options["mode"], "width": width, "height": height, "delay": options["delay"]}


def _trouble(result: Media) -> Exception:
    """The fault that a report of the driver stands for. A page that took the browser over may have written it: nothing of it is
    shown."""
    with result.open() as stream:
        try:
            kind = json.loads(stream.read(10_000)).get("kind")
        except (ValueError, AttributeError, RecursionError):
            kind = None
    if kind == "no_browser":
        return Unsupported("no browser found", public="This needs the program chromium, which is not installed here.")
    if kind == "no_page":
        return SourceFault("the browser reached no page", public="urlscreenshot: there is no page at this address.")
    return Corrupt("the driver reported trouble")


@cache
def _driver() -> bytes:
    return Path(__file__).with_name("driver.py").read_bytes()
