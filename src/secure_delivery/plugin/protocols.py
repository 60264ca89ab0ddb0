"""What a plugin provides: small interfaces in prose and types.

Knows: plain data. Must not know: pluggy, the engine, HTTP, any library that decodes something.

Everything here is synchronous. An ability that not every provider has is a protocol of its own, asked for with
`isinstance` (`Located`, `Checked`, `Demanding`, `Warm`), so that the smallest useful plugin stays small.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from .params import Param

Settings = Mapping[str, Any]
"""The plugin's own section of the settings file (`[plugins.NAME]`), empty when there is none."""


# -------------------------------------------------------------------------------------------------------------- media


@runtime_checkable
class Media(Protocol):
    """What flows through transformations and previewers: one file, wherever its bytes are.

    A plugin may hand on a `Media` of its own that keeps the decoded form; it is encoded once, when `open` is called at the
    end of the chain. `size` is bytes, or `None` while nothing is encoded yet.
    """

    @property
    def mimetype(self) -> str: ...

    @property
    def filename(self) -> str: ...

    @property
    def size(self) -> int | None: ...

    def open(self) -> BinaryIO:
        """A new readable, seekable stream of the bytes, at their start. The caller closes it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """What one piece of work may cost, all bounds inclusive.

    `pixels`: width x height of any picture decoded, and of all frames together; `bytes`: of the source; `output_side`:
    pixels on either side of a result; `seconds`: wall time; `memory`: bytes of address space.
    """

    pixels: int = 100_000_000
    bytes: int = 268_435_456
    output_side: int = 16_384
    seconds: float = 60.0
    cpu_seconds: int = 30
    memory: int = 2_000_000_000  # libwebp takes 16 bytes a pixel: what a legal picture of 100 megapixels needs


# ----------------------------------------------------------------------------------------------------- transformations


@runtime_checkable
class Transformation(Protocol):
    """The code behind one task of a transformation URL.

    `params` are declared so that the engine binds and refuses values before any byte is fetched. `version` is part of the
    key under which results are kept: change it when the same options give other pixels.
    """

    @property
    def params(self) -> tuple[Param, ...]: ...

    @property
    def version(self) -> str: ...

    def apply(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Media:
        """Transform. Runs only inside a confined worker process.

        `options` holds a value for every declared parameter, defaults filled in. Raises the faults of
        `secure_delivery.gate.errors`: `Unsupported`, `Corrupt`, `TooLarge`; anything else is reported as `Corrupt`.
        """
        ...


@runtime_checkable
class Checked(Protocol):
    """A transformation whose parameters depend on each other."""

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise `ValueError` with a sentence for the client when bound options do not go together."""
        ...


@runtime_checkable
class Demanding(Protocol):
    """A transformation that hands out more than converting covers."""

    def demands(self, options: Mapping[str, Any]) -> Collection[str]:
        """The calls, by their policy names, that a request must be granted besides `convert` (`exif`, say)."""
        ...


@runtime_checkable
class Warm(Protocol):
    """A provider with something slow to import; called once when a worker process starts, before any work."""

    def warm(self) -> None: ...


# ------------------------------------------------------------------------------------------------------------ storages


class Draft(Protocol):
    """A blob being written. Nothing of it is visible until `publish` returned; `discard` leaves nothing behind."""

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageFault`; the draft is then only good for `discard`."""
        ...

    def publish(self) -> None:
        """Make the whole blob visible under its key, durably: after a crash it is there whole, or not at all."""
        ...

    def discard(self) -> None:
        """Give up what was written. Safe to call at any moment, more than once, and after `publish` (then no effect)."""
        ...


@runtime_checkable
class Storage(Protocol):
    """Keeps blobs under keys that the server made: `[a-z0-9/]`, never derived from what a client sent."""

    def create(self, key: str, *, mimetype: str) -> Draft:
        """Begin a blob. A key is used once; publishing over an existing one replaces it for new readers only."""
        ...

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A stream of the blob from byte `start`, of at most `length` bytes. Raises `NotFound`, `StorageFault`.

        A reader that has opened a blob reads that version to its end, whatever happens to the key meanwhile.
        """
        ...

    def remove(self, key: str) -> None:
        """Delete. A key that is not there is not a fault: removing twice must be safe."""
        ...


@runtime_checkable
class Located(Protocol):
    """A storage whose blobs are files on this machine."""

    def locate(self, key: str) -> Path:
        """The file that holds a blob. Raises `NotFound`."""
        ...


@runtime_checkable
class Swept(Protocol):
    """A storage that a crash can leave unfinished drafts in."""

    def sweep(self, older_than: float) -> int:
        """Remove drafts abandoned more than so many seconds ago, never one still being written; returns how many."""
        ...


# --------------------------------------------------------------------------------- previews, metadata, queues, scanning


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a previewer or extractor depends on besides Python: external programs, network (none unless said)."""

    programs: tuple[str, ...] = ()
    network: bool = False


@runtime_checkable
class Previewer(Protocol):
    """Makes page pictures of one family of files. The highest `priority` is tried first, the next when it fails."""

    @property
    def mimetypes(self) -> tuple[str, ...]: ...

    @property
    def extensions(self) -> tuple[str, ...]: ...

    @property
    def priority(self) -> int: ...

    @property
    def needs(self) -> Needs: ...

    def preview(self, work: Work) -> Any:
        """Yield one `Media` per wanted page, as soon as each is ready."""
        ...


@runtime_checkable
class Extractor(Protocol):
    """Reads one named section of metadata, JSON-able. One that fails is reported in the result and fails nothing else."""

    @property
    def section(self) -> str: ...

    def extract(self, media: Media) -> Mapping[str, Any]: ...


@runtime_checkable
class Queue(Protocol):
    """Tells workers that a job waits. Only the job's id travels; the job table is the truth, so a lost message is no loss."""

    def announce(self, job_id: str) -> None: ...


@runtime_checkable
class Scanner(Protocol):
    """Judges an uploaded file before anyone may read it."""

    def scan(self, media: Media) -> str | None:
        """What was found, in a few words for the operator, or `None` when the file is clean."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One piece of preview work: the file, the pages wanted (from 1), a size hint in pixels, limits, a private folder."""

    media: Media
    pages: tuple[int, ...]
    size: tuple[int, int] | None
    limits: WorkLimits
    scratch: Path


# -------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a file of an application: `name` as in webhooks (`fp.upload`), plain data beside it."""

    name: str
    application: str
    data: Mapping[str, Any] = field(default_factory=dict)
