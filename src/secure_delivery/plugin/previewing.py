"""What previewers and extractors are: pages as pictures, and named sections of metadata.

Knows: the contract, the grammar of page ranges. Must not know: pluggy, the engine, any library that decodes something.

Both run only in confined worker processes: they get descriptors and open nothing else, see no network, start nothing. What
they may have done for them (programs, detectors, spare files) is the `Workshop` of their `Work`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ..gate.errors import BadRequest
from .protocols import Media, WorkLimits, Workshop

_PART = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_MOST_PARTS = 200  # of one range


@dataclass(frozen=True, slots=True)
class PageRange:
    """Which pages are wanted, counted from 1: `1`, `1-3`, `1,3,5`, `all` (FilePreviews API v2, `pages`).

    `spans` are first and last of each part, both inclusive; None in place of the last means the end of the file.
    """

    spans: tuple[tuple[int, int | None], ...] = ((1, 1),)

    @classmethod
    def parse(cls, text: str) -> PageRange:
        """Read a range. Raises `BadRequest` for anything else: zero, a span that runs backwards, words other than `all`."""
        if text.strip().lower() == "all":
            return cls(((1, None),))
        parts = text.split(",")
        if len(parts) > _MOST_PARTS:
            raise BadRequest(public=f"pages: at most {_MOST_PARTS} parts are allowed.")
        spans = []
        for part in parts:
            match = _PART.fullmatch(part.strip())
            first, last = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
            if not 1 <= first <= last:
                raise BadRequest(public="pages: a number, a span (1-3), a list (1,3,5) or all is wanted.")
            spans.append((first, last))
        return cls(tuple(spans))

    def __str__(self) -> str:
        if self.spans == ((1, None),):
            return "all"
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.spans)

    def of(self, total: int, most: int) -> tuple[int, ...]:
        """The wanted pages of a file that has `total`, each once, in order, the first `most` of them. May be empty.

        Takes time by what comes out, not by what was asked for: a range may name millions of pages two hundred times.
        """
        found: list[int] = []
        reached = 0
        for first, last in sorted(self.spans, key=lambda span: span[0]):
            start = max(first, reached + 1)
            end = min(total if last is None else min(last, total), start + most - len(found) - 1)
            found.extend(range(start, end + 1))
            reached = max(reached, end)
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a previewer or extractor depends on besides this process.

    * `programs`: names from `register_programs`, without all of which it is not tried;
    * `network`: whether its programs may visit the file's address through the address guard; nothing else ever leaves;
    * `libraries`: distributions on PyPI that must be installed, for the list of what is missing;
    * `memory`: bytes it needs at the least; where a job may use less, it is not tried;
    * `install`: the command that brings what is missing.
    """

    programs: tuple[str, ...] = ()
    network: bool = False
    libraries: tuple[str, ...] = ()
    memory: int = 0
    install: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A picture of one page. `number` counts from 1; `total` is how many pages the file has.

    `media` may be a picture that is still decoded (`Decoded`); it is scaled and encoded by the engine, once for each size.
    """

    number: int
    media: Media
    total: int = 1


def _nowhere(media: Media, name: str) -> str:
    raise NotImplementedError("nothing can be attached here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One piece of work for a previewer or extractor.

    * `media`: the file. `address`: where it was fetched from, for what visits pages; None for files that were handed in.
    * `wanted`: the pages; ask `pages(total)`.
    * `size`: width and height in pixels of the largest picture that will be made of a page, either of them 0 where it is
      free; None when the page's own size is wanted. A hint: a page may be drawn larger, at the cost of time.
    * `shop`: programs, detectors, spare files, limits, the application's metadata profile.
    * `options`: of this extractor, as the request named them (`{"algorithms": ["sha256"]}`); empty for most.
    """

    media: Media
    shop: Workshop
    wanted: PageRange = PageRange()
    size: tuple[int, int] | None = None
    address: str | None = None
    most_pages: int = 100
    options: Mapping[str, Any] = field(default_factory=dict)
    attacher: Callable[[Media, str], str] = field(default=_nowhere, repr=False)

    @property
    def limits(self) -> WorkLimits:
        return self.shop.limits

    def pages(self, total: int) -> Sequence[int]:
        """The numbers of the wanted pages that a file of `total` pages has, in order, from 1."""
        return self.wanted.of(total, self.most_pages)

    def attach(self, media: Media, name: str) -> str:
        """Have a picture uploaded beside the others (a layer, an artboard) under a name of its own; for extractors.

        Returns a text to put into the section: in the result it is the address of that picture.
        """
        return self.attacher(media, name)


@runtime_checkable
class Previewer(Protocol):
    """Makes pictures of the pages of one family of files.

    * `mimetypes`: types it is for, exactly or by family (`image/*`, `*/*`); `extensions`: without dot, lower case, for files
      whose content says too little (`application/octet-stream`, `text/plain`, `application/zip`).
    * `priority`: the highest is tried first, the next when it fails. 50 for the best way to see a file, 30 for a quick
      look (a thumbnail kept inside), below 0 for stand-ins. Rank in the settings goes before priority.
    * `family`: the row of the table of families it belongs to (`picture`, `document`, `audio`, ...).
    """

    @property
    def mimetypes(self) -> tuple[str, ...]: ...

    @property
    def extensions(self) -> tuple[str, ...]: ...

    @property
    def priority(self) -> int: ...

    @property
    def family(self) -> str: ...

    @property
    def needs(self) -> Needs: ...

    def preview(self, work: Work) -> Iterator[Page]:
        """Yield a `Page` for each wanted page as soon as it is ready; only the last one is kept in memory.

        Runs only in a confined worker process. Raises `Unsupported` (not for this file: the next previewer is tried),
        `Encrypted`, `Corrupt`, `TooLarge`, `ProcessingLimit`, `MissingDependency`; anything else is reported as `Corrupt`.
        """
        ...


@runtime_checkable
class Probing(Protocol):
    """A previewer or extractor that can tell cheaply whether a file is for it."""

    def probe(self, head: bytes, filename: str) -> bool:
        """Look at the first 4,096 bytes. False: it is not tried. Runs in a confined worker process, too."""
        ...


@runtime_checkable
class Extractor(Protocol):
    """Reads one named section of metadata. One that fails is reported in the result and fails nothing else.

    * `section`: its key in the result, and what requests call it.
    * `call`: what the data is in terms of policies: `stat` for facts about a file, `exif` for what tells about people
      (places, cameras, authors, contents).
    * `schema`: JSON Schema (2020-12) of a section, published by the API and checked by the conformance suite.
    * `mimetypes`, `extensions`: as of a `Previewer`. For other files the section is null.
    """

    @property
    def section(self) -> str: ...

    @property
    def call(self) -> str: ...

    @property
    def schema(self) -> Mapping[str, Any]: ...

    @property
    def mimetypes(self) -> tuple[str, ...]: ...

    @property
    def extensions(self) -> tuple[str, ...]: ...

    @property
    def needs(self) -> Needs: ...

    def extract(self, work: Work) -> Any:
        """The section, as JSON values; None when this file has nothing of the kind. Raises like `Previewer.preview`."""
        ...


@runtime_checkable
class PageReading(Protocol):
    """An extractor that reads pictures of pages, whoever draws them (text recognition).

    Its section is a list with what `read` said of each wanted page, each with `page`; `extract` is called for files of which
    no previewer could draw a page. An attribute `page_side`, if there is one, says how many pixels the sides of a page should
    have at the least: pages are drawn that large even where only thumbnails are wanted.
    """

    def read(self, page: Page, work: Work) -> Mapping[str, Any]:
        """What a page has to say, without `page`. Raises like `Previewer.preview`."""
        ...
