"""The engine: does the work, knows no HTTP framework.

Knows: how its parts fit together; `build` is the only place that wires them. Must not know: requests, responses, a web
framework.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..gate.errors import ConfigurationError, VaultError
from ..gate.model import Limits
from ..plugin.manager import Registry, load
from ..plugin.protocols import Event, Swept, WorkLimits
from .administration import Administration
from .conversion_job import KIND as CONVERSION
from .conversion_job import ConversionWorker
from .copies import Copies
from .database import Database
from .fetch import Fetcher
from .fetched import FetchedFiles
from .figures import JOBS, PREVIEWS, WEBHOOKS, Figures
from .file_pictures import FilePictures
from .file_search import FileSearch
from .files import Development, Files
from .housekeeping import Housekeeping
from .job_bell import bell
from .job_changes import JobChanges
from .job_desk import JobDesk, chosen
from .job_leases import Leases
from .job_pool import JobPool
from .job_records import Job
from .job_run import JobRunner, Worker
from .job_source import JobSources
from .jobs import Jobs
from .locks import Locks
from .memory import Memory
from .outbound import OutboundGuard, Patience
from .parts import Parts
from .people import People, people
from .preview_job import KIND as PREVIEW
from .preview_job import PreviewWorker
from .previews import Previews
from .records import Records
from .rendition_budget import Budget
from .rendition_store import RenditionStore
from .renditions import Renditions
from .reports import Reports
from .sandbox import PluginChoice, Sandbox
from .settings import Settings
from .sources import Folders, Objects
from .storages import Storages
from .streams import Streams
from .tryout import Tryout
from .uploads import Uploads
from .usage import Usage
from .vault import Vault
from .webhooks import Schedule, Sender, Webhooks

__all__ = ["Engine", "build", "open_vault"]

logger = logging.getLogger("secure_delivery.engine")

_ABANDONED = 24 * 3600.0  # seconds after which a draft that nobody holds is nobody's
_DECODING = ("transformations", "detectors", "programs", "previewers", "extractors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The collaborators, built once and passed to whoever needs them."""

    settings: Settings
    registry: Registry
    database: Database
    records: Records
    files: Files
    search: FileSearch
    storages: Storages
    uploads: Uploads
    parts: Parts
    streams: Streams
    housekeeping: Housekeeping
    renditions: Renditions
    pictures: FilePictures
    tryout: Tryout
    sandbox: Sandbox
    fetched: FetchedFiles
    folders: Folders
    objects: Objects
    webhooks: Webhooks
    jobs: JobDesk
    job_changes: JobChanges
    previewing: PreviewWorker
    people: People
    administration: Administration
    job_sandbox: Sandbox
    video_sandbox: Sandbox
    usage: Usage
    reports: Reports
    figures: Figures
    clock: Callable[[], float]

    def start(self, *, serving: bool = True) -> None:
        """Start the decoder processes, and sweep up what a crash left. Safe to call again. A process that only works on jobs is
        not `serving`: it starts its pool or its queue itself.

        Raises `ConfigurationError` when decoders cannot be confined as the settings ask.
        """
        for name, storage in self.registry.storages.items():
            if isinstance(storage, Swept) and (swept := storage.sweep(_ABANDONED)):
                logger.warning("storage %s: removed %d drafts that a crash left behind", name, swept)
        if deleted := self.files.sweep():
            logger.warning("deleted %d blobs that were left when they should have gone", deleted)
        self.fetched.sweep()
        self.housekeeping.start()
        self.webhooks.start()
        self.usage.start()
        if serving:
            self.renditions.start()
            self.renditions.start_decoders()
            self.jobs.start()

    def close(self) -> None:
        """Stop the decoders and close the database."""
        self.jobs.close()
        self.job_sandbox.close()
        self.video_sandbox.close()
        self.webhooks.close()
        self.housekeeping.close()
        self.renditions.close()
        self.sandbox.close()
        self.reports.close()  # counts what it tells of in the usage figures
        self.usage.close()
        self.database.close()


def open_vault(settings: Settings, *, create: bool = True) -> Vault:
    """The vault of these settings: from the environment's master keys, else from the key file, made 0600 if missing."""
    if settings.master_key:
        return Vault.from_text(settings.master_key)
    return Vault.from_file(settings.key_file, create=create)


def _private_folder(path: Path) -> Path:
    """A folder that only we may enter. Raises `ConfigurationError` when it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"data: {path} cannot be made: {error.strerror}") from None
    return path


def _registry(settings: Settings, data: Path) -> tuple[Registry, PluginChoice]:
    """The plugins of these settings. The built-in storage keeps its files in the data folder unless told otherwise."""
    tables = {name: dict(table) for name, table in settings.plugins.items()}
    tables.setdefault("builtin", {}).setdefault("root", str(data / "files"))
    registry = load(settings=tables, blocked=settings.plugins_blocked, rank=settings.plugins_rank)
    # Decoder processes load the plugins that decode and no others, so that no storage's credentials reach them.
    decoding = {report.name for report in registry.reports if any(report.offers.get(kind) for kind in _DECODING)}
    choice = PluginChoice(
        settings={name: table for name, table in tables.items() if name in decoding},
        blocked=tuple(report.name for report in registry.reports if report.name not in decoding),
        rank=settings.plugins_rank,
        warm=settings.decode_warm,
    )
    return registry, choice


def _sweep(registry: Registry) -> int:
    """Remove what uploads left in storages that were broken off long ago."""
    return sum(storage.sweep(_ABANDONED) for storage in registry.storages.values() if isinstance(storage, Swept))


def _webhooks(
    settings: Settings, database: Database, vault: Vault, records: Records, clock: Callable[[], float], usage: Usage
) -> Webhooks:
    sender = Sender(
        seconds=settings.webhook_seconds,
        https_only=settings.webhook_https_only,
        # An entry with a port opens that port, and that address only.
        allow=(*settings.webhook_allow, *filter(None, [urlsplit(settings.demo_webhook).netloc])),
        ports=(80, 443, *settings.webhook_ports),
    )
    return Webhooks(
        database,
        vault,
        records,
        sender,
        clock=clock,
        schedule=Schedule(delays=settings.webhook_delays, keep=settings.webhook_log_days),
        senders=settings.webhook_senders,
        base=settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}",
        tried=lambda application, outcome: usage.add((application, WEBHOOKS, outcome)),
    )


def _counted(usage: Usage, registry: Registry) -> Callable[[Job], None]:
    """Counts jobs that have ended, and of previews who made them."""

    def ended(job: Job) -> None:
        usage.add((job.application, JOBS, f"{job.kind}/{job.state}"))
        name = (job.result or {}).get("previewer") if job.state == "success" else None
        if isinstance(name, str) and (previewer := registry.previewers.get(name)) is not None:
            usage.add((job.application, PREVIEWS, f"{previewer.family}/{name}"))

    return ended


def _tell(registry: Registry, webhooks: Webhooks) -> Callable[[Event], None]:
    """Who is told of what happened to a file: plugins that listen, and the endpoints of its application."""

    def told(event: Event) -> None:
        registry.emit(event)
        webhooks.on_event(event)

    return told


def _sandbox(settings: Settings, choice: PluginChoice, data: Path, *, size: int, seconds: float) -> Sandbox:
    """A pool of confined processes with the limits of these settings."""
    return Sandbox(
        size,
        plugins=choice,
        limits=WorkLimits(
            pixels=settings.max_pixels,
            animation_pixels=settings.max_animation_pixels,
            bytes=settings.max_bytes,
            seconds=seconds,
            cpu_seconds=settings.decode_cpu_seconds,
            memory=settings.decode_memory,
        ),
        scratch=_private_folder(data / "work"),
        floor=frozenset(settings.sandbox_floor),
        queue=settings.decode_queue,
        wait=settings.decode_wait,
    )


def _jobs(
    settings: Settings,
    registry: Registry,
    database: Database,
    vault: Vault,
    records: Records,
    webhooks: Webhooks,
    data: Path,
    clock: Callable[[], float],
    sandbox: Sandbox,
    workers: Mapping[str, Worker],
    usage: Usage,
) -> JobDesk:
    """The table of jobs, and the hands of this process. Decoders for jobs start with the first one."""

    def limits_of(api_key: str) -> Limits | None:
        try:
            found = records.application(api_key)
        except VaultError:  # its secrets do not open: its jobs fail, and those of others go on
            return None
        return None if found is None else found.limits

    jobs = Jobs(database, vault, clock, limits_of=limits_of)
    leases = Leases(database, clock, limits_of=limits_of, lease=settings.job_lease, most_attempts=settings.job_attempts)
    desk: JobDesk

    def waiting(job: Job, delay: float) -> None:
        desk.announce([job], delay)

    runner = JobRunner(
        leases,
        workers,
        requests=jobs.request,
        deliver=webhooks.first_tries,
        place=_private_folder(data / "jobs"),
        waiting=waiting,
        seconds_of=lambda api_key: None if (limits := limits_of(api_key)) is None else limits.max_job_seconds,
        ended=_counted(usage, registry),
    )
    pool = JobPool(
        leases,
        runner,
        bell(database),
        size=max(1, settings.job_workers),
        begin=sandbox.start_once,
        moved=lambda moved: desk.announce(moved),
    )
    desk = JobDesk(
        jobs,
        leases,
        runner,
        pool,
        queue=chosen(settings.queue, registry.queues),
        size=settings.job_workers,
        days=settings.job_days,
        unheard=settings.job_unheard,
    )
    return desk


def build(settings: Settings, *, clock: Callable[[], float] = time.time) -> Engine:
    """Wire an engine. Opens the database and brings it up to date; starts no process yet.

    Raises `ConfigurationError` for everything that should stop a start: an unusable data folder, a weak or readable master
    key, a database out of reach or of a newer release, a storage no plugin provides.
    """
    data = _private_folder(settings.data.absolute())
    vault = open_vault(settings)
    database = Database(settings.database_url, plain=settings.database_plain)
    database.migrate()
    registry, choice = _registry(settings, data)
    if settings.storage not in registry.storages:
        known = ", ".join(sorted(registry.storages)) or "none"
        raise ConfigurationError(f"storage: no installed plugin provides {settings.storage!r}; there is: {known}")
    records = Records(database, vault, clock)
    store = RenditionStore(
        _private_folder(data / "renditions"),
        days=settings.rendition_days,
        memory=Memory(settings.rendition_memory),
        clock=clock,
    )
    storages = Storages(
        database,
        vault,
        clock,
        own=registry.storages,
        providers=registry.storage_providers,
        default=settings.storage,
        guard=OutboundGuard(allow=settings.storage_allow, ports=(80, 443, *settings.storage_ports)),
    )
    usage = Usage(database, clock)
    reports = Reports(database, clock, usage)
    webhooks = _webhooks(settings, database, vault, records, clock, usage)
    files = Files(
        records,
        storages,
        renditions=store,
        notify=_tell(registry, webhooks),
        clock=clock,
        scanners=registry.scanners,
        locks=Locks(_private_folder(data / "locks")),
        work=_private_folder(data / "work"),
        development=Development(keep=int(settings.development_days * 86_400), quota=settings.development_bytes),
    )
    uploads = Uploads(
        database,
        files,
        _private_folder(data / "uploads"),
        clock=clock,
        hours=settings.upload_hours,
        direct=settings.direct_uploads,
    )
    parts = Parts(database, uploads, max_bytes=settings.max_bytes)
    sandbox = _sandbox(settings, choice, data, size=settings.decoders, seconds=settings.decode_seconds)
    fetcher = Fetcher(
        allow=settings.fetch_allow,
        ports=(80, 443, *settings.fetch_ports),
        https_only=settings.fetch_https_only,
        patience=Patience(whole=settings.fetch_seconds),
    )
    job_sandbox = _sandbox(
        settings, replace(choice, warm=()), data, size=max(1, settings.job_workers), seconds=settings.job_seconds
    )
    sources = JobSources(records, files, fetcher, max_bytes=settings.max_bytes)
    previewing = PreviewWorker(
        records,
        sources,
        files,
        Previews(registry, job_sandbox, fetcher.guard),
        webhooks,
        base=settings.public_url,
        clock=clock,
        link_seconds=int(settings.development_days * 86_400) or 365 * 86_400,
    )
    video_sandbox = _sandbox(
        settings, replace(choice, warm=()), data, size=max(1, settings.job_workers), seconds=settings.video_seconds
    )
    converting = ConversionWorker(
        sources,
        files,
        video_sandbox,
        Previews(registry, job_sandbox, None),
        webhooks,
        base=settings.public_url,
    )
    workers: dict[str, Worker] = {PREVIEW: previewing, CONVERSION: converting}
    jobs = _jobs(settings, registry, database, vault, records, webhooks, data, clock, job_sandbox, workers, usage)
    webhooks.rebuild = lambda application, job: previewing.rebuilt(application, jobs.jobs.get(job, application))
    renditions = Renditions(
        records,
        store,
        Budget(store, limit=settings.rendition_bytes, days=settings.rendition_days, clock=clock),
        sandbox,
        work=_private_folder(data / "work"),
        clock=clock,
        copies=Copies(registry),
        guard=fetcher.guard,
    )
    who = people(settings, database, vault, clock)
    fetched = FetchedFiles(fetcher, _private_folder(data / "fetched"), keep=settings.fetch_keep, clock=clock)
    return Engine(
        settings=settings,
        registry=registry,
        database=database,
        records=records,
        files=files,
        search=FileSearch(database, clock),
        storages=storages,
        uploads=uploads,
        parts=parts,
        streams=Streams(uploads, parts, max_bytes=settings.max_bytes),
        housekeeping=Housekeeping(
            (
                files.tend,
                uploads.sweep,
                webhooks.sweep,
                jobs.tend,
                usage.forget,
                reports.forget,
                who.sweep,
                lambda: _sweep(registry),
            )
        ),
        renditions=renditions,
        pictures=FilePictures(registry, files, Previews(registry, sandbox, None), renditions, data / "work"),
        tryout=Tryout(files, fetched, renditions, usage, places=max(1, settings.decoders // 2), max_bytes=settings.max_bytes),
        sandbox=sandbox,
        fetched=fetched,
        folders=Folders(settings.folders),
        objects=Objects(storages, _private_folder(data / "work")),
        webhooks=webhooks,
        jobs=jobs,
        job_changes=JobChanges(database, who.audit, jobs, files, webhooks),
        previewing=previewing,
        people=who,
        administration=Administration(database, who.audit, records, files, storages, webhooks.endpoints, renditions),
        job_sandbox=job_sandbox,
        video_sandbox=video_sandbox,
        usage=usage,
        reports=reports,
        figures=Figures(database),
        clock=clock,
    )
