"""What a preview request asks for, read from the bodies that real clients send.

Knows: the fields of FilePreviews API v2 (section 1.4 of its fact sheet) and their spellings in the wild. Must not know: HTTP,
files, how a preview is made.

Unknown keys are ignored, as clients rely on it (`size` beside `sizes`). Everything else that is not understood is refused with
the name of the field: what a request means must not depend on who reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..gate.errors import BadRequest
from ..plugin.previewing import PageRange
from .database import check_text
from .names import effective_path

#: What a request may call a format, and what results are called: `jpeg` stays `jpeg`, since names of results show it.
FORMATS = ("jpg", "jpeg", "png", "webp", "avif")
MOST_SIZES = 30
MOST_SECTIONS = 30
_MOST_DATA = 64 * 1024  # bytes of `data`, and of `metadata_options`, as JSON
_LONGEST_FOLDER = 600  # bytes: with the name of a result it has to fit into a key of a storage
_LONGEST_URL = 8_192
_SIDE = 10_000  # pixels
_SIZE = re.compile(r"(?:([0-9]{1,6}))?(?:x([0-9]{1,6}))?(>)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECTION = re.compile(r"[a-z0-9_]{1,64}")
#: Request headers of S3 that make sense for a result, by what storages call them.
_HEADERS = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-language": "Content-Language",
    "expires": "Expires",
}
_ACL = "x-amz-acl"
_ACLS = {"public-read": "public", "private": "private"}
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,1000}")


class FieldError(BadRequest):
    """A field of a preview request that is missing or not understood. `param` names it."""

    code = "invalid_field"

    def __init__(self, param: str, sentence: str) -> None:
        super().__init__(f"{param}: {sentence}", public=sentence)
        self.param = param


@dataclass(frozen=True, slots=True)
class Size:
    """One entry of `sizes`: pixels, 0 where a side is free; both 0 is the original size. `shrink` never enlarges.

    The picture fits inside the box, keeping its proportions (ImageMagick geometry). `name` is the entry as it was asked.
    """

    width: int = 0
    height: int = 0
    shrink: bool = False
    name: str = "original"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOrder:
    """A preview request, understood. `url` or `handle` names the file.

    `metadata` are section names, `options` those of sections that take some. `access`, `headers` and `destination` say how
    results are put into the customer's storage. `storage` names another one than the usual: one of the application's, or
    `server` for the one that this server lends. `base` is the origin that URLs of this server begin with.
    """

    url: str = ""
    handle: str | None = None
    sizes: tuple[Size, ...] = (Size(),)
    format: str = "png"
    metadata: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    pages: str = "1"
    destination: str | None = None
    storage: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    access: str | None = None
    callback_url: str | None = None
    base: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values, for the sealed request of a job."""
        return asdict(self)

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> PreviewOrder:
        """The inverse of `plain`. What else a job's request says is passed over."""
        own = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        sizes = tuple(Size(**size) for size in values["sizes"])
        return cls(**{**own, "sizes": sizes, "metadata": tuple(values["metadata"])})


def read_order(body: Any, *, base: str = "") -> tuple[PreviewOrder, Any]:
    """The order in a JSON body, and the requester's own `data`. Raises `FieldError`, `BadRequest` for what is no object."""
    if not isinstance(body, Mapping):
        raise BadRequest(public="A JSON object is wanted.")
    options = _options(body.get("metadata_options"))
    destination, headers, access = _uploader(body.get("uploader"))
    order = PreviewOrder(
        url=_url(body.get("url"), "url", needed=True) or "",
        sizes=_sizes(body.get("sizes"), body.get("size")),
        format=_format(body.get("format")),
        metadata=_sections(body.get("metadata")),
        options=options,
        pages=_pages(body.get("pages")),
        destination=destination,
        headers=headers,
        access=access,
        callback_url=_url(body.get("callback_url"), "callback_url"),
        base=base,
    )
    return order, _data(body.get("data"))


def _url(value: Any, param: str, *, needed: bool = False) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        if needed:
            raise FieldError(param, "This field is required.")
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_URL:
        raise FieldError(param, "A web address of at most 8,192 characters is wanted.")
    address: str = value.strip()
    if not address.lower().startswith(("http://", "https://")) or _CONTROL.search(address):
        raise FieldError(param, "A web address that begins with http:// or https:// is wanted.")
    _check(param, address)
    return address


def _sizes(value: Any, spare: Any) -> tuple[Size, ...]:
    """Sizes as asked, each once. Numbers are widths; an empty text, as SDKs send for a size without sides, is the original."""
    if value is None and isinstance(spare, Mapping):  # the browser library sends `size`, mostly beside `sizes`
        value = [f"{spare.get('width') or ''}" + (f"x{spare['height']}" if spare.get("height") else "")]
    if value is None:
        return (Size(),)
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MOST_SIZES:
        raise FieldError("sizes", f"At most {MOST_SIZES} sizes are allowed.")
    return tuple(dict.fromkeys(_size(entry) for entry in entries)) or (Size(),)


def _size(entry: Any) -> Size:
    if isinstance(entry, bool) or not isinstance(entry, str | int | float):
        raise FieldError("sizes", "A size is WIDTHxHEIGHT, WIDTH, xHEIGHT, one of these with a trailing >, or original.")
    text = str(int(entry)) if isinstance(entry, float) and entry.is_integer() else str(entry).strip()
    if text.lower() in ("", "original"):
        return Size()
    match = _SIZE.fullmatch(text.lower())
    width, height = (int(match[1] or 0), int(match[2] or 0)) if match else (0, 0)
    if match is None or not (width or height) or max(width, height) > _SIDE or (match[2] and not height):
        raise FieldError(
            "sizes",
            f"A size is WIDTHxHEIGHT, WIDTH, xHEIGHT, one of these with a trailing >, or original; sides are 1 to {_SIDE}.",
        )
    return Size(width=width, height=height, shrink=bool(match[3]), name=text)


def _format(value: Any) -> str:
    if value is None or value == "":
        return "png"
    if not isinstance(value, str) or value.lower().lstrip(".") not in FORMATS:
        raise FieldError("format", f"One of {', '.join(FORMATS)} is wanted.")
    return value.lower().lstrip(".")


def _sections(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, list) or len(entries) > MOST_SECTIONS or not all(isinstance(one, str) for one in entries):
        raise FieldError("metadata", "A list of names is wanted.")
    names = [one.strip().lower() for one in entries if one.strip()]
    for name in names:
        if not _SECTION.fullmatch(name):
            raise FieldError("metadata", "A name is made of letters, digits and underscores.")
    return tuple(dict.fromkeys(names))


def _options(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(one, Mapping) for one in value.values()):
        raise FieldError("metadata_options", "An object of objects is wanted, one for each section.")
    _written("metadata_options", value)
    return {str(name): dict(one) for name, one in value.items()}


def _pages(value: Any) -> str:
    if value is None or value == "":
        return "1"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FieldError("pages", "A number, a span (1-3), a list (1,3,5) or all is wanted.")
    try:
        return str(PageRange.parse(str(value)))
    except BadRequest:
        raise FieldError("pages", "A number, a span (1-3), a list (1,3,5) or all is wanted.") from None


def _uploader(value: Any) -> tuple[str | None, dict[str, str], str | None]:
    if value is None:
        return None, {}, None
    if not isinstance(value, Mapping):
        raise FieldError("uploader", "An object is wanted.")
    access = None
    if (public := value.get("public")) is not None:
        if not isinstance(public, bool):
            raise FieldError("uploader", "public is true or false.")
        access = "public" if public else "private"
    headers, acl = _headers(value.get("headers"))
    destination = value.get("destination")
    if destination is not None:
        if not isinstance(destination, str) or len(destination) > 500:
            raise FieldError("uploader", "destination is the path of a folder.")
        _check("uploader", destination)
        destination = destination.strip("/")
        try:
            effective_path(destination)
        except BadRequest as fault:
            raise FieldError("uploader", fault.public) from None
        if len(destination.encode()) > _LONGEST_FOLDER:
            raise FieldError("uploader", f"destination has at most {_LONGEST_FOLDER} bytes.")
        if any(part in ("", ".", "..") for part in destination.split("/")) and destination:
            raise FieldError("uploader", "destination is a path without empty parts and dots.")
    return destination or None, headers, access or acl


def _headers(value: Any) -> tuple[dict[str, str], str | None]:
    if value is None:
        return {}, None
    if not isinstance(value, Mapping):
        raise FieldError("uploader", "headers is an object.")
    given: dict[str, str] = {}
    access = None
    for name, text in value.items():
        known = str(name).lower()
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise FieldError("uploader", f"The header {str(name)[:60]} has no value that can be sent.")
        if known == _ACL:
            if text not in _ACLS:
                raise FieldError("uploader", f"{_ACL} is {' or '.join(_ACLS)}.")
            access = _ACLS[text]
        elif known in _HEADERS:
            given[_HEADERS[known]] = text
        elif known != "content-type":  # results have the type that they are
            raise FieldError("uploader", f"Allowed headers are {', '.join(_HEADERS.values())} and {_ACL}.")
    return given, access


def _data(value: Any) -> Any:
    if value is None:
        return None
    _written("data", value)
    return value


def _written(param: str, value: Any) -> None:
    """Refuse what could not be kept and given back as JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):  # `1e999` is JSON, and no number
        raise FieldError(param, "A number is too large, or the nesting too deep.") from None
    if len(text.encode("utf-8", "surrogatepass")) > _MOST_DATA:
        raise FieldError(param, f"At most {_MOST_DATA} bytes of JSON are kept.")
    if "\\u0000" in text:
        raise FieldError(param, "NUL characters cannot be stored.")
    _check(param, text)


def _check(param: str, text: str) -> None:
    try:
        check_text(text)
    except BadRequest as error:
        raise FieldError(param, error.public) from None
