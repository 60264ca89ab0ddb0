"""Previews of one file: the first previewer that can, then the next, then a stand-in; and sections of metadata beside them.

Knows: previewers and extractors by what they declare, the sandbox. Must not know: jobs, where results go, HTTP.

Nothing is decoded here. Each previewer runs in a confined child of its own; what it wrote is read as a stranger's
(`page_results`). Pictures stay where the child wrote them, in files of the caller's scratch folder, until they are sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..gate.errors import (
    Busy,
    Encrypted,
    Overloaded,
    SecureDeliveryError,
    StorageFault,
    StorageFull,
    Unsupported,
)
from ..gate.model import Application
from ..plugin.manager import Registry
from ..plugin.previewing import PageRange, PageReading
from . import matching, page_results, page_work
from .outbound import OutboundGuard
from .page_results import Attachment, Drawn
from .preview_order import PreviewOrder, Size
from .proxy import GuardProxy
from .sandbox import Chain, ChainSource, Sandbox

#: Faults that say nothing about the file: trying another previewer would hide that the machine is ill.
_OURS = (Busy, Overloaded, StorageFault, StorageFull)
PREVIEWER = "previewer"  # among the options of an order, those for whoever draws
ALL = "all"  # every section that fits the file (FilePreviews API v1)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """The file to be previewed, in the scratch folder. `address` is where it was fetched from, if it was."""

    path: Path
    mimetype: str
    filename: str
    size: int
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that was made: bytes `offset` to `offset + length` of the file `path`."""

    path: Path
    offset: int
    length: int
    page: int
    size: Size
    width: int
    height: int
    original: tuple[int, int]

    def read(self) -> Iterator[bytes]:
        """Its bytes, in pieces."""
        return span(self.path, self.offset, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A picture that belongs to a section. `token` stands in the section where the address is to be."""

    path: Path
    offset: int
    length: int
    token: str
    name: str

    def read(self) -> Iterator[bytes]:
        """Its bytes, in pieces."""
        return span(self.path, self.offset, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """All that was made of a file. `previewer` is the name of the one that made the pictures; `faults` says why those before it
    did not, `problems` why a section is missing."""

    previewer: str
    total: int
    format: str
    pictures: tuple[Picture, ...]
    attached: tuple[Attached, ...]
    sections: Mapping[str, Any] = field(repr=False)
    faults: tuple[Mapping[str, str], ...] = ()
    problems: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Previews:
    """Makes previews. Thread-safe; as many at a time as the sandbox has places."""

    def __init__(self, registry: Registry, sandbox: Sandbox, guard: OutboundGuard | None) -> None:
        self._registry = registry
        self._sandbox = sandbox
        self._guard = guard

    def make(
        self,
        application: Application,
        file: LocalFile,
        order: PreviewOrder,
        scratch: Path,
        *,
        profile: str | None = None,
        progress: Progress = lambda _: None,
    ) -> Previewed:
        """Draw the wanted pages of a file and read the wanted sections.

        `profile` is the privacy profile for sections, that of the application where it is left out. Raises `Unsupported` when
        not even a stand-in could be drawn, `Overloaded`, `Busy`, `StorageFull` for what is no fault of the file.
        """
        readers = [name for name in self.wanted(order, file) if self._reads_pages(name)]
        faults: list[Mapping[str, str]] = []
        drawn, previewer, output = self._drawn(application, file, order, scratch, readers, faults, progress)
        sizes = {size.name: size for size in order.sizes}
        pictures = tuple(
            Picture(
                path=output,
                offset=piece.offset,
                length=piece.length,
                page=piece.page,
                size=sizes[piece.size],
                width=piece.width,
                height=piece.height,
                original=drawn.pages[piece.page],
            )
            for piece in drawn.pieces
        )
        sections: dict[str, Any] = {}
        problems: dict[str, Mapping[str, str]] = dict(drawn.faults)
        attached: list[Attached] = []
        for name in self._asked(order, file):
            if name in drawn.sections:
                sections[name] = drawn.sections[name] or None
                continue
            progress(name)
            sections[name] = self._section(application, file, order, scratch, name, profile, problems, attached)
        return Previewed(
            previewer=previewer,
            total=drawn.total,
            format=order.format,
            pictures=pictures,
            attached=tuple(attached),
            sections=sections,
            faults=tuple(faults),
            problems=problems,
        )

    # -- sections

    def _asked(self, order: PreviewOrder, file: LocalFile) -> list[str]:
        """The sections of the result, in the order asked for."""
        if ALL not in order.metadata:
            return list(order.metadata)
        rest = [name for name in self._registry.extractors if name not in order.metadata and self._fits(name, file)]
        return [*(name for name in order.metadata if name != ALL), *rest]

    def wanted(self, order: PreviewOrder, file: LocalFile) -> list[str]:
        """Those of them that somebody can fill for this file."""
        return [name for name in self._asked(order, file) if name in self._registry.extractors and self._fits(name, file)]

    def _fits(self, name: str, file: LocalFile) -> bool:
        return matching.fits(self._registry.extractors[name], file.mimetype, file.filename)

    def _reads_pages(self, name: str) -> bool:
        return isinstance(self._registry.extractors[name], PageReading)

    def _section(
        self,
        application: Application,
        file: LocalFile,
        order: PreviewOrder,
        scratch: Path,
        name: str,
        profile: str | None,
        problems: dict[str, Mapping[str, str]],
        attached: list[Attached],
    ) -> Any:
        """One section, None where there is nothing to say; what went wrong goes into `problems`."""
        extractor = self._registry.extractors.get(name)
        if extractor is None or not self._fits(name, file):
            return None
        task = (
            page_work.EXTRACT + name,
            {"options": dict(order.options.get(name, {})), "pages": order.pages, "address": file.address},
        )
        output = scratch / f"section-{name}.bin"
        try:
            matching.check(extractor.needs, self._registry.programs, memory=self._sandbox.memory)
            with self._run(application, file, task, output, profile, network=extractor.needs.network) as (written, extra):
                value, found = page_results.read_section(written, extra)
        except _OURS:
            raise
        except SecureDeliveryError as fault:
            problems[name] = {"code": fault.code, "message": fault.public}
            return None
        attached += [_attached(output, one) for one in found]
        return value

    # -- pictures

    def _drawn(
        self,
        application: Application,
        file: LocalFile,
        order: PreviewOrder,
        scratch: Path,
        readers: Sequence[str],
        faults: list[Mapping[str, str]],
        progress: Progress,
    ) -> tuple[Drawn, str, Path]:
        """What the first previewer that could drew, its name, and the file it is in. Why others could not is added to
        `faults`. After a file that only its password opens, only stand-ins are tried."""
        locked = False
        for name in matching.previewers_for(self._registry, file.mimetype, file.filename):
            if locked and self._registry.previewers[name].priority >= 0:
                continue
            progress(name)
            output = scratch / f"pages-{name}.bin"
            for given in [list(readers), []] if readers else [[]]:
                try:
                    return self._try(application, file, order, name, given, output), name, output
                except _OURS:
                    raise
                except SecureDeliveryError as fault:
                    output.unlink(missing_ok=True)
                    faults.append({"previewer": name, "code": fault.code, "message": fault.public})
                    locked = locked or isinstance(fault, Encrypted)
                    if isinstance(fault, Unsupported) or not given:
                        break  # once more without readers only after it ended badly: they may be to blame
                    faults.pop()
        raise Unsupported(f"no previewer for {file.mimetype}", public="No installed plugin can preview this kind of file.")

    def _try(
        self,
        application: Application,
        file: LocalFile,
        order: PreviewOrder,
        name: str,
        readers: Sequence[str],
        output: Path,
    ) -> Drawn:
        previewer = self._registry.previewers[name]
        matching.check(previewer.needs, self._registry.programs, memory=self._sandbox.memory)
        options = {
            "pages": order.pages,
            "sizes": [[size.width, size.height, size.shrink, size.name] for size in order.sizes],
            "format": "jpg" if order.format == "jpeg" else order.format,
            "hint": _legible(hint(order.sizes), [self._registry.extractors[one] for one in readers]),
            "address": file.address,
            "most_pages": application.limits.max_pages,
            "readers": list(readers),
            "options": dict(order.options.get(PREVIEWER, {})),
        }
        task = (page_work.PREVIEW + name, options)
        with self._run(application, file, task, output, None, network=previewer.needs.network) as (written, extra):
            names = [size.name for size in order.sizes]
            wanted = PageRange.parse(order.pages)
            drawn = page_results.read_drawn(
                written,
                extra,
                names=names,
                readers=readers,
                wanted=lambda total: wanted.of(total, application.limits.max_pages),
            )
        if not drawn.pieces and order.pages == "1":
            raise Unsupported("it drew nothing")
        return drawn

    @contextmanager
    def _run(
        self,
        application: Application,
        file: LocalFile,
        task: tuple[str, Mapping[str, Any]],
        output: Path,
        profile: str | None,
        *,
        network: bool,
    ) -> Iterator[tuple[BinaryIO, Mapping[str, Any]]]:
        limits = application.limits
        with (
            file.path.open("rb") as source,
            open(output, "w+b", opener=private) as written,
            self._way_out(network and file.address is not None, limits.max_bytes) as port,
        ):
            outcome = self._sandbox.run(
                Chain(
                    tasks=(task,),
                    sources=[ChainSource(source.fileno(), file.mimetype, file.filename)],
                    output=written.fileno(),
                    application=application.api_key,
                    max_bytes=limits.max_bytes,
                    max_pixels=limits.max_pixels,
                    max_animation_pixels=limits.max_animation_pixels,
                    metadata=profile or application.metadata_profile,
                    proxy_port=port,
                )
            )
            yield written, outcome.extra

    @contextmanager
    def _way_out(self, wanted: bool, budget: int) -> Iterator[int | None]:
        """The port by which a page may be visited: for what asked for it, and only for files that came from outside."""
        if not wanted or self._guard is None:
            yield None
            return
        with GuardProxy(self._guard, budget_bytes=budget, seconds=self._sandbox.seconds) as proxy:
            yield proxy.port


def hint(sizes: Sequence[Size]) -> tuple[int, int] | None:
    """The smallest box that holds every size: what a previewer should draw. None when the original size is wanted."""
    if any(not size.width and not size.height for size in sizes):
        return None
    widths, heights = [size.width for size in sizes], [size.height for size in sizes]
    if 0 in widths and 0 in heights:  # one size leaves the width free and another the height: no box holds both
        side = 2 * max(*widths, *heights)
        return side, side
    return 0 if 0 in widths else max(widths), 0 if 0 in heights else max(heights)


def _legible(box: tuple[int, int] | None, readers: Sequence[object]) -> tuple[int, int] | None:
    """The box, large enough for those who are to read the page: a thumbnail's letters say nothing."""
    side = max([int(getattr(reader, "page_side", 0)) for reader in readers], default=0)
    if box is None or not side:
        return box
    return (max(box[0], side) if box[0] else 0, max(box[1], side) if box[1] else 0)


def _attached(path: Path, one: Attachment) -> Attached:
    return Attached(path=path, offset=one.offset, length=one.length, token=one.token, name=one.name)


def private(path: str, flags: int) -> int:
    """An opener of files that are for this user alone, and are no links."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def span(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """The bytes of a part of a file, in pieces."""
    with path.open("rb") as stream:
        stream.seek(offset)
        while length > 0 and (piece := stream.read(min(length, 1 << 20))):
            length -= len(piece)
            yield piece
