"""The job of a lengthy transformation: fetch, convert, store, make thumbnails, tell.

Knows: the order of the work, each part by its interface; the words of `video_convert` (Filestack documentation, video
processing). Must not know: leases, folders, queues, HTTP, how anything is converted.

The result is a file of the application, like any that was uploaded; only what a thumbnail or the answer needs is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest, NotFound, SecureDeliveryError, StorageFault
from ..gate.model import Application
from ..gate.policy import Policy
from . import page_results, page_work
from .files import Files, Target
from .handover import derived_handle
from .job_records import Job
from .job_run import Done, Held
from .job_source import JobSources
from .matching import extension
from .names import clean_name
from .page_results import MadeFile
from .preview_job import FIRST_TRY, Recording
from .preview_order import PreviewOrder, Size
from .previews import PREVIEWER, LocalFile, Previews, private, span
from .sandbox import Chain, ChainSource, Sandbox

KIND = "conversion"
EVENT = "fp.video_converse"
#: Thumbnails by the name that answers give them.
THUMBNAILS: Mapping[str, Size] = {
    "thumb": Size(),
    "thumb100x100": Size(width=100, height=100, name="100x100"),
    "thumb200x200": Size(width=200, height=200, name="200x200"),
}
_STATUS = {"waiting": "pending", "queued": "pending", "started": "started", "success": "completed"}
_PLAYLIST = "application/vnd.apple.mpegurl"
_MOST_PLAYLIST = 4 << 20  # bytes
_MOST_STREAMS = 100
_WORD = re.compile(r"[A-Za-z0-9 _.,:()/+-]{1,40}")


class Enveloping(Recording, Protocol):
    """Where webhooks with an envelope are written down."""

    def enveloped(self, event: str, text: dict[str, object]) -> tuple[bytes, str]: ...


class ConversionWorker:
    """Does the jobs of lengthy transformations. Thread-safe. `sandbox` has the time that they take."""

    scratch = True

    def __init__(
        self,
        sources: JobSources,
        files: Files,
        sandbox: Sandbox,
        previews: Previews,
        webhooks: Enveloping,
        *,
        base: str,
    ) -> None:
        self._sources = sources
        self._files = files
        self._sandbox = sandbox
        self._previews = previews
        self._webhooks = webhooks
        self._base = base

    def work(self, held: Held) -> Done:
        application = self._sources.owner(held)
        request = held.request
        sources = [
            self._fetched(held, application, number, source, request.get("url_pattern"))
            for number, source in enumerate(request["sources"])
        ]
        held.step("downloaded")
        made, extra, output = self._converted(held, application, sources)
        held.step("generated")
        result = self._stored(held, application, request["options"], sources[0], made, output)
        shown = made[-1] if len(made) > 1 else made[0]  # of a playlist, the picture is in one of its parts
        frames = int(extra.get("frames") or 1)
        result["thumbs"], result["frames"] = self._thumbnails(held, application, shown, output, frames)
        result["metadata"] = _statistics(extra.get("metadata"))
        held.step("uploaded")
        return Done(result=result)

    # -- sources

    def _fetched(
        self, held: Held, application: Application, number: int, source: Mapping[str, Any], pattern: str | None
    ) -> LocalFile:
        name = f"source-{number}"
        if source.get("handle"):
            return self._sources.stored(held, source["handle"], name)
        check = _by_pattern(pattern, search=application.regex == "search")
        headers = source.get("headers") or {}
        return self._sources.fetched(held, application, source["url"], name, headers=headers, check=check)

    # -- converting

    def _converted(
        self, held: Held, application: Application, sources: Sequence[LocalFile]
    ) -> tuple[tuple[MadeFile, ...], Mapping[str, Any], Path]:
        self._sandbox.start_once()
        request, limits = held.request, application.limits
        path = held.folder / "made.bin"
        with ExitStack() as stack:
            opened = [stack.enter_context(source.path.open("rb")) for source in sources]
            output = stack.enter_context(open(path, "w+b", opener=private))
            outcome = self._sandbox.run(
                Chain(
                    tasks=((page_work.FILES + request["task"], dict(request["options"])),),
                    sources=[
                        ChainSource(stream.fileno(), file.mimetype, file.filename)
                        for stream, file in zip(opened, sources, strict=True)
                    ],
                    references=[len(sources) - 1],
                    output=output.fileno(),
                    application=application.api_key,
                    max_bytes=limits.max_bytes,
                    max_pixels=limits.max_pixels,
                    max_animation_pixels=limits.max_animation_pixels,
                    metadata=application.metadata_profile,
                )
            )
            made, extra = page_results.read_files(output, outcome.extra)
        held.note("file written", path.name, path.stat().st_size)
        return made, extra, path

    # -- storing

    def _stored(
        self,
        held: Held,
        application: Application,
        options: Mapping[str, Any],
        source: LocalFile,
        made: Sequence[MadeFile],
        output: Path,
    ) -> dict[str, Any]:
        """Store the companions, then the main file, which leads to them by their handles."""
        main = made[0]
        names = {one.name: derived_handle(held.job.id, one.name) for one in made[1:]}
        for one in made[1:]:
            self._put(held, application, one, _linked(one, output, names), clean_name(one.name), names[one.name], {})
        name = options.get("filename") or main.name or source.filename
        ending = options.get("extname") or extension(main.name)
        if ending and extension(name) != ending:
            name = f"{name}.{ending}"
        handle = derived_handle(held.job.id, "")
        size = self._put(held, application, main, _linked(main, output, names), clean_name(name), handle, options)
        return {"handle": handle, "filename": clean_name(name), "mimetype": main.mimetype, "size": size}

    def _put(
        self,
        held: Held,
        application: Application,
        one: MadeFile,
        pieces: Any,
        name: str,
        handle: str,
        options: Mapping[str, Any],
    ) -> int:
        """A file of the application, under a handle that derives from the job: a second run replaces it."""
        held.check()
        target = Target(
            filename=name,
            mimetype=one.mimetype,
            container=options.get("container"),
            path=options.get("path"),
            storage=options.get("location"),
            access=options.get("access"),
        )
        known = None
        with suppress(NotFound):
            known = self._files.find(handle)
        if known is None and self._files.known(handle):  # expired or deleted, and not swept yet
            raise StorageFault(f"{handle} is on its way out")
        with self._files.begin(application, target, over=known) as upload:
            for piece in pieces:
                upload.write(piece)
            held.check()
            link = (
                self._files.add(application, upload, handle=handle, tell=False)
                if known is None
                else self._files.overwrite(known, upload, tell=False)
            )
        held.note("sent", f"{link.storage}: {name}", link.size)
        return link.size

    def _thumbnails(
        self, held: Held, application: Application, shown: MadeFile, output: Path, frames: int
    ) -> tuple[dict[str, str], list[str]]:
        """Handles of thumbnails by their names, and those of all frames where several are wanted; none where there is nothing
        to see."""
        path = held.folder / "shown"
        with path.open("wb") as into:
            for piece in span(output, shown.offset, shown.length):
                into.write(piece)
        file = LocalFile(path=path, mimetype=shown.mimetype, filename=shown.name, size=shown.length)
        order = PreviewOrder(
            sizes=tuple(THUMBNAILS.values()),
            format="jpg",
            pages=f"1-{frames}",
            options={PREVIEWER: {"frames": frames}} if frames > 1 else {},
        )
        try:
            made = self._previews.make(application, file, order, held.folder)
        except SecureDeliveryError:
            return {}, []
        found: dict[str, str] = {}
        whole: list[str] = []
        names = {size.name: name for name, size in THUMBNAILS.items()}
        for picture in made.pictures:
            kind = names[picture.size.name]
            if picture.page > 1 and kind != "thumb":
                continue
            name = f"{kind}.jpg" if picture.page == 1 else f"{kind}-{picture.page}.jpg"
            one = MadeFile(name=name, mimetype="image/jpeg", offset=picture.offset, length=picture.length)
            handle = derived_handle(held.job.id, f"thumbnails/{name}")  # no companion is called so
            self._put(held, application, one, picture.read(), name, handle, {})
            if kind == "thumb":
                whole.append(handle)
            if picture.page == 1:
                found[kind] = handle
        return found, whole

    # -- telling

    def report(self, connection: Connection, job: Job, request: Mapping[str, Any], told: Any) -> Sequence[str]:
        base = str(request.get("base") or self._base)
        body, event_id = self._webhooks.enveloped(EVENT, dict(conversion_object(job, lambda handle: f"{base}/{handle}")))
        return self._webhooks.record(
            connection,
            application=job.application,
            event=EVENT,
            body=body,
            job=job.id,
            event_id=event_id,
            hold=FIRST_TRY,
        )


def conversion_object(job: Job, address: Callable[[str], str]) -> dict[str, Any]:
    """The status of a conversion, as the URL that began it answers, and as webhooks tell it (fact sheet, 3.8)."""
    answer: dict[str, Any] = {
        "status": _STATUS.get(job.state, "failed"),
        "uuid": job.id.replace("-", ""),
        "timestamp": str(job.created // 1000),
        "data": {},
        "metadata": {"result": {}, "source": {}},
    }
    if answer["status"] == "completed" and job.result is not None:
        answer["data"] = {
            "url": address(job.result["handle"]),
            **{name: address(handle) for name, handle in job.result["thumbs"].items()},
        }
        if len(job.result.get("frames", ())) > 1:
            answer["data"]["thumbs"] = [address(handle) for handle in job.result["frames"]]
        answer["metadata"] = job.result["metadata"]
    if answer["status"] == "failed":
        answer["error"] = dict(job.error or {})
    return answer


def _statistics(metadata: Any) -> dict[str, Any]:
    """What of the facts about source and result may be recorded: sizes, times and codecs. Titles and names of people, which
    tags hold, are content."""
    told = metadata if isinstance(metadata, Mapping) else {}
    return {side: _facts(told.get(side)) for side in ("result", "source")}


def _facts(facts: Any) -> dict[str, Any]:
    """Numbers and short words, those of the streams, too."""
    found: dict[str, Any] = {}
    for name, value in facts.items() if isinstance(facts, Mapping) else ():
        if isinstance(value, int | float) or (isinstance(value, str) and _WORD.fullmatch(value)):
            found[name] = value
        elif name == "streams" and isinstance(value, list):
            found[name] = [_facts(stream) for stream in value[:_MOST_STREAMS]]
    return found


def _by_pattern(pattern: str | None, *, search: bool) -> Callable[[str], None] | None:
    """Whether an address on the way is one that the policy covers, which began the job (pitfall c10: every hop counts)."""
    if pattern is None:
        return None
    policy = Policy(expiry=1, url=pattern)

    def check(url: str) -> None:
        if not policy.matches("url", url, search=search):
            raise BadRequest(
                "a hop outside the policy", public="The source leads to an address that the policy does not cover."
            )

    return check


def _linked(one: MadeFile, output: Path, names: Mapping[str, str]) -> Any:
    """The bytes of a file; a playlist with the handles of its parts in the place of their names."""
    pieces = span(output, one.offset, one.length)
    if one.mimetype != _PLAYLIST or one.length > _MOST_PLAYLIST:
        return pieces
    lines = b"".join(pieces).decode("utf-8", "replace").split("\n")
    return ["\n".join(names.get(line.strip(), line) for line in lines).encode()]
