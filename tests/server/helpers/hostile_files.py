"""Files that want to do harm, made here by code: what each is, which chains it is tried with, and how each try must end.

Knows: how a hostile file is described and the chains. Must not know: the server; the files of each family are in the
`hostile_*` modules beside this one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: How a try may end: the codes of refusals (all of them a 4xx), and `200` for a file that comes out harmless.
REFUSALS: Mapping[str, int] = {
    "too_large": 413,
    "unsupported": 415,
    "corrupt": 422,
    "encrypted": 422,
    "processing_limit": 422,
    "timed_out": 422,
}

#: Where the hostile file goes. `{file}` is its handle, `{good}` that of a good picture, `{key}` the application's.
CHAINS: Mapping[str, str] = {
    "resize": "/resize=width:32/{file}",
    "webp": "/output=format:webp/{file}",
    "png": "/output=format:png/{file}",
    "avif": "/rotate=deg:45/output=format:avif/{file}",
    "gif": "/output=format:gif/{file}",
    "imagesize": "/imagesize/{file}",
    "no_metadata": "/no_metadata/{file}",
    "compress": "/compress=metadata:true/{file}",
    "animate": "/{key}/animate=width:20/[{file},{good}]",
    "overlay": "/watermark=file:{file}/{good}",
    "collage": "/collage=files:[{file}],width:60,height:40/{good}",
    "zip": "/{key}/zip/[{good},{file}]",
    "ocr": "/ocr/{file}",
    "faces": "/detect_faces=export:true/{file}",
    "effects": "/sepia/vignette/upscale/{file}",
    "smart_crop": "/smart_crop=width:20,height:20/{file}",
    "qr": "/qr/{file}",
    "pdf": "/output=format:pdf/{file}",
    "txt": "/output=format:txt/{file}",
    "svg": "/output=format:svg,secure:true/{file}",
    "html": "/output=format:html,secure:true/{file}",
    "as_it_is": "/output=format:html/{file}",
    "docx": "/output=format:docx/{file}",
    "pdfinfo": "/pdfinfo=colorinfo:true/{file}",
    "pdfconvert": "/pdfconvert=pageformat:a5/{file}",
    "preview": "/preview/{file}",
    "pages": "/doc_to_images/{file}",
    "slide": "/slide/{file}",
    "minify_css": "/minify_css/{file}",
    "minify_js": "/minify_js/{file}",
}

# fmt: off
_PICTURES = (
    "resize", "webp", "png", "avif", "gif", "imagesize", "no_metadata", "compress", "animate", "overlay", "collage", "zip",
    "ocr", "faces", "effects", "smart_crop", "qr",
)
#: The chains that make sense for the files of a family: all of them are tried in the full run.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "picture": (*_PICTURES, "pdf", "preview", "pdfinfo"),
    "drawing": (*_PICTURES, "svg", "pdf", "txt", "preview"),
    "document": (
        "resize", "png", "svg", "pdf", "txt", "html", "as_it_is", "docx", "pdfinfo", "pdfconvert", "preview", "pages", "slide",
        "zip", "qr", "ocr", "overlay",
    ),
    "text": (
        "resize", "png", "pdf", "txt", "html", "as_it_is", "preview", "pages", "slide", "minify_css", "minify_js", "qr", "zip",
        "pdfinfo",
    ),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Traps:
    """What hostile files point at, and nobody must ever touch.

    `url`: a listener that notices; `picture` and `words`: files whose colour or content shows when they were read.
    """

    url: str
    picture: Path
    words: Path


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file.

    `tries` are the chains it goes through with every change, each with how it must end: one of `REFUSALS`, `200`, or
    several with `|` between them where it depends on the version of a library. `never` is in no result.
    """

    name: str
    filename: str
    family: str
    make: Callable[[Traps], bytes]
    tries: Mapping[str, frozenset[str]]
    never: tuple[bytes, ...] = ()
    office: bool = False


class Corpus:
    """Files of one family, written down one after the other."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.files: list[Hostile] = []

    def add(
        self,
        filename: str,
        name: str,
        make: Callable[[Traps], bytes] | Callable[[], bytes] | bytes,
        ends: str,
        tries: str,
        *,
        never: tuple[bytes, ...] = (),
        office: bool = False,
    ) -> None:
        """`ends` is how each of `tries` must end, but for those that say it themselves: `resize zip=200`.

        `make` gets the traps when it takes an argument. A ZIP of the file is always made: nobody opens the file for it.
        """
        wanted = {}
        for one in tries.split():
            chain, _, own = one.partition("=")
            wanted[chain] = frozenset((own or ("200" if chain == "zip" else ends)).split("|"))
        assert set(wanted) <= set(CHAINS), name
        assert set().union(*wanted.values()) <= {*REFUSALS, "200"}, name
        self.files.append(Hostile(name, filename, self.family, _maker(make), wanted, never, office))


def _maker(make: Callable[[Traps], bytes] | Callable[[], bytes] | bytes) -> Callable[[Traps], bytes]:
    if isinstance(make, bytes):
        data = make
        return lambda _traps: data
    wanted = [one for one in inspect.signature(make).parameters.values() if one.default is inspect.Parameter.empty]
    if wanted:
        return make  # type: ignore[return-value]
    return lambda _traps: make()  # type: ignore[call-arg]
