"""Limits are kept from the header alone, for every format, with exactly the promised numbers."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import Corrupt, SecureDeliveryError, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import FileMedia, MemoryFile, content
from secure_delivery_images.picture import Picture

VECTORS = json.loads((Path(__file__).parents[3] / "tests/vectors/limits.json").read_text())
CASES = VECTORS["cases"]
LIMITS = WorkLimits()


# ------------------------------------------------------------------------- files that announce a size and hold no pixels


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def gif(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame + b";"


def gif_frame_beyond_the_canvas(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame + b";"


def jpeg(width: int, height: int) -> bytes:
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + frame + b"\xff\xda" + struct.pack(">HB", 8, 1) + b"\x01\x00\x00\x3f\x00" + b"\xff\xd9"


def tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, 0)]
    body = b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags)
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + bytes(4)


def _riff(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def webp_extended(width: int, height: int) -> bytes:
    return _riff(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def webp_lossless(width: int, height: int) -> bytes:
    return _riff(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(5))


def webp_lossy(width: int, height: int) -> bytes:
    return _riff(b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(10))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def avif(width: int, height: int, brand: bytes = b"avif") -> bytes:
    tile = _box(b"ispe", struct.pack(">III", 0, 64, 64))
    whole = _box(b"ispe", struct.pack(">III", 0, width, height))
    meta = _box(b"meta", bytes(4) + _box(b"iprp", _box(b"ipco", tile + whole)))
    return _box(b"ftyp", brand + bytes(4) + brand + b"mif1") + meta


def heic(width: int, height: int) -> bytes:
    return avif(width, height, b"heic")


def heic_as_made(width: int, height: int) -> bytes:
    """A real file whose announced size is overwritten: everything else is as a decoder wants it."""
    data = (Path(__file__).parent / "files/square.heic").read_bytes()
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


#: Writer, the largest side it can say, the smallest, and whether what is accepted must open (the others need pixels to open).
WRITERS: dict[str, tuple[Callable[[int, int], bytes], int, int, bool]] = {
    "png": (png, 2**32 - 1, 0, True),
    "bmp": (bmp, 2**31 - 1, 0, True),
    "gif": (gif, 2**16 - 1, 1, True),  # a canvas of 0 grows to its first frame, in browsers as well
    "gif frame": (gif_frame_beyond_the_canvas, 2**16 - 1, 1, True),
    "jpeg": (jpeg, 2**16 - 1, 0, True),
    "tiff": (tiff, 2**32 - 1, 0, True),
    "webp extended": (webp_extended, 2**24, 1, False),
    "webp lossless": (webp_lossless, 2**14, 1, False),
    "webp lossy": (webp_lossy, 2**14 - 1, 1, False),
    "avif": (avif, 2**32 - 1, 0, False),
    "heic": (heic, 2**32 - 1, 0, False),
    "heic real": (heic_as_made, 2**32 - 1, 1, True),
}

HEADERS = [
    pytest.param(writer, case, id=f"{case['id']} {name}")
    for name, (writer, largest, smallest, _) in WRITERS.items()
    for case in CASES
    if "width" in case and max(case["width"], case["height"]) <= largest and min(case["width"], case["height"]) >= smallest
]
OPENING = {writer for writer, _, _, opens in WRITERS.values() if opens}


@pytest.mark.parametrize(("writer", "case"), HEADERS)
def test_a_size_is_judged_by_the_header(writer: Callable[[int, int], bytes], case: dict[str, Any]) -> None:
    """100,000,000 pixels are accepted and one more is refused, in every format that can say so."""
    media = MemoryFile(writer(case["width"], case["height"]), "application/octet-stream", "header")
    if case["expect"] == "refuse":
        with pytest.raises(TooLarge if case["width"] * case["height"] else Corrupt):
            Picture.of(media, LIMITS)
        return
    try:
        facts = Picture.of(media, LIMITS).facts
    except Corrupt:
        assert writer not in OPENING, "a legal size was refused"
    else:
        assert facts.stored == (case["width"], case["height"])


def test_a_header_without_pixels_is_corrupt_in_the_end() -> None:
    """A legal size with nothing behind it is no clean-looking picture."""
    for name, (writer, *_) in WRITERS.items():
        if name.startswith("gif"):
            continue  # these hold one pixel on purpose
        with pytest.raises((Corrupt, Unsupported)):
            content(Picture.of(MemoryFile(writer(80, 60)), LIMITS))


def test_refusing_takes_no_memory() -> None:
    """All refusals together grow the process by less than 64 MB: nothing is reserved for a picture that is not read."""
    script = """
import resource, sys, importlib.util
spec = importlib.util.spec_from_file_location("limits", sys.argv[1]); t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t); t.Picture.of(t.MemoryFile(t.bmp(2, 2)), t.LIMITS)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for param in t.HEADERS:
    writer, case = param.values
    if case["expect"] == "refuse":
        try: t.Picture.of(t.MemoryFile(writer(case["width"], case["height"])), t.LIMITS)
        except (t.TooLarge, t.Corrupt): continue
        raise SystemExit("not refused")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command = [sys.executable, "-c", script, __file__]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert grown * (1 if sys.platform == "darwin" else 1024) < 64_000_000


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if "bytes" in case])
def test_a_file_is_judged_by_its_length(case: dict[str, Any], tmp_path: Path) -> None:
    """268,435,456 bytes are accepted and one more is refused, without reading them."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(jpeg(8, 8)[: case["bytes"]])
    with path.open("r+b") as file:
        file.truncate(case["bytes"])
    if case["expect"] == "refuse":
        with pytest.raises(TooLarge):
            Picture.of(FileMedia(path), LIMITS)
    elif case["bytes"] == 1:
        with pytest.raises(Unsupported):
            Picture.of(FileMedia(path), LIMITS)
    else:
        assert Picture.of(FileMedia(path), LIMITS).facts.stored == (8, 8)


def test_a_hundred_megapixels_are_really_decoded(chain: Any, opened: Any) -> None:
    """The largest legal picture is not only let in but made into a thumbnail."""
    out = BytesIO()
    Image.new("1", (10_000, 10_000), 1).save(out, "PNG")
    result = opened(chain(MemoryFile(out.getvalue()), ("resize", {"width": "20"})))
    assert result.size == (20, 20)
    assert result.convert("L").getextrema() == (255, 255)


def test_pillows_own_limit_plays_no_part() -> None:
    """Between Pillow's warning (89,478,485) and ours nothing is refused, and nothing warns."""
    assert Picture.of(MemoryFile(png(9_999, 9_999)), LIMITS).facts.stored == (9_999, 9_999)


@pytest.mark.parametrize(
    ("task", "options"),
    [("resize", {"width": "10000", "height": "10000", "fit": "scale"}), ("resize", {"width": "10000"})],
    ids=["area", "side"],
)
def test_a_result_may_not_be_larger_than_a_source(task: str, options: dict[str, str], chain: Any, saved: Any) -> None:
    """A result over the limits is refused before it is made, whichever side is the long one."""
    tall = saved(Image.new("L", (10, 40)))
    with pytest.raises(TooLarge):
        content(chain(tall, (task, options), limits=WorkLimits(pixels=50_000_000)))


def test_a_result_has_at_most_16384_pixels_a_side(chain: Any, saved: Any) -> None:
    """A legal but very long picture is refused as a result and can still be made smaller."""
    ribbon = saved(Image.new("L", (16_385, 1)))
    with pytest.raises(TooLarge):
        content(chain(ribbon, "flip"))
    assert content(chain(ribbon, ("resize", {"width": "10000"}), "flip"))


def test_a_webp_result_is_refused_where_the_format_ends(chain: Any, saved: Any) -> None:
    """WebP cannot say 16,384; that is too large, not a crash."""
    with pytest.raises(TooLarge):
        content(chain(saved(Image.new("L", (16_384, 1))), ("output", {"format": "webp"})))


def _animation(frames: int, size: tuple[int, int] = (4, 4)) -> MemoryFile:
    images = [Image.new("P", size, number % 2) for number in range(frames)]
    for image in images:
        image.putpalette([255, 0, 0, 0, 0, 255])
    out = BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=20, optimize=False)
    return MemoryFile(out.getvalue(), "image/gif", "film.gif")


@pytest.mark.parametrize(("frames", "kept"), [(2, 2), (256, 256), (257, 1)])
def test_frames_are_counted(frames: int, kept: int, chain: Any, opened: Any) -> None:
    """256 frames stay an animation; of 257 the first stands for all."""
    result = opened(chain(_animation(frames), ("resize", {"width": "2"})))
    assert (result.size, getattr(result, "n_frames", 1)) == ((2, 2), kept)


@pytest.mark.parametrize(("pixels", "kept"), [(160, 10), (159, 1)])
def test_frames_are_counted_with_their_area(pixels: int, kept: int, chain: Any, opened: Any) -> None:
    """Ten frames of 16 pixels are 160 pixels: exactly the limit is an animation, one less leaves the first frame."""
    result = opened(chain(_animation(10), "flip", limits=WorkLimits(animation_pixels=pixels)))
    assert getattr(result, "n_frames", 1) == kept


@pytest.mark.parametrize(("pixels", "kept"), [(640, 10), (639, 1)])
def test_frames_of_a_result_are_counted_too(pixels: int, kept: int, chain: Any, opened: Any) -> None:
    """Frames that grow may not grow beyond the same limit."""
    grown = opened(chain(_animation(10), ("resize", {"w": "8"}), limits=WorkLimits(animation_pixels=pixels)))
    assert (grown.size, getattr(grown, "n_frames", 1)) == ((8, 8), kept)


def test_a_tile_larger_than_its_picture_is_counted() -> None:
    """A TIFF of 8 x 8 pixels in one tile of 2^31 x 2^31 is too large: tiles are decoded whole."""
    tags = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 5), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, 2**31), (323, 4, 2**31), (324, 4, 8), (325, 4, 4)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    data = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + bytes(4)
    with pytest.raises(TooLarge):
        Picture.of(MemoryFile(data), LIMITS)


def test_a_text_block_that_inflates_is_refused() -> None:
    """A PNG text of 8 kB that unpacks to 8 MB is refused; so is a profile that does (security promise 43)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = zlib.compress(bytes(8 << 20), 9)
    out = BytesIO()
    Image.new("L", (4, 4)).save(out, "PNG")
    start, rest = out.getvalue()[:33], out.getvalue()[33:]
    for block in (chunk(b"zTXt", b"Comment\0\0" + bomb), chunk(b"iCCP", b"profile\0\0" + bomb)):
        with pytest.raises(Corrupt):
            content(Picture.of(MemoryFile(start + block + rest), LIMITS))


def test_a_large_metadata_block_is_left_out(chain: Any, saved: Any, opened: Any) -> None:
    """XMP of more than 1 MiB is not carried along, even where metadata may stay; the picture is fine."""
    media = saved(Image.new("RGB", (8, 8)), "WEBP", xmp=b"<x>" + b"a" * (1 << 20) + b"</x>")
    result = chain(media, "flip", ("compress", {"metadata": "true"}))
    assert "xmp" not in opened(result).info


def test_memory_that_runs_out_is_a_fault_of_the_tree(tmp_path: Path) -> None:
    """Under an address space that cannot hold the picture the answer is `processing_limit`, a 4xx."""
    out = BytesIO()
    Image.new("RGB", (9_000, 9_000)).save(out, "PNG", compress_level=1)
    path = tmp_path / "large.png"
    path.write_bytes(out.getvalue())
    script = """
import resource, sys
from pathlib import Path
from secure_delivery.plugin import SecureDeliveryError
from secure_delivery.plugin.testing import FileMedia, SimpleWorkshop, bind, content
from secure_delivery_images.tasks import transformations
task = transformations()["resize"]; task.warm()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000,) * 2)
try: content(task.apply(FileMedia(Path(sys.argv[1])), bind(task, width="10"), SimpleWorkshop()))
except SecureDeliveryError as error: print(error.code)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to know what is in use")
    command = [sys.executable, "-c", script, str(path)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() == "processing_limit"


def test_an_unknown_format_is_unsupported_whatever_it_is_called() -> None:
    """Content decides: PostScript, PSD, JPEG 2000, ICO, a film and text are refused under the name of a JPEG."""
    starts = (
        b"%!PS-Adobe-3.0",
        b"8BPS\0\1",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\0\0\1\0",
        b"\0\0\0\x18ftypisom\0\0\0\0",
        b"P6\n",
        b"",
    )
    for start in starts:
        with pytest.raises(Unsupported):
            Picture.of(MemoryFile(start + b"\0" * 100 * bool(start), "image/jpeg", "photo.jpg"), LIMITS)


def test_every_refusal_is_fit_for_a_stranger() -> None:
    """The public sentence of a limit names the limit and nothing else."""
    try:
        Picture.of(MemoryFile(png(10_001, 10_000), filename="/srv/secret/name.png"), LIMITS)
    except SecureDeliveryError as error:
        assert error.public == "The picture has too many pixels: at most 100000000 are allowed."
