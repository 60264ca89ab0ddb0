"""What a plugin provides: small interfaces in prose and types.

Knows: plain data. Must not know: pluggy, the engine, HTTP, any library that decodes something.

Everything here is synchronous. An ability that not every provider has is a protocol of its own, asked for with
`isinstance` (`Located`, `Checked`, `Selective`, `Warm`), so that the smallest useful plugin stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias, runtime_checkable

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


@runtime_checkable
class Decoded(Protocol):
    """A `Media` that can hand over what it holds decoded, which saves an encoding and a decoding between two plugins.

    For pictures that is a `PIL.Image.Image`, upright, with every edit so far; whoever does not know the type uses `open`.
    """

    def decoded(self) -> Any: ...


@runtime_checkable
class Lengthy(Protocol):
    """A transformation that takes minutes: its URL begins a job and asks after it, and the result is a stored file.

    It stands alone in its chain. Options called `filename`, `location`, `path`, `container` and `access` say how the result is
    stored, `force` that the same URL is to begin anew; the engine reads them, the transformation need not.
    """

    @property
    def lengthy(self) -> bool: ...


@runtime_checkable
class Accompanied(Protocol):
    """A `Media` that other files belong to: the parts of a playlist. Only tasks that become jobs may give one."""

    @property
    def companions(self) -> Sequence[tuple[str, Media]]:
        """Each with the name by which the main file refers to it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """What one piece of work may cost, all bounds inclusive.

    `pixels`: width x height of any picture decoded; `animation_pixels`: of all frames together; `bytes`: of the source;
    `output_side`: pixels on either side of a result; `seconds`: wall time; `memory`: bytes of address space besides
    loaded libraries.
    """

    pixels: int = 100_000_000
    animation_pixels: int = 100_000_000
    bytes: int = 268_435_456
    output_side: int = 16_384
    seconds: float = 60.0
    cpu_seconds: int = 30
    memory: int = 2_000_000_000  # libwebp takes 16 bytes a pixel: what a legal picture of 100 megapixels needs


# ------------------------------------------------------------------------------------------------ what a worker lends


@runtime_checkable
class Workshop(Protocol):
    """What a transformation may use besides its file and its options. There is one for each chain, in a confined worker.

    * `limits`: what the work may cost.
    * `others`: the files that go with the first: the other members of a list source, then those that `references` named,
      in that order. Empty for most tasks.
    * `metadata`: the application's metadata profile: `none`, `copyright` (copyright and author survive), `no_location`
      (all but the place) or `all`. It says what of EXIF and XMP a result may carry.
    * `original`: width and height of the picture that the source stands for, when the engine handed over a smaller copy of
      it that it kept from before; else `None`.
    """

    @property
    def limits(self) -> WorkLimits: ...

    @property
    def others(self) -> Sequence[Media]: ...

    @property
    def metadata(self) -> str: ...

    @property
    def original(self) -> tuple[int, int] | None: ...

    def provides(self, detector: str) -> bool:
        """Whether an installed plugin provides this detector."""
        ...

    def detect(self, detector: str, media: Media, options: Mapping[str, Any] | None = None) -> Any:
        """Ask a detector (`faces`, `ocr`, `tags`, ...). Raises `NotProvided`, and the faults of the detector."""
        ...

    def spare(self) -> BinaryIO:
        """An empty file to write and read, for what does not fit into memory; nobody else sees it, and it is gone with the
        job. At most eight. Raises `ProcessingLimit`. The caller closes it."""
        ...

    def run(self, program: str, files: Sequence[Media] = (), choices: Mapping[str, str | int] | None = None) -> Sequence[Media]:
        """Have an external program work on files, in a confined process of its own; what it left in its output folder,
        sorted by name.

        `program` is a name from `register_programs`; `choices` fill the places of its arguments. Raises `Unsupported`
        when it is not installed (naming it), `ProcessingLimit` at its limits, `Corrupt` when it fails.
        """
        ...


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

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Transform. Runs only inside a confined worker process.

        `options` holds a value for every declared parameter, defaults filled in. Raises the faults of
        `secure_delivery.gate.errors`: `Unsupported`, `Corrupt`, `TooLarge`, `NotProvided`; anything else is reported as
        `Corrupt`.
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
class Authenticated(Protocol):
    """A transformation that needs a signed policy even where the application is open (intelligence tasks)."""

    @property
    def authenticated(self) -> bool: ...


@runtime_checkable
class Asking(Protocol):
    """A transformation that cannot work without certain detectors."""

    def asks(self, options: Mapping[str, Any]) -> Collection[str]:
        """Their names. One that no plugin provides is told before any byte is fetched (`NotProvided`); the versions of the
        others are part of the key of the result."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A transformation for some types of files only. Several plugins may offer one task, each for types of its own.

    Which of them works is decided by the type of the file when its turn comes: `accepts` holds types (`application/pdf`)
    and families (`image/*`); the most exact fits first, then rank. Options of the same name must be read the same way by all.
    """

    @property
    def accepts(self) -> tuple[str, ...]: ...


@runtime_checkable
class Gathering(Protocol):
    """A transformation that takes a list of sources: the first is its file, the rest are `shop.others`."""

    @property
    def most_sources(self) -> int: ...


@runtime_checkable
class Referring(Protocol):
    """A transformation whose options name other files (a watermark, members of a collage)."""

    def references(self, options: Mapping[str, Any]) -> Sequence[str]:
        """Those files, as sources are written in URLs: handles, `https://...`, `src://...`. They arrive in `shop.others`."""
        ...


@runtime_checkable
class Sourceless(Protocol):
    """A transformation that can begin a chain without a source; its file is then empty, of type `text/plain`."""

    @property
    def sourceless(self) -> bool: ...


@runtime_checkable
class Visiting(Protocol):
    """A transformation whose source is the address of a page, not a file: the engine checks the address and fetches nothing.

    Its file is of type `text/uri-list` and holds the address. A program that is declared with `network=True` can reach the
    page through the engine's address guard, and nothing else.
    """

    @property
    def visits(self) -> bool: ...


@runtime_checkable
class Negotiated(Protocol):
    """A transformation whose result depends on what the client accepts."""

    def negotiate(self, options: Mapping[str, Any], accept: str) -> Mapping[str, Any]:
        """The options completed by the `Accept` header (RFC 9110 section 12.5.1), as few different ones as possible: they
        are part of the name of the result. The answer says `Vary: Accept`."""
        ...


@runtime_checkable
class Scaling(Protocol):
    """A transformation of pictures that can say how much it will shrink one, so that a smaller copy can be the source."""

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        """Result by source, the larger of both directions, for an upright picture of that size; 1.0 when it leaves pixels
        to the tasks after it; `None` when it needs the original file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An external program that a plugin may have run, with its words fixed beforehand.

    * `executables`: names looked for on the PATH, the first found is used.
    * `arguments`: words; `{scratch}` is the private folder, `{inputs}` becomes one word for each input file, `{out}` the
      folder whose files come back; `{NAME}` is filled from `choices`.
    * `choices`: for each such name the values allowed: a tuple of words, or a range of numbers.
    * `suffixes`: of input files, in order, the last for the rest (`.docx`); `{suffix}` in it may be filled by a choice.
    * `environment`: variables besides a minimal set; `{scratch}` is replaced.
    * `network`: whether it may speak to the outside, which goes through the engine's address guard; `{proxy}` in an
      argument is the guard's `http://host:port`.
    * `memory`: bytes of address space, 0 for programs that reserve more than they use; `seconds`: wall time.
    * `needs`: names or paths of what the program starts itself, of which one must be there: a script needs its browser.
    * `install`: how to get all that, for `doctor`.
    """

    executables: tuple[str, ...]
    arguments: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...] | range] = field(default_factory=dict)
    suffixes: tuple[str, ...] = ("",)
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    memory: int = 0
    seconds: float = 45.0
    needs: tuple[str, ...] = ()
    install: str = ""


@runtime_checkable
class Detector(Protocol):
    """Finds or judges something in a file: the intelligence behind tasks. The answer is JSON-able; docs/plugins.md has its
    shape for every name. `version` is part of the key of results."""

    @property
    def version(self) -> str: ...

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Any:
        """Look. Runs only inside a confined worker process; raises like `Transformation.apply`."""
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
    """Keeps blobs under keys that the server made: `[a-z0-9/]`, never derived from what a client sent (but see `Placing`).

    Methods raise `StorageFull` when there is no room, `StorageRefused` when it is no use to ask again (credentials, rights, a
    bucket that is not there), and `StorageFault` for what may be better a moment later, after having tried more than once.
    """

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


@runtime_checkable
class Listed(Protocol):
    """A storage that can tell what it holds, which is how `fsck` finds bytes that no file refers to."""

    def keys(self) -> Iterator[tuple[str, int, float]]:
        """Every published blob: its key, its bytes, and when it was published (seconds since the epoch)."""
        ...


@runtime_checkable
class Placing(Protocol):
    """A storage that is the customer's own place: keys are what the customer asked for, not what the server made.

    A key is `CONTAINER/OBJECT KEY`: the container has no slash, the rest is 1 to 1,024 bytes of UTF-8 without control
    characters, dot segments and empty segments. `create`, `open` and `remove` take such keys too. Nothing is ever listed or
    read in order to write: credentials that may only write are enough for `place`.
    """

    @property
    def containers(self) -> tuple[str, ...]:
        """Containers (buckets) that files may go to; the first is the default."""
        ...

    @property
    def readable(self) -> bool:
        """Whether its owner lets us read what was written. Files can only be delivered from a storage that is."""
        ...

    def place(self, key: str, *, mimetype: str, access: Literal["private", "public"] | None = None) -> Draft:
        """Begin a blob for others to see: with its type, and with an access of its own when one is asked for."""
        ...


@runtime_checkable
class Receiving(Protocol):
    """A placing storage that results of jobs can be handed over to: others know them by their plain addresses."""

    def address(self, key: str) -> str:
        """The plain URL of an object, which opens for whoever the bucket's owner lets. Makes no request."""
        ...

    def hand_over(
        self, key: str, *, mimetype: str, access: Literal["private", "public"] | None, headers: Mapping[str, str]
    ) -> Draft:
        """Like `place`, with headers that answers are to have: `Cache-Control`, `Content-Disposition`, `Content-Language`,
        `Expires`. Those that the provider does not know are left out."""
        ...


@runtime_checkable
class Presigned(Protocol):
    """A storage that can let somebody fetch one blob for a while, without us in between."""

    def presigned_url(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A URL for `GET` that ends after so many seconds. `headers` are what its answers say: `content-type`,
        `content-disposition`, `cache-control`. Makes no request."""
        ...


@runtime_checkable
class Multipart(Protocol):
    """A storage that takes a large blob in parts, straight from whoever has them."""

    @property
    def part_sizes(self) -> tuple[int, int]:
        """Bytes of the smallest part (the last may be smaller) and of the largest."""
        ...

    def begin_parts(self, key: str, *, mimetype: str, access: Literal["private", "public"] | None = None) -> str:
        """Begin; returns the storage's own name for this upload. Raises `StorageFault`, `StorageRefused`."""
        ...

    def part_url(
        self, key: str, upload: str, number: int, *, size: int, md5: str | None, seconds: int
    ) -> tuple[str, Mapping[str, str]]:
        """Where part `number` (from 1) is `PUT`, and the headers that must go with it. `md5` is in Base64 and makes the storage
        refuse other bytes. The answer to the `PUT` has an `ETag`. Makes no request."""
        ...

    def finish_parts(self, key: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        """Make the blob of these parts (number, ETag with its quotes) visible. Raises `BadRequest` for parts that are not there
        or not what was sent, `StorageFault`, `StorageRefused`."""
        ...

    def abort_parts(self, key: str, upload: str) -> None:
        """Drop what was sent. Safe for an upload that is over."""
        ...


@runtime_checkable
class Advising(Protocol):
    """A storage that can say what has to be set up at its provider."""

    def advice(self, origins: Sequence[str] = ("*",)) -> Mapping[str, str]:
        """Texts to paste, by what they are: `policy`, the least rights that do; `cors`, what browsers need for direct uploads
        and downloads from pages of these origins."""
        ...


#: How a storage reaches its provider: host, port, seconds -> a connected TCP socket. It goes through the address guard of the
#: server; raises `PermissionError` for an address that may not be connected to, another `OSError` for what may pass. TLS and
#: its verification are the storage's own.
Dial: TypeAlias = Callable[[str, int, float], socket]


@runtime_checkable
class StorageProvider(Protocol):
    """A kind of storage that can be set up more than once: for an application, with the bucket and credentials of its owner.

    `params` are its options, as texts in the sense of `Param`; `secrets` names those that are sealed at rest and never shown.
    """

    @property
    def params(self) -> tuple[Param, ...]: ...

    @property
    def secrets(self) -> frozenset[str]: ...

    def connect(self, options: Mapping[str, Any], dial: Dial) -> Storage:
        """A storage with these options, every param bound. Makes no request; raises `ValueError`, with a sentence for whoever
        sets it up, when options do not go together."""
        ...


@runtime_checkable
class Titled(Protocol):
    """A provider that says what people call it, as "Amazon S3, and what speaks it"; others go by their short name."""

    @property
    def title(self) -> str: ...


# ---------------------------------------------------------------------------------------------------- queues, scanning


@runtime_checkable
class Queue(Protocol):
    """Tells workers that a job waits. Only the job's id travels; the job table is the truth, so a lost message is no loss."""

    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        """Say that a job waits. `cost` is its class, `light` or `heavy`, for routing; `delay` is seconds until it may begin.

        Called after the job was recorded. Raising is allowed and costs nothing but time: it is announced again later.
        """
        ...


@runtime_checkable
class Serving(Protocol):
    """A queue with workers of its own, which `secure-delivery worker` starts.

    It may have more: `takes`, the cost classes that its workers take, all without it; `describe()`, where ids come from, for
    people and without passwords; `close()`, called when the process ends.
    """

    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        """Take ids and call `run` with each, at most `concurrency` at a time, until told to stop by SIGTERM or SIGINT, then
        finish what was begun and return. `run` is thread-safe, returns when the job is over or not to be had, and never
        raises for what is wrong with a job. An id is acknowledged after `run` returned. Must not fork."""
        ...


@runtime_checkable
class Scanner(Protocol):
    """Judges an uploaded file before anyone may read it."""

    def scan(self, media: Media) -> str | None:
        """What was found, in a few words for the operator, or `None` when the file is clean.

        Raises `Busy` when it cannot judge now, `TooLarge` when it cannot judge this file; whatever it raises, the file was not
        judged.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEntry:
    """One file or folder of a cloud source. `path` is what the source is asked for it by; `size` is in bytes, `modified` in
    seconds since the epoch."""

    name: str
    path: str
    folder: bool
    size: int | None = None
    mimetype: str | None = None
    modified: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFolder:
    """A page of a folder. `after` is how the next page is asked for; `sign_in` where the user has to go first, if anywhere."""

    entries: tuple[CloudEntry, ...] = ()
    after: str | None = None
    sign_in: str | None = None


@runtime_checkable
class CloudSource(Protocol):
    """A place elsewhere whose files users pick: a drive, an album. Both methods may ask the outside; they run in a thread.

    `session` is a text of the source's own making that the user's picker keeps and shows again; "" at first.
    """

    def list(self, application: str, path: str, *, after: str | None, session: str) -> tuple[CloudFolder, str]:
        """A page of a folder, and the session from now on. Raises `NotFound`, `SourceFault`."""
        ...

    def fetch(self, application: str, path: str, into: BinaryIO, *, max_bytes: int, session: str) -> tuple[str, str]:
        """Write a file into `into`; returns its name and the type that the source declares. Raises `NotFound`, `TooLarge`,
        `SourceFault`."""
        ...


# -------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a file of an application: `name` as in webhooks (`fp.upload`), plain data beside it."""

    name: str
    application: str
    data: Mapping[str, Any] = field(default_factory=dict)
