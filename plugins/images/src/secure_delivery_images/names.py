"""File names of results. Knows: extensions. Must not know: anything else."""

from __future__ import annotations

_EXTENSIONS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png",),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "TIFF": ("tiff", "tif"),
    "BMP": ("bmp", "dib"),
    "AVIF": ("avif",),
    "HEIC": ("heic", "heif"),
}
_LONGEST = 5  # characters of what is taken for an extension; `holiday.september` keeps its second half


def renamed(filename: str, form: str) -> str:
    """The name with the extension of the format; one that already says so stays as it is."""
    endings = _EXTENSIONS[form]
    stem, dot, extension = filename.rpartition(".")
    if not dot or not stem.strip("."):
        return f"{filename.strip('.') or 'picture'}.{endings[0]}"
    if extension.lower() in endings:
        return filename
    known = 0 < len(extension) <= _LONGEST and extension.isascii() and extension.isalnum()
    return f"{stem if known else filename}.{endings[0]}"
