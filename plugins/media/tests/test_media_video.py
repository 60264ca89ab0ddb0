"""Pictures of videos: which frame, how it lies, how large it is."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import ImageStat

from secure_delivery.plugin import Corrupt, Unsupported
from secure_delivery.plugin.testing import MemoryFile

_CODECS: dict[str, tuple[str, ...]] = {
    "mp4": ("-c:v", "libx264"),
    "m4v": ("-c:v", "libx264"),
    "mov": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"),
    "mkv": ("-c:v", "libx264"),
    "avi": ("-c:v", "mpeg4"),
    "mpg": ("-c:v", "mpeg2video"),
    "ts": ("-c:v", "libx264"),
    "wmv": ("-c:v", "wmv2"),
    "flv": ("-c:v", "flv", "-ar", "44100"),
    "3gp": ("-c:v", "h263", "-s", "352x288", "-c:a", "aac"),
    "ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"),
}


def mean(image: Any) -> float:
    return float(ImageStat.Stat(image.convert("L")).mean[0])


@pytest.mark.parametrize("extension", _CODECS)
def test_every_container_gives_a_frame_of_the_wanted_size(extension: str, make: Any, seen: Any) -> None:
    """The test picture has all colours, so its frame is neither dark nor flat, whatever held it."""
    image = seen("video", make.clip(f"kind.{extension}", *_CODECS[extension], seconds=2), size=(160, 160))
    assert image.size == (160, 120)
    assert ImageStat.Stat(image.convert("L")).stddev[0] > 40
    assert len(image.resize((8, 8)).getcolors(64)) > 20


def _led(make: Any, name: str, lead: str, *more: str) -> MemoryFile:
    """Eight seconds of a picture behind two of something else, without a place between where decoding could begin."""
    graph = f"{lead}:s=320x240:d=2:r=25[a];testsrc=s=320x240:d=8:r=25[b];[a][b]concat[v]"
    return make(name, "-filter_complex", graph, "-map", "[v]", "-pix_fmt", "yuv420p", "-g", "1000", "-sc_threshold", "0", *more)


@pytest.mark.parametrize("colour", ["black", "white", "0x202080"])
def test_a_lead_of_one_colour_is_passed_over(colour: str, make: Any, seen: Any) -> None:
    """A tenth of the way in there is only a colour."""
    image = seen("video", _led(make, f"lead-{colour}.mp4", f"color=c={colour}"))
    assert ImageStat.Stat(image.convert("L")).stddev[0] > 40


def test_a_video_that_is_black_throughout_is_shown_black(make: Any, seen: Any) -> None:
    file = make("night.mp4", "-f", "lavfi", "-i", "color=c=black:s=320x240:d=3:r=25", "-pix_fmt", "yuv420p")
    assert mean(seen("video", file)) < 8


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_video_is_shown_upright(turn: int, make: Any, seen: Any, section: Any) -> None:
    """Telephones turn the picture clockwise by a note in the file (ffmpeg counts the other way): stored, red is on top."""
    graph = "color=c=red:s=320x90:d=2:r=10[a];color=c=blue:s=320x150:d=2:r=10[b];[a][b]vstack,noise=alls=20[v]"
    flat = make("flag.mp4", "-filter_complex", graph, "-map", "[v]", "-pix_fmt", "yuv420p")
    turned = make(f"turned-{turn}.mp4", "-i", str(make.path(flat)), "-c", "copy", "-metadata:s:v:0", f"rotate={-turn % 360}")
    image = seen("video", turned)
    assert image.size == ((320, 240) if turn == 180 else (240, 320))
    width, height = image.size
    top = {90: (width - 10, height // 2), 180: (width // 2, height - 10), 270: (10, height // 2)}[turn]
    red, _, blue = image.getpixel(top)
    assert red > 150 > blue
    assert section(turned)["streams"][0]["rotation"] == turn
    assert (section(turned)["width"], section(turned)["height"]) == image.size


def test_pixels_that_are_not_square_are_shown_square(make: Any, seen: Any, section: Any) -> None:
    """720 x 576 at 16:11 is 1,047 wide."""
    file = make.clip("wide.mp4", "-vf", "setsar=16/11", size="720x576", seconds=1)
    assert seen("video", file).size == (1047, 576)
    assert (section(file)["width"], section(file)["height"]) == (1047, 576)


def test_a_frame_is_never_enlarged(make: Any, seen: Any) -> None:
    assert seen("video", make.clip(), size=(2000, 2000)).size == (320, 240)
    assert seen("video", make.clip(), size=(0, 60)).size == (80, 60)


def test_several_frames_are_spread_over_the_length(make: Any, seen: Any) -> None:
    """Page 1 of 2 is from the first half, page 2 from the second: the one is red, the other blue."""
    graph = "color=c=red:s=64x64:d=2:r=10[a];color=c=blue:s=64x64:d=2:r=10[b];[a][b]concat[v]"
    file = make("halves.mp4", "-filter_complex", graph, "-map", "[v]", "-pix_fmt", "yuv420p")
    first, second = (seen("video", file, pages=page, frames=2) for page in ("1", "all"))
    assert (first.info, second.info) == ({"numbers": [1], "total": 2}, {"numbers": [1, 2], "total": 2})
    assert first.getpixel((32, 32))[0] > 200 > 60 > first.getpixel((32, 32))[2]
    assert second.getpixel((32, 32))[2] > 200 > 60 > second.getpixel((32, 32))[0]


def test_a_video_has_one_page(make: Any, seen: Any) -> None:
    assert seen("video", make.clip(), pages="all").info == {"numbers": [1], "total": 1}


def test_a_container_with_sound_alone_shows_its_cover(make: Any, seen: Any) -> None:
    words = ("-i", str(make.cover()), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic")
    file = make.tone("song.m4a", *words)
    image = seen("video", MemoryFile(file.data, "video/mp4", "song.mp4"))
    assert (image.size, image.getpixel((100, 100))) == ((200, 200), (220, 30, 30))


def test_a_container_without_any_picture_is_for_others(make: Any, seen: Any) -> None:
    with pytest.raises(Unsupported):
        seen("video", make.tone("plain.m4a"))


def test_a_recording_that_does_not_say_how_long_it_is_is_shown(make: Any, seen: Any) -> None:
    """What browsers record is written as it comes: no length, no index."""
    whole = make.clip("whole.webm", "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis")
    live = make("live.webm", "-i", str(make.path(whole)), "-c", "copy", "-live", "1", "-f", "webm")
    assert ImageStat.Stat(seen("video", live).convert("L")).stddev[0] > 40


@pytest.mark.parametrize("extension", ["webm", "avi", "mpg", "ts", "flv"])
def test_the_first_half_of_a_video_is_shown(extension: str, make: Any, seen: Any) -> None:
    """Containers whose index is at the end, or nowhere, still begin as they do."""
    file = make.clip(f"half.{extension}", *_CODECS[extension], seconds=4)
    half = MemoryFile(file.data[: len(file.data) // 2], file.mimetype, file.filename)
    assert ImageStat.Stat(seen("video", half).convert("L")).stddev[0] > 40


def test_without_its_index_a_video_is_corrupt(make: Any, seen: Any) -> None:
    file = make.clip()
    with pytest.raises(Corrupt):
        seen("video", MemoryFile(file.data[: len(file.data) // 2], file.mimetype, file.filename))
