"""Previews of files on this machine, without a server, a database or an application.

Knows: plugins, the sandbox. Must not know: jobs, storages, HTTP.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..gate.errors import BadRequest, SecureDeliveryError
from ..gate.model import Application, Limits, Secret, SecretRing
from ..plugin.manager import Registry, load
from ..plugin.protocols import WorkLimits
from .handover import Names
from .matching import extension
from .names import clean_name
from .page_results import replaced
from .preview_job import described
from .preview_order import PreviewOrder
from .previews import LocalFile, Previews
from .sandbox import PluginChoice, Sandbox
from .settings import Settings
from .types import HEAD, sniff

_DECODING = ("transformations", "detectors", "programs", "previewers", "extractors")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPreview:
    """What became of one file: the pictures written, the JSON document beside them, or the fault."""

    file: Path
    pictures: tuple[Path, ...] = ()
    document: Path | None = None
    previewer: str = ""
    fault: SecureDeliveryError | None = None


class LocalPreviews:
    """Makes previews of files here. Made by `opened`."""

    def __init__(self, registry: Registry, previews: Previews, scratch: Path, limits: Limits) -> None:
        self.registry = registry
        self._previews = previews
        self._scratch = scratch
        # Nobody signs anything here: the ring is never asked.
        secret = Secret(value=os.urandom(32), id="local")
        self._nobody = Application(
            secrets=SecretRing(secrets=(secret,)), api_key="local", limits=limits, metadata_profile="all"
        )

    def make(
        self,
        path: Path,
        order: PreviewOrder,
        target: Path,
        *,
        stem: str | None = None,
        keep: Collection[tuple[int, int]] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> LocalPreview:
        """Preview a file into a folder: `STEM_SIZE-PAGE.FORMAT` and `STEM.json`, the stem of its name unless given.

        `keep` are files (device and inode) that are not replaced, and neither is the file itself. What is wrong with the file
        is in the result.
        """
        try:
            return self._made(path, order, _Folder(target, {*keep, identity(path)}), stem or stem_of(path), progress)
        except SecureDeliveryError as fault:
            return LocalPreview(file=path, fault=fault)
        except OSError as error:
            return LocalPreview(file=path, fault=BadRequest(str(error), public=error.strerror or "It cannot be read."))

    def _made(
        self, path: Path, order: PreviewOrder, target: _Folder, stem: str, progress: Callable[[str], None]
    ) -> LocalPreview:
        filename = clean_name(path.name)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:  # a pipe must not hang us
            facts = os.fstat(stream.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise BadRequest(f"{path} is no regular file", public="It is not a regular file.")
            kind = sniff(stream.read(HEAD), filename)
        file = LocalFile(path=path, mimetype=kind, filename=filename, size=facts.st_size)
        names = Names(stem, document := clean_name(f"{stem}.json"))
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            made = self._previews.make(self._nobody, file, order, folder, progress=progress)
            pictures = []
            told: list[dict[str, Any]] = []
            for picture in made.pictures:
                name = names.of(f"{picture.size.name}-{picture.page}.{made.format}")
                pictures.append(target.write(name, picture.read()))
                told.append(
                    {
                        "file": name,
                        "page": picture.page,
                        "requested_size": picture.size.name,
                        "size": {"width": picture.width, "height": picture.height},
                        "original_size": dict(zip(("width", "height"), picture.original, strict=True)),
                    }
                )
            attached = {}
            for one in made.attached:
                attached[one.token] = name = names.of(one.name)
                target.write(name, one.read())
            sections = replaced(dict(made.sections), attached)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        value = {
            "previewer": made.previewer,
            "problems": {"previewers": list(made.faults), "metadata": dict(made.problems)},
            "thumbnails": told,
            "original_file": {**described(file, made.total), "metadata": sections},
        }
        text = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace")
        written = target.write(document, [text])
        return LocalPreview(file=path, pictures=tuple(pictures), document=written, previewer=made.previewer)


@contextmanager
def opened(settings: Settings, *, size: int = 1, max_pages: int = 100) -> Iterator[LocalPreviews]:
    """Decoders for previews of files here, with the plugins and limits of these settings. Nothing is stored anywhere but in the
    target folder. Raises `ConfigurationError` when decoders cannot be confined as the settings ask."""
    registry = load(
        settings={name: dict(table) for name, table in settings.plugins.items()},
        blocked=settings.plugins_blocked,
        rank=settings.plugins_rank,
    )
    decoding = {report.name for report in registry.reports if any(report.offers.get(kind) for kind in _DECODING)}
    with tempfile.TemporaryDirectory(prefix="secure-delivery-") as scratch:
        sandbox = Sandbox(
            size,
            plugins=PluginChoice(
                settings={name: table for name, table in settings.plugins.items() if name in decoding},
                blocked=tuple(report.name for report in registry.reports if report.name not in decoding),
                rank=settings.plugins_rank,
                warm=(),
            ),
            limits=WorkLimits(
                pixels=settings.max_pixels,
                animation_pixels=settings.max_animation_pixels,
                bytes=settings.max_bytes,
                seconds=settings.job_seconds,
                cpu_seconds=settings.decode_cpu_seconds,
                memory=settings.decode_memory,
            ),
            scratch=Path(scratch),
            floor=frozenset(settings.sandbox_floor),
        )
        limits = Limits(max_bytes=settings.max_bytes, max_pixels=settings.max_pixels, max_pages=max_pages)
        with sandbox:
            yield LocalPreviews(registry, Previews(registry, sandbox, None), Path(scratch), limits)


def stem_of(path: Path) -> str:
    """The name of a file without its extension."""
    ending = extension(path.name)
    return path.name[: -len(ending) - 1] if ending else path.name


def identity(path: Path) -> tuple[int, int]:
    """What tells a file from all others. Raises `OSError`."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino


class _Folder:
    """A folder that results are written to, and nowhere else: a link that lies there is replaced, not followed."""

    def __init__(self, path: Path, keep: Collection[tuple[int, int]]) -> None:
        self._path = path
        self._keep = keep

    def write(self, name: str, pieces: Iterable[bytes]) -> Path:
        """Write a file whole, or not at all. Raises `OSError`, `BadRequest` for one that is to be kept."""
        path = self._path / name
        with suppress(FileNotFoundError):
            facts = path.lstat()
            if (facts.st_dev, facts.st_ino) in self._keep:
                raise BadRequest(f"{path} is a source", public=f"Its result {name} would replace a file that is previewed.")
        draft = self._path / f".{secrets.token_hex(8)}.part"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb") as into:
                for piece in pieces:
                    into.write(piece)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return path
