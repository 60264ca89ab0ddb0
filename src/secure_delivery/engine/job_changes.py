"""What people do with jobs, each with an entry in the audit log.

Knows: which change is called what, and what of it may be told. Must not know: HTTP, who may change what, what a job does.

What an application's own program orders by the previews API is not here: it is one of its requests, not a change of settings.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..gate.errors import BadRequest, Conflict, NotFound
from ..gate.model import Application
from .audit import Actor, Audit
from .database import Database
from .files import Files
from .job_desk import JobDesk
from .job_records import ABANDONED, Job
from .preview_job import KIND, check_source, cost_of
from .preview_order import FieldError, PreviewOrder
from .webhooks import Webhooks

MOST_AT_ONCE = 500  # jobs that one call tries again


class JobChanges:
    """The changes. Thread-safe. Every method takes who does it first, and raises what the room it calls raises."""

    def __init__(self, database: Database, audit: Audit, desk: JobDesk, files: Files, webhooks: Webhooks) -> None:
        self._database = database
        self._audit = audit
        self._desk = desk
        self._files = files
        self._webhooks = webhooks

    def order_preview(self, actor: Actor, application: Application, order: PreviewOrder, *, data: Any = None) -> Job:
        """Order a preview as somebody who is trusted with the application. Raises `FieldError` for a file that is not its own,
        an address that may not be fetched or told, and a storage that it does not have; `QueueFull`."""
        if order.handle is not None:
            order = replace(order, handle=self._own(application, order.handle))
        else:
            check_source(order.url)
        if order.storage is not None:
            self._check_storage(application, order.storage)
        if order.callback_url is not None:
            try:
                self._webhooks.check_url(order.callback_url)
            except BadRequest as fault:
                raise FieldError("callback_url", fault.public) from None
        job_id = str(uuid.uuid4())
        job, _ = self._desk.submit(
            application.api_key,
            KIND,
            {**order.plain(), "trusted": True},
            data=data,
            cost=cost_of(order),
            job_id=job_id,
            within=self._noted(actor, "job.order", application.api_key, job_id, after=_told(order)),
        )
        return job

    def _own(self, application: Application, handle: str) -> str:
        try:
            link = self._files.find(handle)
        except NotFound:
            link = None
        if link is None or link.application != application.api_key:
            raise FieldError("source", "This application has no file with this handle.")
        return link.handle

    def _check_storage(self, application: Application, name: str) -> None:
        try:
            self._files.storages.place(application, name, None)
        except NotFound:
            raise FieldError("storage", "This application has no such storage.") from None

    def cancel(self, actor: Actor, api_key: str, job_id: str) -> Job:
        """End a job that waits, or have its worker give it up: see `JobDesk.cancel`."""
        job = self._desk.jobs.get(job_id, api_key)
        noted = self._noted(actor, "job.cancel", api_key, job.id, before={"state": job.state})
        return self._desk.cancel(job.id, api_key, within=noted)

    def retry(self, actor: Actor, api_key: str, job_id: str) -> Job:
        """Queue a job again that failed or was cancelled: see `JobDesk.retry`."""
        job = self._desk.jobs.get(job_id, api_key)
        noted = self._noted(actor, "job.retry", api_key, job.id, before={"state": job.state, "error": _code(job)})
        return self._desk.retry(job.id, api_key, within=noted)

    def retry_given_up(self, actor: Actor, api_key: str) -> int:
        """Queue all jobs again that were given up because they ended their worker, at most 500; how many."""
        jobs, _ = self._desk.jobs.page(api_key, states=("failure",), fault=ABANDONED, most=MOST_AT_ONCE)
        count = 0
        for job in jobs:
            try:
                self.retry(actor, api_key, job.id)
            except (Conflict, NotFound):  # somebody else was quicker
                continue
            count += 1
        return count

    def delete(self, actor: Actor, api_key: str, job_id: str) -> None:
        """Forget a job that has ended: see `Jobs.delete`. Its results stay where they are."""
        job = self._desk.jobs.get(job_id, api_key)
        before = {"kind": job.kind, "state": job.state}
        with self._noted(actor, "job.delete", api_key, job.id, before=before):
            self._desk.jobs.delete(job.id, api_key)

    @contextmanager
    def _noted(
        self,
        actor: Actor,
        action: str,
        api_key: str,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """A block that changes jobs: both it and the entry are written, or neither is."""
        with self._database.whole():
            yield
            with self._database.write() as connection:
                self._audit.write(connection, actor, action, subject=subject, application=api_key, before=before, after=after)


def _code(job: Job) -> Any:
    return None if job.error is None else job.error.get("code")


def _told(order: PreviewOrder) -> dict[str, Any]:
    """An order without its addresses, which hold credentials."""
    return {
        "handle": order.handle,
        "sizes": [size.name for size in order.sizes],
        "format": order.format,
        "pages": order.pages,
        "metadata": list(order.metadata),
        "storage": order.storage,
    }
