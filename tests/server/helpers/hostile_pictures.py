"""Pictures that want to do harm: bombs by header and by content, cut ones, ones that are something else as well.

Knows: what each of them is. Must not know: how any of them is decoded here.
"""

from __future__ import annotations

import struct

from hostile_bytes import (
    FILM,
    HEIC,
    LOSSLESS,
    MANY,
    ONE,
    ONE_BIT,
    PALETTE,
    SCRIPT,
    TILES,
    XMP,
    animated,
    apng,
    archive,
    bmp,
    boxes,
    canvas,
    chunk,
    circular_exif,
    cut,
    entry,
    gif,
    good_png,
    gps_exif,
    greedy_exif,
    grey,
    huge_jpeg,
    larger,
    packed_tiff,
    png,
    pointing_mpo,
    raw_tiff,
    riff,
    scan_bomb,
    segment,
    small,
    with_exif,
    with_segments,
    zeros,
)
from hostile_files import Corpus

PICTURES = Corpus("picture")
# fmt: off
add = PICTURES.add
add("a.png", "PNG: a header of 10,001 x 10,000", png(10_001, 10_000), "too_large", "resize overlay collage ocr pdf zip")
add("a.png", "PNG: a header of 2^31-1 squared", png(2**31 - 1, 2**31 - 1), "too_large", "webp imagesize faces animate preview")
add("a.png", "PNG: 4 billion wide, which no header may say", png(MANY, 1), "corrupt|too_large", "resize no_metadata")
add("a.png", "PNG: no width at all", png(0, 10), "corrupt", "resize avif")
add("a.png", "PNG: a depth of 77 bits", png(8, 8, depth=77), "corrupt", "resize overlay")
add("a.png", "PNG: 100 megapixels and no data", png(10_000, 10_000), "corrupt", "resize qr")
add("a.png", "PNG: 100 megapixels in 13 kB", lambda: ONE_BIT(data=zeros(10_000 * 1_251)), "200", "resize")
add("a.png", "PNG: one pixel more than allowed, with its data",
    lambda: png(10_001, 10_000, depth=1, colour=0, data=zeros(10_000 * 1_252)), "too_large", "resize effects")
add("a.png", "PNG: 256 pixels and 200 MB of data", lambda: png(16, 16, data=zeros(200_000_000)), "200|corrupt",
    "resize png compress")
add("a.png", "PNG: a packed text of 64 MB", lambda: good_png(before=chunk(b"zTXt", b"Comment\0\0" + zeros(64 << 20))),
    "corrupt|200", "resize compress")
add("a.png", "PNG: a packed international text of 64 MB",
    lambda: good_png(before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(64 << 20))), "corrupt|200",
    "resize compress")
add("a.png", "PNG: a colour profile of 64 MB", lambda: good_png(before=chunk(b"iCCP", b"sRGB\0\0" + zeros(64 << 20))),
    "corrupt|200", "resize webp")
add("a.png", "PNG: 2,000 packed texts of 1 MB each",
    lambda: good_png(before=chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 20)) * 2_000), "corrupt|200", "resize no_metadata")
add("a.png", "PNG: EXIF that leads in circles", lambda: good_png(before=chunk(b"eXIf", circular_exif())), "200",
    "resize compress")
add("a.png", "PNG: a chunk longer than the file", good_png()[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt" + bytes(50),
    "corrupt", "resize no_metadata")
add("a.png", "APNG: a frame far beyond its canvas", apng(60_000, 60_000, 1), "corrupt|200|too_large", "resize gif")
add("a.png", "APNG: 4 billion frames announced, two there", apng(16, 16, 1, MANY), "corrupt|200", "resize gif webp")
add("a.png", "APNG: 3,000 frames", lambda: apng(16, 16, 3_000), "200", "resize gif")
for part in (0.2, 0.5, 0.8):
    add("a.png", f"PNG: cut at {part:.0%}", cut(small("PNG"), part), "corrupt", "resize overlay ocr")
add("a.gif", "GIF: a canvas of 65,535 squared", gif((65_535, 65_535), [ONE]), "too_large", "resize collage zip faces")
add("a.gif", "GIF: a frame far beyond its canvas", gif((1, 1), [(0, 0, 65_535, 65_535)]), "too_large", "resize png animate")
add("a.gif", "GIF: the second frame far beyond its canvas", gif((1, 1), [ONE, (60_000, 60_000, 65_535, 65_535)]),
    "200|too_large|corrupt", "resize gif webp")
add("a.gif", "GIF: 20,000 frames", gif((1, 1), [ONE] * 20_000), "200", "resize gif")
add("a.gif", "GIF: 3,000 frames of 1.5 megapixels", gif((1_500, 1_000), [ONE] * 3_000), "200|too_large", "resize gif")
add("a.gif", "GIF: no frame", gif((9, 9), []), "corrupt", "resize imagesize=corrupt|200")
add("a.gif", "GIF: an impossible code size", gif((9, 9), [ONE], b"\xff\x02\x4c\x01\x00"), "corrupt", "resize webp")
add("a.gif", "GIF: codes that were never defined", gif((9, 9), [(0, 0, 9, 9)], b"\x08\xff" + b"\xfe" * 255 + b"\0"),
    "corrupt|200", "resize overlay")
add("a.js", "GIF that is a script as well", b"GIF89a/*" + gif((0x2F2A, 1), [ONE])[8:-1] + b"*/=1;alert(1)//;", "200",
    "resize no_metadata", never=(b"alert", b"*/=1"))
add("a.jpg", "JPEG: a header of 65,535 squared", huge_jpeg(), "too_large", "resize overlay smart_crop pdf zip")
add("a.jpg", "JPEG: 3,000 scans of 100 megapixels", scan_bomb, "processing_limit", "resize")
add("a.jpg", "JPEG: 65,000 scans of next to nothing", lambda: scan_bomb(65_000, 8), "200|processing_limit", "webp")
add("a.jpg", "JPEG: EXIF that leads in circles", lambda: with_exif(circular_exif()), "200", "resize compress")
add("a.jpg", "JPEG: EXIF with values of four billion parts", lambda: with_exif(greedy_exif()), "200", "resize compress")
add("a.jpg", "JPEG: EXIF of noise", with_exif(bytes(range(256)) * 250), "200", "resize compress")
add("a.jpg", "JPEG: EXIF with a place", lambda: with_exif(gps_exif()[6:]), "200", "resize no_metadata compress",
    never=(b"EVIL",))
add("a.jpg", "JPEG: XMP that declares entities",
    with_segments(segment(0xE1, XMP)),
    "200", "resize compress")
add("a.jpg", "JPEG: a colour profile in 255 parts that do not fit",
    with_segments(*(segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 9]) + bytes(60_000)) for number in range(255))),
    "200|corrupt", "resize webp")
add("a.jpg", "JPEG: pictures behind it that are not there", pointing_mpo, "200|corrupt", "resize gif")
add("a.jpg", "JPEG: a page behind it and in its comment", with_segments(segment(0xFE, SCRIPT)) + b"<html>" + SCRIPT, "200",
    "resize no_metadata compress", never=(b"script",))
add("a.html", "JPEG that calls itself a page", small("JPEG") + SCRIPT, "200", "resize", never=(b"script",))
add("a.jpg", "JPEG: nothing but its first bytes", b"\xff\xd8\xff\xe0 no picture", "corrupt", "resize overlay zip ocr")
for part in (0.1, 0.4, 0.7, 0.95):
    add("a.jpg", f"JPEG: cut at {part:.0%}", cut(small("JPEG"), part), "corrupt", "resize collage")
add("a.webp", "WebP: a canvas of 2^24 squared", riff(canvas(2**24, 2**24), (b"VP8L", LOSSLESS)), "too_large",
    "resize overlay pdf=too_large|corrupt")
add("a.webp", "WebP: 16,383 squared without loss", riff((b"VP8L", b"\x2f" + struct.pack("<I", 0x0FFFFFFF) + bytes(40))),
    "too_large", "resize animate")
add("a.webp", "WebP: a picture larger than its canvas", riff(canvas(4, 4), (b"VP8L", LOSSLESS)), "corrupt|200", "resize webp")
add("a.webp", "WebP: 5,000 frames on a canvas of 4 megapixels", lambda: animated(2_000, 2_000, 5_000), "200|too_large",
    "resize webp")
add("a.webp", "WebP: a length of four gigabytes", riff((b"VP8L", LOSSLESS), length=MANY), "corrupt|200", "resize no_metadata")
add("a.webp", "WebP: EXIF of four billion parts",
    lambda: riff(canvas(16, 16, 8), (b"VP8L", LOSSLESS), (b"EXIF", greedy_exif())), "200|corrupt", "resize compress")
add("a.webp", "WebP: cut at half", cut(small("WEBP"), 0.5), "corrupt", "resize overlay")
add("a.avif", "AVIF: announced 2^31-1 squared", lambda: larger(small("AVIF")), "too_large", "resize overlay collage")
add("a.avif", "AVIF: announced larger than it is", lambda: larger(small("AVIF"), 2_000, 2_000), "corrupt|200", "resize webp")
add("a.avif", "AVIF: 100,000 empty boxes", lambda: boxes(small("AVIF")), "corrupt", "resize imagesize")
add("a.avif", "AVIF: cut at half", lambda: cut(small("AVIF", size=(200, 200)), 0.5), "corrupt", "resize no_metadata")
add("a.heic", "HEIC: announced 2^31-1 squared", lambda: larger(HEIC.read_bytes()), "too_large", "resize overlay")
add("a.heic", "HEIC: cut at half", lambda: cut(HEIC.read_bytes(), 0.5), "corrupt", "resize webp")
add("a.mp4", "A film with a file outside as its data",
    FILM,
    "unsupported", "resize preview ocr zip")
add("a.tif", "TIFF: a header of 100,000 squared", raw_tiff(*grey(100_000, 100_000)), "too_large",
    "resize overlay pdf=too_large|unsupported")
add("a.tif", "TIFF: 4 billion squared", raw_tiff(*grey(MANY, MANY)), "too_large|corrupt", "resize collage")
add("a.tif", "TIFF: tiles of 2^31 squared", raw_tiff(*grey(64, 64, more=TILES)), "corrupt|too_large", "resize webp")
add("a.tif", "TIFF: packed tiles of 2^31 squared", raw_tiff(*grey(64, 64, packed=8, more=TILES)), "corrupt|too_large",
    "resize webp")
add("a.tif", "TIFF: 4 billion strips", raw_tiff(*grey(64, 64, more=[entry(273, 4, MANY, 8), entry(279, 4, MANY, 8)])),
    "corrupt", "resize ocr")
add("a.tif", "TIFF: packed, 4 billion strips",
    raw_tiff(*grey(64, 64, packed=5, more=[entry(273, 4, MANY, 8), entry(279, 4, MANY, 8)])), "corrupt",
    "resize imagesize=200|corrupt")
add("a.tif", "TIFF: a directory followed by itself", raw_tiff(*grey(8, 8), following=8), "200|corrupt", "resize gif png")
add("a.tif", "TIFF: 65,535 samples a pixel",
    raw_tiff(*grey(64, 64, more=[entry(277, 3, 1, 65_535), entry(258, 3, 65_535, 8)])), "corrupt|unsupported", "resize faces")
add("a.tif", "TIFF: 256 pixels and 300 MB of data", packed_tiff, "200|corrupt|processing_limit", "resize no_metadata")
add("a.tif", "TIFF: a colour profile of four gigabytes", raw_tiff(*grey(8, 8, more=[entry(34_675, 7, MANY, 8)])),
    "200|corrupt", "resize png")
add("a.tif", "TIFF: a page list that leads nowhere", raw_tiff(*grey(8, 8), following=MANY - 7), "200|corrupt",
    "resize pdf=200|corrupt|unsupported")
add("a.tif", "TIFF: JPEG inside that lies about its size",
    lambda: raw_tiff(*grey(16, 16, packed=7, length=len(huge_jpeg())), data=huge_jpeg()), "corrupt|too_large",
    "resize effects")
add("a.tif", "TIFF: cut at half", cut(small("TIFF"), 0.5), "corrupt", "resize no_metadata overlay")
add("a.bmp", "BMP: a header of 2^31-1 squared", bmp(2**31 - 1, 2**31 - 1), "too_large", "resize overlay zip")
add("a.bmp", "BMP: upside down by 2^31", bmp(100, -(2**31)), "too_large|corrupt", "resize webp")
add("a.bmp", "BMP: 100 megapixels and no data", bmp(10_000, 10_000), "corrupt", "resize pdf=corrupt")
add("a.bmp", "BMP: runs that jump out of the picture",
    bmp(3_000, 3_000, bits=8, packed=1, data=PALETTE + b"\0\2\xff\xff" * 9_000, offset=54 + 1024), "200|corrupt",
    "resize png")
add("a.bmp", "BMP: pixels four gigabytes away", bmp(10, 10, offset=MANY), "corrupt", "resize compress")


# -------------------------------------------------------------------------------------- polyglots, and what is not read

add("a.png", "PNG with an archive behind it", small("PNG") + archive(), "200", "resize no_metadata compress zip",
    never=(b"PK\x03\x04", b"script"))
add("a.png", "PNG with a page in its texts", good_png(before=chunk(b"tEXt", b"Comment\0" + SCRIPT)), "200",
    "resize no_metadata compress", never=(b"script",))
add("a.gif", "GIF with a page behind it", small("GIF", "P") + SCRIPT, "200", "resize no_metadata", never=(b"script",))
NOT_READ = {
    "an icon that calls itself a PNG": b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + struct.pack("<II", 200, 22) + small("PNG"),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 " + bytes(200),
    "a JPEG 2000 stream": b"\xff\x4f\xff\x51\0\x29" + bytes(200),
    "Photoshop": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 300_000, 300_000, 8, 3) + bytes(100),
    "PostScript": b"%!PS-Adobe-3.0\n(/etc/passwd) (r) file { } loop showpage",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{0 0 moveto} loop showpage",
    "EPS behind a DOS header": b"\xc5\xd0\xd3\xc6" + struct.pack("<I", 30) + bytes(22) + b"%!PS-Adobe-3.0 EPSF-3.0 loop",
    "a Windows metafile": b"\xd7\xcd\xc6\x9a" + bytes(300),
    "a PCX": b"\x0a\x05\x01\x08" + bytes(300),
    "a DDS": b"DDS \x7c\0\0\0" + bytes(300),
    "a Targa": b"\0\0\x02" + bytes(9) + struct.pack("<HHBB", 60_000, 60_000, 32, 0) + bytes(99),
    "a FITS": b"SIMPLE  =                    T" + b" " * 2_000,
    "an X pixmap": b'/* XPM */\nstatic char *a[] = {"60000 60000 1 1", "a c None"};',
    "a netpbm of 10^9 squared": b"P6 1000000000 1000000000 255\n" + bytes(99),
    "OpenEXR": b"v/1\x01\x02\0\0\0" + bytes(300),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(200),
    "one byte": b"\x89",
    "noise": bytes(range(255, -1, -1)) * 40,
}
for what, data in NOT_READ.items():
    # Words of a picture format are a text to documents, which come out as text; as a picture nobody reads them.
    add("a.png", f"not read: {what}", data, "unsupported", "resize overlay ocr")
