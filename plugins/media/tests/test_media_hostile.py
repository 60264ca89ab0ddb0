"""Files that would have ffmpeg read others, and files that are damaged."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.plugin import Corrupt, ProcessingLimit, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind
from secure_delivery_media import register_transformations
from secure_delivery_media.kinds import DEMUXERS, check
from secure_delivery_media.programs import PROGRAMS

SECRET = "a secret beside the server"
_WAYS = ("video", "waveform", "multimedia", "convert")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET * 20)
    return path


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """A server on loopback; what it was asked for. Its port is the first of these."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    paths.append(str(server.server_address[1]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield paths
    server.shutdown()
    server.server_close()
    thread.join()


def _through(way: str, file: MemoryFile, seen: Any, section: Any, convert: Any) -> bytes:
    if way == "multimedia":
        return repr(section(file)).encode()
    if way == "convert":
        result: MemoryFile = convert(file, preset="h264")
        return result.data
    return bytes(seen(way, file).tobytes())


def _playlists(secret: Path, port: str) -> dict[str, bytes]:
    address = f"http://127.0.0.1:{port}"
    return {
        "a playlist of a file": f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "a playlist of an address": f"#EXTM3U\n#EXTINF:10.0,\n{address}/segment.ts\n#EXT-X-ENDLIST\n".encode(),
        "a playlist that joins both": (
            f"#EXTM3U\n#EXTINF:1,\nconcat:{address}/head.txt|file://{secret}\n#EXT-X-ENDLIST\n"
        ).encode(),
        "a list of parts": f"ffconcat version 1.0\nfile 'file://{secret}'\nfile '{address}/a.mp4'\n".encode(),
        "a session": (
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
        ),
        "a manifest": (
            f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
            f'<Representation id="1" bandwidth="1"><BaseURL>{address}/a.mp4</BaseURL></Representation></AdaptationSet>'
            "</Period></MPD>"
        ).encode(),
        "a playlist of a player": f"[playlist]\nFile1={address}/a.mp3\n".encode(),
        "a redirection of RealAudio": f"rtsp://127.0.0.1/a.ra\n{address}/a.ra\n".encode(),
    }


@pytest.mark.parametrize("way", _WAYS)
def test_what_names_other_files_is_refused_before_ffmpeg_sees_it(
    way: str, secret: Path, asked: list[str], seen: Any, section: Any, convert: Any
) -> None:
    """Whatever it is called: it does not begin as a container does."""
    for what, data in _playlists(secret, asked[0]).items():
        for name, mimetype in (("holiday.mp4", "video/mp4"), ("song.mp3", "audio/mpeg")):
            with pytest.raises(Unsupported):
                _through(way, MemoryFile(data, mimetype, name), seen, section, convert)
            with pytest.raises(Unsupported):
                check(MemoryFile(data, mimetype, name))
        assert asked[1:] == [], what


def _avi(text: bytes) -> bytes:
    """An AVI file of one second, with a stream of subtitles in it whose first packet is a file of its own."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def stream(kind: bytes, codec: bytes, form: bytes, length: int) -> bytes:
        head = struct.pack("<4s4sIHHIIIIIIIIHHHH", kind, codec, 0, 0, 0, 0, 1, 10, 0, length, 0, 0, 0, 0, 0, 16, 16)
        return chunk(b"LIST", b"strl" + chunk(b"strh", head) + chunk(b"strf", form))

    picture = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 24, 0, 768, 0, 0, 0, 0)
    main = struct.pack("<14I", 100_000, 0, 0, 0x10, 10, 0, 2, 0, 16, 16, 0, 0, 0, 0)
    title = "x\0".encode("utf-16-le")
    gab2 = b"GAB2\0" + struct.pack("<HI", 2, len(title)) + title + struct.pack("<HI", 4, len(text)) + text
    streams = stream(b"vids", b"DIB ", picture, 10) + stream(b"txts", b"\0\0\0\0", b"", 1)
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
    frames = b"".join(chunk(b"00db", bytes([20 * number, 200, 255 - 20 * number] * 256)) for number in range(10))
    movie = chunk(b"LIST", b"movi" + chunk(b"01tx", gab2) + frames)
    return chunk(b"RIFF", b"AVI " + header + movie)


@pytest.mark.parametrize("way", ["video", "multimedia", "convert"])
def test_a_playlist_inside_an_avi_file_is_not_followed(
    way: str, secret: Path, asked: list[str], seen: Any, section: Any, convert: Any
) -> None:
    """The container is one, so it is read; what lies in its subtitles would open other files (CVE-2016-6671 and its kin)."""
    for what, data in _playlists(secret, asked[0]).items():
        file = MemoryFile(_avi(data), "video/x-msvideo", "party.avi")
        try:
            assert SECRET.encode() not in _through(way, file, seen, section, convert), what
        except (Corrupt, Unsupported):
            pass  # as good an answer
        assert asked[1:] == [], what


def test_the_same_avi_file_without_a_playlist_is_read(section: Any) -> None:
    """So what is said above is said of files that ffmpeg reads."""
    found = section(MemoryFile(_avi(b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"), "video/x-msvideo", "party.avi"))
    assert (found["container"], found["width"]) == ("avi", 16)


def test_a_playlist_behind_the_beginning_of_a_container_is_not_followed(
    secret: Path, asked: list[str], seen: Any, section: Any, convert: Any
) -> None:
    """What passes for a container by its first bytes is still read by none but the listed demuxers."""
    starts = (b"\0\0\0\x18ftypmp42\0\0\0\0", b"ID3\x04\0\0\0\0\0\0", b"\0" * 8, b"\xff\xfb\x90\x64", b"FLV\x01\x05\0\0\0\x09")
    for what in ("a playlist of a file", "a playlist that joins both", "a list of parts"):
        data = _playlists(secret, asked[0])[what]
        for start in starts:
            with pytest.raises(SecureDeliveryError):
                _through("convert", MemoryFile(start + data, "video/mp4", "holiday.mp4"), seen, section, convert)
    assert asked[1:] == []


def test_no_listed_demuxer_opens_other_files() -> None:
    """Those that do, by ffmpeg's own names."""
    followers = {
        "hls",
        "concat",
        "sdp",
        "dash",
        "rtsp",
        "imf",
        "image2",
        "lavfi",
        "tee",
        "webm_dash_manifest",
        "vobsub",
        "bluray",
    }
    assert not followers & set(DEMUXERS.split(","))
    for program in PROGRAMS.values():
        words = " ".join(program.arguments)
        assert f"-format_whitelist {DEMUXERS}" in words
        assert words.count("-i file:") <= words.count("-protocol_whitelist file")


def test_every_word_of_every_program_is_listed_beforehand() -> None:
    """What fills a place is one of a list of words without blanks, or a number."""
    for name, program in PROGRAMS.items():
        for place, allowed in program.choices.items():
            assert isinstance(allowed, range) or all(word and not set(word) & set(" '\"|&$`\n/") for word in allowed), (
                name,
                place,
            )
        assert not program.network


def test_a_file_that_promises_more_pixels_than_allowed_is_refused(make: Any, seen: Any, convert: Any) -> None:
    """From the head of the file, when the job may use fewer."""
    for look in (seen, convert):
        with pytest.raises(TooLarge):
            look(*(("video",) if look is seen else ()), make.clip(), max_pixels=1_000)


@pytest.mark.parametrize("name", ["damaged.mp4", "damaged.webm", "damaged.avi", "damaged.mp3", "damaged.ogg"])
def test_damage_ends_in_a_picture_or_a_fault(name: str, make: Any, seen: Any, section: Any) -> None:
    """Bytes turned over, parts missing, rubbish behind a good beginning."""
    words = {"damaged.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"), "damaged.avi": ("-c:v", "mpeg4")}
    sound = name.endswith(("mp3", "ogg"))
    file = make.tone(name, seconds=1) if sound else make.clip(name, *words.get(name, ()), seconds=1)
    dice = random.Random(7)
    cases = [file.data[: len(file.data) * part // 5] for part in (0, 2, 4)] + [file.data[:64] + dice.randbytes(4096)]
    for _ in range(2):
        damaged = bytearray(file.data)
        for place in dice.sample(range(len(damaged)), 40):
            damaged[place] = dice.randrange(256)
        cases.append(bytes(damaged))
    for data in cases:
        for look in (lambda one: seen("waveform" if sound else "video", one), lambda one: seen("audio", one), section):
            try:
                look(MemoryFile(data, file.mimetype, file.filename))
            except (Corrupt, Unsupported, TooLarge, ProcessingLimit):
                pass


def test_without_programs_it_says_what_is_missing() -> None:
    """A workshop without programs answers as a machine without ffmpeg does."""
    task = register_transformations({})["video_convert"]
    with pytest.raises(Unsupported):
        task.apply(MemoryFile(b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo", "a.avi"), bind(task), SimpleWorkshop())
