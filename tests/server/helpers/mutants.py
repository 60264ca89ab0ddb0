"""Small valid files of every format that is read, and mutants of them that still look like that format.

Knows: how formats are put together of parts, and how to put them together again with lengths and check sums that fit. Must not
know: how any of them is decoded here. The same seed gives the same mutant.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hostile_bytes import HEIC, apng, chunk, circular_exif, small
from hostile_documents import GOOD, pdf
from hostile_office import KIND, docx, odt, package
from hostile_texts import RECTANGLE, html, svg

Part = tuple[bytes, bytes]  # what it is called, and what is in it
Split = Callable[[bytes], list[Part]]
Join = Callable[[Sequence[Part]], bytes]

EXTREMES = (0, 1, 2, 7, 127, 128, 255, 256, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = (b"0", b"-1", b"1", b"65536", b"2147483647", b"4294967296", b"1e308", b"-1e-308", b"999999999999999999999", b"NaN")


# ---------------------------------------------------------------------------------------------------- how files are built


def png_split(data: bytes) -> list[Part]:
    parts, at = [], 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return parts


def png_join(parts: Sequence[Part]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in parts)


def jpeg_split(data: bytes) -> list[Part]:
    """Segments; the last is everything from the first scan on."""
    parts, at = [], 2
    while data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        parts.append((data[at : at + 2], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return [*parts, (b"", data[at:])]


def jpeg_join(parts: Sequence[Part]) -> bytes:
    out = [b"\xff\xd8"]
    for marker, content in parts:
        out.append(marker + struct.pack(">H", min(len(content) + 2, 65_535)) + content[:65_533] if marker else content)
    return b"".join(out)


def riff_split(data: bytes) -> list[Part]:
    parts, at = [], 12
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + (length & 1)
    return parts


def riff_join(parts: Sequence[Part]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1) for kind, content in parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def boxes_split(data: bytes) -> list[Part]:
    """Boxes of the outer level, and those of `meta` one by one behind a mark."""
    parts, at = [], 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + length if length >= 8 else len(data)
        if kind == b"meta":
            parts.append((b"meta", b""))
            at += 12
            continue
        parts.append((kind, data[at + 8 : end]))
        at = end
    return parts


def boxes_join(parts: Sequence[Part]) -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content) + 8) + kind + content

    out, inner = [], None
    for kind, content in parts:
        if kind == b"meta":
            inner = len(out)
            out.append(b"")
        elif kind in (b"mdat", b"moov", b"free") and inner is not None:
            out[inner:] = [box(b"meta", bytes(4) + b"".join(out[inner:]))]
            inner = None
            out.append(box(kind, content))
        else:
            out.append(box(kind, content))
    return b"".join(out)


def tiff_split(data: bytes) -> list[Part]:
    """The header, each entry of the first directory, and the rest; only little-endian files."""
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = [(b"entry", data[at : at + 12]) for at in range(start + 2, start + 2 + 12 * count, 12)]
    return [(b"head", data[: start + 2]), *entries, (b"rest", data[start + 2 + 12 * count :])]


def plain_join(parts: Sequence[Part]) -> bytes:
    return b"".join(content for _, content in parts)


def by(pattern: bytes) -> Split:
    """Parts that each begin where the pattern matches."""
    found = re.compile(pattern)

    def split(data: bytes) -> list[Part]:
        places = [0, *(match.start() for match in found.finditer(data) if match.start()), len(data)]
        return [(b"", data[start:end]) for start, end in pairwise(places)]

    return split


def zip_split(data: bytes) -> list[Part]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename.encode(), archive.read(info)) for info in archive.infolist()]


def zip_join(parts: Sequence[Part]) -> bytes:
    return package([(name.decode("utf-8", "replace"), content) for name, content in parts])


# ------------------------------------------------------------------------------------------------------------- the seeds


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid file, how it is taken apart and put together, and whether numbers in it are written in words."""

    name: str
    mimetype: str
    data: bytes
    split: Split
    join: Join
    written: bool = False


def _pictures() -> list[Seed]:
    def png(name: str, data: bytes) -> Seed:
        return Seed(name, "image/png", data, png_split, png_join)

    def jpeg(name: str, data: bytes) -> Seed:
        return Seed(name, "image/jpeg", data, jpeg_split, jpeg_join)

    def webp(name: str, data: bytes) -> Seed:
        return Seed(name, "image/webp", data, riff_split, riff_join)

    def tiff(name: str, data: bytes) -> Seed:
        return Seed(name, "image/tiff", data, tiff_split, plain_join)

    exif = b"Exif\0\0" + circular_exif()
    gif, bmp = by(rb"!\xf9|!\xff|!\xfe|,"), by(rb"(?s)(?<=^BM.{12}).|(?<=^BM.{24}).|(?<=^BM.{52}).")
    size = (48, 32)
    return [
        png("png", small("PNG", size=size, exif=exif)), png("png palette", small("PNG", "P", size)),
        png("png deep", small("PNG", "I;16", size)), png("apng", apng(16, 16, 2)),
        jpeg("jpeg", small("JPEG", size=size, exif=exif)), jpeg("jpeg progressive", small("JPEG", size=size, progressive=True)),
        jpeg("jpeg cmyk", small("JPEG", "CMYK", size)), jpeg("jpeg grey", small("JPEG", "L", size, restart_marker_blocks=1)),
        webp("webp", small("WEBP", size=size, exif=exif)), webp("webp lossless", small("WEBP", "RGBA", size, lossless=True)),
        tiff("tiff", small("TIFF", size=size)), tiff("tiff lzw", small("TIFF", size=size, compression="tiff_lzw")),
        tiff("tiff deflate", small("TIFF", "L", size, compression="tiff_adobe_deflate")),
        tiff("tiff jpeg", small("TIFF", size=size, compression="jpeg")),
        tiff("tiff fax", small("TIFF", "1", size, compression="group4")),
        Seed("gif", "image/gif", small("GIF", "P", size), gif, plain_join),
        Seed("bmp", "image/bmp", small("BMP", size=size), bmp, plain_join),
        Seed("bmp palette", "image/bmp", small("BMP", "P", size), bmp, plain_join),
        Seed("avif", "image/avif", small("AVIF", size=size), boxes_split, boxes_join),
        Seed("heic", "image/heic", HEIC.read_bytes(), boxes_split, boxes_join),
    ]  # fmt: skip


def seeds() -> list[Seed]:
    """One of every kind, the same ones each time."""
    drawing = svg(
        f'<defs><linearGradient id="g"><stop offset="0.5" stop-color="#123"/></linearGradient><g id="u">{RECTANGLE}</g></defs>'
        '<use href="#u" transform="rotate(30 5 5) scale(0.5)"/><path d="M1 2C3 4 5 6 7 8z" fill="url(#g)"/>'
        '<text x="5" y="20" font-size="9">words</text><style>rect{fill:red;stroke-width:2}</style>'
    )
    page = html('<table border=1><tr><td colspan=2>a<td><a href="https://good.example/">b</a></table><ul><li>c</ul>')
    script = b"function a(b,c){for(let i=0;i<10;i++){b=`${c}`+/x*[y]/g.exec(b)}return{d:b?.e??[...c]}}class F extends a{}"
    style = b"@media (max-width:100px){a>b:not(.c){color:rgb(1,2,3);margin:calc(1px + 2%)}}@font-face{font-family:x}"
    return [
        *_pictures(),
        Seed("svg", "image/svg+xml", drawing, by(rb"<"), plain_join, True),
        Seed("pdf", "application/pdf", pdf(*GOOD), by(rb"\d+ 0 obj|endobj|<<|/|xref|trailer"), plain_join, True),
        Seed("html", "text/html", page, by(rb"<"), plain_join, True),
        Seed("css", "text/css", style, by(rb"[{};,:(]"), plain_join, True),
        Seed("js", "text/javascript", script, by(rb"[{};,:(\[`]"), plain_join, True),
        Seed("docx", f"{KIND}wordprocessingml.document", package(docx()), zip_split, zip_join, True),
        Seed("odt", "application/vnd.oasis.opendocument.text", package(odt()), zip_split, zip_join, True),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- the mutants


def _number(content: bytes, chance: random.Random) -> bytes:
    """A field of one, two or four bytes at one of its limits."""
    size, order = chance.choice((1, 2, 4)), chance.choice(("<", ">"))
    at = chance.randrange(max(1, len(content)))
    value = chance.choice(EXTREMES) & (256**size - 1)
    return content[:at] + struct.pack(order + {1: "B", 2: "H", 4: "I"}[size], value) + content[at + size :]


def _written(content: bytes, chance: random.Random) -> bytes:
    """A number in words at one of its limits; a word twice, where there is none."""
    found = list(re.finditer(rb"\d+", content))
    if not found:
        return content + content[: chance.randrange(40)]
    match = chance.choice(found)
    return content[: match.start()] + chance.choice(NUMBERS) + content[match.end() :]


def _noise(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.randbytes(chance.randrange(1, 9)) + content[at + chance.randrange(9) :]


def _packed(content: bytes, chance: random.Random) -> bytes:
    """What is packed is changed inside, so that it still unpacks."""
    try:
        return zlib.compress(_number(zlib.decompress(content), chance))
    except zlib.error:
        return _number(content, chance)


def mutant(seed: Seed, chance: random.Random) -> bytes:
    """Parts dropped, doubled, swapped, cut, filled with limits and noise; sometimes the whole damaged once more."""
    parts = seed.split(seed.data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at, other = chance.randrange(len(parts)), chance.randrange(len(parts))
        kind, content = parts[at]
        match chance.randrange(9):
            case 0 if len(parts) > 1:
                del parts[at]
            case 1:
                parts[other:other] = [parts[at]] * chance.choice((1, 1, 2, 300))
            case 2:
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts[at] = kind, content[: chance.randrange(len(content) + 1)]
            case 4:
                parts[at] = parts[other][0], content
            case 5:
                parts[at] = kind, _noise(content, chance)
            case 6 if not seed.written:
                parts[at] = kind, _packed(content, chance)
            case _:
                parts[at] = kind, (_written if seed.written else _number)(content, chance)
    data = seed.join(parts)
    return _number(_noise(data, chance), chance) if chance.random() < 0.15 else data
