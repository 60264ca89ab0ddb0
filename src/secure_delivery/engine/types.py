"""What a file is, by its first bytes, and how it may be shown.

Knows: a closed list of signatures and types. Must not know: how any of them is decoded.

The content decides, never the name or what the client declared (security promise 44). A type that a browser could run as a
page of ours is only ever handed out as an attachment (promise 53).
"""

from __future__ import annotations

import re

HEAD = 4096  # bytes looked at

UNKNOWN = "application/octet-stream"
PLAIN = "text/plain"

#: Offset, bytes, type. First match wins.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
)

#: Two letters are no signature: a bitmap also gives the length of its header, one of a few.
_BMP_HEADERS = frozenset(length.to_bytes(4, "little") for length in (12, 40, 52, 56, 64, 108, 124))
_BOXED = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"mif1": "image/heif",
}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}

#: Office formats are ZIP files: the member named first tells which, as their specifications ask for.
_ZIPPED = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.presentation"),
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
)

#: Types that only differ in what the text says; the extension chooses among them, and none is ever shown inline but plain.
_TEXTUAL = {
    "css": "text/css",
    "csv": "text/csv",
    "js": "text/javascript",
    "json": "application/json",
    "md": "text/markdown",
    "txt": PLAIN,
}

_MARKUP = re.compile(rb"<(?:!doctype\s+(html|svg)|(html|head|body|script|svg|\?xml))\b", re.IGNORECASE)
_SPACE = b"\t\n\f\r "
_BOM = b"\xef\xbb\xbf"

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/tiff": "tiff",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "application/json": "json",
    "application/zip": "zip",
    PLAIN: "txt",
}

#: What a browser may show in place. Everything else is an attachment.
INLINE = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "image/tiff",
        "application/pdf",
        "application/json",
        "audio/mpeg",
        "audio/flac",
        "audio/ogg",
        "audio/wav",
        "video/mp4",
        "video/webm",
        PLAIN,
    }
)


def sniff(head: bytes, filename: str = "") -> str:
    """The media type of a file from its first bytes (at most `HEAD` of them count).

    The name is only asked where content cannot tell: among plain texts. Never raises.
    """
    head = head[:HEAD]
    for offset, magic, mimetype in _SIGNATURES:
        if head.startswith(magic, offset):
            return _zipped(head) if mimetype == "application/zip" else mimetype
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "image/bmp"
    if head[4:8] == b"ftyp":
        return _BOXED.get(head[8:12], "video/mp4")
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    return _textual(head, filename)


def _zipped(head: bytes) -> str:
    for marker, mimetype in _ZIPPED:
        if marker in head:
            return mimetype
    return "application/zip"


def _markup(head: bytes) -> str | None:
    """The type of a text that begins with a tag browsers know; comments before it are skipped, each looked at once."""
    at, start = 0, head.removeprefix(_BOM)
    while True:
        at += len(start[at:]) - len(start[at:].lstrip(_SPACE))
        if not start.startswith(b"<!--", at):
            break
        end = start.find(b"-->", at + 4)
        if end < 0:
            return "text/html"  # a page of nothing but a comment, as far as one can see
        at = end + 3
    found = _MARKUP.match(start, at)
    if found is None:
        return None
    name = (found[1] or found[2]).lower()
    if name == b"?xml":
        return "image/svg+xml" if b"<svg" in start.lower() else "application/xml"
    return "image/svg+xml" if name == b"svg" else "text/html"


def _textual(head: bytes, filename: str) -> str:
    markup = _markup(head)
    if markup is not None:
        return markup
    if not head or b"\0" in head:
        return UNKNOWN
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character cut in two at the end of the head is no reason
            return UNKNOWN
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    return _TEXTUAL.get(extension, PLAIN)
