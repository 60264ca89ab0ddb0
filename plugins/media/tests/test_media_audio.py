"""Sound: covers, waveforms, and the section `multimedia`."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import Corrupt, Unsupported
from secure_delivery.plugin.testing import MemoryFile
from secure_delivery.plugin.testing_previews import extracted
from secure_delivery_media.section import SCHEMA, MultimediaExtractor
from secure_delivery_media.tagged import TOLD
from secure_delivery_media.waveform import drawn, levels, sized

_COVERED = ("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic")
_TAGS = ("-metadata", "title=Étude; no. 3 = 'x'", "-metadata", "artist=Somebody", "-metadata", "album=All of it")


@pytest.mark.parametrize("extension", ["mp3", "m4a", "flac"])
def test_the_cover_is_what_a_sound_file_looks_like(extension: str, make: Any, seen: Any) -> None:
    file = make.tone(f"covered.{extension}", "-i", str(make.cover()), *_COVERED)
    image = seen("audio", file)
    assert (image.size, image.getpixel((100, 100))) == ((200, 200), (220, 30, 30))


@pytest.mark.parametrize("extension", ["mp3", "wav", "ogg", "wma"])
def test_without_a_cover_it_is_for_others(extension: str, make: Any, seen: Any) -> None:
    with pytest.raises(Unsupported):
        seen("audio", make.tone(f"bare.{extension}"))


def test_a_broken_cover_is_found_out_while_there_is_something_else_to_try(make: Any, seen: Any) -> None:
    file = make.tone("broken.mp3", "-i", str(make.cover()), *_COVERED)
    start = file.data.index(b"IDAT")
    with pytest.raises((Corrupt, Unsupported)):
        seen("audio", MemoryFile(file.data[:start] + bytes(60) + file.data[start + 60 :], file.mimetype, file.filename))
    assert seen("waveform", file).size == (1200, 400)


_SOUNDS: dict[str, tuple[str, ...]] = {
    "mp3": (), "wav": (), "flac": (), "ogg": (), "opus": (), "m4a": (), "aac": (), "aiff": (), "wma": (), "ac3": (), "au": (),
    "caf": (), "mka": (), "w64": (), "oga": ("-c:a", "libvorbis"), "ra": ("-f", "rm", "-c:a", "ac3"),
}  # fmt: skip


@pytest.mark.parametrize("extension", _SOUNDS)
def test_every_kind_of_sound_has_a_waveform(extension: str, make: Any, seen: Any, section: Any) -> None:
    """A tone that stops in the middle: bars on the left, next to none on the right."""
    words = ("-af", "volume=enable='gte(t,1.5)':volume=0", *_SOUNDS[extension])
    file = make.tone(f"half-tone.{extension}", *words)
    image = seen("waveform", file, size=(400, 0))
    assert image.size == (400, 133)
    assert _ink(image.crop((0, 0, 180, 133))) > 5 * _ink(image.crop((220, 0, 400, 133)))
    found = section(file)
    assert found["streams"][0]["type"] == "audio"
    # ADTS says nowhere how long it is: ffprobe takes the bit rate of its beginning for that of all.
    assert found["duration"] == pytest.approx(3, abs=2 if extension == "aac" else 0.3)


def _ink(image: Image.Image) -> int:
    return sum(count for count, colour in image.getcolors(1 << 20) or () if colour != (246, 248, 252))  # type: ignore[misc]


def test_silence_is_a_row_of_dots() -> None:
    image = drawn(bytes(20_000), (300, 0))
    assert 0 < _ink(image) < 300 * 100 * 0.1
    assert _ink(image.crop((0, 0, 300, 40))) == 0


def test_levels_are_those_of_the_stretches() -> None:
    """Four stretches: silence, a quarter, a half, all; the mean of a sine is its peak by the root of two."""
    loud = [0, 8_000, 16_000, 32_000]
    samples = [round(level * math.sin(number / 5)) for level in loud for number in range(2_000)]
    found = levels(struct.pack(f"<{len(samples)}h", *samples), 4)
    assert [peak for peak, _ in found] == pytest.approx([0, 0.25**0.75, 0.5**0.75, 1], abs=0.01)
    assert found[3][1] == pytest.approx((0.5**0.5) ** 0.75, abs=0.01)


def test_a_waveform_fits_what_is_wanted() -> None:
    assert [sized(size) for size in (None, (300, 300), (0, 100), (600, 50), (9_999, 0))] == [
        (1200, 400), (300, 100), (300, 100), (600, 50), (2400, 2400),
    ]  # fmt: skip


def test_fewer_samples_than_bars_are_drawn() -> None:
    assert drawn(struct.pack("<3h", 9, 20_000, -30_000), (600, 200)).size == (600, 200)


# -------------------------------------------------------------------------------------------------------------- section


def test_a_video_is_described(make: Any, section: Any) -> None:
    file = make.clip("told.mp4", "-metadata:s:a:0", "language=deu", *_TAGS, size="320x180")
    found = section(file)
    assert found == {
        "container": "mp4",
        "duration": pytest.approx(4, abs=0.1),
        "bit_rate": found["bit_rate"],
        "width": 320,
        "height": 180,
        "fps": 25.0,
        "video_codec": "h264",
        "audio_codec": "aac",
        "streams": found["streams"],
        "tags": {},
    }
    video, audio = found["streams"]
    assert (video["type"], video["width"], video["height"], video["fps"]) == ("video", 320, 180, 25.0)
    assert (audio["type"], audio["language"], audio["channels"], audio["sample_rate"]) == ("audio", "deu", 1, 44100)
    assert 10_000 < found["bit_rate"] < 1_000_000


def test_every_section_keeps_to_the_schema(make: Any, section: Any) -> None:
    """Only the keywords that the schema uses are read here: types, required and additional properties."""
    files = [make.clip(), make.tone(), make.tone("bare.wma"), make.clip("kind.avi", "-c:v", "mpeg4", seconds=2)]
    for file in files:
        _valid(section(file, metadata="all"), json.loads(json.dumps(dict(SCHEMA))))


def _valid(value: Any, schema: dict[str, Any]) -> None:
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if "enum" in schema:
        assert value in schema["enum"]
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]])
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= value.keys()
        for name, one in value.items():
            more = schema.get("additionalProperties", True)
            assert name in schema.get("properties", {}) or more is not False, name
            _valid(one, schema.get("properties", {}).get(name, more if isinstance(more, dict) else {}))
    if isinstance(value, list):
        for one in value:
            _valid(one, schema["items"])


@pytest.mark.parametrize("extension", ["mp3", "ogg", "m4a", "mkv"])
def test_tags_are_told_as_far_as_the_profile_allows(extension: str, make: Any, section: Any) -> None:
    place = ("-metadata", "location=+52.5+13.4/", "-metadata", "copyright=Somebody 2020", "-metadata", "secret_thing=x")
    file = make.tone(f"tagged.{extension}", *_TAGS, *place)
    assert section(file)["tags"] == {}
    assert section(file, metadata="copyright")["tags"] == {"artist": "Somebody", "copyright": "Somebody 2020"}
    most = section(file, metadata="no_location")["tags"]
    assert (most["title"], most["album"]) == ("Étude; no. 3 = 'x'", "All of it")
    assert "location" not in most
    everything = section(file, metadata="all")["tags"]
    assert everything.keys() - most.keys() <= {"location"}
    assert "secret_thing" not in everything
    assert everything.keys() <= TOLD["all"]


def test_without_ffprobe_sound_is_still_described(make: Any) -> None:
    """In a workshop without programs, by tinytag."""
    file = make.tone("tagged.mp3", *_TAGS)
    found = extracted(MultimediaExtractor(), file)
    assert found == {
        "duration": pytest.approx(3, abs=0.1),
        "bit_rate": pytest.approx(64_000, rel=0.2),
        "streams": [{"type": "audio", "channels": 1, "sample_rate": 44100}],
        "tags": {},
    }
    with pytest.raises(Unsupported):
        extracted(MultimediaExtractor(), make.clip("kind.avi", "-c:v", "mpeg4", seconds=2))
