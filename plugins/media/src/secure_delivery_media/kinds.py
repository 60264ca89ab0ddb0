"""Which files are video and sound, and how they are told from what only calls itself so.

Knows: types, extensions, first bytes, ffmpeg's names of demuxers. Must not know: how a program is run, what is made of a file.

A playlist, a list of parts or a session description is a text that names other files and addresses, and ffmpeg follows them
whatever the file is called. So a file must begin as a container begins, and the program is told which demuxers it may use
(`DEMUXERS`), those of files that hold what they play. Inside the confinement there would be nothing to reach, either.
"""

from __future__ import annotations

from typing import Final

from secure_delivery.plugin import Media, Unsupported

VIDEO_TYPES: Final = (
    *("video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp", "video/3gpp2", "video/webm", "video/x-matroska"),
    *("video/x-msvideo", "video/mpeg", "video/mp2t", "video/x-ms-asf", "video/x-ms-wmv", "video/x-flv", "video/ogg"),
    *("application/mxf", "application/vnd.rn-realmedia", "video/*"),
)
VIDEO_EXTENSIONS: Final = (
    *(
        "mp4",
        "m4v",
        "mov",
        "qt",
        "3gp",
        "3g2",
        "webm",
        "mkv",
        "mk3d",
        "avi",
        "divx",
        "xvid",
        "mpg",
        "mpeg",
        "mpe",
        "vob",
        "m2v",
    ),
    *("mpeg4", "ts", "mts", "m2ts", "asf", "wmv", "flv", "f4v", "ogv", "ogm", "rm", "rmvb", "mxf", "ivf"),
)
#: Sound comes in containers of video, too: only a look inside tells.
AUDIO_TYPES: Final = (
    *("audio/*", "application/ogg", "application/vnd.rn-realmedia"),
    *("video/mp4", "video/quicktime", "video/3gpp", "video/webm", "video/x-matroska", "video/ogg", "video/x-ms-asf"),
)
AUDIO_EXTENSIONS: Final = (
    *(
        "mp3",
        "mp2",
        "wav",
        "wave",
        "pcm",
        "w64",
        "flac",
        "ogg",
        "oga",
        "opus",
        "spx",
        "m4a",
        "m4b",
        "m4r",
        "aac",
        "adts",
        "aif",
    ),
    *("aiff", "aifc", "wma", "ra", "rm", "mka", "weba", "amr", "au", "snd", "caf", "ape", "wv", "tta", "ac3", "dts", "mpc"),
)

#: What ffmpeg may read, by its own names: containers that hold all of themselves. No `hls`, `concat`, `sdp`, `dash`, `image2`,
#: `lavfi`, no subtitles (an AVI file can hold a file of these, which is opened by a demuxer of its own).
DEMUXERS: Final = ",".join(
    (
        *("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "m4v", "asf", "flv", "ogg", "rm", "mxf", "ivf", "dv"),
        *(
            "mp3",
            "wav",
            "w64",
            "aiff",
            "flac",
            "aac",
            "amr",
            "au",
            "caf",
            "ape",
            "wv",
            "tta",
            "ac3",
            "eac3",
            "dts",
            "mpc",
            "mpc8",
        ),
    )
)

#: Beginnings of containers: bytes by offset.
_BEGINNINGS: Final = (
    *((0, start) for start in (b"\x1aE\xdf\xa3", b"OggS", b"fLaC", b"ID3", b"FLV\x01", b".RMF", b".ra\xfd", b"#!AMR", b".snd")),
    *((0, start) for start in (b"caff", b"MAC ", b"wvpk", b"TTA1", b"MPCK", b"MP+", b"\x0b\x77", b"DKIF", b"\x00\x00\x01\xba")),
    *(
        (0, start)
        for start in (b"\x00\x00\x01\xb3", b"\x00\x00\x01\xb0", b"\x7f\xfe\x80\x01", b"\x06\x0e\x2b\x34", b"riff\x2e\x91")
    ),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    *((4, name) for name in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
    *((8, name) for name in (b"AVI ", b"AVIX", b"WAVE", b"AIFF", b"AIFC")),
)
_HEAD = 4096
_TS_STEPS = (188, 192, 204)  # bytes of a packet of a transport stream: plain, with a time, with a checksum


def is_container(head: bytes) -> bool:
    """Whether a file begins as one of the containers that we have read. `head` is its first few hundred bytes."""
    if any(head.startswith(start, offset) for offset, start in _BEGINNINGS):
        return True
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return True  # a frame of MPEG sound, or ADTS
    return any(
        len(head) > first + 2 * step and head[first] == head[first + step] == head[first + 2 * step] == 0x47
        for step in _TS_STEPS
        for first in (0, 4)
    )


def check(media: Media) -> None:
    """Raise `Unsupported` for a file that does not begin as a container does: a playlist, a text, anything else."""
    with media.open() as stream:
        head = stream.read(_HEAD)
        start = head.lstrip(b"\0")  # padding before MPEG sound
        if not is_container(head) and not (len(start) < len(head) and is_container(start)):
            raise Unsupported("no container of video or sound", public="This is no video and no sound file.")


def renamed(filename: str, extension: str) -> str:
    """The name with another extension."""
    stem, dot, old = filename.rpartition(".")
    if not dot or not stem.strip("."):
        return f"{filename.strip('.') or 'media'}.{extension}"
    return f"{stem if 0 < len(old) <= 5 and old.isalnum() else filename}.{extension}"
