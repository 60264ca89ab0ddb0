"""To which family of files a type belongs, for the icon that stands for it.

Knows: types and extensions. Must not know: Pillow, how a family is drawn.
"""

from __future__ import annotations

UNKNOWN = "unknown"

#: Extensions of each family, where the type of a file says less than its name.
_EXTENSIONS = {
    "document": "ai doc docm docx dot dotx dvi eps fodt hwp indd log md odt ott pages pdf ps pub rst rtf tex txt wpd wps xps",
    "sheet": "csv fods numbers ods ots parquet tsv xls xlsb xlsm xlsx xlt xltx",
    "slides": "fodp key odp otp pot potx pps ppsx ppt pptm pptx",
    "picture": "arw avif bmp cr2 cr3 dng gif heic heif ico jp2 jpeg jpg jxl nef orf png psb psd raf raw rw2 svg svgz tga tif "
    "tiff webp",
    "audio": "aac aif aiff amr flac m4a mid midi mka mp3 oga ogg opus wav weba wma",
    "video": "3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv",
    "archive": "7z apk br bz2 cab deb dmg gz iso jar lz4 lzma rar rpm tar tbz tgz txz whl xz zip zst",
    "code": "bat c cc cfg conf cpp cs css dart ex go h hpp ini ipynb java js json jsx kt lua m php pl ps1 py r rb rs scala sh "
    "sql swift toml ts tsx vue xml xsd yaml yml",
    "mail": "eml emlx mbox msg pst",
    "font": "eot otf pfb ttc ttf woff woff2",
    "book": "azw azw3 cb7 cbr cbz djvu epub fb2 mobi",
    "web": "htm html mht mhtml shtml url webarchive webloc xhtml",
}
_BY_EXTENSION = {extension: family for family, names in _EXTENSIONS.items() for extension in names.split()}
_BY_EXTENSION["ts"] = "code"  # far more sources than streams have this name; a stream is told by its type

#: Types whose first part says nothing. The longest that a type begins with counts.
_TYPES = {
    "application/epub": "book",
    "application/gzip": "archive",
    "application/java-archive": "archive",
    "application/json": "code",
    "application/msword": "document",
    "application/ogg": "audio",
    "application/pdf": "document",
    "application/postscript": "document",
    "application/rtf": "document",
    "application/vnd.amazon": "book",
    "application/vnd.android": "archive",
    "application/vnd.debian": "archive",
    "application/vnd.ms-excel": "sheet",
    "application/vnd.ms-outlook": "mail",
    "application/vnd.ms-powerpoint": "slides",
    "application/vnd.ms-word": "document",
    "application/vnd.oasis.opendocument.presentation": "slides",
    "application/vnd.oasis.opendocument.spreadsheet": "sheet",
    "application/vnd.oasis.opendocument": "document",
    "application/vnd.openxmlformats-officedocument.presentationml": "slides",
    "application/vnd.openxmlformats-officedocument.spreadsheetml": "sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml": "document",
    "application/vnd.rar": "archive",
    "application/x-7z": "archive",
    "application/x-bzip": "archive",
    "application/x-mimearchive": "web",
    "application/x-tar": "archive",
    "application/x-xz": "archive",
    "application/xhtml": "web",
    "application/xml": "code",
    "application/zip": "archive",
    "application/zstd": "archive",
    "audio/": "audio",
    "font/": "font",
    "image/": "picture",
    "image/vnd.djvu": "book",
    "message/": "mail",
    "text/css": "code",
    "text/csv": "sheet",
    "text/html": "web",
    "text/javascript": "code",
    "text/tab-separated-values": "sheet",
    "text/uri-list": "web",
    "text/xml": "code",
    "text/": "document",
    "video/": "video",
}
_VAGUE = ("application/octet-stream", "application/zip", "application/x-ole-storage", "text/plain", "application/xml")

FAMILIES = (*_EXTENSIONS, UNKNOWN)


def extension_of(filename: str) -> str:
    """The extension, lower case, without dot; empty when there is none, or what stands behind the dot is no extension."""
    stem, dot, extension = filename.rpartition(".")
    fits = dot and stem.strip(".") and 0 < len(extension) <= 10 and extension.isascii() and extension.isalnum()
    return extension.lower() if fits else ""


def family_of(mimetype: str, filename: str) -> str:
    """The family of a file: by its type where that says something, else by its extension."""
    named = _BY_EXTENSION.get(extension_of(filename))
    if mimetype in _VAGUE and named is not None:
        return named
    found = max((prefix for prefix in _TYPES if mimetype.startswith(prefix)), key=len, default=None)
    return named or UNKNOWN if found is None else _TYPES[found]
