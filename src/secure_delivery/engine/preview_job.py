"""The job of a preview: fetch, draw and read, hand over, tell.

Knows: the order of the work, each part by its interface. Must not know: leases, folders, queues, HTTP.

The database gets name, size, type and statistics of the file, and where results are; never a section, because sections hold
content. Those are in the JSON file at the customer's, in the webhook that waits sealed, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest
from ..gate.model import Application
from ..gate.policy import Call
from .files import Files
from .handover import Handover, Names, Put, read_result
from .job_records import Job
from .job_run import Done, Held
from .job_source import Applications, JobSources
from .matching import extension
from .outbound import read_url
from .page_results import replaced
from .preview_object import Address, preview_object
from .preview_order import FieldError, PreviewOrder
from .previews import LocalFile, Picture, Previewed, Previews

KIND = "preview"
EVENT = "fp.preview"
METADATA = "metadata.json"
FIRST_TRY = 30.0  # seconds for which the job's own worker is the one who delivers
MOST_METADATA = 32 << 20  # bytes that are read back of the sections of one job

_MIMETYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}
_TEXTS = ("text/", "application/json", "application/xml", "application/javascript", "image/svg+xml", "message/")
#: Extensions whose files take seconds: queues may route them to workers of their own.
_HEAVY = frozenset(
    (
        *(
            "doc",
            "docx",
            "xls",
            "xlsx",
            "ppt",
            "pptx",
            "odt",
            "ods",
            "odp",
            "odg",
            "rtf",
            "pages",
            "numbers",
            "key",
            "vsd",
            "pub",
        ),
        *("mp4", "mov", "mkv", "avi", "webm", "wmv", "mpg", "mpeg", "m4v", "flv", "3gp"),
        *("psd", "psb", "ai", "cr2", "nef", "arw", "dng", "raf", "orf"),
        *("html", "htm", "php", "asp", "aspx"),
    )
)


class Recording(Protocol):
    """Where webhooks are written down."""

    def record(
        self,
        connection: Connection,
        *,
        application: str,
        event: str,
        body: bytes,
        job: str | None = None,
        callback_url: str | None = None,
        event_id: str | None = None,
        hold: float = 0.0,
    ) -> Sequence[str]: ...


class PreviewWorker:
    """Does the jobs of previews. Thread-safe."""

    scratch = True

    def __init__(
        self,
        applications: Applications,
        sources: JobSources,
        files: Files,
        previews: Previews,
        webhooks: Recording,
        *,
        base: str,
        clock: Callable[[], float],
        link_seconds: int,
    ) -> None:
        self._applications = applications
        self._sources = sources
        self._files = files
        self._previews = previews
        self._webhooks = webhooks
        self._base = base
        self._clock = clock
        self._link_seconds = link_seconds

    # -- the work

    def work(self, held: Held) -> Done:
        order = PreviewOrder.restored(held.request)
        trusted = bool(held.request.get("trusted", True))
        application = self._sources.owner(held)
        began = time.monotonic()
        file = self._fetched(held, application, order)
        held.step("downloaded")
        fetched = time.monotonic()
        previewed = self._previews.make(application, file, order, held.folder, profile="all" if trusted else None)
        for path in sorted(held.folder.glob("*.bin")):
            held.note("file written", path.name, path.stat().st_size)
        held.step("generated")
        drawn = time.monotonic()
        result, sections = self._handed_over(held, application, order, file, previewed)
        result["trusted"] = trusted
        held.step("uploaded")
        result["seconds"] = {
            "download": round(fetched - began, 3),
            "generate": round(drawn - fetched, 3),
            "upload": round(time.monotonic() - drawn, 3),
        }
        return Done(result=result, told=sections)

    def _fetched(self, held: Held, application: Application, order: PreviewOrder) -> LocalFile:
        """The file, in the job's folder."""
        if order.handle is not None:
            return self._sources.stored(held, order.handle, "source", owner=application.api_key)
        url, headers = without_credentials(order.url)
        return self._sources.fetched(held, application, url, "source", headers=headers)

    def _handed_over(
        self, held: Held, application: Application, order: PreviewOrder, file: LocalFile, made: Previewed
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """Send every picture, then the sections; what is recorded, and the sections with addresses in them."""
        handover = Handover(
            self._files,
            application,
            held.job.id,
            destination=order.destination,
            place=order.storage,
            access=order.access,
            headers=order.headers,
            check=held.check,
        )
        names = Names(file.filename.rpartition(".")[0] if extension(file.filename) else file.filename, METADATA)
        address = self.address(application, order.base)
        thumbnails = []
        for picture in made.pictures:
            name = names.of(f"{picture.size.name}-{picture.page}.{made.format}")
            put = self._put(held, handover, name, _MIMETYPES[made.format], picture)
            thumbnails.append(_thumbnail(picture, put))
        addresses = {}
        for one in made.attached:
            put = self._put(held, handover, names.of(one.name), "image/png", one)
            addresses[one.token] = address(put.plain()) or ""
        sections = replaced(dict(made.sections), addresses)
        result: dict[str, Any] = {
            "original": described(file, made.total),
            "thumbnails": thumbnails,
            "previewer": made.previewer,
            "faults": [dict(fault) for fault in made.faults],
            "sections": list(made.sections),
            "problems": {name: dict(problem) for name, problem in made.problems.items()},
            "metadata": None,
        }
        if made.sections:
            text = json.dumps({"original_file": {**result["original"], "metadata": sections}}, ensure_ascii=False)
            put = handover.put(METADATA, "application/json", [text.encode("utf-8", "replace")])
            held.note("sent", f"{put.storage}: {METADATA}", put.size)
            result["metadata"] = put.plain()
        return result, sections

    def _put(self, held: Held, handover: Handover, name: str, mimetype: str, picture: Any) -> Put:
        put = handover.put(name, mimetype, picture.read())
        held.note("sent", f"{put.storage}: {name}", put.size)
        return put

    # -- telling

    def report(self, connection: Connection, job: Job, request: Mapping[str, Any], told: Any) -> Sequence[str]:
        application = self._applications.application(job.application)
        if application is None:
            return ()
        base = str(request.get("base") or self._base)
        body = preview_object(job, base=base, address=self.address(application, base), metadata=told)
        return self._webhooks.record(
            connection,
            application=job.application,
            event=EVENT,
            body=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
            job=job.id,
            callback_url=request.get("callback_url"),
            hold=FIRST_TRY,
        )

    def shown(self, application: Application, job: Job, base: str, *, trusted: bool = True) -> dict[str, Any]:
        """The preview object of a job, with the sections read back from where they are, if their owner lets us.

        Who is not `trusted` is told sections of jobs like their own alone: others say all that a file does.
        """
        metadata = None
        if job.result is not None and not trusted and job.result.get("trusted", True):
            job = replace(job, result={**job.result, "metadata": None})
        elif job.state == "success" and job.result is not None:
            metadata = self.sections(job)
        return preview_object(job, base=base, address=self.address(application, base), metadata=metadata)

    def rebuilt(self, api_key: str, job: Job) -> bytes | None:
        """The body of the webhook once more; None when the application is gone."""
        application = self._applications.application(api_key)
        if application is None:
            return None
        return json.dumps(self.shown(application, job, self._base), ensure_ascii=False).encode("utf-8", "replace")

    def sections(self, job: Job) -> Mapping[str, Any] | None:
        """The sections of a job; None where they cannot be read any more, an empty mapping where none were asked for."""
        result = job.result or {}
        if not result.get("sections"):
            return {}
        if result.get("metadata") is None:
            return None
        data = read_result(self._files, result["metadata"], MOST_METADATA)
        try:
            return None if data is None else dict(json.loads(data)["original_file"]["metadata"])
        except (ValueError, LookupError, TypeError):
            return None

    def address(self, application: Application, base: str) -> Address:
        """Addresses of results. Those that this server keeps are signed where the application asks policies of deliveries."""

        def of(put: Mapping[str, Any]) -> str | None:
            handle = put.get("handle")
            if not handle:
                return put.get("url")
            url = f"{base}/{handle}"
            if not application.requires("delivery"):
                return url
            signed = application.sign(
                expires_in=self._link_seconds, now=self._clock(), round_to=3600, call=Call.READ, handle=handle
            )
            return f"{url}?{signed.as_query()}"

        return of


def cost_of(order: PreviewOrder) -> str:
    """Whether a job is likely to take seconds, told by the name in the address."""
    name = unquote(urlsplit(order.url).path).rpartition("/")[2]
    known = extension(name)
    return "heavy" if known in _HEAVY or (not known and order.handle is None) or "ocr" in order.metadata else "light"


def without_credentials(url: str) -> tuple[str, dict[str, str]]:
    """A URL without the name and password in it, and the header that says them (RFC 7617): they are for the origin alone.

    Raises `BadRequest` for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadRequest("no URL", public="The URL of the source is not a plain http or https URL.") from None
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    name, _, password = userinfo.partition(":")
    token = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {token}"}


def check_source(url: str) -> None:
    """Raise `FieldError` for an address that cannot be fetched, with or without a name and a password in it."""
    try:
        read_url(without_credentials(url)[0])
    except BadRequest as fault:
        raise FieldError("url", fault.public) from None


def described(file: LocalFile, total: int) -> dict[str, Any]:
    """`original_file` without its sections."""
    ending = extension(file.filename)
    return {
        "name": file.filename[: -len(ending) - 1] if ending else file.filename,
        "extension": ending,
        "mimetype": file.mimetype,
        "type": file.mimetype.partition("/")[0],
        "encoding": encoding(file),
        "size": file.size,
        "total_pages": total,
    }


def encoding(file: LocalFile) -> str:
    """`binary`, or the character set of a text as far as its first 64 KiB tell."""
    if not file.mimetype.startswith(_TEXTS):
        return "binary"
    with file.path.open("rb") as stream:
        head = stream.read(65_536)
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be")):
        if head.startswith(mark):
            return name
    if head.isascii():
        return "us-ascii"
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A letter that the end of the head cuts in two is no reason against it.
        return "utf-8" if error.start >= len(head) - 3 and len(head) == 65_536 else "iso-8859-1"
    return "utf-8"


def _thumbnail(picture: Picture, put: Put) -> dict[str, Any]:
    return {
        "put": put.plain(),
        "page": picture.page,
        "requested_size": picture.size.name,
        "resized": (picture.width, picture.height) != picture.original,
        "size": [picture.width, picture.height],
        "original_size": list(picture.original),
    }
