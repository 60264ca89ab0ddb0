"""Bytes as text: byte order marks, UTF-8, UTF-16 and 32 without a mark, else the likeliest of the older encodings.

Knows: encodings. Must not know: files, pages.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from charset_normalizer import from_bytes

from secure_delivery.plugin import Unsupported

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 20_000  # bytes that are looked at for an older encoding: a tenth of a second
_JUDGED = 4_096  # characters by which text and other bytes are told apart
_MOST_ODD = 0.02  # of these: control characters and what could not be read
_OLD = "cp1252"
_ODD = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\ufffd]")
_CONTROLS = dict.fromkeys([*range(0x09), 0x0B, *range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF])
_CONTROLS |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])  # what turns the order of letters around
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,30}[A-Za-z]")  # colours of a terminal, in logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A text with plain line feeds and no control characters but these, tabs and form feeds. `encoding` is its name as the
    IANA writes it, in lower case; `mark`: it begins with a byte order mark."""

    text: str
    encoding: str
    mark: bool


def decoded(data: bytes, *, whole: bool = True) -> Decoded:
    """The text in some bytes. `whole`: nothing was cut off, where a character might be in two.

    Raises `Unsupported` for bytes that are no text.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", ""))
    body = data[len(mark) :]
    encoding = encoding or _guessed(body, whole)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(body, whole)
    head = text[:_JUDGED]
    if len(_ODD.findall(head)) > _MOST_ODD * len(head) + 1:
        raise Unsupported("bytes, not text", public="This file is no text.")
    return Decoded(text=tidy(text), encoding=_named(encoding, body), mark=bool(mark))


def tidy(text: str) -> str:
    """With plain line feeds, and without control characters."""
    text = _ESCAPES.sub("", text) if "\x1b" in text else text
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def _guessed(data: bytes, whole: bool) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, whole)
    except UnicodeDecodeError:
        pass
    else:
        if b"\0" not in data[:_SAMPLE]:
            return "utf-8"
    wide = _wide(data[:_SAMPLE])
    if wide:
        return wide
    best = from_bytes(data[:_SAMPLE], cp_exclusion=["utf_16", "utf_32", "utf_7"]).best()
    return best.encoding if best is not None else _OLD


def _wide(sample: bytes) -> str:
    """UTF-16 or 32 without a mark: where the zeros stand between letters of Latin script."""
    if len(sample) < 4 or b"\0" not in sample:
        return ""
    zeros = [sample[at::4].count(0) / max(1, len(sample[at::4])) for at in range(4)]
    if zeros[1] > 0.9 and zeros[2] > 0.9:
        return "utf-32-le" if zeros[3] > 0.9 else "utf-32-be" if zeros[0] > 0.9 else ""
    if zeros[1] > 0.4 and zeros[3] > 0.4 and zeros[0] + zeros[2] < 0.2:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.4 and zeros[2] > 0.4 and zeros[1] + zeros[3] < 0.2 else ""


def _named(encoding: str, data: bytes) -> str:
    if encoding == "utf-8" and data.isascii():
        return "us-ascii"
    known = {"cp1252": "windows-1252", "latin_1": "iso-8859-1", "utf_8": "utf-8", "ascii": "us-ascii"}
    name = encoding.lower()
    if name in known:
        return known[name]
    if name.startswith("cp125"):
        return f"windows-{name[2:]}"
    return name.replace("iso8859_", "iso-8859-").replace("_", "-")


def columns(sign: str) -> int:
    """How many cells a character takes: 2 for wide ones, 0 for what stands on the one before, else 1 (UAX #11)."""
    if sign < "\u0300":
        return 1
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1
