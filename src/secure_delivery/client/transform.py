"""What should be done to a file, as a value with types: `transform.resize(width=300).rotate(deg=90)`.

Knows: the names, options and enumerations of the documented tasks. Must not know: how a path is written (the gate's
formatter does), where files are kept, who may do what.

Ranges are the server's to check: it has the one table of them. Enumerations are `Literal` types, for the editor and the
type checker. An option that is left out is not written, so the server's default holds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..gate.errors import TaskURLError
from ..gate.taskvalues import MAX_NESTING, MAX_TASKS, Task, Value, check_text
from .errors import TransformError

#: What a task's option may be given. Sequences become lists, and may be nested.
Option: TypeAlias = "str | int | float | bool | Sequence[Option] | None"

Side: TypeAlias = Literal["top", "middle", "bottom", "left", "center", "right", "faces"]
Align: TypeAlias = Side | tuple[Side, Side] | list[Side]
Shape: TypeAlias = Literal["rect", "oval"]
Box: TypeAlias = tuple[int, int, int, int] | list[int]  # x, y, width, height
Format: TypeAlias = Literal[
    "avif", "bmp", "doc", "docx", "gif", "html", "jpg", "odp", "ods", "odt", "pdf", "pjpg", "png", "ppt", "pptx", "svg",
    "tiff", "txt", "webp", "xls", "xlsx",
]  # fmt: skip
PageFormat: TypeAlias = Literal["a2", "a3", "a4", "a5", "b4", "b5", "letter", "legal", "tabloid"]
Orientation: TypeAlias = Literal["portrait", "landscape"]
Preset: TypeAlias = Literal[
    "auto", "vivid", "beautify", "beautify_plus", "fix_dark", "fix_noise", "fix_tint", "outdoor", "fireworks"
]  # fmt: skip

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_RESERVED = {
    "security": "the credential is added by Client.url()",
    "b64": "a chain is written in Base64 by itself where it has to be",
    "debug": "say debug=True to Client.url()",
}


@dataclass(frozen=True, slots=True)
class Transform:
    """A chain of tasks, in order. Immutable: every method returns a longer chain and leaves this one as it is.

    Any method raises `TransformError` for a value that no URL can carry.
    """

    tasks: tuple[Task, ...] = ()

    def __str__(self) -> str:
        """The chain as it stands in a URL, percent-encoded."""
        return "/".join(map(str, self.tasks))

    def __add__(self, other: Transform) -> Transform:
        """This chain and then the other."""
        return self._with(*other.tasks) if isinstance(other, Transform) else NotImplemented

    def __bool__(self) -> bool:
        return bool(self.tasks)

    def task(self, name: str, /, **options: Option) -> Transform:
        """Any task by its name, with any options; those that are None are left out."""
        return self._add(name, options)

    def _add(self, name: str, options: Mapping[str, Option]) -> Transform:
        if name in _RESERVED:
            raise TransformError(f"'{name}' is no task of a chain: {_RESERVED[name]}.")
        if _NAME.fullmatch(name) is None:
            raise TransformError(f"{name!r} cannot be the name of a task.")
        for key in options:
            if _KEY.fullmatch(key) is None:
                raise TransformError(f"{key!r} cannot be the name of an option.")
        pairs = tuple((key, _value(option, f"{key} of {name}")) for key, option in options.items() if option is not None)
        return self._with(Task(name=name, options=pairs))

    def _with(self, *tasks: Task) -> Transform:
        if len(self.tasks) + len(tasks) > MAX_TASKS:
            raise TransformError(f"A chain has at most {MAX_TASKS} tasks.")
        return Transform((*self.tasks, *tasks))

    # -- size and place

    def resize(
        self,
        *,
        width: int | None = None,
        height: int | None = None,
        fit: Literal["clip", "crop", "scale", "max"] | None = None,
        align: Align | None = None,
        filter: str | None = None,  # noqa: A002 - the option's own name
    ) -> Transform:
        """Pixels; one of width and height is needed. `crop` fills the box and cuts by `align`, `max` never enlarges."""
        if width is None and height is None:
            raise TransformError("resize needs a width or a height.")
        return self._add("resize", {"width": width, "height": height, "fit": fit, "align": align, "filter": filter})

    def crop(self, *, dim: Box) -> Transform:
        """Cut out x, y, width, height in pixels."""
        return self._add("crop", {"dim": _box(dim)})

    def smart_crop(
        self,
        *,
        width: int | None = None,
        height: int | None = None,
        mode: Literal["auto", "face", "object"] | None = None,
        object: str | None = None,  # noqa: A002 - the option's own name
        fill_color: str | None = None,
        coords: bool | None = None,
    ) -> Transform:
        """Cut to a size around what matters; `coords` answers where that is instead."""
        return self._add(
            "smart_crop",
            {"mode": mode, "width": width, "height": height, "object": object, "fill_color": fill_color, "coords": coords},
        )

    def rotate(
        self, *, deg: int | Literal["exif"] | None = None, exif: bool | None = None, background: str | None = None
    ) -> Transform:
        """Turn clockwise by degrees, or upright by what the camera noted (`deg="exif"`)."""
        return self._add("rotate", {"deg": deg, "exif": exif, "background": background})

    def flip(self) -> Transform:
        """Top to bottom."""
        return self._add("flip", {})

    def flop(self) -> Transform:
        """Left to right."""
        return self._add("flop", {})

    # -- frames and edges

    def watermark(self, *, file: str, size: int | None = None, position: Align | None = None) -> Transform:
        """Lay another file over it: a handle or a URL; `size` in percent of the width."""
        return self._add("watermark", {"file": file, "size": size, "position": position})

    def rounded_corners(
        self, *, radius: int | Literal["max"] | None = None, blur: float | None = None, background: str | None = None
    ) -> Transform:
        return self._add("rounded_corners", {"radius": radius, "blur": blur, "background": background})

    def vignette(
        self,
        *,
        amount: int | None = None,
        blurmode: Literal["gaussian", "linear"] | None = None,
        background: str | None = None,
    ) -> Transform:
        return self._add("vignette", {"amount": amount, "blurmode": blurmode, "background": background})

    def polaroid(self, *, rotate: int | None = None, color: str | None = None, background: str | None = None) -> Transform:
        return self._add("polaroid", {"rotate": rotate, "color": color, "background": background})

    def torn_edges(self, *, spread: tuple[int, int] | list[int] | None = None, background: str | None = None) -> Transform:
        return self._add("torn_edges", {"spread": spread, "background": background})

    def shadow(
        self,
        *,
        blur: float | None = None,
        opacity: int | None = None,
        vector: tuple[int, int] | list[int] | None = None,
        color: str | None = None,
        background: str | None = None,
    ) -> Transform:
        return self._add(
            "shadow", {"blur": blur, "opacity": opacity, "vector": vector, "color": color, "background": background}
        )

    def circle(self, *, background: str | None = None) -> Transform:
        return self._add("circle", {"background": background})

    def border(self, *, width: int | None = None, color: str | None = None, background: str | None = None) -> Transform:
        return self._add("border", {"width": width, "color": color, "background": background})

    # -- filters

    def sharpen(self, *, amount: float | None = None) -> Transform:
        return self._add("sharpen", {"amount": amount})

    def blur(self, *, amount: float | None = None) -> Transform:
        return self._add("blur", {"amount": amount})

    def monochrome(self) -> Transform:
        """Shades of grey."""
        return self._add("monochrome", {})

    def blackwhite(self, *, threshold: int | None = None) -> Transform:
        """Black and white, nothing between."""
        return self._add("blackwhite", {"threshold": threshold})

    def sepia(self, *, tone: int | None = None) -> Transform:
        return self._add("sepia", {"tone": tone})

    def pixelate(self, *, amount: int | None = None) -> Transform:
        return self._add("pixelate", {"amount": amount})

    def oil_paint(self, *, amount: int | None = None) -> Transform:
        return self._add("oil_paint", {"amount": amount})

    def negative(self) -> Transform:
        return self._add("negative", {})

    def modulate(self, *, brightness: int | None = None, hue: int | None = None, saturation: int | None = None) -> Transform:
        """Brightness and saturation in percent, hue in degrees."""
        return self._add("modulate", {"brightness": brightness, "hue": hue, "saturation": saturation})

    def partial_pixelate(
        self,
        *,
        objects: Iterable[Box],
        amount: int | None = None,
        blur: float | None = None,
        type: Shape | None = None,  # noqa: A002
    ) -> Transform:
        """Coarse pixels in these boxes only."""
        boxes = [_box(box) for box in objects]
        return self._add("partial_pixelate", {"objects": boxes, "amount": amount, "blur": blur, "type": type})

    def partial_blur(
        self,
        *,
        objects: Iterable[Box],
        amount: float | None = None,
        blur: float | None = None,
        type: Shape | None = None,  # noqa: A002
    ) -> Transform:
        """Blurred in these boxes only."""
        boxes = [_box(box) for box in objects]
        return self._add("partial_blur", {"objects": boxes, "amount": amount, "blur": blur, "type": type})

    # -- more pictures than one, better pictures

    def collage(
        self,
        *,
        files: Iterable[str],
        width: int,
        height: int,
        margin: int | None = None,
        color: str | None = None,
        fit: Literal["auto", "crop"] | None = None,
        autorotate: bool | None = None,
    ) -> Transform:
        """The source and these files (handles or URLs) in one picture."""
        return self._add(
            "collage",
            {
                "files": _texts(files, "files of collage"),
                "width": width,
                "height": height,
                "margin": margin,
                "color": color,
                "fit": fit,
                "autorotate": autorotate,
            },
        )

    def upscale(
        self,
        *,
        upscale: bool | None = None,
        noise: Literal["none", "low", "medium", "high"] | None = None,
        style: Literal["photo", "artwork"] | None = None,
    ) -> Transform:
        """Twice the width and the height; `upscale=False` only takes noise away."""
        return self._add("upscale", {"upscale": upscale, "noise": noise, "style": style})

    def enhance(self, *, preset: Preset | None = None) -> Transform:
        return self._add("enhance", {"preset": preset})

    def redeye(self) -> Transform:
        return self._add("redeye", {})

    def ascii(
        self,
        *,
        background: str | None = None,
        foreground: str | None = None,
        colored: bool | None = None,
        size: int | None = None,
        reverse: bool | None = None,
    ) -> Transform:
        """The picture as letters, in HTML."""
        return self._add(
            "ascii",
            {"background": background, "foreground": foreground, "colored": colored, "size": size, "reverse": reverse},
        )

    # -- how it is written

    def auto_image(self) -> Transform:
        """AVIF, WebP or JPEG, whatever the browser prefers."""
        return self._add("auto_image", {})

    def no_metadata(self) -> Transform:
        """Without EXIF and the like."""
        return self._add("no_metadata", {})

    def quality(self, value: int | Literal["input"]) -> Transform:
        """From 1 to 100, or that of the source."""
        return self._add("quality", {"value": value})

    def compress(self, *, metadata: bool | None = None) -> Transform:
        return self._add("compress", {"metadata": metadata})

    def pjpg(self, *, quality: int | None = None, metadata: bool | None = None) -> Transform:
        """Progressive JPEG."""
        return self._add("pjpg", {"quality": quality, "metadata": metadata})

    def output(
        self,
        *,
        format: Format | None = None,  # noqa: A002 - the option's own name
        background: str | None = None,
        page: int | None = None,
        density: int | None = None,
        compress: bool | None = None,
        quality: int | Literal["input"] | None = None,
        strip: bool | None = None,
        colorspace: Literal["rgb", "cmyk", "input"] | None = None,
        secure: bool | None = None,
        docinfo: bool | None = None,
        pageformat: PageFormat | None = None,
        pageorientation: Orientation | None = None,
    ) -> Transform:
        """Another format, or the same one written otherwise."""
        return self._add(
            "output",
            {
                "format": format,
                "background": background,
                "page": page,
                "density": density,
                "compress": compress,
                "quality": quality,
                "strip": strip,
                "colorspace": colorspace,
                "secure": secure,
                "docinfo": docinfo,
                "pageformat": pageformat,
                "pageorientation": pageorientation,
            },
        )

    # -- documents

    def pdfinfo(self, *, colorinfo: bool | None = None) -> Transform:
        """Pages and their sizes, as JSON."""
        return self._add("pdfinfo", {"colorinfo": colorinfo})

    def pdfconvert(
        self,
        *,
        pages: Sequence[int | str] | None = None,
        pageformat: PageFormat | None = None,
        pageorientation: Orientation | None = None,
        metadata: bool | None = None,
    ) -> Transform:
        """A new PDF of chosen pages: numbers, `"1-3"`, `"-2"`, `"4-"`."""
        options: dict[str, Option] = {
            "pages": _pages(pages),
            "pageformat": pageformat,
            "pageorientation": pageorientation,
            "metadata": metadata,
        }
        if all(option is None for option in options.values()):
            raise TransformError("pdfconvert needs at least one option.")
        return self._add("pdfconvert", options)

    def doc_to_images(
        self,
        *,
        pages: Sequence[int | str] | None = None,
        engine: str | None = None,
        format: Literal["jpg", "png", "webp"] | None = None,  # noqa: A002 - the option's own name
        quality: int | None = None,
        density: int | None = None,
        hidden_slides: bool | None = None,
    ) -> Transform:
        """A picture of each page."""
        return self._add(
            "doc_to_images",
            {
                "pages": _pages(pages),
                "engine": engine,
                "format": format,
                "quality": quality,
                "density": density,
                "hidden_slides": hidden_slides,
            },
        )

    # -- control

    def cache(self, expiry: int | Literal["max", False]) -> Transform:
        """Seconds that browsers may keep the answer; False: made anew each time."""
        if expiry is False:
            return self._with(Task(name="cache", options=(("", "false"),)))
        return self._add("cache", {"expiry": expiry})

    def store(
        self,
        *,
        filename: str | None = None,
        location: str | None = None,
        path: str | None = None,
        container: str | None = None,
        region: str | None = None,
        access: Literal["private", "public"] | None = None,
        workflows: Sequence[str] | None = None,
    ) -> Transform:
        """Keep the result as a new file; the answer is JSON about it. See `Client.keep()`."""
        return self._add(
            "store",
            {
                "filename": filename,
                "location": location,
                "path": path,
                "container": container,
                "region": region,
                "access": access,
                "workflows": workflows,
            },
        )

    def fallback(self, *, handle: str, cache: int | None = None) -> Transform:
        """Serve this file where the source is missing or a later task fails."""
        return self._add("fallback", {"handle": handle, "cache": cache})


#: The empty chain, to begin with.
transform = Transform()


def _value(option: object, what: str, depth: int = 0) -> Value:
    """The text or list of texts that an option is written as."""
    if isinstance(option, bool):
        return "true" if option else "false"
    if isinstance(option, str):
        return _checked(option, what)
    if isinstance(option, int):
        return str(int(option))
    if isinstance(option, float):
        if not math.isfinite(option):
            raise TransformError(f"{what} is no number.")
        return str(int(option)) if option.is_integer() and abs(option) < 2**53 else json.dumps(option)
    if isinstance(option, Sequence) and not isinstance(option, bytes | bytearray):
        if not option or depth == MAX_NESTING:
            raise TransformError(f"{what} is an empty list, or one nested deeper than {MAX_NESTING}.")
        return tuple(_value(item, what, depth + 1) for item in option)
    raise TransformError(f"{what} is neither text, number, boolean nor a list of those.")


def _checked(text: str, what: str) -> str:
    try:
        return check_text(text)
    except TaskURLError:
        raise TransformError(f"{what} holds a control character or a backslash.") from None


def _box(box: Sequence[int]) -> list[int]:
    if len(box) != 4:
        raise TransformError("A box is x, y, width and height.")
    return list(box)


def _texts(texts: Iterable[str], what: str) -> list[str]:
    if isinstance(texts, str):
        raise TransformError(f"{what} is a list.")
    return list(texts)


def _pages(pages: Sequence[int | str] | None) -> list[str] | None:
    if isinstance(pages, str):
        raise TransformError("pages is a list.")
    return None if pages is None else [str(page) for page in pages]
