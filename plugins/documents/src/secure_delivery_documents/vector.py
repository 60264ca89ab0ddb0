"""Drawings that the office made of a page, without anything that acts or loads.

Knows: the reader and writer of the plugin for SVG files. Must not know: the office, pages.
"""

from __future__ import annotations

import re

from secure_delivery_svg.clean import clean

_FONT = re.compile(rb"<font[\s>].*?</font>", re.DOTALL)  # letters as shapes for readers of long ago; no browser uses them


def cleaned(data: bytes) -> bytes:
    """The drawing, written again. Raises `Corrupt`, `TooLarge`, `Unsupported`."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{clean(_FONT.sub(b"", data)).text()}\n'.encode()
