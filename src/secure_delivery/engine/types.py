"""What a file is, by its first bytes, and how it may be shown.

Knows: a closed list of signatures and types. Must not know: how any of them is decoded.

The content decides, never the name or what the client declared (security promise 44). The name is asked only where content
cannot tell: among plain texts and among compound files. What browsers take for a page, whatever its name, is told as one
(WHATWG MIME Sniffing, and beyond it), and a type that a browser could run is only ever handed out as an attachment
(promise 53).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .markup import markup

HEAD = 4096  # bytes looked at

UNKNOWN = "application/octet-stream"
PLAIN = "text/plain"
_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

#: Offset, bytes, type. First match wins.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),  # raw pictures of cameras too: they are TIFF files
    (0, b"MM\x00*", "image/tiff"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\xff\x4f\xff\x51", "image/jp2"),
    (0, b"IIRO", "image/x-olympus-orf"),
    (0, b"IIU\x00", "image/x-panasonic-rw2"),
    (0, b"FUJIFILMCCD-RAW", "image/x-fuji-raf"),
    (0, b"AT&TFORM", "image/vnd.djvu"),
    (36, b"acsp", "application/vnd.iccprofile"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\x04%!PS", "application/postscript"),
    (0, b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"BZh11AY&SY", "application/x-bzip2"),
    *((0, b"BZh%d1AY&SY" % level, "application/x-bzip2") for level in range(2, 10)),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"MSCF\x00\x00\x00\x00", "application/vnd.ms-cab-compressed"),
    (0, b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    (0, b"\xed\xab\xee\xdb", "application/x-rpm"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO\x00", "font/otf"),
    (0, b"true\x00", "font/ttf"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
    (0, b"ttcf\x00", "font/collection"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\x4c\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (0, b"ITSF\x03\x00\x00\x00", "application/vnd.ms-htmlhelp"),
    (0, b"WARC/1.", "application/warc"),
    (0, b"#EXTM3U\n", "application/vnd.apple.mpegurl"),  # RFC 8216 section 4.3.1.1
    (0, b"#EXTM3U\r\n", "application/vnd.apple.mpegurl"),
    (0, b"bplist00", "application/x-plist"),
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
    b"msf1": "image/heif",
    b"crx ": "image/x-canon-cr3",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_BOXED_FAMILIES = {b"3gp": "video/3gpp", b"3gr": "video/3gpp", b"3gs": "video/3gpp", b"3g2": "video/3gpp2"}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}

#: ZIP files are told by their members, as far as the head shows them: what a name begins with, and the type. First match wins.
_MEMBERS = (
    (b"word/", _OOXML + "wordprocessingml.document"),
    (b"xl/", _OOXML + "spreadsheetml.sheet"),
    (b"ppt/", _OOXML + "presentationml.presentation"),
    (b"AndroidManifest.xml", "application/vnd.android.package-archive"),
    (b"META-INF/MANIFEST.MF", "application/java-archive"),
)
#: What the member `mimetype`, first and stored, may begin with: templates are of the type of what is made from them.
_SAID = (
    "application/epub+zip",
    "application/x-krita",
    "image/openraster",
    *(_ODF + kind for kind in ("text", "spreadsheet", "presentation", "graphics", "formula")),
)
#: ZIP files whose members say nothing that others do not say, too: then the extension chooses, among these only.
_PACKED = {
    "3mf": "model/3mf",
    "cbz": "application/vnd.comicbook+zip",
    "sketch": "application/x-sketch",
}

#: Compound files: the name of a stream that tells, as the directory spells it.
_STREAMS = tuple(
    (name.encode("utf-16-le"), mimetype)
    for name, mimetype in (
        ("WordDocument", "application/msword"),
        ("PowerPoint Document", "application/vnd.ms-powerpoint"),
        ("Workbook", "application/vnd.ms-excel"),
        ("__properties_version1.0", "application/vnd.ms-outlook"),
    )
)
#: Most have their directory behind the head; then the extension chooses, among these only.
_COMPOUND = {
    "doc": "application/msword",
    "dot": "application/msword",
    "xls": "application/vnd.ms-excel",
    "xlt": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "pps": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
    "msi": "application/x-msi",
}

#: Types that only differ in what the text says; the extension chooses among them, and none is ever shown inline but plain.
_TEXTUAL = {
    "cjs": "text/javascript",
    "css": "text/css",
    "csv": "text/csv",
    "eml": "message/rfc822",
    "ics": "text/calendar",
    "js": "text/javascript",
    "json": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "tsv": "text/tab-separated-values",
    "txt": PLAIN,
    "vcf": "text/vcard",
    "vtt": "text/vtt",
}
#: Texts that say in their first words what they are.
_SAYING = (
    (re.compile(rb"BEGIN:VCALENDAR\s", re.IGNORECASE), "text/calendar"),
    (re.compile(rb"BEGIN:VCARD\s", re.IGNORECASE), "text/vcard"),
    (re.compile(rb"WEBVTT(?:\s|$)"), "text/vtt"),
)
#: A web page saved as mail: it begins with a header, and holds several parts.
_MAIL = re.compile(rb"[A-Za-z][A-Za-z-]{0,40}:[ \t]")
#: A message: its first lines are headers, among them who wrote it and what only messages have.
_FROM = re.compile(rb"^from:", re.IGNORECASE | re.MULTILINE)
_SENT = re.compile(rb"^(?:message-id|mime-version|received):", re.IGNORECASE | re.MULTILINE)
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_ARCHIVED = re.compile(rb"^content-type:\s*multipart/related\b", re.IGNORECASE | re.MULTILINE)
_PDF = re.compile(rb"%PDF-[0-9]\.[0-9]")
_PDF_OBJECT = re.compile(rb"%PDF-[0-9]\.[0-9]\s[^\0]*\b[0-9]{1,9} [0-9]{1,5} obj\b")
_PDF_WITHIN = 1024  # bytes of junk that readers of PDF step over

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
        "image/jxl",
        "image/x-icon",
        "application/pdf",
        "application/json",
        "audio/aac",
        "audio/mp4",
        "audio/mpeg",
        "audio/flac",
        "audio/ogg",
        "audio/wav",
        "video/3gpp",
        "video/mp4",
        "video/ogg",
        "video/quicktime",
        "video/webm",
        "video/x-matroska",
        PLAIN,
    }
)

#: Types that run in, or style, whichever page names them, and what their files are handed out as. An attachment runs all the
#: same when it is named as a script; with `nosniff` it does not under a type that is no script's.
HARMLESS = {
    "text/javascript": PLAIN,
    "text/css": PLAIN,
    "application/wasm": UNKNOWN,
}


def sniff(head: bytes, filename: str = "") -> str:
    """The media type of a file from its first bytes (at most `HEAD` of them count). Never raises."""
    head = head[:HEAD]
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    for offset, magic, mimetype in _SIGNATURES:
        if head.startswith(magic, offset):
            return _narrowed(head, mimetype, extension)
    return _boxed(head) or _measured(head) or _packets(head) or _textual(head, extension)


def _narrowed(head: bytes, mimetype: str, extension: str) -> str:
    """The type of one of a family that shares its first bytes."""
    if mimetype == "application/zip":
        told = _zipped(head)
        return _PACKED.get(extension, told) if told == mimetype else told
    if mimetype == "application/x-ole-storage":
        return next((kind for name, kind in _STREAMS if name in head), _COMPOUND.get(extension, mimetype))
    if mimetype == "video/webm":  # the document type of EBML; without one it is taken for WebM as ever
        return "video/x-matroska" if b"\x42\x82\x88matroska" in head else mimetype
    if mimetype == "audio/ogg":
        return "video/ogg" if b"\x80theora" in head else mimetype
    if mimetype == "application/x-plist":
        return "application/x-webarchive" if b"WebMainResource" in head else mimetype
    return mimetype


def _packets(head: bytes) -> str | None:
    """MPEG transport streams: packets of 188 bytes, each of which begins with the same one (ISO/IEC 13818-1, 2.4.3.2)."""
    starts = head[: 188 * 20 + 1 : 188]
    return "video/mp2t" if len(starts) >= 4 and set(starts) == {0x47} else None


def _zipped(head: bytes) -> str:
    for name, content in _members(head):
        if name == b"mimetype":
            said = next((kind for kind in _SAID if content.startswith(kind.encode())), None)
            if said is not None:
                return said
        for start, mimetype in _MEMBERS:
            if name.startswith(start):
                return mimetype
    return "application/zip"


def _members(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the members that begin in the head. What lies within one of known length is no member."""
    at = 0
    while head.startswith(b"PK\x03\x04", at):
        flags, packed = head[at + 6 : at + 7], int.from_bytes(head[at + 18 : at + 22], "little")
        name_ends = at + 30 + int.from_bytes(head[at + 26 : at + 28], "little")
        content = name_ends + int.from_bytes(head[at + 28 : at + 30], "little")
        streamed = flags > b"" and bool(flags[0] & 8)  # then its length follows it
        end = head.find(b"PK\x03\x04", content) if streamed else content + packed
        yield head[at + 30 : name_ends], head[content:] if end < 0 else head[content:end]
        if end < 0:
            return
        at = end


def _boxed(head: bytes) -> str | None:
    """Files made of boxes with a length and a name, by their brand."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        end = min(int.from_bytes(head[:4], "big"), 256)
        if brand in (b"mif1", b"msf1") and re.search(rb"avi[fs]", head[16:end]):
            return "image/avif"
        return _BOXED.get(brand) or _BOXED_FAMILIES.get(brand[:3], "video/mp4")
    if head[:1] == b"\0" and head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "video/quicktime"  # from before there were brands
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    return None


def _measured(head: bytes) -> str | None:
    """Files whose first bytes are too few to tell, but have fields with few values after them."""
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "image/bmp"
    if head.startswith((b"\0\0\1\0", b"\0\0\2\0")) and 0 < int.from_bytes(head[4:6], "little") < 256 and head[9:10] == b"\0":
        return "image/x-icon"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _frame(head[1], head[2])
    if head.startswith(b"\xca\xfe\xba\xbe"):  # the version of a class is 45 or more, and no file has so many architectures
        return "application/java-vm" if int.from_bytes(head[4:8], "big") & 0xFFFF >= 45 else "application/x-mach-binary"
    if head.startswith(b"MZ") and b"\0" in head[:64]:
        return "application/vnd.microsoft.portable-executable"
    if head[:3] in (b"FWS", b"CWS", b"ZWS") and len(head) > 3 and 0 < head[3] < 64 and not _is_text(head):
        return "application/x-shockwave-flash"
    if head.startswith(b"G") and len(head) > 376 and head[188] == head[376] == 0x47 and not _is_text(head):
        return "video/mp2t"
    return None


def _frame(second: int, third: int) -> str | None:
    """The type of sound that a frame header without anything before it begins (MPEG-1 and 2 layer III, ADTS)."""
    if second & 0x06 == 0x02 and second & 0x18 != 0x08 and third >> 4 not in (0, 15) and third & 0x0C != 0x0C:
        return "audio/mpeg"
    if second & 0xF6 == 0xF0 and third & 0x3C <= 0x30:
        return "audio/aac"
    return None


def _textual(head: bytes, extension: str) -> str:
    found = markup(head)
    if found is not None:
        return found
    text = _is_text(head)
    junk = _PDF.search(head[: _PDF_WITHIN + 8])
    if junk is not None and (not text or _PDF_OBJECT.match(head, junk.start())):
        return "application/pdf"  # readers find it there; without what follows in one it is a word like any other
    return _worded(head.removeprefix(_BOM), extension) if text else UNKNOWN


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # a character cut in two at the end of the head is no reason
    return True


def _worded(head: bytes, extension: str) -> str:
    for words, mimetype in _SAYING:
        if words.match(head):
            return mimetype
    if _MAIL.match(head) and _ARCHIVED.search(head):
        return "application/x-mimearchive"
    if _MAIL.match(head) and extension not in _TEXTUAL:
        headers = _HEADERS_END.split(head, maxsplit=1)[0]
        if _FROM.search(headers) and _SENT.search(headers):
            return "message/rfc822"
    return _TEXTUAL.get(extension, PLAIN)
