"""Taking metadata out of a file, and putting some in, without touching its pixels.

Knows: the segments of JPEG, the chunks of PNG and WebP. Must not know: Pillow, how pixels are coded.

Source: ITU-T T.81 annex B, the PNG specification (third edition) section 11, RFC 9649 section 2.7. What follows the end of
the picture is left out as well. Kept is only what pixels need, so blocks that are not known go too. What is stripped is never
longer than the file. All functions take files that were decoded successfully before; they raise `ValueError` otherwise.
"""

from __future__ import annotations

import struct
import zlib

from .headers import webp_canvas

_APP0, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
_SCAN, _END = 0xDA, 0xD9
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})

_PNG_START = 8
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP"})
_PNG_KEPT |= {b"acTL", b"fcTL", b"fdAT"}  # the frames of an animation
_WEBP_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_ALPHA, _WEBP_EXIF, _WEBP_XMP = 0b0001_0000, 0b0000_1000, 0b0000_0100
_WEBP_EXIF_AND_XMP = _WEBP_EXIF | _WEBP_XMP
_EXIF_START = b"Exif\0\0"
_LARGEST_SEGMENT = 0xFFFF - 2  # bytes of a block in JPEG; XMP beyond it would need a second part


def stripped(data: bytes, form: str) -> bytes | None:
    """The file without its metadata (colour profiles stay), or None for a format where this is not done."""
    work = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp}.get(form)
    if work is None:
        return None
    try:
        return work(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"{form} ends early") from error


def described(data: bytes, form: str, exif: bytes, xmp: bytes) -> bytes:
    """A stripped file with EXIF and XMP blocks, either of them empty for none. Blocks a format has no room for are left out."""
    if not exif and not xmp:
        return data
    work = {"JPEG": _into_jpeg, "PNG": _into_png, "WEBP": _into_webp}.get(form)
    if work is None:
        raise ValueError(f"{form} takes no blocks here")
    return work(data, exif.removeprefix(_EXIF_START), xmp)


def _into_jpeg(data: bytes, exif: bytes, xmp: bytes) -> bytes:
    blocks = [_EXIF_START + exif] if exif else []
    blocks += [b"http://ns.adobe.com/xap/1.0/\0" + xmp] if xmp else []
    segments = [b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block for block in blocks if len(block) <= _LARGEST_SEGMENT]
    at = 2
    if data[2:4] == b"\xff\xe0":  # readers of JFIF want its block first
        at = 4 + struct.unpack_from(">H", data, 4)[0]
    return b"".join([data[:at], *segments, data[at:]])


def _into_png(data: bytes, exif: bytes, xmp: bytes) -> bytes:
    chunks = [(b"eXIf", exif)] if exif else []
    chunks += [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)] if xmp else []
    at = _PNG_START + 12 + struct.unpack_from(">I", data, _PNG_START)[0]  # behind the header
    made = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"".join([data[:at], *made, data[at:]])


def _into_webp(data: bytes, exif: bytes, xmp: bytes) -> bytes:
    flags = (_WEBP_EXIF if exif else 0) | (_WEBP_XMP if xmp else 0)
    body = data[12:]
    if body[:4] == b"VP8X":
        body = body[:8] + bytes([body[8] | flags]) + body[9:]
    else:
        canvas = webp_canvas(data[:30])
        if canvas is None:
            raise ValueError("no WebP picture")
        seen_through = body[:4] == b"VP8L" and body[12] & 0b0001_0000  # the bit behind twice 14 bits of size
        sides = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
        head = bytes([flags | (_WEBP_ALPHA if seen_through else 0), 0, 0, 0]) + sides
        body = b"VP8X" + struct.pack("<I", len(head)) + head + body
    for kind, block in ((b"EXIF", exif), (b"XMP ", xmp)):
        if block:
            body += kind + struct.pack("<I", len(block)) + block + bytes(len(block) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _END:
            return b"".join([*kept, b"\xff\xd9"])
        if marker in _STANDALONE:
            at += 2
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == _SCAN:
            end = _after_scan(data, end)
        if _jpeg_keeps(marker, data[at + 4 : at + 16]):
            kept.append(data[at:end])
        at = end


def _jpeg_keeps(marker: int, body: bytes) -> bool:
    if marker == _APP0:
        return body.startswith(b"JFIF\0")
    if marker == _APP2:
        return body.startswith(b"ICC_PROFILE\0")
    if marker == _APP14:
        return body.startswith(b"Adobe")
    return not (_APP0 < marker <= _APP15 or marker == _COMMENT)


def _after_scan(data: bytes, at: int) -> int:
    """Where the coded data of a scan ends: at the first marker that is neither a stuffed byte nor a restart."""
    while True:
        at = data.index(b"\xff", at)
        following = data[at + 1]
        if following == 0x00 or following in _STANDALONE:
            at += 2
        elif following == 0xFF:
            at += 1
        else:
            return at


def _png(data: bytes) -> bytes:
    kept, at = [data[:_PNG_START]], _PNG_START
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in _PNG_KEPT:
            kept.append(data[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end


def _webp(data: bytes) -> bytes:
    kept, at = [], 12
    whole = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= whole:
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + (length & 1)
        chunk = data[at:end]
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_EXIF_AND_XMP]) + chunk[9:]
        if kind in _WEBP_KEPT:
            kept.append(chunk)
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body
