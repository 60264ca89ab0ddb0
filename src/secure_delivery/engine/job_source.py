"""The files that jobs work on, brought into the job's folder, and whose jobs they are.

Knows: stored files, the way out, folders of jobs. Must not know: what a job does with a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from ..gate.errors import NotFound
from ..gate.model import Application
from .fetch import Fetcher
from .files import Files
from .job_run import Held
from .previews import LocalFile, private


class Applications(Protocol):
    """Where applications are found."""

    def application(self, api_key: str) -> Application | None: ...


class JobSources:
    """Brings files in. Thread-safe. `max_bytes` bounds a file beside the application's own limit."""

    def __init__(self, applications: Applications, files: Files, fetcher: Fetcher, *, max_bytes: int) -> None:
        self._applications = applications
        self._files = files
        self._fetcher = fetcher
        self._max_bytes = max_bytes

    def owner(self, held: Held) -> Application:
        """The application of a job. Raises `NotFound` when it is gone."""
        application = self._applications.application(held.job.application)
        if application is None:
            raise NotFound(f"no application {held.job.application!r}", public="There is no such application.")
        return application

    def stored(self, held: Held, handle: str, name: str, *, owner: str | None = None) -> LocalFile:
        """A stored file, as `name` in the folder. Who may use it was decided when the job was asked for; with `owner`, only a
        file of this application will do. Raises `NotFound`."""
        link = self._files.find(handle)
        if owner not in (None, link.application):
            raise NotFound(f"{handle} is of another application")
        with _new(held, name) as (path, into), self._files.open(link) as stream:
            while piece := stream.read(1 << 20):
                into.write(piece)
        held.note("file written", name, link.size)
        return LocalFile(path=path, mimetype=link.mimetype, filename=link.filename, size=link.size)

    def fetched(
        self,
        held: Held,
        application: Application,
        url: str,
        name: str,
        *,
        headers: Mapping[str, str],
        check: Callable[[str], None] | None = None,
    ) -> LocalFile:
        """What an address holds, as `name` in the folder. Arguments and faults as in `Fetcher.fetch`."""
        most = min(self._max_bytes, application.limits.max_bytes)
        with _new(held, name) as (path, into):
            found = self._fetcher.fetch(url, into=into, max_bytes=most, check=check, headers=headers)
        held.note("file written", name, found.size)
        return LocalFile(path=path, mimetype=found.mimetype, filename=found.filename, size=found.size, address=found.url)


@contextmanager
def _new(held: Held, name: str) -> Iterator[tuple[Path, BinaryIO]]:
    path = held.folder / name
    with os.fdopen(private(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as into:
        yield path, into
