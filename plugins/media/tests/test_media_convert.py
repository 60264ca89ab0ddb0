"""`video_convert`: every preset and option, looked at from outside with ffprobe."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import Corrupt, Media, SecureDeliveryError, Unsupported
from secure_delivery.plugin.testing import MemoryFile, TransformationContract, bind, content
from secure_delivery_media import register_transformations
from secure_delivery_media.converting import texts
from secure_delivery_media.geometry import framed
from secure_delivery_media.hls import rungs
from secure_delivery_media.task import VideoConvert

TASK = VideoConvert()
HANDLE = "AbCdEfGhIjKlMnOpQrSt"
#: Preset: type, extension, container as ffprobe has it, codecs.
_MADE = {
    "h264": ("video/mp4", "mp4", "mov,mp4,m4a,3gp,3g2,mj2", "h264", "aac"),
    "h264.hi": ("video/mp4", "mp4", "mov,mp4,m4a,3gp,3g2,mj2", "h264", "aac"),
    "webm": ("video/webm", "webm", "matroska,webm", "vp9", "opus"),
    "webm.hi": ("video/webm", "webm", "matroska,webm", "vp9", "opus"),
    "ogg": ("video/ogg", "ogg", "ogg", "theora", "vorbis"),
    "ogg.hi": ("video/ogg", "ogg", "ogg", "theora", "vorbis"),
    "oga": ("audio/ogg", "oga", "ogg", None, "vorbis"),
    "mp3": ("audio/mpeg", "mp3", "mp3", None, "mp3"),
    "m4a": ("audio/mp4", "m4a", "mov,mp4,m4a,3gp,3g2,mj2", None, "aac"),
    "aac": ("audio/aac", "aac", "aac", None, "aac"),
}


def codecs(found: Mapping[str, Any]) -> dict[str, Any]:
    return {stream["codec_type"]: stream for stream in found["streams"]}


@pytest.mark.parametrize("preset", _MADE)
def test_every_preset_makes_what_it_says(preset: str, make: Any, convert: Any, facts: Any) -> None:
    mimetype, extension, container, video, audio = _MADE[preset]
    result = convert(make.clip(seconds=2), preset=preset)
    found = facts(result)
    streams = codecs(found)
    assert (result.mimetype, result.filename) == (mimetype, f"clip.{extension}")
    assert found["format"]["format_name"] == container
    assert streams.get("video", {}).get("codec_name") == video
    assert streams["audio"]["codec_name"] == audio
    assert streams["audio"]["sample_rate"] == ("48000" if audio == "opus" else "44100")
    if video:
        assert (streams["video"]["width"], streams["video"]["height"]) == (320, 240)
        assert streams["video"]["pix_fmt"] == "yuv420p"
    if preset != "aac":
        assert float(found["format"]["duration"]) == pytest.approx(2, abs=0.15)
    assert result.extra["metadata"]["source"]["video_codec"] == "h264"
    assert result.extra["metadata"]["result"]["audio_codec"] == audio
    assert result.extra["frames"] == 1


@pytest.mark.parametrize("preset", ["h264", "m4a"])
def test_mp4_can_be_played_while_it_arrives(preset: str, make: Any, convert: Any) -> None:
    """The index (`moov`) lies before the data (`mdat`)."""
    data = convert(make.clip(seconds=2), preset=preset).data
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_better_preset_is_better(make: Any, convert: Any) -> None:
    """Noise costs bits: constant quality spends more of them where the quality is higher."""
    noise = make(
        "noise.mp4", "-f", "lavfi", "-i", "testsrc=s=320x240:d=1:r=25,noise=alls=40:allf=t", "-crf", "10", "-pix_fmt", "yuv420p"
    )
    assert len(convert(noise, preset="h264.hi").data) > 1.2 * len(convert(noise, preset="h264").data)


def test_the_same_twice_gives_the_same_bytes(make: Any, convert: Any) -> None:
    for preset in ("h264", "webm", "ogg", "mp3", "m4a"):
        options = {"preset": preset, "clip_length": "00:00:01"}
        assert convert(make.clip(), **options).data == convert(make.clip(), **options).data


# ----------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (320, 240)),
        ({"width": 160}, (160, 120)),
        ({"height": 480}, (640, 480)),
        ({"height": 480, "upscale": "false"}, (320, 240)),
        ({"width": 200, "height": 200, "aspect_mode": "preserve"}, (320, 240)),
        ({"width": 200, "height": 200, "aspect_mode": "constrain"}, (200, 150)),
        ({"width": 200, "height": 200, "aspect_mode": "letterbox"}, (200, 200)),
        ({"width": 200, "height": 90, "aspect_mode": "letterbox"}, (120, 90)),
        ({"width": 200, "height": 90, "aspect_mode": "pad"}, (200, 90)),
        ({"width": 200, "height": 90, "aspect_mode": "crop"}, (200, 90)),
        ({"width": 101, "height": 77, "aspect_mode": "pad"}, (100, 76)),
        ({"width": 1, "height": 1, "aspect_mode": "constrain"}, (2, 2)),
    ],
)
def test_the_size_is_as_wanted(options: dict[str, Any], size: tuple[int, int], make: Any, convert: Any, facts: Any) -> None:
    result = convert(make.clip(), preset="h264", clip_length="00:00:00.2", **options)
    video = codecs(facts(result))["video"]
    assert (video["width"], video["height"]) == size
    assert video.get("sample_aspect_ratio", "1:1") == "1:1"


def test_bars_are_black_and_the_middle_is_kept(make: Any, convert: Any, seen: Any) -> None:
    """Red left, green middle, blue right."""
    parts = ";".join(f"color=c={colour}:s=100x100:d=1:r=10[{colour}]" for colour in ("red", "lime", "blue"))
    graph = f"{parts};[red][lime][blue]hstack=3[v]"
    file = make("thirds.mp4", "-filter_complex", graph, "-map", "[v]", "-pix_fmt", "yuv420p")
    padded = seen("video", convert(file, width=300, height=300, aspect_mode="pad"))
    assert [max(padded.getpixel((150, y))) < 30 for y in (20, 150, 280)] == [True, False, True]
    cut = seen("video", convert(file, width=100, height=100, aspect_mode="crop"))
    assert all(cut.getpixel((x, 50))[1] > 200 for x in (10, 50, 90))


def test_shapes_come_out_even_and_inside_one_another() -> None:
    """Whatever is wanted of whatever: nothing is cut from less than there is, or put on less."""
    for source in ((320, 240), (1, 4000), (4001, 3), (1081, 1919), (16_000, 9_000)):
        for wanted in ((None, None), (1, 1), (4096, 4096), (333, None), (None, 77), (4096, 1), (1, 4096)):
            for mode in ("preserve", "constrain", "letterbox", "pad", "crop"):
                for upscale in (True, False):
                    frame = framed(source, wanted, mode, upscale=upscale, most=4096)
                    for one in (frame, frame.lower(240), frame.lower(2)):
                        sides = [*one.scaled, *one.kept, *one.canvas]
                        assert all(side >= 2 and side % 2 == 0 for side in sides)
                        assert all(small <= large for small, large in zip(one.kept, one.scaled, strict=True))
                        assert all(small <= large for small, large in zip(one.kept, one.canvas, strict=True))
                    assert max(*frame.kept, *frame.canvas) <= 4096
                    assert max(frame.scaled) <= 4 * 4096


def test_a_turned_video_is_stored_upright(make: Any, convert: Any, facts: Any) -> None:
    turned = make("turned.mp4", "-i", str(make.path(make.clip())), "-c", "copy", "-metadata:s:v:0", "rotate=90")
    video = codecs(facts(convert(turned, clip_length="1")))["video"]
    assert (video["width"], video["height"]) == (240, 320)
    assert "side_data_list" not in video


# --------------------------------------------------------------------------------------------------------------- options


def test_a_clip_is_cut_out(make: Any, convert: Any, facts: Any, seen: Any) -> None:
    """Two seconds of red, two of blue: what begins at two and a half is blue and one second long."""
    graph = "color=c=red:s=64x64:d=2:r=10[a];color=c=blue:s=64x64:d=2:r=10[b];[a][b]concat[v]"
    file = make("halves.mp4", "-filter_complex", graph, "-map", "[v]", "-pix_fmt", "yuv420p")
    result = convert(file, clip_offset="00:00:02.5", clip_length="00:00:01")
    assert float(facts(result)["format"]["duration"]) == pytest.approx(1, abs=0.11)
    red, _, blue = seen("video", result).getpixel((32, 32))
    assert blue > 200 > 60 > red


def test_a_clip_beyond_the_end_is_refused(make: Any, convert: Any) -> None:
    with pytest.raises(Unsupported):
        convert(make.clip(), clip_offset="01:00:00")


def test_frames_keyframes_and_bit_rates_are_as_wanted(make: Any, convert: Any, facts: Any) -> None:
    noise = make(
        *("busy.mp4", "-f", "lavfi", "-i", "testsrc=s=320x240:d=4:r=25,noise=alls=60:allf=t", "-f", "lavfi"),
        *("-i", "anoisesrc=d=4:c=pink", "-crf", "15", "-pix_fmt", "yuv420p"),
    )
    for preset in ("h264", "webm", "ogg"):
        found = facts(convert(noise, preset=preset, fps=10, video_bitrate=300))
        assert codecs(found)["video"]["avg_frame_rate"] == "10/1"
        assert len(_packets(found)) == pytest.approx(40, abs=1)
        assert 200_000 < int(found["format"]["bit_rate"]) < 700_000, preset
    often = _packets(facts(convert(noise, fps=10, keyframe_interval=5)))
    keys = [number for number, one in enumerate(often) if "K" in one["flags"]]
    assert all(after - before <= 5 for before, after in zip([0, *keys], [*keys, 40], strict=True))


def _packets(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        (packet for packet in found["packets"] if packet["codec_type"] == "video"), key=lambda packet: float(packet["pts_time"])
    )


def test_two_passes_keep_to_the_bit_rate(make: Any, convert: Any, facts: Any) -> None:
    noise = make(
        "noise4.mp4",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=320x240:d=4:r=25,noise=alls=60:allf=t",
        "-crf",
        "15",
        "-pix_fmt",
        "yuv420p",
    )
    for preset in ("h264", "webm", "ogg"):
        found = facts(convert(noise, preset=preset, two_pass="true", video_bitrate=400))
        assert int(found["format"]["bit_rate"]) == pytest.approx(400_000, rel=0.3), preset


@pytest.mark.parametrize(
    ("preset", "options", "said"),
    [
        ("mp3", {"audio_bitrate": 64, "audio_samplerate": 22050, "audio_channels": 1}, ("mp3", "22050", 1)),
        ("mp3", {"audio_bitrate": 999, "audio_channels": 12, "audio_sample_rate": 99999}, ("mp3", "48000", 2)),
        ("m4a", {"audio_channels": 6, "audio_sample_rate": 48000}, ("aac", "48000", 6)),
        ("aac", {"audio_sample_rate": 0, "audio_bitrate": 0}, ("aac", "44100", 1)),
        ("oga", {"audio_codec": "opus", "audio_sample_rate": 30000}, ("opus", "48000", 1)),
        ("oga", {"audio_bitrate": 999, "audio_sample_rate": 1}, ("vorbis", "8000", 1)),
        ("oga", {"audio_bitrate": 1, "audio_channels": 8}, ("vorbis", "44100", 8)),
        ("h264", {"audio_codec": "mp3"}, ("mp3", "44100", 1)),
        ("webm", {"audio_codec": "vorbis"}, ("vorbis", "44100", 1)),
        ("webm", {"audio_channels": 12, "audio_bitrate": 999}, ("opus", "48000", 8)),
    ],
)  # fmt: skip
def test_sound_is_as_wanted_or_the_nearest_there_is(
    preset: str, options: dict[str, Any], said: tuple[str, str, int], make: Any, convert: Any, facts: Any
) -> None:
    audio = codecs(facts(convert(make.clip(), preset=preset, clip_length="1", **options)))["audio"]
    assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == said


def test_a_title_is_a_text_and_nothing_else(make: Any, convert: Any, facts: Any) -> None:
    """However it looks: as words of a command, as lines of a file of metadata, as a place to be filled."""
    for title in ("-i /etc/passwd -f mp4", "a=b;c#d\\e", "{scratch} $(id) `id` %s", "[STREAM] Étude ☃", "-"):
        found = facts(convert(make.clip(), title=title, clip_length="1"))
        assert found["format"]["tags"]["title"] == title
    assert texts("a\nartist=other", {}).data == b";FFMETADATA1\ntitle=a\\\nartist\\=other\n"


def test_nothing_is_said_of_people_unless_the_profile_allows_it(make: Any, convert: Any, facts: Any) -> None:
    words = ("-metadata", "artist=Somebody", "-metadata", "title=Mine", "-metadata", "comment=at home")
    file = make.tone("personal.mp3", *words, "-metadata", "location=+52.5+13.4/")
    assert not {"artist", "title", "comment"} & facts(convert(file, preset="m4a"))["format"].get("tags", {}).keys()
    assert b"52.5" not in convert(file, preset="m4a", metadata="no_location").data
    kept = facts(convert(file, preset="m4a", metadata="copyright"))["format"]["tags"]
    assert (kept["artist"], kept.get("title")) == ("Somebody", None)
    assert facts(convert(file, preset="oga", metadata="all"))["streams"][0]["tags"]["title"] == "Mine"


def test_names_are_as_wanted(make: Any, convert: Any) -> None:
    assert convert(make.clip(), clip_length="1", extname=".M4V").filename == "clip.m4v"
    assert convert(make.clip(), clip_length="1", filename="other.mp4").filename == "other.mp4"
    assert convert(make.clip(), clip_length="1", filename="other").filename == "other.mp4"


def test_video_without_sound_and_sound_without_video(make: Any, convert: Any, facts: Any) -> None:
    silent = make.clip("silent.mp4", tone=False, seconds=1)
    for options in ({"preset": "h264"}, {"preset": "webm"}, {"video_bitrate": 100, "two_pass": "true"}):
        assert [stream["codec_type"] for stream in facts(convert(silent, **options))["streams"]] == ["video"]
    with pytest.raises(Unsupported):
        convert(silent, preset="mp3")
    with pytest.raises(Unsupported):
        convert(make.tone(), preset="h264")


# ------------------------------------------------------------------------------------------------------------- watermark


def _mark(size: tuple[int, int] = (40, 20), colour: tuple[int, ...] = (255, 0, 0, 255)) -> MemoryFile:
    out = BytesIO()
    Image.new("RGBA", size, colour).save(out, "PNG")
    return MemoryFile(out.getvalue(), "image/png", "mark.png")


@pytest.mark.parametrize(
    ("options", "box"),
    [
        ({}, (0, 0, 40, 20)),
        ({"watermark_left": 100, "watermark_top": 50}, (100, 50, 140, 70)),
        ({"watermark_right": 0, "watermark_bottom": 10}, (280, 210, 320, 230)),
        ({"watermark_width": 80}, (0, 0, 80, 40)),
        ({"watermark_height": 100, "watermark_left": 60, "watermark_right": 9}, (60, 0, 260, 100)),
        ({"watermark_width": 30, "watermark_height": 60, "watermark_right": 10}, (280, 0, 310, 60)),
    ],
)
def test_a_watermark_lies_where_it_should(
    options: dict[str, Any], box: tuple[int, int, int, int], make: Any, convert: Any, seen: Any
) -> None:
    plain = make("plain.mp4", "-f", "lavfi", "-i", "color=c=blue:s=320x240:d=1:r=10", "-pix_fmt", "yuv420p")
    image = seen("video", convert(plain, _mark(), watermark_url=HANDLE, **options))
    red = [(x, y) for x in range(0, 320, 2) for y in range(0, 240, 2) if image.getpixel((x, y))[0] > 128]
    left, top = min(x for x, _ in red), min(y for _, y in red)
    right, bottom = max(x for x, _ in red) + 2, max(y for _, y in red) + 2
    assert (left, top, right, bottom) == pytest.approx(box, abs=2)


def test_a_watermark_lets_what_is_below_shine_through(make: Any, convert: Any, seen: Any) -> None:
    """Half red on blue, in two passes, in each kind of video."""
    plain = make("plain.mp4", "-f", "lavfi", "-i", "color=c=blue:s=320x240:d=1:r=10", "-pix_fmt", "yuv420p")
    for preset in ("h264", "webm", "ogg"):
        options = {"preset": preset, "two_pass": "true", "video_bitrate": 500, "watermark_url": HANDLE}
        red, _, blue = seen("video", convert(plain, _mark((320, 240), (255, 0, 0, 128)), **options)).getpixel((160, 120))
        assert (red, blue) == pytest.approx((128, 127), abs=25)


def test_what_is_no_picture_is_no_watermark(make: Any, convert: Any) -> None:
    for mark in (make.clip(), MemoryFile(b"#EXTM3U\nfile:///etc/passwd\n", "image/png", "mark.png")):
        with pytest.raises(SecureDeliveryError):
            convert(make.clip(), mark, watermark_url=HANDLE)


def test_the_watermark_is_a_file_that_the_engine_brings() -> None:
    assert TASK.references(bind(TASK)) == ()
    assert TASK.references(bind(TASK, watermark_url=HANDLE)) == (HANDLE,)


# ------------------------------------------------------------------------------------------------------------- playlists


def test_a_playlist_leads_to_variants_that_play(make: Any, all_files: Any, facts: Any) -> None:
    """Up to the source's own lines; every name in a playlist is a file beside it, every part begins with a key frame."""
    file = make.clip("large.mp4", "-preset", "ultrafast", size="854x480", seconds=8)
    result = all_files(file, preset="hls.variant")
    archive = zipfile.ZipFile(BytesIO(result.data))
    master = archive.read("master.m3u8").decode().splitlines()
    assert master[:2] == ["#EXTM3U", "#EXT-X-VERSION:4"]
    assert [line for line in master if not line.startswith("#")] == ["video-240.m3u8", "video-480.m3u8"]
    assert ["426x240" in master[2] or "428x240" in master[2], "854x480" in master[4]] == [True, True]
    assert all('CODECS="avc1.' in line and "BANDWIDTH=" in line for line in master[2::2])
    for name in ("video-240", "video-480"):
        lines = archive.read(f"{name}.m3u8").decode().splitlines()
        assert {line for line in lines if not line.startswith("#")} == {f"{name}.ts"}
        assert "#EXT-X-ENDLIST" in lines
        assert sum(float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")) == pytest.approx(8, abs=0.2)
        streams = codecs(facts(MemoryFile(archive.read(f"{name}.ts"), "video/mp2t", "a.ts")))
        assert (streams["video"]["codec_name"], streams["video"]["height"]) == ("h264", int(name[-3:]))
        assert streams["audio"]["codec_name"] == "aac"
    assert sorted(archive.namelist()) == sorted(
        ["master.m3u8", *(f"video-{n}.{e}" for n in (240, 480) for e in ("m3u8", "ts"))]
    )
    assert result.extra["metadata"]["result"]["height"] == 480


def test_a_playlist_of_sound_has_two_rates(make: Any, all_files: Any, facts: Any) -> None:
    archive = zipfile.ZipFile(BytesIO(all_files(make.clip(), preset="hls.variant.audio").data))
    assert [line for line in archive.read("master.m3u8").decode().splitlines() if not line.startswith("#")] == [
        "audio-low.m3u8",
        "audio-high.m3u8",
    ]
    for name in ("audio-low", "audio-high"):
        streams = facts(MemoryFile(archive.read(f"{name}.ts"), "video/mp2t", "a.ts"))["streams"]
        assert [stream["codec_name"] for stream in streams] == ["aac"]


def test_the_master_of_a_playlist_is_the_result(make: Any, convert: Any) -> None:
    result = convert(make.clip(seconds=1), preset="hls.variant")
    assert (result.mimetype, result.filename) == ("application/vnd.apple.mpegurl", "clip.m3u8")
    assert result.data.startswith(b"#EXTM3U\n")


def test_rungs_are_not_above_the_source() -> None:
    assert [rungs(height) for height in (100, 240, 500, 719, 1080, 4000)] == [
        (240,), (240,), (240, 480), (240, 480), (480, 720, 1080), (480, 720, 1080),
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- binding


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("preset", "gif"), ("width", "0"), ("height", "4097"), ("video_bitrate", "5001"), ("fps", "301"),
        ("audio_bitrate", "1000"), ("audio_sample_rate", "100000"), ("audio_channels", "13"), ("clip_length", "00:00:00"),
        ("clip_length", "1:99:00"),
        ("clip_offset", "-1"), ("clip_offset", "٣"), ("aspect_mode", "stretch"),
        ("watermark_top", "10000"), ("watermark_url", " "), ("extname", "../x"), ("audio_codec", "vorbis"),
        ("frame_count", "0"),
        ("keyframe_interval", "0"), ("title", "a\nb"), ("access", "both"),
    ],
)  # fmt: skip
def test_what_is_not_documented_is_refused_before_anything_is_fetched(option: str, value: str) -> None:
    with pytest.raises(ValueError):
        bind(TASK, **{option: value})


def test_both_spellings_are_one_option() -> None:
    assert bind(TASK, audio_samplerate="8000") == bind(TASK, audio_sample_rate="8000")
    assert bind(TASK, p="webm.hi") == bind(TASK, preset="webm.hi")
    assert bind(TASK, clip_offset="00:01:30")["clip_offset"] == bind(TASK, clip_offset="90")["clip_offset"] == 90_000
    tasks = register_transformations({})
    assert tasks.keys() == {"video_convert", "video_playlist"}
    with pytest.raises(ValueError):
        bind(TASK, preset="mp3", watermark_url=HANDLE)


class TestVideoConvert(TransformationContract):
    """What every transformation holds, with the work done in the worker."""

    transformation = TASK

    @pytest.fixture(autouse=True)
    def _ready(self, make: Any, convert: Any) -> None:
        self._file, self._convert = make.tone("contract.mp3", seconds=1), convert

    def sample_media(self) -> Media:
        return replace(self._file)

    def sample_options(self) -> Mapping[str, Any]:
        return {"preset": "mp3"}

    def _apply(self, media: Media, options: Mapping[str, Any] | None = None) -> Media:
        result: Media = self._convert(MemoryFile(content(media), media.mimetype, media.filename), preset="mp3")
        return result


def test_a_file_cut_in_two_is_converted_as_far_as_it_goes(make: Any, convert: Any, facts: Any) -> None:
    whole = make.clip("whole.mkv", seconds=4)
    half = MemoryFile(whole.data[: len(whole.data) // 2], whole.mimetype, "half.mkv")
    assert 1 < float(facts(convert(half))["format"]["duration"]) < 3.5
    with pytest.raises(Corrupt):
        convert(MemoryFile(make.clip().data[:5000], "video/mp4", "half.mp4"))
