"""Previewers and extractors at work in a confined child: pages become pictures of every wanted size, sections become JSON.

Knows: the contract of previewers and extractors, the tasks `resize` and `output` of whichever plugins offer them. Must not
know: jobs, files on the disk, how a child is confined.

A child has one file to write, so everything is put into it one after the other: the pictures as they are made, then a JSON
document that says where each of them lies. The server reads that document as what it is, a stranger's (`page_results`).
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from ..gate.errors import Corrupt, SecureDeliveryError, TooLarge, Unsupported
from ..plugin.manager import Registry
from ..plugin.previewing import Extractor, Page, PageRange, PageReading, Previewer, Probing, Work
from ..plugin.protocols import Accompanied, Asking, Decoded, Media, Transformation, Warm, Workshop
from ..plugin.selection import providers
from .types import HEAD

PREVIEW = "preview:"  # what the name of a previewer is preceded by among the tasks of a worker; no URL can say it
EXTRACT = "extract:"
FILES = "files:"  # a transformation whose result may be several files

QUALITY = 85  # of JPEG, WebP and AVIF: pictures to look at, not to go on working with
MOST_PICTURES = 2_000  # of one job: pages times sizes
MOST_ATTACHED = 250
_SHRINKS = "image/jpeg"  # is decoded at the size that is wanted: several times is less than once whole
_SECTION = 4 << 20  # bytes of a section as JSON
_DEEP = 40  # levels of a section


def tasks(registry: Registry) -> dict[str, Transformation]:
    """A task of its own for each previewer and each extractor, beside those that plugins offer."""
    found: dict[str, Transformation] = {}
    for name, previewer in registry.previewers.items():
        found[PREVIEW + name] = _PreviewTask(previewer, registry.transformations, registry.extractors)
    for name, extractor in registry.extractors.items():
        found[EXTRACT + name] = _ExtractTask(extractor, registry.transformations)
    for name, transformation in registry.transformations.items():
        found[FILES + name] = _FilesTask(transformation)
    return found


@dataclass(frozen=True, slots=True)
class _PreviewTask:
    """Options: `pages`, `sizes` (width, height, shrink only, name), `format`, `hint`, `address`, `most_pages`, `readers`."""

    previewer: Previewer
    transformations: Mapping[str, Transformation] = field(repr=False)
    extractors: Mapping[str, Extractor] = field(repr=False)
    params: tuple[Any, ...] = ()
    version: str = "1"

    def warm(self) -> None:
        _warm(self.previewer, *(self.transformations.get(name) for name in ("resize", "output")))

    def asks(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The readers of pages that a job names are prepared with it."""
        return tuple(EXTRACT + name for name in options["readers"])

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        if isinstance(self.previewer, Probing) and not _probed(self.previewer, media):
            raise Unsupported("its probe says that this file is not for it")
        work = Work(
            media=media,
            shop=shop,
            wanted=PageRange.parse(options["pages"]),
            size=options["hint"],
            address=options["address"],
            most_pages=options["most_pages"],
            options=options.get("options", {}),
        )
        return _Pieces(_Previewing(self, work, options).pieces)


class _Previewing:
    """One run of a previewer."""

    def __init__(self, task: _PreviewTask, work: Work, options: Mapping[str, Any]) -> None:
        self._task = task
        self._work = work
        self._sizes = options["sizes"]
        self._format = options["format"]
        self._readers = {name: task.extractors[name] for name in options["readers"] if name in task.extractors}
        self._read: dict[str, Any] = {name: [] for name in self._readers}
        self._faults: dict[str, Any] = {}

    def pieces(self, place: Callable[[], int]) -> Iterator[bytes]:
        """The bytes of every picture, then the document. `place` tells how many bytes went out so far."""
        pages: list[dict[str, Any]] = []
        total = last = made = 0
        for page in self._task.previewer.preview(self._work):
            _fitting(page, last, self._work)
            last, total = page.number, page.total
            output = self._output(page.media)
            width, height = output.dimensions()
            if len(self._sizes) > 1 and isinstance(output, Decoded) and page.media.mimetype != _SHRINKS:
                output.decoded()  # once for all sizes
            told: dict[str, Any] = {"page": page.number, "width": width, "height": height, "pictures": []}
            for wide, high, shrink, name in self._sizes:
                made += 1
                if made > MOST_PICTURES:
                    raise TooLarge(f"more than {MOST_PICTURES} pictures")
                picture = self._sized(output, wide, high, shrink)
                data = _content(picture)
                side = getattr(picture, "extra", {}).get("size", (0, 0))
                told["pictures"].append(
                    {"size": name, "offset": place(), "length": len(data), "width": side[0], "height": side[1]}
                )
                yield data
            self._let_read(page, output)
            pages.append(told)
        yield from _document(
            place, {"total": total, "pages": pages, "format": self._format, "sections": self._read, "faults": self._faults}
        )

    def _output(self, media: Media) -> Any:
        picture = _applied(
            self._task.transformations, "output", media, {"format": self._format, "quality": QUALITY}, self._work.shop
        )
        if not hasattr(picture, "dimensions"):
            raise Corrupt("the task output did not make a picture")
        return picture

    def _sized(self, picture: Media, width: int, height: int, shrink: bool) -> Media:
        if not width and not height:
            return picture
        wanted = {"width": width, "height": height, "fit": "max" if shrink else "clip"}
        resized: Media = _applied(self._task.transformations, "resize", picture, wanted, self._work.shop)
        return resized

    def _let_read(self, page: Page, output: Media) -> None:
        for name, reader in self._readers.items():
            if name in self._faults or not isinstance(reader, PageReading):
                continue
            try:
                said = reader.read(Page(number=page.number, media=output, total=page.total), self._work)
                self._read[name].append({"page": page.number, **_plain(said)})
            except MemoryError:
                raise
            except Exception as error:  # a reader that fails leaves the pictures alone
                self._faults[name] = _told(error)


@dataclass(frozen=True, slots=True)
class _ExtractTask:
    """Options: `options` of the extractor, `pages`, `address`."""

    extractor: Extractor
    transformations: Mapping[str, Transformation] = field(repr=False)
    params: tuple[Any, ...] = ()
    version: str = "1"

    def warm(self) -> None:
        _warm(self.extractor, self.transformations.get("output"))

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        return _Pieces(lambda place: self._pieces(media, options, shop, place))

    def _pieces(self, media: Media, options: Mapping[str, Any], shop: Workshop, place: Callable[[], int]) -> Iterator[bytes]:
        if isinstance(self.extractor, Probing) and not _probed(self.extractor, media):
            yield from _document(place, {"value": None, "attached": []})
            return
        waiting: list[tuple[str, str, Media]] = []
        mark = secrets.token_hex(8)  # so that no text of the file can pass for an address that we give out

        def attach(picture: Media, name: str) -> str:
            if len(waiting) >= MOST_ATTACHED:
                raise TooLarge(f"more than {MOST_ATTACHED} pictures attached")
            token = f"attached:{mark}:{len(waiting)}"
            waiting.append((token, str(name)[:200], picture))
            return token

        work = Work(
            media=media,
            shop=shop,
            wanted=PageRange.parse(options["pages"]),
            address=options["address"],
            options=options["options"],
            attacher=attach,
        )
        value = _plain(self.extractor.extract(work))
        attached = []
        for token, name, picture in waiting:
            drawn = _applied(self.transformations, "output", picture, {"format": "png"}, shop)
            data = _content(drawn)
            attached.append({"token": token, "name": name, "offset": place(), "length": len(data)})
            yield data
        yield from _document(place, {"value": value, "attached": attached})


@dataclass(frozen=True, slots=True)
class _FilesTask:
    """A transformation whose result is a file and its companions (`Accompanied`); options are its own."""

    transformation: Transformation
    params: tuple[Any, ...] = ()
    version: str = "1"

    def warm(self) -> None:
        _warm(self.transformation)

    def asks(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        asked = (one.asks(options) for one in providers(self.transformation) if isinstance(one, Asking))
        return tuple(name for names in asked for name in names)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        result = self.transformation.apply(media, options, shop)
        return _Pieces(lambda place: self._pieces(result, place))

    def _pieces(self, result: Media, place: Callable[[], int]) -> Iterator[bytes]:
        companions = tuple(result.companions) if isinstance(result, Accompanied) else ()
        if len(companions) > MOST_ATTACHED:
            raise TooLarge(f"more than {MOST_ATTACHED} files")
        told = []
        for name, one in ((result.filename, result), *companions):
            offset = place()
            with one.open() as stream:
                while piece := stream.read(1 << 20):
                    yield piece
            told.append({"name": name, "mimetype": one.mimetype, "offset": offset, "length": place() - offset})
        yield from _document(place, {"files": told, "extra": _plain(dict(getattr(result, "extra", {})))})


# -------------------------------------------------------------------------------------------------------- the one file


class _Pieces:
    """A `Media` that is made while it is read, once. Afterwards `extra` tells where in it the document is."""

    mimetype = "application/octet-stream"
    filename = "pieces"
    size: int | None = None

    def __init__(self, pieces: Callable[[Callable[[], int]], Iterator[bytes]]) -> None:
        self._pieces = pieces
        self.extra: dict[str, Any] = {}

    def open(self) -> BinaryIO:
        return cast(BinaryIO, _Stream(self))

    def begin(self, place: Callable[[], int]) -> Iterator[bytes]:
        return self._pieces(place)


class _Stream(io.RawIOBase):
    """Reads pieces. Exactly one of them is in memory."""

    def __init__(self, media: _Pieces) -> None:
        self._media = media
        self._out = 0  # bytes of all pieces taken so far
        self._rest = memoryview(b"")
        self._pieces = media.begin(lambda: self._out)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._media.extra = {"document": [self._out, len(piece)]}  # that of the last piece stays
            self._out += len(piece)
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _document(place: Callable[[], int], document: Mapping[str, Any]) -> Iterator[bytes]:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    if len(text) > 4 * _SECTION:
        raise TooLarge("the document is too large")
    yield text.encode()


# -------------------------------------------------------------------------------------------------------------- helpers


def _warm(*things: object) -> None:
    for thing in things:
        for one in getattr(thing, "providers", (thing,)):
            if isinstance(one, Warm):
                one.warm()


def _probed(one: Probing, media: Media) -> bool:
    with media.open() as stream:
        return bool(one.probe(stream.read(HEAD), media.filename))


def _applied(
    transformations: Mapping[str, Transformation], name: str, media: Media, options: Mapping[str, Any], shop: Workshop
) -> Any:
    task = transformations.get(name)
    if task is None:
        raise Unsupported(f"no installed plugin provides the task {name}")
    return task.apply(media, {**{param.name: param.default for param in task.params}, **options}, shop)


def _content(media: Media) -> bytes:
    with media.open() as stream:
        return stream.read()


def _fitting(page: Page, last: int, work: Work) -> None:
    """Raise `Corrupt` for a page that nobody asked for, or that comes out of turn."""
    if not isinstance(page, Page):
        raise Corrupt(f"the previewer yielded {type(page).__name__}, not a Page")
    if page.number <= last or page.number not in work.pages(page.total):
        raise Corrupt(f"the previewer yielded page {page.number} of {page.total}, which nobody asked for")


def _plain(value: Any) -> Any:
    """A value as JSON would bring it back. Raises `Corrupt` for what JSON cannot carry, `TooLarge` for too much of it."""
    if not _shallow(value, _DEEP):
        raise Corrupt("the section is nested too deeply")
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Corrupt(f"the section is not JSON: {error}") from None
    if len(text) > _SECTION:
        raise TooLarge(f"a section of {len(text)} bytes")
    return json.loads(text)


def _shallow(value: Any, levels: int) -> bool:
    if isinstance(value, Mapping):
        return levels > 0 and all(_shallow(item, levels - 1) for item in value.values())
    if isinstance(value, list | tuple):
        return levels > 0 and all(_shallow(item, levels - 1) for item in value)
    return True


def _told(error: Exception) -> dict[str, str]:
    """What a result may say of a failure: the code and the public sentence of our faults, `corrupt` for all others."""
    fault = error if isinstance(error, SecureDeliveryError) else Corrupt(type(error).__name__)
    return {"code": fault.code, "message": fault.public}
